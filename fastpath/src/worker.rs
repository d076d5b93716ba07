use crate::affinity::Affinities;
use crate::answers::Answers;
use crate::core::{Core, PortSlot};
use crate::counters::WorkerCounters;
use crate::events::EventSender;
use crate::flow::{FlowLimits, FlowTable, Flows, Timeouts};
use crate::fragments::{FragmentOptions, Fragments};
use crate::idle::Idle;
use crate::journey;
use crate::local::{LocalContext, LocalService, LocalServices, PATH_MTU_MIN};
use crate::mesh::{Handed, MeshEnd, News};
use crate::neighbor::Neighbors;
use crate::path_mtu::PathMtus;
use crate::random::Random;
use crate::reason::DropReason;
use crate::stages::error::ErrorLimiter;
use crate::stages::{answer, fragment, link, snat, underlay};
use crate::syn_gate::SynGate;
use crate::time::Nanos;
use crate::wire::ip::Ip;
use arrayvec::ArrayVec;
pub(crate) use share::SHED_ALL;
use share::TimeShare;
use sluice_io::{BURST, FrameCache, Port, PortId, RxBurst};
use sluice_tables::mailbox::{FromWorker, ToWorker, Waker, WorkerEnd};
use sluice_tables::{Tables, V4, V6};
use std::net::IpAddr;
use std::sync::Arc;

mod announce;
mod answers;
mod dump;
mod observe;
mod share;

/// Messages of control taken in one turn.
const MAIL_BUDGET: usize = 4;
/// News of other workers taken in one turn.
const NEWS_BUDGET: usize = BURST;
/// Visits of clients taken in one turn: all that all the others can tell of in a
/// turn of theirs, so that the rings do not fill up.
const VISITS_BUDGET: usize = 4 * BURST;
/// How often slow things are looked at: the counts kept below the worker.
const SLOW_INTERVAL_NS: u64 = Nanos::SECOND / 2;
/// How often neighbors are aged, a few at a time.
const AGE_INTERVAL_NS: u64 = 1_000_000;

/// How a worker is set up.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Its number.
    pub id: usize,
    /// Flows of each family that it may own.
    pub flows_max: usize,
    /// When flows expire.
    pub timeouts: Timeouts,
    /// How many flows of one source and of one Service it takes.
    pub limits: FlowLimits,
    /// Neighbors.
    pub neighbors: NeighborOptions,
    /// Whether it lets SYNs in at their second try only, in a flood of them.
    pub syn_gate: bool,
    /// Clients whose endpoints it remembers, for Services with session affinity.
    pub affinities_max: usize,
    /// Fragments of what is translated.
    pub fragments: FragmentOptions,
    /// ICMP errors and resets it may send, per second.
    pub errors_per_second: u32,
    /// A random number of the process, the same for all workers: flow hashes
    /// are computed by the worker that received a packet, and used by the owner.
    pub seed: u64,
}

/// How a worker treats neighbors.
#[derive(Clone, Debug)]
pub struct NeighborOptions {
    /// Neighbors known at once.
    pub neighbors_max: usize,
    /// Packets that may wait for neighbors, over all.
    pub queue_len: usize,
    /// Nanoseconds for which a confirmation counts (RFC 4861 section 10,
    /// REACHABLE_TIME).
    pub reachable_ns: u64,
    /// Questions without an answer until a neighbor has failed.
    pub probes_max: u8,
}

impl Default for NeighborOptions {
    fn default() -> Self {
        NeighborOptions {
            neighbors_max: 4096,
            queue_len: 256,
            reachable_ns: 30 * Nanos::SECOND,
            probes_max: 3,
        }
    }
}

/// One worker: what runs on one core. It owns a queue of every port and its
/// part of the flows.
pub struct Worker {
    core: Core,
    flows: Flows,
    mailbox: WorkerEnd,
    burst: RxBurst,
    /// VIPs to be announced, the next one last.
    announcing: Option<Vec<IpAddr>>,
    started: Nanos,
    aged: Nanos,
    slow: Nanos,
    turns: usize,
    share: TimeShare,
    stopping: bool,
}

