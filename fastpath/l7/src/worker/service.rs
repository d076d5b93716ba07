use super::executor::Executor;
use super::frames::Outgoing;
use super::net::{Shared, WorkerNet};
use super::stream::WorkerStream;
use crate::asks::{Ask, asks};
use crate::serving::{Served, Serving};
use crate::tcp::{ConnOptions, Share, TcpConfig, TcpConn, TcpCounters, TcpEngine};
use crossbeam_channel::{Receiver, Sender};
use sluice_fastpath::Nanos;
use sluice_fastpath::local::{LocalContext, LocalPacket, LocalService};
use sluice_io::Frame;
use sluice_tables::l7::{L7, ListenerId};
use sluice_tables::mailbox::Waker;
use sluice_tables::{Family, Tables, V4, V6};
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Connections that are looked at in one turn, and sleepers that are woken.
const BUDGET: usize = 256;

/// How long tasks run in one turn, as the gateway is shipped.
pub const SLICE: Duration = Duration::from_micros(30);

/// How often what is counted is published.
const PUBLISH_INTERVAL_NS: u64 = Nanos::SECOND / 4;

/// How L7 of a worker is set up.
#[derive(Clone, Debug)]
pub struct L7Options {
    /// The worker's number.
    pub worker: usize,
    /// Bounds and times of TCP.
    pub tcp: TcpConfig,
    /// What connections of clients are made with, the MTU left out.
    pub clients: ConnOptions,
    /// What connections to endpoints are made with, the MTU left out.
    pub endpoints: ConnOptions,
    /// How long tasks may run in one turn: packets that are only forwarded wait as long.
    pub slice: Duration,
    /// Keys sequence numbers and cookies: from the operating system.
    pub secret: [u8; 16],
    /// Milliseconds from 1970 to the start of the worker's time: somebody else sets them
    /// anew where the clock is set.
    pub unix_ms: Arc<AtomicU64>,
    /// Set by anybody: what has begun is to be over at this time of the worker's, in
    /// nanoseconds, and nothing begins any more. 0: nobody has said so.
    pub ends_at_ns: Arc<AtomicU64>,
}

/// What is served on the worker's connections.
pub trait Application {
    /// Takes over a connection that a client has opened.
    fn accept(&self, stream: WorkerStream, listener: ListenerId);

    /// Takes the tables that count from now on.
    fn take_tables(&self, tables: &L7);

    /// Ends in order: nothing begins any more, and what has begun is over at a time.
    fn drain(&self, until_ns: u64);

    /// What it has done so far.
    fn served(&self) -> Served;

    /// Answers a question of another thread; one that is dropped has no answer.
    fn answer(&self, _: Ask) {}

    /// It asks network policies about each request that it sends to an endpoint.
    fn asks_policies(&self) -> bool {
        false
    }
}

/// One that could not be made serves nobody.
impl<A: Application> Application for Option<A> {
    fn accept(&self, stream: WorkerStream, listener: ListenerId) {
        if let Some(application) = self {
            application.accept(stream, listener);
        }
    }

    fn take_tables(&self, tables: &L7) {
        if let Some(application) = self {
            application.take_tables(tables);
        }
    }

    fn drain(&self, until_ns: u64) {
        if let Some(application) = self {
            application.drain(until_ns);
        }
    }

    fn served(&self) -> Served {
        self.as_ref().map(A::served).unwrap_or_default()
    }

    fn answer(&self, ask: Ask) {
        if let Some(application) = self {
            application.answer(ask);
        }
    }

    fn asks_policies(&self) -> bool {
        self.as_ref().is_some_and(A::asks_policies)
    }
}

impl Application for Serving<WorkerNet> {
    fn accept(&self, stream: WorkerStream, listener: ListenerId) {
        Serving::accept(self, stream, listener);
    }

    fn take_tables(&self, tables: &L7) {
        Serving::take_tables(self, tables);
    }

    fn drain(&self, until_ns: u64) {
        Serving::drain(self, until_ns);
    }

    fn served(&self) -> Served {
        Serving::served(self)
    }

    fn answer(&self, ask: Ask) {
        Serving::answer(self, ask);
    }

