//! The subject: workers on memory ports, a clock that the test turns.

use super::parse::Tuple;
use super::world::Variant;
use sluice_fastpath::flow::table::NO_ENTRY;
use sluice_fastpath::flow::{Direction, FlowLimits, FlowTable, Key, Timeouts};
use sluice_fastpath::wire::ip::Ip;
use sluice_fastpath::{
    DropReason, FragmentOptions, Nanos, NeighborOptions, Worker, WorkerCounters, WorkerOptions,
    mesh,
};
use sluice_io::{FrameCache, MemoryPort, MemoryPortPeer, Port, Umem};
use sluice_tables::mailbox::{ControlEnd, FromWorker, ToWorker, mailbox};
use sluice_tables::record::NeighborRecord;
use sluice_tables::{Family, PortId, RuleId, ServiceId, Tables, V4, V6};
use std::net::IpAddr;
use std::sync::Arc;

const FRAMES: usize = 4096;
const PORTS: u8 = 3;
/// Services that have counters of their own.
const SERVICES: usize = 512;
/// Polls after which a worker that still finds work is stuck.
const POLLS_MAX: usize = 200;

/// One worker with its far ends.
struct Lane {
    worker: Worker,
    control: ControlEnd,
    counters: Arc<WorkerCounters>,
    peers: Vec<MemoryPortPeer>,
}

/// The workers of one gateway.
pub struct Subject {
    umem: Umem,
    lanes: Vec<Lane>,
    pub now: Nanos,
}

/// A flow as the subject has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowView {
    pub tuples: [Tuple; 2],
    pub state: &'static str,
    pub service: Option<u32>,
    pub backend: Option<u32>,
    /// Policies cut it.
    pub is_cut: bool,
    /// The rules of policies that let it pass, or that cut it.
    pub rules: [Option<u32>; 2],
    /// Packets of each direction.
    pub packets: [u32; 2],
    pub worker: usize,
}

impl Subject {
    pub fn new(variant: Variant) -> Self {
        let umem = Umem::new(FRAMES).expect("memory for frames");
        let (controls, ends): (Vec<_>, Vec<_>) =
            (0..variant.workers).map(|_| mailbox().expect("a mailbox")).unzip();
        let wakers: Vec<_> = controls.iter().map(ControlEnd::waker).collect();
        let meshes = mesh(&wakers, 256);
        let mut lanes = Vec::new();
        for (id, ((control, end), mesh)) in controls.into_iter().zip(ends).zip(meshes).enumerate() {
            let (ports, peers): (Vec<_>, Vec<_>) = (0..PORTS)
                .map(|port| {
                    let (port, peer) =
                        MemoryPort::new(PortId(port), &format!("p{port}"), id as u32, 256);
                    (Box::new(port) as Box<dyn Port>, peer)
                })
                .unzip();
            let options = WorkerOptions {
                id,
                flows_max: 8192,
                timeouts: Timeouts::default(),
                limits: variant.limits.map_or_else(FlowLimits::default, |limits| FlowLimits {
                    per_source: limits.source[0] as u32,
                    per_source_half_open: limits.source[1] as u32,
                    per_service: limits.service[0] as u32,
                    per_service_half_open: limits.service[1] as u32,
                }),
                fragments: FragmentOptions::default(),
                neighbors: NeighborOptions { queue_len: 512, ..NeighborOptions::default() },
                syn_gate: true,
                affinities_max: 1_024,
                errors_per_second: 1_000_000,
                seed: 0x5eed,
            };
            let counters = Arc::new(WorkerCounters::new(PORTS.into(), SERVICES));
            let cache = FrameCache::new(&umem, 256);
            let worker = Worker::new(options, ports, cache, end, mesh, counters.clone());
            lanes.push(Lane { worker, control, counters, peers });
        }
        Subject { umem, lanes, now: Nanos(Nanos::SECOND) }
    }

    pub fn workers(&self) -> usize {
        self.lanes.len()
    }

    /// Puts tables into every worker's mailbox.
    pub fn publish(&mut self, tables: &Arc<Tables>) {
        for lane in &mut self.lanes {
            lane.control.send(ToWorker::Tables(tables.clone())).expect("room in the mailbox");
        }
    }

    /// Puts a frame on the wire to a worker's queue of a port.
    pub fn send(&self, worker: usize, port: u8, frame: &[u8]) {
        self.lanes[worker].peers[usize::from(port)].send(frame);
    }

    /// Polls all workers until none has work; returns what they sent, in order,
    /// as (worker, port, frame).
    pub fn settle(&mut self) -> Result<Vec<(usize, u8, Vec<u8>)>, String> {
        let mut sent = Vec::new();
        for _ in 0..POLLS_MAX {
            let mut work = false;
            for (id, lane) in self.lanes.iter_mut().enumerate() {
                work |= lane.worker.poll(self.now);
                for (port, peer) in lane.peers.iter().enumerate() {
                    while let Some(frame) = peer.receive() {
                        sent.push((id, port as u8, frame));
                    }
                }
                // What is not asked for here is acknowledgments of tables.
                while lane.control.receive().is_some() {}
            }
            if !work {
                return Ok(sent);
            }
        }
        Err("the workers never come to rest".to_owned())
    }

    /// The neighbors of every worker.
    pub fn neighbors(&mut self) -> Vec<(usize, NeighborRecord)> {
        let mut all = Vec::new();
        for (id, lane) in self.lanes.iter_mut().enumerate() {
            let buffer = Vec::with_capacity(1024);
            lane.control.send(ToWorker::DumpNeighbors { buffer }).expect("room in the mailbox");
            lane.worker.poll(self.now);
            while let Some(answer) = lane.control.receive() {
                if let FromWorker::Neighbors { buffer } = answer {
                    all.extend(buffer.into_iter().map(|neighbor| (id, neighbor)));
                }
            }
        }
        all
    }

