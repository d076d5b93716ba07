use crate::check;
use crate::cluster::Cluster;
use crate::frames::Builder;
use crate::port::{PreparedPeer, PreparedPort};
use crate::site::{self, Who};
use anyhow::{Context, Result, bail, ensure};
use sluice_fastpath::flow::{FlowLimits, State, Timeouts};
use sluice_fastpath::{
    DropReason, FragmentOptions, Nanos, NeighborOptions, Worker, WorkerCounters, WorkerOptions,
    mesh,
};
use sluice_io::{Frame, FrameCache, Port, Umem};
use sluice_tables::Tables;
use sluice_tables::mailbox::{ControlEnd, ToWorker, mailbox};
use std::sync::Arc;

/// Services with counters of their own, as the appliance sets it by default.
pub(crate) const SERVICES_COUNTED: usize = 1024;
/// Messages in a ring between two workers.
pub(crate) const MESH_RING_LEN: usize = 1024;
/// Frames that workers may need for packets of their own.
const SPARE_FRAMES: usize = 1024;

/// What differs between gateways.
#[derive(Clone, Copy, Debug)]
pub struct GatewayOptions {
    /// The cluster.
    pub cluster: Cluster,
    /// Workers.
    pub workers: usize,
    /// Flows that each may own.
    pub flows_max: usize,
    /// Frames in circulation, each in a chunk of its own.
    pub frames: usize,
    /// Milliseconds after which a silent UDP flow expires.
    pub udp_timeout_ms: u32,
}

/// One worker, its far ends and its counters.
pub struct Seat {
    /// The worker.
    pub worker: Worker,
    /// The far ends of its ports, by [`site::CLUSTER`] and [`site::UPLINK`].
    pub peers: [PreparedPeer; 2],
    /// Its counters.
    pub counters: Arc<WorkerCounters>,
    control: ControlEnd,
}

/// A gateway with prepared ports, its neighbors known, its tables live.
pub struct Gateway {
    /// Its workers.
    pub seats: Vec<Seat>,
    /// The cluster around it.
    pub cluster: Cluster,
    /// The time that its workers are told.
    pub now: Nanos,
    /// What control last published.
    pub tables: Tables,
    /// Frames that are not on any wire.
    pub frames: Vec<Frame>,
    cache: FrameCache,
}

