use super::latency::Spread;
use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

/// What the worker did in a row.
#[derive(Clone, Debug, Serialize)]
pub struct Worked {
    /// The share of its time that it was busy.
    pub busy: f64,
    /// Turns a second in which L7's tasks had more to do than their slice lets them.
    pub slices_full: f64,
    /// Frames dropped, by reason.
    pub drops: Vec<(&'static str, u64)>,
}

/// One load, and what became of everybody.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What is offered.
    pub what: &'static str,
    /// Frames a second that were offered to be forwarded.
    pub frames_offered: f64,
    /// Frames a second that came to pods.
    pub frames: f64,
    /// Frames that found the receive ring full.
    pub ring_full: u64,
    /// Frames that came into the ring and not to a pod.
    pub frames_lost: u64,
    /// Frames that the generator came too late for.
    pub missed: u64,
    /// From the receive ring to the transmit ring.
    pub latency: Spread,
    /// The generator's own: from the time at which frames are due to the receive ring.
    pub late: Spread,
    /// Requests a second.
    pub requests: f64,
    /// Requests that failed.
    pub requests_failed: u64,
    /// From a request to the end of its answer, as the generator sees it.
    pub request_latency: Spread,
    /// Handshakes a second.
    pub handshakes: f64,
    /// Handshakes that failed.
    pub handshakes_failed: u64,
    /// From SYN to the client's last word, as the generator sees it.
    pub handshake_latency: Spread,
    /// The share of time that helpers worked at handshakes.
    pub helpers_busy: f64,
    /// Segments of TCP that found a receive ring full.
    pub segments_lost: u64,
    /// What the worker did.
    pub worked: Worked,
}

impl Row {
    /// The share of the frames offered that were lost.
    fn lost(&self, seconds: f64) -> f64 {
        (self.ring_full + self.frames_lost) as f64 / (self.frames_offered * seconds).max(1.0)
    }
}

/// A number that was aimed at.
#[derive(Clone, Debug, Serialize)]
pub struct Aim {
    /// What it is.
    pub what: &'static str,
    /// The aim.
    pub aim: f64,
    /// What it came to.
    pub value: f64,
    /// More is better.
    pub at_least: bool,
}

impl Aim {
    fn is_held(&self) -> bool {
        self.value == self.aim || (self.value > self.aim) == self.at_least
    }
}

/// What a family came to.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The family of everything.
    pub family: &'static str,
    /// Frames a second that are forwarded when all of them wait in the ring already,
    pub waiting: f64,
    /// and when they come one after the other, as many as the generator sends.
    pub capacity: f64,
    /// Seconds of each row.
    pub seconds: f64,
    /// The rows.
    pub rows: Vec<Row>,
    /// The aims.
    pub aims: Vec<Aim>,
}

/// How much later forwarded frames may be for L7, in microseconds: 99 and 99.9 of 100.
const RISE_P99_US: f64 = 100.0;
const RISE_P999_US: f64 = 250.0;
/// What each keeps of what it has alone, at twice the load.
const SHARE_MIN: f64 = 0.25;

impl Outcome {
    /// Judges the aims by the rows.
    pub fn judge(&mut self) {
        let row = |name: &str| self.rows.iter().find(|row| row.name == name);
        let mut aims = Vec::new();
        for (alone, beside, what) in [
            ("l4", "l4+http", ["beside requests, L4 lost, %", "p99 rises, us", "p99.9 rises, us"]),
            (
                "l4-naps",
                "l4+rsa",
                ["beside RSA-4096, L4 lost, %", "p99 rises, us", "p99.9 rises, us"],
            ),
        ] {
            let (Some(alone), Some(beside)) = (row(alone), row(beside)) else { continue };
            let lost = beside.lost(self.seconds) * 100.0;
            let p99 = beside.latency.p99_us - alone.latency.p99_us;
            let p999 = beside.latency.p999_us - alone.latency.p999_us;
            for (what, (aim, value)) in
                what.into_iter().zip([(0.0, lost), (RISE_P99_US, p99), (RISE_P999_US, p999)])
            {
                aims.push(Aim { what, aim, value, at_least: false });
            }
        }
        if let (Some(http), Some(both)) = (row("http"), row("l4x2+http")) {
            let l4 = both.frames / self.capacity;
            let l7 = both.requests / http.requests.max(f64::MIN_POSITIVE);
            for (what, value) in
                [("at twice the load, L4 keeps", l4), ("at twice the load, L7 keeps", l7)]
            {
                aims.push(Aim { what, aim: SHARE_MIN, value, at_least: true });
            }
        }
        self.aims = aims;
    }

    fn text(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "\n{}: forwards {:.2} Mpps at most, {:.2} Mpps of frames that wait\n{:<10} {:>7} {:>7} {:>8} {:>23} {:>15} {:>8} {:>6} \
             {:>8} {:>7} {:>5} {:>5}",
            self.family,
            self.capacity / 1e6,
            self.waiting / 1e6,
            "row",
            "offered",
            "Mpps",
            "lost, %",
            "us p50/p99/p99.9",
            "late p50/p99",
            "req/s",
            "p99 us",
            "resent",
            "hs/s",
            "help%",
            "busy%",
        );
        for row in &self.rows {
            let Row { latency, late, worked, .. } = row;
            let latency =
                format!("{:.1} / {:.1} / {:.1}", latency.p50_us, latency.p99_us, latency.p999_us);
            let late = format!("{:.1} / {:.1}", late.p50_us, late.p99_us);
            let _ = writeln!(
                text,
                "{:<10} {:>7.2} {:>7.2} {:>8.4} {latency:>23} {late:>15} {:>8.0} {:>6.0} {:>8} \
                 {:>7.1} {:>5.1} {:>5.1}",
                row.name,
                row.frames_offered / 1e6,
                row.frames / 1e6,
                row.lost(self.seconds) * 100.0,
                row.requests,
                row.request_latency.p99_us,
                row.segments_lost,
                row.handshakes,
                row.helpers_busy * 100.0,
                worked.busy * 100.0,
            );
            let failed = row.requests_failed + row.handshakes_failed;
            if failed + row.missed > 0 || !worked.drops.is_empty() {
                let _ = writeln!(
                    text,
                    "{:<10} failed: {failed}, not offered in time: {}, drops: {:?}",
                    "", row.missed, worked.drops
                );
            }
        }
        text.push('\n');
        for aim in &self.aims {
            let sign = if aim.at_least { ">=" } else { "<=" };
            let held = if aim.is_held() { "held" } else { "missed" };
            let Aim { what, aim, value, .. } = aim;
            let _ = writeln!(
                text,
                "{}  {what:<36} {sign} {aim:>6.2} {value:>10.4}  {held}",
                self.family
            );
        }
    }
}

/// Everything that a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The processor.
    pub cpu: String,
    /// Ticks of the time stamp counter per nanosecond.
    pub tsc_ghz: f64,
    /// The cores of the worker, the generator and the helpers of TLS; none if anywhere.
    pub cpus: Option<[usize; 3]>,
    /// By family.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    /// The report as text.
    pub fn text(&self) -> String {
        let mut text = format!("{}, TSC {:.3} GHz\n", self.cpu, self.tsc_ghz);
        for outcome in &self.outcomes {
            outcome.text(&mut text);
        }
        text
    }

    /// Writes the report as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(path, json + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
