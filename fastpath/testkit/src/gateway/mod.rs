//! A whole gateway in memory: workers, their ports, a clock that the test turns. Any run repeats
//! exactly.

/// Counts of workers, by name.
pub mod counts;

/// What the gateway is told of its network and of the cluster.
pub mod topology;

/// DNS answers that workers hold.
mod answers;
/// What network policies say.
pub mod policy;
/// What workers tell of single packets.
pub mod told;

/// From a topology to tables, as control compiles them.
mod compile;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sluice_fastpath::events::{EventReceiver, events};
use sluice_fastpath::flow::{FlowLimits, Timeouts};
use sluice_fastpath::local::LocalService;
use sluice_fastpath::{
    FragmentOptions, Nanos, NeighborOptions, Worker, WorkerCounters, WorkerOptions, mesh,
};
use sluice_io::{FrameCache, MemoryPort, MemoryPortPeer, Port, PortId, Umem};
use sluice_tables::mailbox::{ControlEnd, FromWorker, ToWorker, Waker, mailbox};
use sluice_tables::record::FlowRecord;
use sluice_tables::{Answer, Tables};

pub use compile::Compiler;
pub use counts::{Counts, balance};
pub use told::Told;
pub use topology::Topology;

/// When the simulated clock starts. Not zero, so that "never" and "at the start" differ.
const START: Nanos = Nanos(1_000 * Nanos::SECOND);

/// Turns of all workers after which they must have come to rest.
const TURNS_MAX: usize = 10_000;

/// Steps of the clock: this long, or this part of a longer advance.
const STEP: Duration = Duration::from_millis(100);
const STEPS_MAX: u32 = 1_000;

/// How a simulated gateway is set up.
#[derive(Debug, Clone)]
pub struct GatewayOptions {
    /// Workers, each with a queue of every port.
    pub workers: usize,
    /// Ports.
    pub ports: usize,
    /// Flows of each family per worker.
    pub flows_max: usize,
    /// When flows expire.
    pub timeouts: Timeouts,
    /// How many flows of a source and of a Service, per worker.
    pub limits: FlowLimits,
    /// How neighbors are treated.
    pub neighbors: NeighborOptions,
    /// Clients remembered by a worker, for session affinity.
    pub affinities_max: usize,
    /// How much is done for fragments.
    pub fragments: FragmentOptions,
    /// ICMP errors and resets per second and worker.
    pub errors_per_second: u32,
    /// Choices that are random follow from it.
    pub seed: u64,
    /// Frames in the UMEM.
    pub frames: usize,
    /// Frames that a TX ring takes between two turns.
    pub tx_room: usize,
    /// Messages that a ring between two workers holds.
    pub ring_len: usize,
}

impl Default for GatewayOptions {
    /// One worker, two ports, 1,024 flows; neighbors never get stale.
    fn default() -> Self {
        GatewayOptions {
            workers: 1,
            ports: 2,
            flows_max: 1_024,
            timeouts: Timeouts::default(),
            limits: FlowLimits::default(),
            neighbors: NeighborOptions { reachable_ns: u64::MAX, ..NeighborOptions::default() },
            affinities_max: 1_024,
            fragments: FragmentOptions::default(),
            errors_per_second: 1_000,
            seed: 1,
            frames: 2_048,
            tx_room: 1_024,
            ring_len: 256,
        }
    }
}

/// A frame that left the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The worker that sent it.
    pub worker: usize,
    /// The frame.
    pub frame: Vec<u8>,
}

/// Some flows of a worker, and where it goes on.
type DumpedPart = (Option<u64>, Vec<FlowRecord>);

/// A gateway in memory.
pub struct Gateway {
    workers: Vec<Worker>,
    counters: Vec<Arc<WorkerCounters>>,
    controls: Vec<ControlEnd>,
    /// The versions that the workers use.
    live: Vec<u64>,
    /// Whether the workers have what they tell of DNS answers with.
    has_buffers: bool,
    /// DNS answers that workers hold and have told of.
    answers: Vec<(usize, Answer)>,
    /// What a worker has told of its flows, and where it goes on.
    flows: Option<DumpedPart>,
    /// By worker, then port.
    peers: Vec<Vec<MemoryPortPeer>>,
    umem: Umem,
    now: Nanos,
    receivers: Vec<EventReceiver>,
    told: Told,
    sums: Vec<told::Sums>,
}