    /// A count, over all workers.
    pub fn count(&self, of: impl Fn(&WorkerCounters) -> u64) -> u64 {
        self.lanes.iter().map(|lane| of(&lane.counters)).sum()
    }

    /// Drops by reason, over all workers.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.count(|counters| counters.dropped(reason))
    }

    /// Each worker's packets, conserved; and every frame where it belongs.
    pub fn check_balance(&self) -> Result<(), String> {
        for (id, lane) in self.lanes.iter().enumerate() {
            let c = &lane.counters;
            let ports = |f: fn(&sluice_fastpath::counters::PortCounters) -> u64| {
                c.ports.iter().map(f).sum::<u64>()
            };
            let into = ports(|p| p.rx_packets.get()) + c.originated.get() + c.handed_in.get();
            let dropped: u64 = DropReason::ALL.iter().map(|reason| c.dropped(*reason)).sum();
            let tx = ports(|p| p.tx_packets.get());
            let out = tx + dropped + c.consumed.get() + c.handed_out.get() + c.held.get();
            if into != out {
                return Err(format!("worker {id}: {into} packets came in, {out} came out: {c:?}"));
            }
        }
        let cached = self.count(|c| c.frames_cached.get());
        let held = self.count(|c| c.held.get());
        let accounted = self.umem.free_chunks() as u64 + cached + held;
        if accounted != FRAMES as u64 {
            return Err(format!("{accounted} of {FRAMES} frames are accounted for"));
        }
        Ok(())
    }

    /// Packets and bytes of a Service, from and to clients.
    pub fn service(&self, service: u32) -> super::flows::ServiceCount {
        let sum = |f: fn(&sluice_fastpath::counters::ServiceCounters) -> u64| {
            self.count(|counters| f(counters.service(ServiceId(service))))
        };
        super::flows::ServiceCount {
            packets: [sum(|s| s.rx_packets.get()), sum(|s| s.tx_packets.get())],
            bytes: [sum(|s| s.rx_bytes.get()), sum(|s| s.tx_bytes.get())],
        }
    }

    /// The flows that a tuple belongs to, and its direction in them: one at
    /// most per worker.
    pub fn flow(&self, tuple: &Tuple) -> Vec<(FlowView, usize)> {
        let find_in = |(id, lane): (usize, &Lane)| {
            let flows = lane.worker.flows();
            match tuple.src {
                IpAddr::V4(_) => find::<V4>(&flows.v4, id, tuple),
                IpAddr::V6(_) => find::<V6>(&flows.v6, id, tuple),
            }
        };
        self.lanes.iter().enumerate().filter_map(find_in).collect()
    }

    /// Every flow of every worker.
    pub fn flows(&self) -> Vec<FlowView> {
        let mut all = Vec::new();
        for (id, lane) in self.lanes.iter().enumerate() {
            let flows = lane.worker.flows();
            scan::<V4>(&flows.v4, id, self.now, &mut all);
            scan::<V6>(&flows.v6, id, self.now, &mut all);
        }
        all
    }

    /// Closes the workers; what waits is dropped, and every frame must come back.
    pub fn close(mut self) -> Result<(), String> {
        let held = self.count(|counters| counters.held.get());
        for lane in &mut self.lanes {
            lane.worker.close();
        }
        let stopped = self.dropped(DropReason::Stopping);
        if stopped != held {
            return Err(format!("{held} packets waited, {stopped} were dropped"));
        }
        let umem = self.umem.clone();
        drop(self.lanes);
        match umem.free_chunks() {
            FRAMES => Ok(()),
            free => Err(format!("{free} of {FRAMES} frames came back")),
        }
    }
}

fn find<F: Ip>(table: &FlowTable<F>, worker: usize, tuple: &Tuple) -> Option<(FlowView, usize)> {
    let key = Key::<F> {
        src: F::from_ip(tuple.src)?,
        dst: F::from_ip(tuple.dst)?,
        src_port: tuple.src_port,
        dst_port: tuple.dst_port,
        protocol: tuple.protocol,
    };
    let number = table.find(&key, table.hash(&key), NO_ENTRY)?;
    let side = match FlowTable::<F>::direction(number) {
        Direction::Original => 0,
        Direction::Reply => 1,
    };
    Some((view(table, worker, number), side))
}

fn scan<F: Ip>(table: &FlowTable<F>, worker: usize, now: Nanos, all: &mut Vec<FlowView>) {
    table.scan(0, usize::MAX, now.millis(), |number, _, _, _| {
        all.push(view(table, worker, number));
        true
    });
}

fn view<F: Ip>(table: &FlowTable<F>, worker: usize, number: u32) -> FlowView {
    let entries = table.both(number);
    let tuple = |key: &Key<F>| Tuple {
        src: <F as Family>::to_ip(key.src),
        dst: <F as Family>::to_ip(key.dst),
        src_port: key.src_port,
        dst_port: key.dst_port,
        protocol: key.protocol,
    };
    let backend = table.backend(number);
    let service = entries[0].service;
    FlowView {
        tuples: [tuple(&entries[0].key), tuple(&entries[1].key)],
        state: entries[0].state.label(),
        service: (service != ServiceId::NONE).then_some(service.0),
        backend: (backend != sluice_tables::BackendId::NONE).then_some(backend.0),
        is_cut: table.cut(number).is_some(),
        rules: table.rules(number).map(|rule| (rule != RuleId::NONE).then_some(rule.0)),
        packets: [entries[0].packets, entries[1].packets],
        worker,
    }
}
