//! When what is sent: schedules that do not wait for answers.

use super::people::mix;
use std::collections::VecDeque;

/// A schedule is caught up with for so many nanoseconds at most; what is older
/// was not offered.
const BEHIND_MAX_NS: f64 = 1e6;
/// After so many seconds without a SYN-ACK Linux sends a SYN again (RFC 6298: a
/// timeout of 1 s that doubles).
const RETRIES_S: [f64; 3] = [1.0, 2.0, 4.0];

/// What the generator offers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// The flood.
    pub flood: Flood,
    /// Data segments a second and established flow.
    pub established: f64,
    /// Honest clients a second.
    pub honest: f64,
}

/// How much flood.
#[derive(Clone, Copy, Debug, Default)]
pub enum Flood {
    /// None.
    #[default]
    None,
    /// So many SYNs a second, whatever becomes of them.
    Rate(f64),
    /// As much as the ring takes.
    Full,
}

/// Events at a rate, in ticks of the time stamp counter.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    next: f64,
    interval: f64,
    jitter: bool,
    count: u64,
    behind_max: f64,
    /// Events that were left out, because they were too far behind.
    pub missed: u64,
}

impl Schedule {
    /// `rate` events a second (none, if 0), the first of them now. `jitter`: not
    /// quite as regular, so that no two schedules run in step.
    pub fn new(now: u64, ghz: f64, rate: f64, jitter: bool) -> Self {
        let interval = if rate > 0.0 { ghz * 1e9 / rate } else { f64::INFINITY };
        let next = if rate > 0.0 { now as f64 } else { f64::INFINITY };
        Schedule { next, interval, jitter, count: 0, behind_max: BEHIND_MAX_NS * ghz, missed: 0 }
    }

    /// When the next event is due, in ticks.
    pub fn next(&self) -> f64 {
        self.next
    }

    /// Goes on to the one after it.
    pub fn advance(&mut self) {
        self.count += 1;
        let share = if self.jitter { 0.5 + mix(self.count) as f64 / u64::MAX as f64 } else { 1.0 };
        self.next += self.interval * share;
    }

    /// Gives up events that are too far behind.
    pub fn catch_up(&mut self, now: u64) {
        let behind = now as f64 - self.next;
        if behind > self.behind_max {
            let missed = ((behind - self.behind_max) / self.interval) as u64;
            self.missed += missed;
            self.next += missed as f64 * self.interval;
        }
    }
}

/// Clients that want to connect, and keep trying.
#[derive(Clone, Debug, Default)]
pub struct Honest {
    /// By number: ticks of the first SYN, ticks of the SYN-ACK if it has come.
    pub clients: Vec<(u64, Option<u64>)>,
    retries: [VecDeque<(f64, u32)>; RETRIES_S.len()],
    second: f64,
}

impl Honest {
    /// None yet.
    pub fn new(ghz: f64) -> Self {
        Honest { second: ghz * 1e9, ..Honest::default() }
    }

    /// A new one begins. Returns its number.
    pub fn begin(&mut self, now: u64) -> u32 {
        let number = self.clients.len() as u32;
        self.clients.push((now, None));
        self.retry(0, now, number);
        number
    }

    /// When somebody may have to try again, in ticks.
    pub fn next(&self) -> f64 {
        let first = |queue: &VecDeque<(f64, u32)>| queue.front().map_or(f64::INFINITY, |r| r.0);
        self.retries.iter().map(first).fold(f64::INFINITY, f64::min)
    }

    /// Whoever has to try again at this time and is not connected.
    pub fn again(&mut self, now: u64) -> Option<u32> {
        let is_due =
            |queue: &VecDeque<(f64, u32)>| queue.front().is_some_and(|r| r.0 <= now as f64);
        let tries = self.retries.iter().position(is_due)?;
        let (_, number) = self.retries[tries].pop_front()?;
        if self.clients[number as usize].1.is_some() {
            return None;
        }
        self.retry(tries + 1, now, number);
        Some(number)
    }

    fn retry(&mut self, tries: usize, now: u64, number: u32) {
        if let Some(after) = RETRIES_S.get(tries) {
            self.retries[tries].push_back((now as f64 + after * self.second, number));
        }
    }

    /// Nobody tries again.
    pub fn give_up(&mut self) {
        self.retries.iter_mut().for_each(VecDeque::clear);
    }

    /// Seconds until each of those from number `from` on was connected, in order,
    /// and how many never were.
    pub fn waits(&self, from: usize) -> (Vec<f64>, usize) {
        let took = |&(first, done): &(u64, Option<u64>)| Some((done? - first) as f64 / self.second);
        let clients = &self.clients[from..];
        let mut waits: Vec<f64> = clients.iter().filter_map(took).collect();
        waits.sort_by(f64::total_cmp);
        let failed = clients.len() - waits.len();
        (waits, failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_keeps_its_rate_and_gives_up_what_is_too_old() {
        for jitter in [false, true] {
            let mut schedule = Schedule::new(0, 1.0, 1e6, jitter);
            (0..10_000).for_each(|_| schedule.advance());
            assert!((schedule.next() / 1e7 - 1.0).abs() < 0.02, "{}", schedule.next());
        }
        let mut schedule = Schedule::new(0, 1.0, 1e6, false);
        schedule.catch_up(500_000);
        assert_eq!(schedule.missed, 0);
        schedule.catch_up(3_000_000);
        assert_eq!(schedule.missed, 2_000);
        assert!(Schedule::new(0, 1.0, 0.0, true).next().is_infinite());
    }

    #[test]
    fn a_client_tries_four_times_unless_it_is_connected() {
        let mut honest = Honest::new(1.0);
        assert_eq!((honest.begin(0), honest.begin(0)), (0, 1));
        honest.clients[1].1 = Some(500_000_000);
        let seconds = 1_000_000_000;
        let mut tries = Vec::new();
        for now in (0..20).map(|second| second * seconds) {
            while honest.next() <= now as f64 {
                tries.extend(honest.again(now).map(|number| (number, now / seconds)));
            }
        }
        assert_eq!(tries, [(0, 1), (0, 3), (0, 7)]);
        assert_eq!(honest.waits(0), (vec![0.5], 1));
    }
}