impl Gateway {
    /// A gateway that knows nothing yet.
    ///
    /// # Errors
    /// What the system refuses: memory, file descriptors.
    pub fn new(options: &GatewayOptions) -> Result<Gateway, String> {
        let umem = Umem::new(options.frames).map_err(|e| e.to_string())?;
        let mut controls = Vec::new();
        let mut mailboxes = Vec::new();
        for _ in 0..options.workers {
            let (control, worker) = mailbox().map_err(|e| e.to_string())?;
            controls.push(control);
            mailboxes.push(worker);
        }
        let wakers: Vec<_> = controls.iter().map(ControlEnd::waker).collect();
        let meshes = mesh(&wakers, options.ring_len);
        let mut gateway = Gateway {
            workers: Vec::new(),
            counters: Vec::new(),
            controls,
            live: vec![0; options.workers],
            has_buffers: false,
            answers: Vec::new(),
            flows: None,
            peers: Vec::new(),
            umem,
            now: START,
            receivers: Vec::new(),
            told: Told::default(),
            sums: vec![told::Sums::default(); options.workers],
        };
        for (id, (mailbox, mesh)) in mailboxes.into_iter().zip(meshes).enumerate() {
            let mut ports: Vec<Box<dyn Port>> = Vec::new();
            let mut peers = Vec::new();
            for port in 0..options.ports {
                let name = format!("p{port}");
                let number = PortId(port as u8);
                let (port, peer) = MemoryPort::new(number, &name, id as u32, options.tx_room);
                ports.push(Box::new(port));
                peers.push(peer);
            }
            let counters = Arc::new(WorkerCounters::new(options.ports, 64));
            let worker = WorkerOptions {
                id,
                flows_max: options.flows_max,
                timeouts: options.timeouts.clone(),
                limits: options.limits,
                neighbors: options.neighbors.clone(),
                syn_gate: true,
                affinities_max: options.affinities_max,
                fragments: options.fragments.clone(),
                errors_per_second: options.errors_per_second,
                seed: options.seed,
            };
            let cache = FrameCache::new(&gateway.umem, 0);
            let worker = Worker::new(worker, ports, cache, mailbox, mesh, counters.clone());
            let (sender, receiver) = events();
            gateway.workers.push(worker.with_events(sender));
            gateway.receivers.push(receiver);
            gateway.counters.push(counters);
            gateway.peers.push(peers);
        }
        Ok(gateway)
    }

    /// Has each worker's TCP served by what `l7` makes of its number and its waker, from the
    /// next tables on.
    pub fn serve(&mut self, mut l7: impl FnMut(usize, Waker) -> Box<dyn LocalService>) {
        for (id, worker) in self.workers.iter_mut().enumerate() {
            let waker = worker.waker();
            worker.set_l7(l7(id, waker));
        }
    }

    /// Makes every worker use `tables`, and waits until all do.
    ///
    /// # Errors
    /// When a worker does not take them.
    pub fn publish(&mut self, tables: Tables) -> Result<(), String> {
        if tables.names_wanted {
            self.hand_buffers()?;
        }
        let (version, tables) = (tables.version, Arc::new(tables));
        for control in &mut self.controls {
            control
                .send(ToWorker::Tables(tables.clone()))
                .map_err(|_| "a worker's mailbox is full".to_owned())?;
        }
        self.settle()?;
        match self.live.iter().position(|live| *live != version) {
            Some(worker) => Err(format!("worker {worker} did not take tables {version}")),
            None => Ok(()),
        }
    }

    /// Tells worker 0 to announce VIPs, which it does as time passes.
    ///
    /// # Errors
    /// When it does not take the list.
    pub fn announce(&mut self, vips: Vec<IpAddr>) -> Result<(), String> {
        let control = self.controls.first_mut().ok_or("there is no worker")?;
        let sent = control.send(ToWorker::Announce { vips });
        sent.map_err(|_| "the worker's mailbox is full".to_owned())?;
        self.settle()
    }

    /// Puts a frame on the wire to a port's queue of `worker`; nothing runs.
    ///
    /// # Errors
    /// When there is no such queue.
    pub fn inject(&mut self, port: usize, worker: usize, frame: &[u8]) -> Result<(), String> {
        let peer = self.peers.get(worker).and_then(|peers| peers.get(port));
        peer.ok_or_else(|| format!("there is no port p{port}@{worker}"))?.send(frame);
        Ok(())
    }

