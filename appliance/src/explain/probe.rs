//! One packet through the shipped journey, in memory: a worker of its own, which
//! shares nothing with those that run, and tells what it decides.

use super::frame::{Arrival, arrival, packet};
use super::kernel;
use super::tuple::FlowTuple;
use anyhow::{Context, anyhow};
use sluice_fastpath::events::{EventKind, PacketEvent, events};
use sluice_fastpath::flow::{FlowLimits, Timeouts};
use sluice_fastpath::local::{LocalContext, LocalPacket, LocalService};
use sluice_fastpath::{
    DropReason, FragmentOptions, Nanos, NeighborOptions, Worker, WorkerCounters, WorkerOptions,
    mesh,
};
use sluice_io::{Frame, FrameCache, MemoryPort, Port, Umem};
use sluice_tables::mailbox::{ControlEnd, ToWorker, mailbox};
use sluice_tables::{FlowTelling, Observe, OwnerMap, Tables};
use std::sync::Arc;

/// Frames: the packet, what answers it, and questions for neighbors.
const FRAMES: usize = 128;

/// Flows of each family, and what else a worker keeps.
const FLOWS_MAX: usize = 64;

/// When the packet comes. Not at the zero of the clock, when nothing ever was.
const NOW: Nanos = Nanos(1_000 * Nanos::SECOND);

/// What became of a probe.
#[derive(Clone, Debug)]
pub struct Probe {
    /// How it came; `None`: the gateway itself sends it.
    pub arrival: Option<Arrival>,
    /// What its journey came to.
    pub outcome: Outcome,
    /// What policies would deny, and passes.
    pub audited: Vec<DropReason>,
}

/// What a journey came to.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A flow has begun.
    Forwarded(PacketEvent),
    /// The gateway has answered.
    Answered,
    /// The kernel got it: no worker sees it.
    Kernel,
    /// It was dropped.
    Dropped(DropReason, PacketEvent),
}

/// Sends a packet through the journey, by these tables.
///
/// # Errors
/// When there are no tables yet, or the system has no memory or file descriptor
/// left.
pub fn run(tables: &Tables, tuple: &FlowTuple) -> anyhow::Result<Probe> {
    let no_ports = || anyhow!("there are no tables yet: the gateway has not begun to forward");
    let arrival = arrival(tables, tuple).ok_or_else(no_ports)?;
    if kernel::receives(tables, tuple, &arrival) {
        let arrival = Some(arrival);
        return Ok(Probe { arrival, outcome: Outcome::Kernel, audited: Vec::new() });
    }
    travel(tables, tuple, Some(arrival))
}

/// Sends a packet of the gateway's own, by its second entrance: one that opens a
/// connection to who serves requests.
///
/// # Errors
/// As with [`run`].
pub fn run_own(tables: &Tables, tuple: &FlowTuple) -> anyhow::Result<Probe> {
    travel(tables, tuple, None)
}

fn travel(tables: &Tables, tuple: &FlowTuple, arrival: Option<Arrival>) -> anyhow::Result<Probe> {
    let umem = Umem::new(FRAMES).context("no memory for a probe")?;
    let (mut control, mailbox) = mailbox().context("cannot make a probe")?;
    let mut ports: Vec<Box<dyn Port>> = Vec::new();
    for (index, port) in tables.local.ports.iter().enumerate() {
        let (memory, peer) = MemoryPort::new(port.id, &port.name, 0, FRAMES);
        if let Some(arrival) = arrival.as_ref().filter(|arrival| arrival.port == index) {
            peer.send(&arrival.frame);
        }
        ports.push(Box::new(memory));
    }
    let counters = Arc::new(WorkerCounters::new(ports.len(), 0));
    let wakers = [control.waker()];
    let mesh = mesh(&wakers, 1).pop().context("a worker has an end of its own")?;
    let cache = FrameCache::new(&umem, 0);
    let (sender, mut told) = events();
    let mut worker =
        Worker::new(options(), ports, cache, mailbox, mesh, counters.clone()).with_events(sender);
    if arrival.is_none() {
        worker.set_l7(Box::new(Sends(Some(packet(tuple)))));
    }
    let own = Tables { owners: OwnerMap::even(1), ..tables.clone() };
    post(&mut control, ToWorker::Tables(Arc::new(own)))?;
    post(&mut control, ToWorker::Observe(Arc::new(everything())))?;
    worker.poll(NOW);

    let mut events = Vec::new();
    while let Ok(event) = told.events.pop() {
        events.push(event);
    }
    // What waits for a neighbor is nobody's concern.
    worker.close();
    let audited = events.iter().filter_map(|event| match event.kind {
        EventKind::Audited(reason) => Some(reason),
        _ => None,
    });
    let outcome = match (dropped(&events, tuple), begun(&events)) {
        (Some(outcome), _) => outcome,
        (None, Some(event)) => Outcome::Forwarded(event),
        (None, None) if counters.consumed.get() > 0 => Outcome::Answered,
        (None, None) => return Err(anyhow!("nothing was told of what became of the packet")),
    };
    Ok(Probe { arrival, outcome, audited: audited.collect() })
}

/// Has one packet to send.
struct Sends(Option<Vec<u8>>);

impl LocalService for Sends {
    fn deliver(&mut self, packet: LocalPacket, _: &mut LocalContext<'_>) -> Result<(), Frame> {
        Err(packet.into_frame())
    }

    fn poll(&mut self, context: &mut LocalContext<'_>) -> Option<Frame> {
        let packet = self.0.take()?;
        let mut frame = context.cache.alloc()?;
        if frame.fill(&packet) {
            return Some(frame);
        }
        context.cache.free(frame);
        None
    }

    /// Of requests, policies are asked by their clients.
    fn asks_policies(&self) -> bool {
        true
    }
}

fn begun(events: &[PacketEvent]) -> Option<PacketEvent> {
    events.iter().find(|event| event.kind == EventKind::FlowBegun).copied()
}

/// That the packet was dropped: on its journey, or on its way out once its flow had
/// begun. What the gateway sends by itself may be dropped, too.
fn dropped(events: &[PacketEvent], tuple: &FlowTuple) -> Option<Outcome> {
    let begun = begun(events);
    events.iter().find_map(|event| {
        let EventKind::Dropped(reason) = event.kind else { return None };
        let came = event.came.filter(|came| came.src == tuple.source);
        match (came, begun) {
            (Some(_), _) => Some(Outcome::Dropped(reason, *event)),
            (None, Some(begun)) if event.leaves == begun.leaves => {
                Some(Outcome::Dropped(reason, begun))
            }
            (None, _) => None,
        }
    })
}

fn options() -> WorkerOptions {
    WorkerOptions {
        id: 0,
        flows_max: FLOWS_MAX,
        timeouts: Timeouts::default(),
        limits: FlowLimits::default(),
        neighbors: NeighborOptions {
            neighbors_max: FLOWS_MAX,
            queue_len: FLOWS_MAX,
            ..NeighborOptions::default()
        },
        syn_gate: false,
        affinities_max: FLOWS_MAX,
        fragments: FragmentOptions { datagrams_max: 1, held_max: 1, ..Default::default() },
        errors_per_second: FLOWS_MAX as u32,
        seed: 0,
    }
}

/// All that workers can tell, of every packet and flow.
fn everything() -> Observe {
    Observe { flows: Some(FlowTelling { sample: 1, per_second: 1_000 }), ..Observe::default() }
}

fn post(control: &mut ControlEnd, message: ToWorker) -> anyhow::Result<()> {
    control.send(message).map_err(|_| anyhow!("the probe takes no tables"))
}
