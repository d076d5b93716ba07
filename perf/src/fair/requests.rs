use super::clients::Clients;
use super::pods::Pods;
use super::port::StampedPort;
use super::segment::Segment;
use super::serving::{self, Telling};
use super::wires::Wires;
use crate::cases::{Case, Check, turn};
use crate::cluster::Cluster;
use crate::flood::subject::Subject;
use crate::site::{CLUSTER, Family};
use crate::tsc::ticks;
use anyhow::{Context, Result, ensure};
use sluice_io::Port;
use sluice_l7::tls::{Handshakes, TlsConfig};
use sluice_l7::worker::SLICE;
use std::time::Duration;

/// Requests of a round.
const REQUESTS: usize = 4096;
/// Flows that the worker may own.
const FLOWS_MAX: usize = 1 << 14;
/// Simulated time between two turns: of 64 clients two or three ask in it.
const STEP: Duration = Duration::from_micros(10);
/// Turns that a round may take.
const TURNS_MAX: usize = 100_000;

/// Requests through the shipped worker with its L7, on one thread and by a clock of its own,
/// so that each run does the same: connections that are kept, answers of a KiB out of the
/// overlay.
pub struct Requests {
    subject: Subject,
    wires: Wires,
    clients: Clients,
    pods: Pods,
    now_ns: u64,
    /// Helpers for TLS, which have nothing to do.
    _handshakes: Handshakes,
}

impl Requests {
    /// So many connections, which are open when this returns.
    ///
    /// # Errors
    /// When something cannot be set up, or connections do not open.
    pub fn new(family: Family, clients: usize) -> Result<Self> {
        let cluster = Cluster::new(family, 1);
        let tables = serving::tables(&cluster, None)?;
        let mut stamps = None;
        let (mut subject, peers, cache) =
            Subject::with_ports(cluster, tables, FLOWS_MAX, true, |port| {
                if usize::from(port.info().id.0) != CLUSTER {
                    return Box::new(port);
                }
                let (port, noted) = StampedPort::new(port);
                stamps = Some(noted);
                Box::new(port)
            })?;
        let handshakes = Handshakes::start(TlsConfig::default())?;
        subject.equip(|worker| serving::equip(worker, &handshakes, &Telling::default(), SLICE))?;
        let mut requests = Requests {
            subject,
            wires: Wires::new(family, peers, stamps.context("no port of the cluster")?, cache),
            clients: Clients::new(family, clients),
            pods: Pods::new(family),
            now_ns: 0,
            _handshakes: handshakes,
        };
        requests.ask(0)?;
        requests.run_until(|clients| clients.unopened() == 0)?;
        Ok(requests)
    }

    fn ask(&mut self, requests: usize) -> Result<()> {
        self.clients.ask(&mut self.wires, requests as u64, self.now_ns)
    }

    /// Runs until something is so. Returns the ticks that the worker took.
    fn run_until(&mut self, is_done: impl Fn(&Clients) -> bool) -> Result<u64> {
        let mut took = 0;
        for _ in 0..TURNS_MAX {
            if is_done(&self.clients) {
                return Ok(took);
            }
            took += self.turn()?;
        }
        let (unopened, waiting) = (self.clients.unopened(), self.clients.waiting());
        anyhow::bail!("{unopened} connections do not open, {waiting} requests have no end")
    }

    /// A turn of everybody.
    fn turn(&mut self) -> Result<u64> {
        self.now_ns += STEP.as_nanos() as u64;
        self.wires.at(self.now_ns);
        while self.wires.segments() > 0 {
            self.wires.put_segment();
        }
        let (worker, now) = self.subject.parts();
        *now = *now + STEP;
        let begun = ticks();
        turn(worker, *now);
        let took = ticks() - begun;
        while let Some((frame, _)) = self.wires.next_for_pods() {
            let (node, segment) = Segment::read_tunneled(frame.data()).context("to a pod")?;
            self.pods.take(&mut self.wires, node, &segment, self.now_ns)?;
            self.wires.cache.free(frame);
        }
        let (clients, now_ns) = (&mut self.clients, self.now_ns);
        self.wires.take_for_clients(usize::MAX, |wires, segment| {
            let number = clients.number(segment.dst).context("to nobody")?;
            clients.take(wires, number, segment, now_ns)
        })?;
        Ok(took)
    }
}

impl Case for Requests {
    fn round(&mut self, _: Check) -> Result<u64> {
        let before = self.clients.requests;
        self.ask(REQUESTS)?;
        let took = self.run_until(|clients| clients.waiting() == 0)?;
        let answered = self.clients.requests - before;
        ensure!(answered == REQUESTS as u64, "{answered} of {REQUESTS} requests were answered");
        ensure!(self.clients.failed == 0, "{} requests failed", self.clients.failed);
        let lost = self.clients.lost + self.pods.lost + self.wires.segments_lost;
        ensure!(lost == 0, "{lost} segments were lost");
        Ok(took)
    }

    fn units(&self) -> usize {
        REQUESTS
    }
}