impl Worker {
    /// A worker with empty tables. `ports` are its queues, in the order of the
    /// configuration; `counters` has as many.
    pub fn new(
        options: WorkerOptions,
        ports: Vec<Box<dyn Port>>,
        cache: FrameCache,
        mailbox: WorkerEnd,
        mesh: MeshEnd,
        counters: Arc<WorkerCounters>,
    ) -> Self {
        let workers = mesh.workers();
        let flows =
            Flows { v4: flow_table(&options, &counters), v6: flow_table(&options, &counters) };
        let neighbors = &options.neighbors;
        let core = Core {
            worker: options.id,
            now: Nanos::default(),
            now_ms: 0,
            tables: Arc::new(Tables::empty(workers)),
            ports: ports.into_iter().map(PortSlot::new).collect(),
            cache,
            counters,
            adjacencies: Default::default(),
            affinities: Affinities::new(options.affinities_max, options.seed),
            neighbors: Neighbors::new(neighbors.neighbors_max, neighbors.queue_len),
            path_mtus: PathMtus::default(),
            reachable_ns: neighbors.reachable_ns,
            probes_max: neighbors.probes_max,
            neighbor_epoch: 0,
            fragments: Fragments::new(&options.fragments, options.seed, options.id, workers),
            answers: Answers::new(options.seed),
            mesh,
            syn_gate: SynGate::new(options.syn_gate, options.seed),
            limiter: ErrorLimiter::new(options.errors_per_second),
            random: Random::new(options.seed ^ (options.id as u64 + 1)),
            local: LocalServices::new(),
            conflicts: Default::default(),
            events: Default::default(),
            shed: 0,
        };
        Worker {
            core,
            flows,
            mailbox,
            burst: RxBurst::new(),
            announcing: None,
            started: Nanos::default(),
            aged: Nanos::default(),
            slow: Nanos::default(),
            turns: 0,
            share: TimeShare::default(),
            stopping: false,
        }
    }

    /// The worker, which tells of single packets into `sender` when it is asked to.
    pub fn with_events(mut self, sender: EventSender) -> Self {
        self.core.events.set_sender(sender);
        self
    }

    /// Has TCP that ends here served by `l7`, from the next tables on. The worker stays on
    /// this thread from then on.
    pub fn set_l7(&mut self, l7: Box<dyn LocalService>) {
        self.core.local.set_l7(l7);
    }

    /// Wakes the worker when it sleeps, from any thread.
    pub fn waker(&self) -> Waker {
        self.mailbox.waker().clone()
    }

    /// One turn of the loop, at time `now`: a burst of every port and of the
    /// other workers, timers, transmission. Returns true when there was work.
    pub fn poll(&mut self, now: Nanos) -> bool {
        self.turn(now, &mut || now)
    }

    /// The same; `clock` tells how long a swap of tables takes, and what local
    /// services do.
    fn turn(&mut self, now: Nanos, clock: &mut dyn FnMut() -> Nanos) -> bool {
        if self.turns == 0 {
            self.started = now;
        }
        self.turns = self.turns.wrapping_add(1);
        self.core.now = now;
        self.core.now_ms = now.millis();
        let mut work = self.read_mail(clock);
        // One burst sees one world.
        let tables = Arc::clone(&self.core.tables);
        let mut is_full = false;
        for port in 0..self.core.ports.len() {
            let received = self.receive(&tables, port);
            is_full |= received == BURST;
            work += received;
        }
        let Flows { v4, v6 } = &self.flows;
        let many_syns = v4.has_many_syns() || v6.has_many_syns();
        self.core.syn_gate.turn(is_full, many_syns, now);
        work += self.hear_news(&tables) + self.hear_of_visits();
        let handed = self.take_handed(&tables);
        is_full |= handed == self.handed_max() && handed > 0;
        work += handed;
        if self.core.answers.has_untold() {
            self.tell_answers();
        }
        // Packets that wait for services are forwarded before those have more.
        if self.share.is_services(is_full, now) {
            work += self.poll_local(&tables, clock);
        }
        self.core.shed = self.share.shed();
        work += self.run_timers(&tables, now);
        if self.core.events.sample() != 0 {
            self.tell_ends();
        }
        self.core.flush();
        for slot in &mut self.core.ports {
            slot.port.flush(&mut self.core.cache);
        }
        self.core.mesh.wake();
        self.publish_gauges(now);
        work > 0
    }

