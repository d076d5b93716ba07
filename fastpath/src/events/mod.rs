//! What is told of single packets, if anybody asks: drops, audits, begins and ends
//! of flows, copies of packets.
//!
//! Off, it costs a packet nothing, a dropped packet and a new flow one branch. On, it
//! allocates nothing and waits for nobody: rings to one reader, whose room is
//! fixed, limits per second by the burst's time, and counters of what found no room.

/// What is told.
mod event;

/// So many a second.
mod bucket;
/// The tuple of any bytes.
mod read;
/// Where the stages tell.
mod tell;

pub(crate) use tell::is_sampled;

pub use event::{Audience, Captured, EventKind, Fate, Link, PacketEvent, Places, SNAP_LEN_MAX};

use crate::counters::Counter;
use crate::packet::Ingress;
use crate::time::Nanos;
use bucket::Bucket;
use rtrb::{Consumer, Producer, RingBuffer};
use sluice_io::Frame;
use sluice_tables::observe::FILTERS_MAX;
use sluice_tables::{Observe, RuleId, Tuple};
use std::sync::Arc;

/// Events that wait for their reader, per worker: 1.2 MiB, once they are used. Room for
/// what all who follow may be told in a burst.
const EVENTS_LEN: usize = 8192;

/// Copied packets that wait for their reader, per worker: 0.7 MiB, once they are
/// used.
const CAPTURED_LEN: usize = 1024;

/// Counts of one worker's events.
#[derive(Debug, Default)]
pub struct EventCounters {
    /// Told, by [`EventKind::index`].
    pub told: [Counter; EventKind::LABELS.len()],
    /// Packets copied.
    pub captured: Counter,
    /// Events that found the ring full.
    pub lost: Counter,
    /// Copied packets that found their ring full.
    pub captured_lost: Counter,
    /// By place of who follows.
    pub follows: [Untold; FILTERS_MAX],
    /// Of the flow log.
    pub flow_log: Untold,
    /// By place of who captures.
    pub captures: [Untold; FILTERS_MAX],
}

/// What one of those who are told was not told.
#[derive(Debug, Default)]
pub struct Untold {
    /// Events beyond its limit.
    pub limited: Counter,
    /// Events, or packets, that found the ring full.
    pub lost: Counter,
}

/// A worker's end.
pub struct EventSender {
    /// What happens.
    pub events: Producer<PacketEvent>,
    /// Copies of packets.
    pub captured: Producer<Captured>,
}

/// The reader's end.
pub struct EventReceiver {
    /// What happened.
    pub events: Consumer<PacketEvent>,
    /// Copies of packets.
    pub captured: Consumer<Captured>,
}

/// The rings of one worker. Their memory is touched as they are used.
pub fn events() -> (EventSender, EventReceiver) {
    let (events_tx, events_rx) = RingBuffer::new(EVENTS_LEN);
    let (captured_tx, captured_rx) = RingBuffer::new(CAPTURED_LEN);
    (
        EventSender { events: events_tx, captured: captured_tx },
        EventReceiver { events: events_rx, captured: captured_rx },
    )
}

/// What a worker tells, and to whom. Nothing until it has a ring and is asked.
#[derive(Default)]
pub struct Events {
    is_on: bool,
    is_capturing: bool,
    /// One flow in so many is told of; 0: none.
    sample: u32,
    state: Option<Box<State>>,
}

/// What is needed only while something is told.
struct State {
    sender: EventSender,
    observe: Arc<Observe>,
    /// By place: of dropped packets, and of audited ones.
    follows: [[Bucket; 2]; FILTERS_MAX],
    log_flows: Bucket,
    /// Of dropped packets, and of audited ones.
    log_packets: [Bucket; 2],
    /// The frame that is being received.
    arrival: Option<Arrival>,
    /// The rules that deny the packet at hand, and its real ends.
    denied: Option<([RuleId; 2], Tuple)>,
    snapshot: Snapshot,
}

