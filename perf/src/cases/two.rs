use super::{Case, Check, PACKETS};
use crate::cpu;
use crate::frames::Builder;
use crate::gateway::{Gateway, GatewayOptions, Seat};
use crate::site::{CLUSTER, UPLINK};
use crate::traffic::{Flow, Random, begin, owned};
use crate::tsc::ticks;
use anyhow::{Context, Result, anyhow, ensure};
use sluice_fastpath::{Nanos, WorkerCounters};
use sluice_io::Frame;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Packets that may be on their way from one worker to the other: less than the ring
/// holds, so that none is lost.
const IN_FLIGHT: u64 = 512;

/// Two workers on two cores, both fed at once: each with requests of its own flows and
/// with replies.
pub struct Two {
    gateway: Gateway,
    /// By the worker that owns them; shuffled.
    flows: [Vec<Flow>; 2],
    /// Where the next request and the next reply are taken from.
    next: [usize; 2],
    /// One reply in so many comes to the worker that does not own its flow.
    handed_every: Option<usize>,
    cpus: [usize; 2],
}

impl Two {
    /// `flows` flows of each worker. `handed_every`: one reply in so many is handed over.
    ///
    /// # Errors
    /// When memory is short, or a packet is not treated right.
    pub fn new(
        options: &GatewayOptions,
        flows: usize,
        handed_every: Option<usize>,
        cpus: [usize; 2],
    ) -> Result<Self> {
        let options = GatewayOptions { frames: 2 * PACKETS, ..*options };
        let mut gateway = Gateway::start(&options)?;
        let mut of = |worker: usize| -> Result<Vec<Flow>> {
            let numbers = owned(&gateway, worker, flows);
            let mut flows = begin(&mut gateway, worker, &numbers)?;
            Random::new(flows.len() as u64).shuffle(&mut flows);
            Ok(flows)
        };
        let flows = [of(0)?, of(1)?];
        let next = [0, flows[0].len() / 2];
        Ok(Two { gateway, flows, next, handed_every, cpus })
    }

    /// The flow of a worker's packet number `number` by a port.
    fn flow(&self, worker: usize, port: usize, number: usize) -> &Flow {
        let is_handed =
            port == CLUSTER && self.handed_every.is_some_and(|every| number.is_multiple_of(every));
        let flows = &self.flows[if is_handed { 1 - worker } else { worker }];
        &flows[(self.next[port] + number) % flows.len()]
    }

    /// The frames of a worker's round: its requests and its replies.
    fn frames(&mut self, worker: usize) -> Result<[Vec<Frame>; 2]> {
        let cluster = self.gateway.cluster;
        let mut builder = Builder::default();
        let mut loaded = [Vec::new(), Vec::new()];
        for (port, frames) in loaded.iter_mut().enumerate() {
            for number in 0..PACKETS / 2 {
                let flow = self.flow(worker, port, number);
                let bytes = match port {
                    CLUSTER => flow.reply(&cluster, &mut builder),
                    _ => flow.request(&cluster, &mut builder),
                };
                frames.push(self.gateway.frame(bytes)?);
            }
        }
        Ok(loaded)
    }

    /// Takes back what was sent and looks at it: every request by its place, every reply
    /// by the number that it carries.
    fn unload(&mut self, check: Check) -> Result<()> {
        let cluster = self.gateway.cluster;
        for worker in 0..2 {
            let (flows, next) = (&self.flows[worker], self.next[UPLINK]);
            let mut number = 0;
            let sent = self.gateway.collect(worker, CLUSTER, |frame| {
                number += 1;
                let flow = &flows[(next + number - 1) % flows.len()];
                if check.wants(number - 1) { flow.check_request(&cluster, frame) } else { Ok(()) }
            })?;
            ensure!(sent == PACKETS / 2, "{sent} requests came out: {:?}", self.gateway.drops());
            let mut number = 0;
            let sent = self.gateway.collect(worker, UPLINK, |frame| {
                number += 1;
                if !check.wants(number - 1) {
                    return Ok(());
                }
                let id = Flow::id_of_reply(&cluster, frame)?;
                let flow = flows.iter().find(|flow| flow.number == id);
                flow.context("another worker's flow")?.check_reply(&cluster, frame)
            })?;
            ensure!(sent == PACKETS / 2, "{sent} replies came out: {:?}", self.gateway.drops());
        }
        self.next = self.next.map(|next| (next + PACKETS / 2) % self.flows[0].len());
        self.gateway.check_counters()
    }
}

/// Where the two meet before they begin. They spin there: to be woken takes a part of the
/// time of a round, which would be counted.
#[derive(Default)]
struct Start(AtomicUsize);

impl Start {
    fn meet(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
        while self.0.load(Ordering::Acquire) < 2 {
            std::hint::spin_loop();
        }
    }
}

/// One of the two at work.
struct Half<'a> {
    seat: &'a mut Seat,
    other: Arc<WorkerCounters>,
    cpu: usize,
}

impl Half<'_> {
    /// Puts the frames on its wires, from its own core; then takes its turns until all of
    /// them, or as many of the other's, have come out. Returns when it began and ended.
    fn run(&mut self, loaded: [Vec<Frame>; 2], now: Nanos, start: &Start) -> Result<[u64; 2]> {
        let pinned = cpu::pin(self.cpu);
        for (peer, mut frames) in self.seat.peers.iter().zip(loaded) {
            // Near this core, as a frame is that has just come.
            for byte in frames.iter_mut().flat_map(|frame| frame.data_mut().iter_mut().step_by(64))
            {
                *byte = std::hint::black_box(*byte);
            }
            frames.drain(..).for_each(|frame| peer.load(frame));
        }
        start.meet();
        pinned?;
        let (begin, mut turns) = (ticks(), 0u64);
        let Seat { worker, peers, counters, .. } = &mut *self.seat;
        while peers[CLUSTER].sent_len() + peers[UPLINK].sent_len() < PACKETS {
            // A core that stands still for a while must not make the other lose packets.
            if counters.handed_out.get() <= self.other.handed_in.get() + IN_FLIGHT {
                worker.poll(now);
            }
            turns += 1;
            ensure!(turns < 100_000_000, "packets are missing");
        }
        Ok([begin, ticks()])
    }
}

impl Case for Two {
    fn round(&mut self, check: Check) -> Result<u64> {
        let [first, second] = [self.frames(0)?, self.frames(1)?];
        let (cpus, now, start) = (self.cpus, self.gateway.now, Start::default());
        let [one, other] = self.gateway.seats.as_mut_slice() else {
            return Err(anyhow!("not two workers"));
        };
        let counters = [one.counters.clone(), other.counters.clone()];
        let [of_one, of_other] = counters;
        let mut halves = (
            Half { seat: one, other: of_other, cpu: cpus[0] },
            Half { seat: other, other: of_one, cpu: cpus[1] },
        );
        let took = std::thread::scope(|scope| -> Result<u64> {
            let (half, start) = (&mut halves.1, &start);
            let thread = scope.spawn(move || half.run(second, now, start));
            let one = halves.0.run(first, now, start);
            let other = thread.join().map_err(|_| anyhow!("the second worker panicked"))?;
            let ([one_begin, one_end], [other_begin, other_end]) = (one?, other?);
            Ok(one_end.max(other_end) - one_begin.min(other_begin))
        })?;
        self.unload(check)?;
        Ok(took)
    }

    fn units(&self) -> usize {
        2 * PACKETS
    }
}