    /// Runs until control says stop. `clock` tells the time; it is read once a
    /// turn, and more often where tables are swapped or TCP ends here.
    pub fn run(&mut self, mut clock: impl FnMut() -> Nanos, mut idle: Idle) {
        let mut now = clock();
        while !self.stopping {
            let busy = self.turn(now, &mut clock);
            let after = clock();
            let counters = &self.core.counters;
            let took = after.since(now);
            counters.loops.add(1);
            counters.total_ns.set(after.since(self.started));
            if busy {
                counters.loops_busy.add(1);
                counters.busy_ns.add(took);
                if took > counters.poll_longest_ns.get() {
                    counters.poll_longest_ns.set(took);
                }
            }
            now = after;
            if idle.turn(busy, now) && self.sleep(&idle) {
                now = clock();
            }
        }
        self.close();
    }

    /// True once control has said stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Gives back every frame that can be: what waits is dropped.
    pub fn close(&mut self) {
        while let Some(held) = self.core.neighbors.release_any() {
            self.core.drop(held.frame, DropReason::Stopping);
        }
        fragment::close(&mut self.core);
        answer::close(&mut self.core);
        self.core.count_held();
        let mut handed = ArrayVec::<Handed, BURST>::new();
        while self.core.mesh.receive(0, BURST, |packet| handed.push(packet)) > 0 {
            self.core.counters.handed_in.add(handed.len() as u64);
            for packet in handed.drain(..) {
                match packet {
                    Handed::V4(packet) => self.core.drop_packet(packet, DropReason::Stopping),
                    Handed::V6(packet) => self.core.drop_packet(packet, DropReason::Stopping),
                }
            }
        }
        self.core.local.close();
        let Core { now, ref mut cache, ref mut local, .. } = self.core;
        let mut context = LocalContext { now, cache, path_mtu: PATH_MTU_MIN };
        while let Some(frame) = local.poll(&mut context) {
            context.cache.free(frame);
        }
        self.core.flush();
        for slot in &mut self.core.ports {
            slot.port.flush(&mut self.core.cache);
            slot.port.close(&mut self.core.cache);
        }
    }

    /// The worker's flows.
    pub fn flows(&self) -> &Flows {
        &self.flows
    }

    fn sleep(&mut self, idle: &Idle) -> bool {
        let waker = self.mailbox.waker();
        waker.prepare_sleep();
        let nothing_came = self.core.mesh.is_empty() && !self.mailbox.has_mail();
        let due_ns = self.core.local.next_due().map(|due| due.since(self.core.now));
        let slept = nothing_came && idle.sleep(&self.core.ports, waker, due_ns);
        waker.awake();
        self.core.counters.sleeps.add(u64::from(slept));
        slept
    }

