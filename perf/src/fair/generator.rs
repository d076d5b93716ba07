use super::clients::Clients;
use super::forwarding::Forwarding;
use super::pods::Pods;
use super::segment::Segment;
use super::tls::Tls;
use super::wires::Wires;
use crate::flood::load::Schedule;
use crate::tsc::{Rate, ticks};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// Frames taken from each ring before something else is done.
const AT_ONCE: usize = 32;
/// How often it is looked at whether something was lost.
const TIMERS_NS: u64 = 10_000_000;
/// How long connections may take to open, and requests to be answered in the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is offered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Frames a second that are forwarded.
    pub frames: f64,
    /// What all clients ask at most, one request after the other.
    pub requests: u64,
    /// Handshakes under way.
    pub handshakes: usize,
    /// How long the generator sleeps after each look around: others have its core as
    /// long. `None`: it does not.
    pub nap: Option<Duration>,
}

/// Plays clients and pods around a worker.
pub struct Generator {
    /// Frames that are forwarded.
    pub forwarding: Forwarding,
    /// Clients with requests.
    pub clients: Clients,
    /// Clients with handshakes.
    pub tls: Tls,
    /// Pods that answer.
    pub pods: Pods,
    wires: Wires,
    rate: Rate,
    /// Ticks at which its time begins.
    zero: u64,
    timers_ns: u64,
}

impl Generator {
    /// A generator at the ends of a gateway's wires.
    pub fn new(
        wires: Wires,
        forwarding: Forwarding,
        clients: Clients,
        tls: Tls,
        rate: Rate,
    ) -> Self {
        let pods = Pods::new(wires.family);
        Generator { forwarding, clients, tls, pods, wires, rate, zero: ticks(), timers_ns: 0 }
    }

    fn now_ns(&self) -> u64 {
        self.rate.nanos(ticks() - self.zero) as u64
    }

    /// Segments that found a receive ring full.
    pub fn segments_lost(&self) -> u64 {
        self.wires.segments_lost
    }

    /// Has every forwarded flow and every connection begin.
    ///
    /// # Errors
    /// When they do not, and what is wrong with a frame.
    pub fn open(&mut self) -> Result<()> {
        let flows = super::forwarding::FLOWS as f64;
        self.run(&Load { frames: 20.0 * flows, ..Load::default() }, PATIENCE / 20)?;
        let now_ns = self.now_ns();
        self.clients.ask(&mut self.wires, 0, now_ns)?;
        self.run_until(|generator| generator.clients.unopened() == 0)?;
        let left = self.clients.unopened();
        ensure!(left == 0, "{left} connections do not open");
        Ok(())
    }

    /// Nobody asks anything any more, and all that was asked is answered.
    ///
    /// # Errors
    /// When it is not, and what is wrong with a frame.
    pub fn finish(&mut self) -> Result<()> {
        self.tls.keep(0);
        let now_ns = self.now_ns();
        self.clients.ask(&mut self.wires, 0, now_ns)?;
        let is_done = |all: &Self| all.clients.waiting() == 0 && all.tls.under_way() == 0;
        self.run_until(is_done)?;
        let (asked, shaking) = (self.clients.waiting(), self.tls.under_way());
        ensure!(is_done(self), "{asked} requests and {shaking} handshakes have no end");
        self.run(&Load::default(), Duration::from_millis(50))
    }

    fn run_until(&mut self, is_done: impl Fn(&Self) -> bool) -> Result<()> {
        for _ in 0..PATIENCE.as_millis() / 10 {
            if is_done(self) {
                break;
            }
            self.look(&Load { nap: Some(Duration::from_micros(50)), ..Load::default() }, {
                Duration::from_millis(10)
            })?;
        }
        Ok(())
    }

    /// Offers a load for so long.
    ///
    /// # Errors
    /// What is wrong with a frame.
    pub fn run(&mut self, load: &Load, time: Duration) -> Result<()> {
        self.tls.keep(load.handshakes);
        let now_ns = self.now_ns();
        self.clients.ask(&mut self.wires, load.requests, now_ns)?;
        self.look(load, time)
    }

    fn look(&mut self, load: &Load, time: Duration) -> Result<()> {
        let begun = ticks();
        let until = begun + self.rate.ticks(time.as_nanos() as f64);
        let mut schedule = Schedule::new(begun, self.rate.ghz(), load.frames, false);
        loop {
            let now = ticks();
            if now >= until {
                break;
            }
            let now_ns = self.rate.nanos(now - self.zero) as u64;
            self.wires.at(now_ns);
            let mut is_idle = self.forwarding.send(&mut self.wires, &mut schedule)?;
            is_idle &= self.take_from_overlay(now_ns)?;
            is_idle &= self.take_from_uplink(now_ns)?;
            self.tls.turn(&mut self.wires, now_ns)?;
            if now_ns.saturating_sub(self.timers_ns) >= TIMERS_NS {
                self.timers_ns = now_ns;
                self.clients.on_time(&mut self.wires, now_ns)?;
                self.tls.on_time(&mut self.wires, now_ns)?;
                self.pods.on_time(&mut self.wires, now_ns)?;
            }
            if let Some(nap) = load.nap
                && is_idle
            {
                std::thread::sleep(nap);
            }
        }
        self.forwarding.counts.missed += schedule.missed;
        Ok(())
    }

    /// True when there is no more.
    fn take_from_overlay(&mut self, now_ns: u64) -> Result<bool> {
        for _ in 0..2 * AT_ONCE {
            let Some((frame, sent)) = self.wires.next_for_pods() else { return Ok(true) };
            if !self.forwarding.take(&frame, sent)? {
                let (node, segment) = Segment::read_tunneled(frame.data()).context("to a pod")?;
                self.pods.take(&mut self.wires, node, &segment, now_ns)?;
            }
            self.wires.cache.free(frame);
        }
        Ok(false)
    }

    /// True when there is no more.
    fn take_from_uplink(&mut self, now_ns: u64) -> Result<bool> {
        let (clients, tls) = (&mut self.clients, &mut self.tls);
        let taken = self.wires.take_for_clients(AT_ONCE, |wires, segment| {
            if let Some(number) = clients.number(segment.dst) {
                clients.take(wires, number, segment, now_ns)
            } else if let Some(number) = tls.number(segment.dst) {
                tls.take(wires, number, segment, now_ns)
            } else {
                anyhow::bail!("nobody is {:?}", segment.dst)
            }
        })?;
        Ok(taken < AT_ONCE)
    }

    /// Frames a second that are forwarded at most: the middle of some rounds.
    ///
    /// # Errors
    /// When a frame is lost or wrong.
    pub fn capacity(&mut self, rounds: usize) -> Result<f64> {
        let mut rates = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            rates.push(self.forwarding.round(&mut self.wires)?);
        }
        rates.sort_by(f64::total_cmp);
        rates.get(rounds / 2).copied().context("no rounds")
    }

    /// Frees what is left in rings.
    pub fn close(&mut self) {
        self.wires.close();
    }
}
