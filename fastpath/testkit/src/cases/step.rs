//! The lines that make something happen.

use std::time::Duration;

/// A queue of a port: `p0`, `p1@1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Queue {
    pub(super) port: usize,
    pub(super) worker: Option<usize>,
}

/// How often a line holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Repeat {
    Times(u64),
    /// Once for each value, bound to a name.
    Each {
        name: String,
        low: u64,
        high: u64,
    },
}

/// A packet that is sent or expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PacketLine {
    pub(super) queue: Queue,
    /// The node behind the tunnel that it comes or goes through.
    pub(super) via: Option<String>,
    pub(super) repeat: Repeat,
    pub(super) packet: String,
}

/// A step of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Frames for a queue; the gateway runs after them, or not yet.
    Send {
        line: PacketLine,
        runs: bool,
    },
    Run,
    /// DNS answers that are held go on.
    Release,
    Expect(PacketLine),
    ExpectNothing,
    Advance(Duration),
    At(Duration),
    /// VIPs to be announced unasked.
    Announce(Vec<String>),
    Counters {
        worker: Option<usize>,
        text: String,
    },
}

/// Reads a step; `None` if the line is none.
///
/// # Errors
/// What was expected.
pub(super) fn parse(line: &str) -> Result<Option<Step>, String> {
    let (head, tail) = match line.split_once(": ") {
        Some((head, tail)) => (head, Some(tail.trim())),
        None => match line.strip_suffix(':') {
            Some(head) => (head, Some("")),
            None => (line, None),
        },
    };
    let words: Vec<&str> = head.split_whitespace().collect();
    let packet = || tail.map(str::to_owned).ok_or_else(|| format!("expected `{head}: PACKET`"));
    Ok(Some(match words.as_slice() {
        ["expect", "nothing"] => Step::ExpectNothing,
        ["run"] => Step::Run,
        ["release"] => Step::Release,
        ["advance", time] => Step::Advance(duration(time)?),
        ["at", time] => Step::At(duration(time)?),
        ["announce", first, ..] if first.contains(['.', ':']) => {
            Step::Announce(line.split_whitespace().skip(1).map(str::to_owned).collect())
        }
        [word @ ("send" | "queue"), queue, rest @ ..] => {
            Step::Send { line: packet_line(queue, rest, packet()?)?, runs: *word == "send" }
        }
        ["expect", queue, rest @ ..] => Step::Expect(packet_line(queue, rest, packet()?)?),
        [word] if word.starts_with("counters") && tail.is_some() => {
            let worker = match word.strip_prefix("counters") {
                Some("") => None,
                Some(at) => Some(number(at.strip_prefix('@').unwrap_or(at))? as usize),
                None => return Ok(None),
            };
            Step::Counters { worker, text: packet()? }
        }
        _ => return Ok(None),
    }))
}

/// A whole number.
pub(super) fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("expected a number, found `{text}`"))
}

/// A port: `p0`.
pub(super) fn port(text: &str) -> Result<usize, String> {
    let digits = text.strip_prefix('p').and_then(|digits| digits.parse().ok());
    digits.ok_or_else(|| format!("expected a port such as p0, found `{text}`"))
}

/// A time: `30s`, `1.5s`, `100ms`, `5m`, `24h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a time such as 1.5s, 100ms, 5m or 24h, found `{text}`");
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    for (unit, seconds) in units {
        if let Some(count) = text.strip_suffix(unit)
            && let Ok(count) = count.parse::<f64>()
        {
            return Duration::try_from_secs_f64(count * seconds).map_err(|_| wrong());
        }
    }
    Err(wrong())
}

fn packet_line(text: &str, words: &[&str], packet: String) -> Result<PacketLine, String> {
    let (via, words) = match words {
        ["via", node, rest @ ..] => (Some((*node).to_owned()), rest),
        words => (None, words),
    };
    Ok(PacketLine { queue: queue(text)?, via, repeat: repeat(words)?, packet })
}

fn queue(text: &str) -> Result<Queue, String> {
    let (name, worker) = match text.split_once('@') {
        Some((name, worker)) => (name, Some(number(worker)? as usize)),
        None => (text, None),
    };
    Ok(Queue { port: port(name)?, worker })
}

fn repeat(words: &[&str]) -> Result<Repeat, String> {
    match words {
        [] => Ok(Repeat::Times(1)),
        [times] if times.starts_with('x') => Ok(Repeat::Times(number(&times[1..])?)),
        ["each", name, range] if name.starts_with('$') => {
            let (low, high) = range
                .split_once("..")
                .ok_or_else(|| format!("expected a range such as 1..9, found `{range}`"))?;
            let name = name[1..].to_owned();
            Ok(Repeat::Each { name, low: number(low)?, high: number(high)? })
        }
        words => {
            Err(format!("expected `xN` or `each $name LOW..HIGH`, found `{}`", words.join(" ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_read() {
        let line = |port, worker, via: Option<&str>, repeat| PacketLine {
            queue: Queue { port, worker },
            via: via.map(str::to_owned),
            repeat,
            packet: "ip6 fd00::1 > fd00::2".to_owned(),
        };
        let each = Repeat::Each { name: "n".to_owned(), low: 1, high: 9 };
        for (text, step) in [
            (
                "send p0: ip6 fd00::1 > fd00::2",
                Step::Send { line: line(0, None, None, Repeat::Times(1)), runs: true },
            ),
            (
                "expect p1@2 via node1 x3: ip6 fd00::1 > fd00::2",
                Step::Expect(line(1, Some(2), Some("node1"), Repeat::Times(3))),
            ),
            (
                "queue p0 each $n 1..9: ip6 fd00::1 > fd00::2",
                Step::Send { line: line(0, None, None, each), runs: false },
            ),
            ("advance 1.5s", Step::Advance(Duration::from_millis(1500))),
            ("counters@1: rx 1", Step::Counters { worker: Some(1), text: "rx 1".to_owned() }),
            ("expect nothing", Step::ExpectNothing),
        ] {
            assert_eq!(parse(text).unwrap(), Some(step));
        }
        assert_eq!(parse("vip 10.0.0.1").unwrap(), None);
        for line in ["send p0", "send q: x", "advance 5", "advance -1s", "send p0 y: z", "at 1e99h"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