impl Gateway {
    /// Starts a gateway.
    ///
    /// # Errors
    /// When memory or descriptors are short, or a neighbor stays unknown.
    pub fn start(options: &GatewayOptions) -> Result<Self> {
        let cluster = options.cluster;
        let umem = Umem::new(options.frames + (1 + options.workers) * SPARE_FRAMES)?;
        let (mut controls, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..options.workers {
            let (control, end) = mailbox().context("mailbox")?;
            controls.push(control);
            ends.push(end);
        }
        let wakers: Vec<_> = controls.iter().map(ControlEnd::waker).collect();
        let meshes = mesh(&wakers, MESH_RING_LEN);
        let mut seats = Vec::new();
        for (id, ((control, end), mesh)) in controls.into_iter().zip(ends).zip(meshes).enumerate() {
            let (cluster_port, cluster_peer) = PreparedPort::new(site::CLUSTER, options.frames);
            let (uplink_port, uplink_peer) = PreparedPort::new(site::UPLINK, options.frames);
            let ports: Vec<Box<dyn Port>> = vec![Box::new(cluster_port), Box::new(uplink_port)];
            let counters = Arc::new(WorkerCounters::new(ports.len(), SERVICES_COUNTED));
            let cache = FrameCache::new(&umem, SPARE_FRAMES / 2);
            let worker =
                Worker::new(worker_options(id, options), ports, cache, end, mesh, counters.clone());
            seats.push(Seat { worker, peers: [cluster_peer, uplink_peer], counters, control });
        }
        let tables = cluster.tables(options.workers)?;
        let mut cache = FrameCache::new(&umem, SPARE_FRAMES / 2);
        let frames = (0..options.frames).map_while(|_| cache.alloc()).collect::<Vec<_>>();
        ensure!(frames.len() == options.frames, "the UMEM has too few frames");
        let now = Nanos(Nanos::SECOND);
        let mut gateway = Gateway { seats, cluster, now, tables, frames, cache };
        gateway.publish()?;
        gateway.greet()?;
        Ok(gateway)
    }

    /// Puts the cluster's policies in force. Compiling them leaves a heap in which
    /// nothing is where it would have been: let there be everything else before that is
    /// to be compared.
    ///
    /// # Errors
    /// As [`Cluster::police`] and [`Gateway::publish`].
    pub fn police(&mut self) -> Result<()> {
        self.cluster.police(&mut self.tables)?;
        self.publish()?;
        self.settle();
        Ok(())
    }

    /// Publishes a copy of [`Gateway::tables`] to every worker, and frees what
    /// they have retired.
    ///
    /// # Errors
    /// When a worker is behind.
    pub fn publish(&mut self) -> Result<()> {
        let tables = Arc::new(self.tables.clone());
        for seat in &mut self.seats {
            while seat.control.receive().is_some() {}
            if seat.control.send(ToWorker::Tables(tables.clone())).is_err() {
                bail!("a worker's mailbox is full");
            }
        }
        Ok(())
    }

    /// Polls every worker until none has work.
    pub fn settle(&mut self) {
        loop {
            let mut busy = false;
            for seat in &mut self.seats {
                busy |= seat.worker.poll(self.now);
            }
            if !busy {
                return;
            }
        }
    }

    /// All nodes and the router make themselves known.
    fn greet(&mut self) -> Result<()> {
        self.settle();
        let mut builder = Builder::default();
        let nodes = (0..self.cluster.nodes).map(|node| (Who::Node(node), site::node_mac(node)));
        let mut hellos: Vec<_> = nodes.map(|(who, mac)| (site::CLUSTER, who, mac)).collect();
        hellos.push((site::UPLINK, Who::Router, site::ROUTER_MAC));
        for &(port, who, mac) in &hellos {
            let bytes = builder.hello(self.cluster.family, port, mac, who);
            self.load(0, port, bytes)?;
            self.settle();
        }
        let heard = self.seats[0].counters.consumed.get() as usize;
        ensure!(heard == hellos.len(), "{heard} of {} neighbors were heard", hellos.len());
        self.check_counters()
    }

    /// A frame with a copy of `bytes`.
    ///
    /// # Errors
    /// When there is none left, or they do not fit.
    pub fn frame(&mut self, bytes: &[u8]) -> Result<Frame> {
        let frame = self.frames.pop().or_else(|| self.cache.alloc());
        let mut frame = frame.context("no frame left")?;
        ensure!(frame.fill(bytes), "a frame of {} bytes does not fit", bytes.len());
        Ok(frame)
    }

    /// Puts a copy of `bytes` on a wire.
    ///
    /// # Errors
    /// When there is no frame left, or it does not fit.
    pub fn load(&mut self, worker: usize, port: usize, bytes: &[u8]) -> Result<()> {
        let frame = self.frame(bytes)?;
        self.seats[worker].peers[port].load(frame);
        Ok(())
    }

    /// Takes back what a port of a worker has sent, in order; `each` looks at
    /// the bytes. Returns how many there were.
    ///
    /// # Errors
    /// What `each` finds wrong.
    pub fn collect(
        &mut self,
        worker: usize,
        port: usize,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<usize> {
        let from = self.frames.len();
        self.seats[worker].peers[port].take_sent(&mut self.frames);
        let mut verdict = Ok(());
        for (number, frame) in self.frames[from..].iter().enumerate() {
            verdict = each(frame.data()).with_context(|| format!("frame {number}, port {port}"));
            if verdict.is_err() {
                break;
            }
        }
        let sent = self.frames.len() - from;
        verdict.map(|()| sent)
    }

    /// Drops of all workers, by reason.
    pub fn drops(&self) -> Vec<(DropReason, u64)> {
        let dropped = |reason: DropReason| -> u64 {
            self.seats.iter().map(|seat| seat.counters.dropped(reason)).sum()
        };
        let all = DropReason::ALL.iter().map(|&reason| (reason, dropped(reason)));
        all.filter(|&(_, count)| count > 0).collect()
    }

    /// Checks that nothing was dropped and that every worker's counters add up.
    ///
    /// # Errors
    /// What does not.
    pub fn check_counters(&self) -> Result<()> {
        let drops = self.drops();
        ensure!(drops.is_empty(), "drops: {drops:?}");
        self.check_balance()
    }

    /// Checks that every worker's counters add up.
    ///
    /// # Errors
    /// What does not.
    pub fn check_balance(&self) -> Result<()> {
        for (number, seat) in self.seats.iter().enumerate() {
            check_balance(&seat.counters).with_context(|| format!("worker {number}"))?;
        }
        Ok(())
    }

    /// Takes frames of the workers' own out of circulation again.
    pub fn shrink_to(&mut self, frames: usize) {
        for frame in self.frames.drain(frames.min(self.frames.len())..) {
            self.cache.free(frame);
        }
    }

    /// Checks a frame sent into the overlay; see [`check::open_tunnel`].
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open_tunnel<'a>(&self, frame: &'a [u8]) -> Result<(u32, check::Parsed<'a>)> {
        check::open_tunnel(self.cluster.family, frame, self.cluster.nodes)
    }
}

/// Checks that a worker's counters add up.
///
/// # Errors
/// When they do not.
pub fn check_balance(counters: &WorkerCounters) -> Result<()> {
    let ports = || counters.ports.iter();
    let rx: u64 = ports().map(|port| port.rx_packets.get()).sum();
    let tx: u64 = ports().map(|port| port.tx_packets.get()).sum();
    let came = rx + counters.originated.get() + counters.handed_in.get();
    let dropped: u64 = counters.drops.iter().map(|count| count.get()).sum();
    let went = tx + dropped + counters.consumed.get() + counters.handed_out.get();
    let held = counters.held.get();
    ensure!(came == went + held, "{came} came, {went} went, {held} wait");
    Ok(())
}

impl Drop for Gateway {
    fn drop(&mut self) {
        for seat in &mut self.seats {
            seat.worker.close();
        }
        self.shrink_to(0);
    }
}

/// What a worker of such a gateway is told.
pub(crate) fn worker_options(id: usize, options: &GatewayOptions) -> WorkerOptions {
    let mut timeouts = Timeouts::default();
    timeouts.set(State::UdpStream, options.udp_timeout_ms);
    WorkerOptions {
        id,
        flows_max: options.flows_max,
        timeouts,
        limits: FlowLimits::default(),
        // Neighbors are not what is measured: none grows old.
        neighbors: NeighborOptions { reachable_ns: u64::MAX, ..NeighborOptions::default() },
        syn_gate: true,
        affinities_max: 65_536,
        fragments: FragmentOptions::default(),
        errors_per_second: 1000,
        seed: 0x5eed_0f5e_ed0f_5eed,
    }
}