    #[inline]
    fn receive(&mut self, tables: &Tables, port: usize) -> usize {
        let slot = &mut self.core.ports[port];
        let received = slot.port.rx(&mut self.core.cache, &mut self.burst);
        if received == 0 {
            return 0;
        }
        let bytes: u64 = self.burst.iter().map(|frame| frame.len() as u64).sum();
        let counters = &self.core.counters.ports[port];
        counters.rx_packets.add(received as u64);
        counters.rx_bytes.add(bytes);
        match tables.local.ports.get(port) {
            Some(local) => {
                journey::run(&mut self.core, &mut self.flows, tables, local, &mut self.burst);
            }
            // Nothing is known yet: nothing may pass.
            None => {
                for frame in self.burst.drain(..) {
                    self.core.refuse(PortId(port as u8), frame);
                }
            }
        }
        self.core.flush();
        received
    }

    /// Learns what other workers have heard of neighbors and paths.
    fn hear_news(&mut self, tables: &Tables) -> usize {
        for heard in 0..NEWS_BUDGET {
            // Each in turn: who hears much does not drown out the others.
            let Some(news) = self.core.mesh.hear(self.turns + heard) else { return heard };
            match news {
                News::Neighbor(news) => {
                    link::note(&mut self.core, news);
                }
                News::Path(news) => underlay::note(&mut self.core, tables, news),
            }
        }
        NEWS_BUDGET
    }

    /// Remembers where other workers have sent clients.
    fn hear_of_visits(&mut self) -> usize {
        let budget = VISITS_BUDGET * self.core.mesh.workers();
        for heard in 0..budget {
            let Some(visit) = self.core.mesh.hear_of_visit(self.turns + heard) else {
                return heard;
            };
            let forgets = self.core.affinities.learn(visit, self.core.now);
            self.core.counters.affinities_forgotten.add(u64::from(forgets));
        }
        budget
    }

    /// Takes what other workers have handed over: as many bursts as they can
    /// hand over in a turn of theirs, so that the rings do not fill up while
    /// everybody works at the same pace.
    fn take_handed(&mut self, tables: &Tables) -> usize {
        let mut work = 0;
        for _ in 0..self.handed_max() / BURST {
            let taken = journey::run_handed(&mut self.core, &mut self.flows, tables, self.turns);
            work += taken;
            if taken < BURST {
                break;
            }
        }
        work
    }

    /// Packets that are taken from other workers in a turn.
    fn handed_max(&self) -> usize {
        BURST * self.core.ports.len() * (self.core.mesh.workers() - 1)
    }

    /// Lets local services do what is due, and notes how long that takes.
    fn poll_local(&mut self, tables: &Tables, clock: &mut dyn FnMut() -> Nanos) -> usize {
        if !self.core.local.has_l7() {
            return self.turn_local(tables, clock);
        }
        let begin = clock();
        let work = self.turn_local(tables, clock);
        self.share.services_took(begin, clock(), work);
        work
    }

    /// Lets local services do what is due, and sends what they want sent: as much as can
    /// come to them in a turn.
    fn turn_local(&mut self, tables: &Tables, clock: &mut dyn FnMut() -> Nanos) -> usize {
        let budget = self.turn_max();
        let Core { now, ref mut cache, ref mut local, .. } = self.core;
        let mut context = LocalContext { now, cache, path_mtu: PATH_MTU_MIN };
        let work = usize::from(local.turn(&mut context, clock));
        for sent in 0..budget {
            let Core { now, ref mut cache, ref mut local, .. } = self.core;
            let mut context = LocalContext { now, cache, path_mtu: PATH_MTU_MIN };
            let Some(frame) = local.poll(&mut context) else { return sent + work };
            journey::originate(&mut self.core, &mut self.flows, tables, frame);
        }
        budget
    }

    /// Packets that can come in one turn: a burst of every port, here and at
    /// those who hand over.
    fn turn_max(&self) -> usize {
        BURST * self.core.ports.len() * self.core.mesh.workers()
    }

