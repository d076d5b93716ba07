use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// Times up to a minute, to three digits.
const TIME_MAX_NS: u64 = 60_000_000_000;
const DIGITS: u8 = 3;

/// How long things took, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Times {
    /// None yet.
    ///
    /// # Errors
    /// When there can be no such histogram.
    pub fn new() -> Result<Self> {
        let histogram = Histogram::new_with_bounds(1, TIME_MAX_NS, DIGITS);
        histogram.map(Times).context("a histogram of times")
    }

    /// Counts one; what is longer than a minute counts as a minute.
    #[inline]
    pub fn record(&mut self, ns: f64) {
        self.0.saturating_record(ns.max(0.0) as u64);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        // What `clear` does leaves minimum and maximum.
        self.0.reset();
    }

    /// What they came to; `None` if there were none.
    pub fn spread(&self) -> Option<Spread> {
        let us = |share| self.0.value_at_quantile(share) as f64 / 1e3;
        (!self.0.is_empty()).then(|| Spread {
            count: self.0.len(),
            p50_us: us(0.5),
            p90_us: us(0.9),
            p99_us: us(0.99),
            p999_us: us(0.999),
            max_us: self.0.max() as f64 / 1e3,
        })
    }
}

/// What times came to, in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Spread {
    /// How many there were.
    pub count: u64,
    /// The middle one.
    pub p50_us: f64,
    /// 9 of 10 are not above it.
    pub p90_us: f64,
    /// 99 of 100 are not above it.
    pub p99_us: f64,
    /// 999 of 1,000 are not above it.
    pub p999_us: f64,
    /// The largest.
    pub max_us: f64,
}

/// Frames that went one way.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Passed {
    /// Given to the device.
    pub sent: u64,
    /// Came out at the other side, each counted once.
    pub came: u64,
    /// Of those, after later ones of their flow.
    pub out_of_order: u64,
    /// Came once more.
    pub duplicated: u64,
}

impl Passed {
    /// Sent, and not seen again.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.came)
    }
}

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Frames a second that were asked for; `None` for as many as go.
    pub asked: Option<f64>,
    /// Seconds.
    pub seconds: f64,
    /// Frames a second that were sent.
    pub offered: f64,
    /// Frames a second that came out, answers not counted with their requests.
    pub achieved: f64,
    /// The same in bits, check sequences counted, gaps and tunnels not.
    pub achieved_bits: f64,
    /// From clients to pods.
    pub requests: Passed,
    /// From pods to clients.
    pub replies: Passed,
    /// Of what was asked for, not sent, because it was a millisecond late.
    pub missed: u64,
    /// How often a device did not take what there was.
    pub blocked: u64,
    /// Frames of earlier runs, and of other hosts.
    pub stale: u64,
    /// ARP, ND, ICMP.
    pub others: u64,
    /// Flows that were given to another endpoint or SNAT port than before.
    pub moved: u64,
    /// Frames of which every byte was looked at, by an independent parser, too.
    pub looked_at: u64,
    /// From when a frame was due until it was seen at the other side.
    pub one_way: Option<Spread>,
    /// The same until its answer was seen.
    pub round_trip: Option<Spread>,
    /// From when a frame was due until it was given to the device: the generator's own.
    pub late: Option<Spread>,
}

impl Outcome {
    /// Lost, of both ways.
    pub fn lost(&self) -> u64 {
        self.requests.lost() + self.replies.lost()
    }

    /// The share of what was sent that was lost.
    pub fn loss(&self) -> f64 {
        self.lost() as f64 / (self.requests.sent + self.replies.sent).max(1) as f64
    }

    /// The share of what was asked for that was not sent.
    pub fn short(&self) -> f64 {
        self.asked.map_or(0.0, |asked| (1.0 - self.offered / asked).max(0.0))
    }

    /// As text, a line for each thing.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let asked = self.asked.map_or("as many as go".to_owned(), |asked| millions(asked) + "pps");
        let _ = writeln!(
            text,
            "asked {asked}, offered {}pps, achieved {}pps ({}bit/s)",
            millions(self.offered),
            millions(self.achieved),
            millions(self.achieved_bits),
        );
        for (name, passed) in [("requests", self.requests), ("replies", self.replies)] {
            let Passed { sent, came, out_of_order, duplicated } = passed;
            if sent > 0 {
                let _ = writeln!(
                    text,
                    "{name:<9} sent {sent}, came {came}, lost {}, out of order {out_of_order}, \
                     duplicated {duplicated}, corrupt 0",
                    passed.lost()
                );
            }
        }
        let _ = writeln!(
            text,
            "missed {}, blocked {}, stale {}, others {}, moved {}, looked at whole {}",
            self.missed, self.blocked, self.stale, self.others, self.moved, self.looked_at
        );
        let times = [("one way", self.one_way), ("round", self.round_trip), ("late", self.late)];
        for (name, spread) in times {
            let Some(spread) = spread else { continue };
            let _ = writeln!(text, "{name:<9} {}", spread.text());
        }
        text
    }
}

impl Spread {
    /// As text.
    pub fn text(&self) -> String {
        let Spread { p50_us, p90_us, p99_us, p999_us, max_us, .. } = self;
        format!(
            "us: p50 {p50_us:.1}, p90 {p90_us:.1}, p99 {p99_us:.1}, p99.9 {p999_us:.1}, \
             max {max_us:.1}"
        )
    }
}

/// A number with its prefix: `1.234 M`.
pub fn millions(number: f64) -> String {
    match number {
        n if n >= 1e9 => format!("{:.3} G", n / 1e9),
        n if n >= 1e6 => format!("{:.3} M", n / 1e6),
        n if n >= 1e3 => format!("{:.1} k", n / 1e3),
        n => format!("{n:.0} "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_times_that_are_forgotten() {
        let mut times = Times::new().unwrap();
        assert!(times.spread().is_none());
        (1..=1000).for_each(|us| times.record(f64::from(us) * 1e3));
        let spread = times.spread().unwrap();
        assert_eq!(spread.count, 1000);
        let near = |told: f64, is: f64| (told / is - 1.0).abs() < 0.002;
        assert!(near(spread.p50_us, 500.0) && near(spread.p90_us, 900.0), "{spread:?}");
        assert!(near(spread.p99_us, 990.0) && near(spread.max_us, 1000.0), "{spread:?}");
        times.clear();
        times.record(5e3);
        assert!(near(times.spread().unwrap().max_us, 5.0));
    }
}