    fn asks_policies(&self) -> bool {
        true
    }
}

/// L7 of one worker.
pub struct L7Service<A> {
    shared: Rc<Shared>,
    application: A,
    outgoing: Outgoing,
    clients: ConnOptions,
    slice_ns: u64,
    ends_at_ns: Arc<AtomicU64>,
    is_ending: bool,
    next_ns: Option<u64>,
    told: Arc<Mutex<L7Told>>,
    told_ns: u64,
    asked: Receiver<Ask>,
    asks: Sender<Ask>,
    slices_full: u64,
    packets_in: u64,
    packets_out: u64,
}

/// What L7 of a worker tells of itself, some times a second.
#[derive(Clone, Debug, Default)]
pub struct L7Told {
    /// What its TCP has done.
    pub tcp: TcpCounters,
    /// Connections whose handshake is not over.
    pub half_open: usize,
    /// All other connections.
    pub connections: usize,
    /// Bytes that buffers of connections hold.
    pub buffered_bytes: usize,
    /// Tasks that have panicked.
    pub panics: u64,
    /// Packets that no frame could hold.
    pub too_large: u64,
    /// What was served.
    pub served: Served,
    /// Turns in which tasks had more to do than their slice lets them.
    pub slices_full: u64,
    /// Packets of connections that have come, and that were sent.
    pub packets: (u64, u64),
}

impl<A: Application> L7Service<A> {
    /// L7 whose application `serve` makes, on the worker's thread. `waker` is the
    /// worker's. What it tells of itself can be read from the other half.
    pub fn new(
        options: &L7Options,
        waker: Waker,
        serve: impl FnOnce(WorkerNet) -> A,
    ) -> (Self, Arc<Mutex<L7Told>>) {
        let seed = u64::from_ne_bytes(std::array::from_fn(|byte| options.secret[byte]));
        let shared = Rc::new(Shared {
            worker: options.worker,
            engine: RefCell::new(TcpEngine::new(options.tcp.clone(), options.secret)),
            executor: Executor::new(waker),
            timers: Rc::default(),
            tables: RefCell::default(),
            random: RefCell::new(fastrand::Rng::with_seed(seed.rotate_left(17))),
            options: options.endpoints,
            unix_ms: Arc::clone(&options.unix_ms),
        });
        let told = Arc::default();
        let (asks, asked) = asks();
        let service = L7Service {
            application: serve(WorkerNet(shared.clone())),
            shared,
            outgoing: Outgoing::default(),
            clients: options.clients,
            slice_ns: u64::try_from(options.slice.as_nanos()).unwrap_or(u64::MAX),
            ends_at_ns: Arc::clone(&options.ends_at_ns),
            is_ending: false,
            next_ns: None,
            told: Arc::clone(&told),
            told_ns: 0,
            asked,
            asks,
            slices_full: 0,
            packets_in: 0,
            packets_out: 0,
        };
        (service, told)
    }

    /// Where questions go that other threads have. Whoever sleeps is to be woken, and takes
    /// one no sooner than it publishes what is counted.
    pub fn asks(&self) -> Sender<Ask> {
        self.asks.clone()
    }

    fn accept(&mut self) -> bool {
        let mut any = false;
        loop {
            let Some(id) = self.shared.engine.borrow_mut().accept() else { return any };
            any = true;
            let Some(stream) = WorkerStream::new(&self.shared, id) else { continue };
            let local = crate::net::Stream::local(&stream);
            let tables = self.shared.tables.borrow();
            match tables.as_deref().and_then(|tables| listener(tables, local)) {
                Some(listener) => {
                    drop(tables);
                    self.application.accept(stream, listener);
                }
                // It was listened for when the client began.
                None => {
                    if let Some(mut conn) = self.shared.engine.borrow_mut().conn(id) {
                        conn.abort();
                    }
                }
            }
        }
    }