    /// Runs all workers at the present time until there is nothing left to do.
    ///
    /// # Errors
    /// When they find work for ever.
    pub fn settle(&mut self) -> Result<(), String> {
        for _ in 0..TURNS_MAX {
            let mut busy = false;
            for worker in &mut self.workers {
                busy |= worker.poll(self.now);
            }
            self.hear();
            self.read_mail();
            if !busy {
                return Ok(());
            }
        }
        Err(format!("the workers are still busy after {TURNS_MAX} turns"))
    }

    /// Lets time pass, then each worker has one turn: with more on its wire than it takes,
    /// that is a busy one.
    pub fn turn(&mut self, time: Duration) {
        self.now = self.now + time;
        for worker in &mut self.workers {
            worker.poll(self.now);
        }
        self.hear();
        self.read_mail();
    }

    fn read_mail(&mut self) {
        for (worker, control) in self.controls.iter_mut().enumerate() {
            while let Some(message) = control.receive() {
                match message {
                    FromWorker::Live { version } => self.live[worker] = version,
                    FromWorker::Flows { next, buffer } => self.flows = Some((next, buffer)),
                    FromWorker::Answer(answer) => self.answers.push((worker, answer)),
                    _ => {}
                }
            }
        }
    }

    /// Lets time pass, in steps of 100 ms or of a thousandth of a longer time.
    ///
    /// # Errors
    /// As [`Gateway::settle`].
    pub fn advance(&mut self, time: Duration) -> Result<(), String> {
        let end = self.now + time;
        let step = STEP.max(time / STEPS_MAX);
        while self.now < end {
            self.now = (self.now + step).min(end);
            self.settle()?;
        }
        Ok(())
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now.since(START))
    }

    /// The oldest frame that left by a port, of the lowest worker that has one.
    pub fn sent(&mut self, port: usize) -> Option<Sent> {
        self.peers.iter().enumerate().find_map(|(worker, peers)| {
            peers.get(port)?.receive().map(|frame| Sent { worker, frame })
        })
    }

    /// The flows of all workers, as each tells control of them.
    ///
    /// # Errors
    /// When a worker does not take the question, or is never through.
    pub fn flows(&mut self) -> Result<Vec<FlowRecord>, String> {
        let mut flows = Vec::new();
        for worker in 0..self.controls.len() {
            let mut cursor = Some(0);
            while let Some(from) = cursor {
                let buffer = Vec::with_capacity(64);
                let question = ToWorker::DumpFlows { cursor: from, buffer };
                let sent = self.controls[worker].send(question);
                sent.map_err(|_| "a worker's mailbox is full".to_owned())?;
                self.settle()?;
                let (next, buffer) =
                    self.flows.take().ok_or("a worker has not told of its flows")?;
                flows.extend(buffer);
                cursor = next;
            }
        }
        Ok(flows)
    }

    /// The workers.
    pub fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// The counters of a worker.
    pub fn counters(&self, worker: usize) -> Option<&WorkerCounters> {
        self.counters.get(worker).map(Arc::as_ref)
    }

    /// Counts of all workers together.
    pub fn counts(&self) -> Counts {
        let mut all = Counts::default();
        for counters in &self.counters {
            all.add(counters);
        }
        all
    }

    /// Checks that every worker has accounted for every packet.
    ///
    /// # Errors
    /// The worker whose counts do not balance, and how.
    pub fn check_balance(&self) -> Result<(), String> {
        for (worker, counters) in self.counters.iter().enumerate() {
            balance(counters).map_err(|e| format!("worker {worker}: {e}"))?;
        }
        Ok(())
    }

    /// Stops the gateway and checks that every packet is accounted for and every frame is back in
    /// the UMEM.
    ///
    /// # Errors
    /// What is missing.
    pub fn close(mut self) -> Result<(), String> {
        for worker in &mut self.workers {
            worker.close();
        }
        self.check_balance()?;
        let umem = self.umem.clone();
        drop(self);
        let missing = umem.chunks() as usize - umem.free_chunks();
        match missing {
            0 => Ok(()),
            _ => Err(format!("{missing} frames were lost")),
        }
    }
}
