use super::check;
use super::cluster::{Cluster, PORTS};
use crossbeam_channel::bounded;
use sluice_fastpath::events::{EventKind, EventReceiver, events};
use sluice_fastpath::flow::{FlowLimits, Timeouts};
use sluice_fastpath::{
    DropReason, FragmentOptions, Nanos, NeighborOptions, Worker, WorkerCounters, WorkerOptions,
    mesh,
};
use sluice_io::{CHUNK_LEN, FrameCache, HEADROOM, MemoryPort, MemoryPortPeer, Port, PortId, Umem};
use sluice_tables::mailbox::{ControlEnd, FromWorker, ToWorker, mailbox};
use sluice_tables::{Answer, AnswerBuffers, Capture, FlowTelling, Observe, PacketFilter};
use std::sync::Arc;

/// Longest frame that a port receives.
pub const FRAME_LEN_MAX: usize = CHUNK_LEN - HEADROOM;
/// Polls after which workers without input are at rest.
const POLLS_MAX: usize = 64;

struct Lane {
    worker: Worker,
    control: ControlEnd,
    counters: Arc<WorkerCounters>,
    peers: Vec<MemoryPortPeer>,
    told: EventReceiver,
    /// Drops that it has told of.
    drops_told: u64,
    /// DNS answers that it holds, and has told of.
    answers: Vec<Answer>,
    /// The next one of them is released.
    releases: bool,
}

/// The workers of a gateway on memory ports.
pub struct Gateway {
    umem: Umem,
    frames: usize,
    /// Everything is told of.
    is_watched: bool,
    lanes: Vec<Lane>,
    now: Nanos,
}

/// How large everything is: a script chooses between ample and tight.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Frames of the UMEM.
    pub frames: usize,
    /// Flows of each family.
    pub flows: usize,
    /// Neighbors.
    pub neighbors: usize,
    /// Packets that wait for neighbors.
    pub waiting: usize,
    /// Messages between two workers.
    pub ring: usize,
    /// Frames that a port takes between two flushes.
    pub tx_room: usize,
    /// Errors a second.
    pub errors: u32,
    /// Everything is told of single packets.
    pub is_watched: bool,
}

impl Sizes {
    /// Enough of everything.
    pub const AMPLE: Sizes = Sizes {
        frames: 512,
        flows: 1024,
        neighbors: 256,
        waiting: 64,
        ring: 64,
        tx_room: 256,
        errors: 1000,
        is_watched: false,
    };
    /// So little that every limit is met.
    pub const TIGHT: Sizes = Sizes {
        frames: 140,
        flows: 6,
        neighbors: 4,
        waiting: 3,
        ring: 2,
        tx_room: 3,
        errors: 3,
        is_watched: true,
    };
}

impl Gateway {
    /// A gateway of some workers.
    ///
    /// # Panics
    /// When the machine has no memory or descriptors for it.
    pub fn new(workers: usize, sizes: Sizes) -> Self {
        let umem = Umem::new(sizes.frames).expect("memory for frames");
        let (controls, ends): (Vec<_>, Vec<_>) =
            (0..workers).map(|_| mailbox().expect("a mailbox")).unzip();
        let wakers: Vec<_> = controls.iter().map(ControlEnd::waker).collect();
        let meshes = mesh(&wakers, sizes.ring);
        let lanes = controls.into_iter().zip(ends).zip(meshes).enumerate();
        let lanes = lanes.map(|(id, ((mut control, end), mesh))| {
            let ports = (0..PORTS).map(|port| {
                let name = format!("p{port}");
                let (port, peer) =
                    MemoryPort::new(PortId(port as u8), &name, id as u32, sizes.tx_room);
                (Box::new(port) as Box<dyn Port>, peer)
            });
            let (ports, peers): (Vec<_>, Vec<_>) = ports.unzip();
            let neighbors = NeighborOptions {
                neighbors_max: sizes.neighbors,
                queue_len: sizes.waiting,
                ..NeighborOptions::default()
            };
            let options = WorkerOptions {
                id,
                flows_max: sizes.flows,
                timeouts: Timeouts::default(),
                limits: FlowLimits::default(),
                neighbors,
                syn_gate: true,
                affinities_max: 64,
                fragments: FragmentOptions {
                    datagrams_max: sizes.neighbors,
                    held_max: sizes.waiting,
                    ..FragmentOptions::default()
                },
                errors_per_second: sizes.errors,
                seed: 42,
            };
            let counters = Arc::new(WorkerCounters::new(PORTS, 8));
            let cache = FrameCache::new(&umem, 128);
            let (sender, told) = events();
            let worker = Worker::new(options, ports, cache, end, mesh, counters.clone());
            let worker = worker.with_events(sender);
            if sizes.is_watched {
                let _ = control.send(ToWorker::Observe(Arc::new(everything())));
            }
            let buffers = AnswerBuffers::new(bounded(1).0);
            let _ = control.send(ToWorker::Answers(buffers));
            Lane {
                worker,
                control,
                counters,
                peers,
                told,
                drops_told: 0,
                answers: Vec::new(),
                releases: true,
            }
        });
        let lanes = lanes.collect();
        Gateway {
            umem,
            frames: sizes.frames,
            is_watched: sizes.is_watched,
            lanes,
            now: Nanos(Nanos::SECOND),
        }
    }

    /// Gives every worker the tables of a cluster.
    pub fn publish(&mut self, cluster: &Cluster) {
        let tables = cluster.tables();
        for lane in &mut self.lanes {
            // A full mailbox only means that the next change brings it.
            let _ = lane.control.send(ToWorker::Tables(tables.clone()));
        }
    }