    /// Publishes what is counted, unless somebody reads it just now, and answers one who
    /// asks for more.
    fn publish(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.told_ns) < PUBLISH_INTERVAL_NS {
            return;
        }
        if let Ok(ask) = self.asked.try_recv() {
            self.application.answer(ask);
        }
        let Ok(mut told) = self.told.try_lock() else { return };
        self.told_ns = now_ns;
        let engine = self.shared.engine.borrow();
        told.tcp = engine.counters().clone();
        told.half_open = engine.half_open();
        told.connections = engine.connections();
        told.buffered_bytes = engine.buffered_bytes();
        told.panics = self.shared.executor.panics();
        told.too_large = self.outgoing.too_large;
        told.served = self.application.served();
        told.slices_full = self.slices_full;
        told.packets = (self.packets_in, self.packets_out);
    }
}

/// What listens at an address.
fn listener(tables: &Tables, local: SocketAddr) -> Option<ListenerId> {
    let port = local.port();
    match local.ip() {
        IpAddr::V4(_) => tables.v4.listeners.get(&(V4::from_ip(local.ip())?, port)).copied(),
        IpAddr::V6(_) => tables.v6.listeners.get(&(V6::from_ip(local.ip())?, port)).copied(),
    }
}

impl<A: Application> LocalService for L7Service<A> {
    fn deliver(
        &mut self,
        packet: LocalPacket,
        context: &mut LocalContext<'_>,
    ) -> Result<(), Frame> {
        let frame = packet.into_frame();
        self.packets_in += 1;
        let options = ConnOptions { mtu: context.path_mtu, ..self.clients };
        let tables = self.shared.tables.borrow();
        let mut listens = |local: SocketAddr, _: SocketAddr| {
            let listener = listener(tables.as_deref()?, local)?;
            Some(ConnOptions { share: Share::of_listener(listener.0), ..options })
        };
        let mut sink = self.outgoing.sink(context.cache);
        let mut engine = self.shared.engine.borrow_mut();
        engine.deliver(frame.data(), context.now.0, &mut listens, &mut sink);
        drop((engine, sink));
        context.cache.free(frame);
        self.next_ns = Some(0);
        Ok(())
    }

    fn poll(&mut self, _context: &mut LocalContext<'_>) -> Option<Frame> {
        let frame = self.outgoing.pop();
        self.packets_out += u64::from(frame.is_some());
        frame
    }

    fn hear_of_error(&mut self, packet: &[u8]) {
        self.shared.engine.borrow_mut().deliver_icmp(packet);
        self.next_ns = Some(0);
    }

    fn take_tables(&mut self, tables: &Arc<Tables>) {
        let old = self.shared.tables.replace(Some(tables.clone()));
        self.application.take_tables(&tables.l7);
        drop(old);
    }

    fn turn(&mut self, context: &mut LocalContext<'_>, clock: &mut dyn FnMut() -> Nanos) -> bool {
        let now_ns = context.now.0;
        let mut has_work = self.shared.timers.advance(now_ns, BUDGET);
        has_work |= self.accept();
        let ends_at_ns = self.ends_at_ns.load(Ordering::Relaxed);
        if ends_at_ns != 0 && !self.is_ending {
            self.is_ending = true;
            self.application.drain(ends_at_ns);
        }
        if self.shared.executor.has_work() {
            has_work = true;
            let until = clock().0.saturating_add(self.slice_ns);
            self.shared.executor.run(|| clock().0 >= until);
            self.slices_full += u64::from(self.shared.executor.has_work());
            self.next_ns = Some(0);
        }
        if has_work || self.next_ns.is_some_and(|next_ns| next_ns <= now_ns) {
            let mut sink = self.outgoing.sink(context.cache);
            let mut engine = self.shared.engine.borrow_mut();
            self.next_ns = engine.poll(now_ns, BUDGET, &mut sink);
            has_work |= self.next_ns.is_some_and(|next_ns| next_ns <= now_ns);
        }
        self.publish(now_ns);
        has_work || !self.outgoing.is_empty()
    }

    fn next_due(&self) -> Option<Nanos> {
        if self.shared.executor.has_work() || !self.outgoing.is_empty() {
            return Some(Nanos(0));
        }
        [self.next_ns, self.shared.timers.next_ns()].into_iter().flatten().min().map(Nanos)
    }

    fn close(&mut self) {
        self.shared.executor.close();
        self.shared.tables.replace(None);
    }

    fn asks_policies(&self) -> bool {
        self.application.asks_policies()
    }
}