    fn run_timers(&mut self, tables: &Tables, now: Nanos) -> usize {
        // More than can begin in a turn, so that the wheel keeps up with any
        // load.
        let budget = self.turn_max() + BURST;
        let v4 = self.flows.v4.expire(self.core.now_ms, budget);
        let v6 = self.flows.v6.expire(self.core.now_ms, budget);
        self.core.counters.flows_removed[0].add(v4.removed as u64);
        self.core.counters.flows_removed[1].add(v6.removed as u64);
        if now.since(self.aged) >= AGE_INTERVAL_NS {
            self.aged = now;
            self.core.make_room_for_neighbors();
            self.core.age_neighbors();
            underlay::age(&mut self.core, tables);
            self.announce(tables);
            self.tell_conflicts();
            fragment::expire(&mut self.core);
            journey::run_overdue(&mut self.core, &mut self.flows, tables);
        }
        v4.visited + v6.visited
    }

    fn publish_gauges(&mut self, now: Nanos) {
        let counters = &self.core.counters;
        counters.flows_removed[0].add(self.flows.v4.take_given_up());
        counters.flows_removed[1].add(self.flows.v6.take_given_up());
        counters.flows[0].set(self.flows.v4.len() as u64);
        counters.flows[1].set(self.flows.v6.len() as u64);
        counters.snat_ports[0].set(self.flows.v4.snat_ports());
        counters.snat_ports[1].set(self.flows.v6.snat_ports());
        counters.syn_gate_closed.set(u64::from(self.core.syn_gate.is_closed()));
        counters.frames_cached.set(self.core.cache.len() as u64);
        if now.since(self.slow) >= SLOW_INTERVAL_NS {
            self.slow = now;
            for (slot, counters) in self.core.ports.iter().zip(&counters.ports) {
                counters.below.copy(slot.port.stats());
            }
        }
    }

    fn read_mail(&mut self, clock: &mut dyn FnMut() -> Nanos) -> usize {
        for read in 0..MAIL_BUDGET {
            let Some(message) = self.mailbox.receive() else { return read };
            match message {
                ToWorker::Tables(tables) => {
                    let begin = clock();
                    self.take_tables(tables);
                    self.core.counters.swaps.record(clock().since(begin));
                }
                ToWorker::DumpFlows { cursor, buffer } => self.dump_flows(cursor, buffer),
                ToWorker::DumpNeighbors { buffer } => self.dump_neighbors(buffer),
                ToWorker::Announce { vips } => self.take_announcement(vips),
                ToWorker::Observe(observe) => self.observe(observe),
                ToWorker::Answers(buffers) => self.core.answers.tell_with(buffers),
                ToWorker::Release { id, buffer } => {
                    self.core.answers.release(id, buffer);
                    let tables = Arc::clone(&self.core.tables);
                    journey::run_released(&mut self.core, &mut self.flows, &tables);
                }
                ToWorker::Stop => self.stopping = true,
            }
        }
        MAIL_BUDGET
    }

    fn take_tables(&mut self, tables: Arc<Tables>) {
        let version = tables.version;
        if tables.route_epoch != self.core.tables.route_epoch {
            self.core.neighbors.forget_next_hops();
        }
        let old = std::mem::replace(&mut self.core.tables, tables);
        self.core.local.take_tables(&self.core.tables);
        let (tables, capacity) = (&self.core.tables, &self.core.counters.snat_capacity);
        capacity[V4::INDEX].set(snat::capacity::<V4>(tables, self.core.worker));
        capacity[V6::INDEX].set(snat::capacity::<V6>(tables, self.core.worker));
        self.core.counters.tables_version.set(version);
        // `receive` has made sure that there is room for both.
        let _ = self.mailbox.send(FromWorker::Live { version });
        let _ = self.mailbox.send(FromWorker::Retired(old));
    }
}

fn flow_table<F: Ip>(options: &WorkerOptions, counters: &WorkerCounters) -> FlowTable<F> {
    let WorkerOptions { flows_max, ref timeouts, limits, seed, .. } = *options;
    FlowTable::new(flows_max, timeouts.clone(), limits, counters.loads.clone(), seed)
}
