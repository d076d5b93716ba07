use super::generator::Generator;
use super::report::Memory;
use super::ring::{RING_LEN, RingPeer, RingPort};
use crate::cluster::Cluster;
use crate::cpu;
use crate::frames::Builder;
use crate::gateway::{
    GatewayOptions, MESH_RING_LEN, SERVICES_COUNTED, check_balance, worker_options,
};
use crate::site::{CLUSTER, ROUTER_MAC, UPLINK, Who, node_mac};
use crate::tsc::Rate;
use anyhow::{Context, Result, anyhow, ensure};
use sluice_fastpath::flow::{State, Timeouts};
use sluice_fastpath::idle::{Idle, IdleMode};
use sluice_fastpath::{Nanos, Worker, WorkerCounters, WorkerOptions, mesh};
use sluice_io::{FrameCache, Port, RxBurst, Umem};
use sluice_tables::Tables;
use sluice_tables::mailbox::{ControlEnd, ToWorker, mailbox};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Frames: every ring full, and as many again in caches and hands.
const FRAMES: usize = 8 * RING_LEN;
/// Frames that each side keeps for itself.
const CACHED: usize = 1024;

/// The shipped worker, its tables live, its neighbors known.
pub struct Subject {
    worker: Worker,
    tables: Arc<Tables>,
    counters: Arc<WorkerCounters>,
    control: ControlEnd,
    umem: Umem,
    memory: Memory,
    now: Nanos,
}

impl Subject {
    /// A worker that may own `flows_max` flows, with the gate against floods or
    /// without; the far ends of its ports, and
    /// frames for whoever is there.
    ///
    /// # Errors
    /// When memory or descriptors are short, or a neighbor stays unknown.
    pub fn start(
        cluster: Cluster,
        flows_max: usize,
        syn_gate: bool,
    ) -> Result<(Self, [RingPeer; 2], FrameCache)> {
        let tables = cluster.tables(1)?;
        Self::with_ports(cluster, tables, flows_max, syn_gate, |port| Box::new(port))
    }

    /// The same with other tables of the cluster, and its ports, by
    /// [`CLUSTER`] and [`UPLINK`], inside of others.
    ///
    /// # Errors
    /// As [`Subject::start`].
    pub fn with_ports(
        cluster: Cluster,
        tables: Tables,
        flows_max: usize,
        syn_gate: bool,
        port: impl FnMut(RingPort) -> Box<dyn Port>,
    ) -> Result<(Self, [RingPeer; 2], FrameCache)> {
        let (umem, mut cache) = frames()?;
        let (overlay_port, overlay) = RingPort::new(CLUSTER);
        let (uplink_port, uplink) = RingPort::new(UPLINK);
        let ports: Vec<_> = [overlay_port, uplink_port].into_iter().map(port).collect();
        let (control, end) = mailbox().context("mailbox")?;
        let mesh = mesh(&[control.waker()], MESH_RING_LEN).pop().context("mesh")?;
        let counters = Arc::new(WorkerCounters::new(ports.len(), SERVICES_COUNTED));
        let udp_timeout_ms = Timeouts::default().of(State::UdpStream);
        let options = GatewayOptions { cluster, workers: 1, flows_max, frames: 0, udp_timeout_ms };
        let options = WorkerOptions { syn_gate, ..worker_options(0, &options) };
        let mut memory = Memory::before()?;
        let own = FrameCache::new(&umem, CACHED);
        let worker = Worker::new(options, ports, own, end, mesh, counters.clone());
        let flows = worker.flows();
        memory.tables = [flows.v4.memory_bytes(), flows.v6.memory_bytes()];
        let now = Nanos(Nanos::SECOND);
        let tables = Arc::new(tables);
        let mut subject = Subject { worker, tables, counters, control, umem, memory, now };
        let mut peers = [overlay, uplink];
        subject.greet(&cluster, &mut peers, &mut cache)?;
        Ok((subject, peers, cache))
    }

    fn greet(
        &mut self,
        cluster: &Cluster,
        peers: &mut [RingPeer; 2],
        cache: &mut FrameCache,
    ) -> Result<()> {
        let sent = self.control.send(ToWorker::Tables(self.tables.clone()));
        ensure!(sent.is_ok(), "the worker's mailbox is full");
        self.worker.poll(self.now);
        let mut builder = Builder::default();
        let nodes = (0..cluster.nodes).map(|node| (CLUSTER, Who::Node(node), node_mac(node)));
        for (port, who, mac) in nodes.chain([(UPLINK, Who::Router, ROUTER_MAC)]) {
            let mut frame = cache.alloc().context("no frame left")?;
            ensure!(frame.fill(builder.hello(cluster.family, port, mac, who)), "too long");
            peers[port].to_port.push(frame).map_err(|_| anyhow!("the ring is full"))?;
            self.worker.poll(self.now);
        }
        peers.iter_mut().for_each(|peer| peer.close(cache));
        let (heard, all) = (self.counters.consumed.get(), u64::from(cluster.nodes) + 1);
        ensure!(heard == all, "{heard} of {all} neighbors were heard");
        Ok(())
    }