    /// Every other DNS answer that a worker holds goes on; the rest comes too late.
    pub fn release(&mut self) {
        for lane in &mut self.lanes {
            for answer in std::mem::take(&mut lane.answers) {
                let id = if lane.releases { answer.id } else { u64::MAX };
                lane.releases = !lane.releases;
                let buffer = answer.message;
                // A full mailbox only means that a buffer is lost.
                let _ = lane.control.send(ToWorker::Release { id, buffer });
            }
        }
    }

    /// Time passes.
    pub fn wait(&mut self, ms: u32) {
        self.now.0 += u64::from(ms) * 1_000_000;
    }

    /// A frame arrives.
    pub fn send(&self, queue: u8, port: u8, frame: &[u8]) {
        let lane = &self.lanes[usize::from(queue) % self.lanes.len()];
        lane.peers[usize::from(port)].send(&frame[..frame.len().min(FRAME_LEN_MAX)]);
    }

    /// Polls until nothing comes out any more; returns what did, as (worker,
    /// port, frame).
    pub fn settle(&mut self) -> Vec<(u8, u8, Vec<u8>)> {
        let mut sent = Vec::new();
        for _ in 0..POLLS_MAX {
            let mut work = false;
            for (id, lane) in self.lanes.iter_mut().enumerate() {
                work |= lane.worker.poll(self.now);
                while let Some(message) = lane.control.receive() {
                    if let FromWorker::Answer(answer) = message {
                        lane.answers.push(answer);
                    }
                }
                while let Ok(event) = lane.told.events.pop() {
                    lane.drops_told += u64::from(matches!(event.kind, EventKind::Dropped(_)));
                }
                while lane.told.captured.pop().is_ok() {}
                for (port, peer) in lane.peers.iter().enumerate() {
                    while let Some(frame) = peer.receive() {
                        sent.push((id as u8, port as u8, frame));
                    }
                }
            }
            if !work {
                self.check();
                return sent;
            }
        }
        panic!("the workers never come to rest");
    }

    /// Packets that wait for neighbors.
    pub fn held(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.counters.held.get()).sum()
    }

    /// No packet and no frame is lost.
    fn check(&self) {
        let mut cached = 0;
        for lane in &self.lanes {
            let counters = &lane.counters;
            let rx: u64 = counters.ports.iter().map(|port| port.rx_packets.get()).sum();
            let tx: u64 = counters.ports.iter().map(|port| port.tx_packets.get()).sum();
            let dropped: u64 = DropReason::ALL.iter().map(|&why| counters.dropped(why)).sum();
            let into = rx + counters.originated.get() + counters.handed_in.get();
            let held = counters.held.get();
            let out = tx + dropped + counters.consumed.get() + counters.handed_out.get() + held;
            assert_eq!(into, out, "packets are not conserved: {counters:?}");
            if self.is_watched {
                let told = lane.drops_told + counters.events.lost.get();
                assert!(told >= dropped, "{told} drops are told of, of {dropped}: {counters:?}");
                assert!(lane.drops_told <= dropped, "{told} drops are told of, of {dropped}");
            }
            cached += counters.frames_cached.get() + held;
        }
        let all = self.umem.free_chunks() as u64 + cached;
        assert_eq!(all, self.frames as u64, "frames got lost");
    }

    /// Closes the workers; every frame must come back.
    pub fn close(mut self) {
        for lane in &mut self.lanes {
            lane.worker.close();
        }
        self.lanes.clear();
        assert_eq!(self.umem.free_chunks(), self.frames, "frames did not come back");
    }
}

/// What is told when everything is.
fn everything() -> Observe {
    Observe {
        follows: [Some(PacketFilter::default()), None, None, None],
        follows_per_second: u32::MAX,
        flows: Some(FlowTelling { sample: 1, per_second: u32::MAX }),
        captures: [Some(Capture { snap_len: 512, ..Capture::default() }), None, None, None],
    }
}

/// The answer of a neighbor, if a frame asks for one; the target's MAC is of
/// no interest.
pub fn answer_to(frame: &[u8]) -> Option<Vec<u8>> {
    const MAC: [u8; 6] = [2, 0xaa, 0, 0, 0, 1];
    let tag = if frame.get(12..14)? == [0x81, 0] { 4 } else { 0 };
    let (ethertype, body) = (frame.get(12 + tag..14 + tag)?, frame.get(14 + tag..)?);
    let mut out = [&frame[6..12], &MAC, &frame[12..14 + tag]].concat();
    if ethertype == [0x08, 0x06] && body.get(7) == Some(&1) {
        out.extend_from_slice(&[0, 1, 8, 0, 6, 4, 0, 2]);
        out.extend_from_slice(&MAC);
        out.extend_from_slice(body.get(24..28)?);
        out.extend_from_slice(body.get(8..18)?);
        return Some(out);
    }
    if ethertype == [0x86, 0xdd] && body.get(6..8) == Some(&[58, 255]) && body.get(40) == Some(&135)
    {
        let target = body.get(48..64)?;
        let mut packet = vec![0x60, 0, 0, 0, 0, 32, 58, 255];
        packet.extend_from_slice(target);
        packet.extend_from_slice(body.get(8..24)?);
        packet.extend_from_slice(&[136, 0, 0, 0, 0x60, 0, 0, 0]);
        packet.extend_from_slice(target);
        packet.extend_from_slice(&[2, 1]);
        packet.extend_from_slice(&MAC);
        let checksum = !check::segment_sum(&packet, &(40..72));
        packet[42..44].copy_from_slice(&checksum.to_be_bytes());
        out.extend(packet);
        return Some(out);
    }
    None
}