/// A frame as it came.
#[derive(Clone, Copy)]
struct Arrival {
    ingress: Ingress,
    chunk: u32,
    head: usize,
    len: usize,
}

/// The packet that is being judged, as it came.
struct Snapshot {
    chunk: Option<u32>,
    copied: usize,
    /// Most bytes that anybody wants.
    snap_len: usize,
    bytes: [u8; SNAP_LEN_MAX],
}

impl Events {
    /// Tells into `sender` from now on, when asked.
    pub(crate) fn set_sender(&mut self, sender: EventSender) {
        let bucket = Bucket::new(0, Nanos::default());
        self.state = Some(Box::new(State {
            sender,
            observe: Arc::default(),
            follows: [[bucket; 2]; FILTERS_MAX],
            log_flows: bucket,
            log_packets: [bucket; 2],
            arrival: None,
            denied: None,
            snapshot: Snapshot { chunk: None, copied: 0, snap_len: 0, bytes: [0; SNAP_LEN_MAX] },
        }));
    }

    /// Tells what is asked for from now on; returns what was before.
    pub(crate) fn observe(&mut self, observe: Arc<Observe>, now: Nanos) -> Arc<Observe> {
        let Some(state) = &mut self.state else { return observe };
        self.is_on = observe.is_on();
        self.is_capturing = observe.is_capturing();
        let old = &state.observe;
        // A limit that stays goes on where it is.
        let is_same = old.follows_per_second == observe.follows_per_second;
        for (place, buckets) in state.follows.iter_mut().enumerate() {
            if !is_same || old.follows[place] != observe.follows[place] {
                *buckets = [Bucket::new(observe.follows_per_second, now); 2];
            }
        }
        if old.flows != observe.flows {
            let per_second = observe.flows.map_or(0, |flows| flows.per_second);
            state.log_flows = Bucket::new(per_second, now);
            state.log_packets = [Bucket::new(per_second, now); 2];
        }
        self.sample = observe.flows.map_or(0, |flows| flows.sample.max(1));
        let wanted =
            observe.captures.iter().flatten().map(|capture| usize::from(capture.snap_len)).max();
        state.snapshot.snap_len = wanted.unwrap_or(0).min(SNAP_LEN_MAX);
        state.snapshot.chunk = None;
        std::mem::replace(&mut state.observe, observe)
    }

    /// True when anything is told.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// True when packets are copied.
    #[inline]
    pub fn is_capturing(&self) -> bool {
        self.is_capturing
    }

    /// One flow in so many is told of; 0: none.
    #[inline]
    pub fn sample(&self) -> u32 {
        self.sample
    }

    /// Notes which rules (egress, ingress) deny the packet at hand, and between whom;
    /// to be called before it is dropped by them.
    pub(crate) fn note_judgment(&mut self, rules: [RuleId; 2], between: Tuple) {
        if let Some(state) = self.state.as_deref_mut().filter(|_| self.is_on) {
            state.denied = Some((rules, between));
        }
    }

    /// Forgets the packet that was kept as it came: its journey is over.
    #[cold]
    pub(crate) fn forget_as_it_came(&mut self) {
        if let Some(state) = &mut self.state {
            state.snapshot.chunk = None;
        }
    }

    /// Notes a frame as it comes by a port: what drops it while it is received
    /// may have taken it apart already.
    #[cold]
    pub(crate) fn arrives(&mut self, ingress: Ingress, frame: &Frame) {
        if let Some(state) = &mut self.state {
            let (chunk, head, len) = (frame.chunk(), frame.head(), frame.len());
            state.arrival = Some(Arrival { ingress, chunk, head, len });
        }
    }

    /// Notes that no frame is being received any more.
    #[cold]
    pub(crate) fn all_arrived(&mut self) {
        if let Some(state) = &mut self.state {
            state.arrival = None;
        }
    }
}