    /// Gives the worker something, which takes the tables in its next turn. It stays on this
    /// thread.
    ///
    /// # Errors
    /// What `equip` returns, or when the mailbox is full.
    pub fn equip(&mut self, equip: impl FnOnce(&mut Worker) -> Result<()>) -> Result<()> {
        equip(&mut self.worker)?;
        self.publish_again()
    }

    /// Its worker, and the time that it was told.
    pub fn parts(&mut self) -> (&mut Worker, &mut Nanos) {
        (&mut self.worker, &mut self.now)
    }

    fn publish_again(&mut self) -> Result<()> {
        while self.control.receive().is_some() {}
        let version = self.tables.version + 1;
        let again = Arc::new(Tables { version, ..Tables::clone(&self.tables) });
        let sent = self.control.send(ToWorker::Tables(again));
        ensure!(sent.is_ok(), "the worker's mailbox is full");
        Ok(())
    }

    /// What its tables take.
    pub fn memory(&self) -> Memory {
        self.memory.clone()
    }

    /// Runs the worker on a thread of its own while `f` runs on this one, then
    /// checks that every packet is accounted for and every frame comes back.
    ///
    /// # Errors
    /// What `f` returns, or what does not add up.
    pub fn with_worker<T>(
        self,
        cpu: Option<usize>,
        f: impl FnOnce(&WorkerCounters) -> Result<T>,
    ) -> Result<T> {
        self.with_equipped(cpu, |_| Ok(()), f)
    }

    /// The same; `equip` gives the worker something on its thread, which takes the
    /// tables then.
    ///
    /// # Errors
    /// As [`Subject::with_worker`], and what `equip` returns.
    pub fn with_equipped<T>(
        mut self,
        cpu: Option<usize>,
        equip: impl FnOnce(&mut Worker) -> Result<()> + Send,
        f: impl FnOnce(&WorkerCounters) -> Result<T>,
    ) -> Result<T> {
        self.publish_again()?;
        let Subject { mut worker, counters, mut control, umem, now, .. } = self;
        let outcome = std::thread::scope(|scope| {
            let running = scope.spawn(move || -> Result<()> {
                if let Some(cpu) = cpu {
                    cpu::pin(cpu)?;
                }
                equip(&mut worker)?;
                let started = Instant::now();
                let clock = || now + started.elapsed();
                worker.run(clock, Idle::new(IdleMode::BusyPoll));
                Ok(())
            });
            let outcome = f(&counters);
            while control.send(ToWorker::Stop).is_err() && !running.is_finished() {
                while control.receive().is_some() {}
            }
            running.join().unwrap_or_else(|_| Err(anyhow!("the worker has panicked")))?;
            outcome
        })?;
        check_balance(&counters)?;
        let missing = umem.chunks() as usize - umem.free_chunks();
        ensure!(missing == 0, "{missing} frames are lost");
        Ok(outcome)
    }
}

/// Frames, every page of them touched.
fn frames() -> Result<(Umem, FrameCache)> {
    let umem = Umem::new(FRAMES)?;
    let mut cache = FrameCache::new(&umem, CACHED);
    let mut held = Vec::with_capacity(FRAMES);
    while let Some(mut frame) = cache.alloc() {
        ensure!(frame.fill(&[0; 128]), "a frame is too short");
        held.push(frame);
    }
    held.into_iter().for_each(|frame| cache.free(frame));
    Ok((umem, cache))
}

/// SYNs a second that the generator can offer, to a thread that frees them.
///
/// # Errors
/// When memory is short.
pub fn offer_max(
    cluster: Cluster,
    cpus: Option<[usize; 2]>,
    rate: Rate,
    time: Duration,
) -> Result<f64> {
    let (umem, cache) = frames()?;
    let (overlay_port, overlay) = RingPort::new(CLUSTER);
    let (mut port, uplink) = RingPort::new(UPLINK);
    let mut generator = Generator::new(cluster, [overlay, uplink], cache, 0, false, rate);
    let stop = AtomicBool::new(false);
    let sink = || -> Result<()> {
        if let Some([worker, _]) = cpus {
            cpu::pin(worker)?;
        }
        let (mut cache, mut burst) = (FrameCache::new(&umem, CACHED), RxBurst::new());
        while !stop.load(Ordering::Relaxed) {
            port.rx(&mut cache, &mut burst);
            burst.drain(..).for_each(|frame| cache.free(frame));
        }
        port.close(&mut cache);
        Ok(())
    };
    let offered = std::thread::scope(|scope| {
        let sink = scope.spawn(sink);
        let offered = generator.flood_for(time);
        stop.store(true, Ordering::Relaxed);
        sink.join().unwrap_or_else(|_| Err(anyhow!("the sink has panicked")))?;
        offered
    })?;
    drop(overlay_port);
    Ok(offered as f64 / time.as_secs_f64())
}
