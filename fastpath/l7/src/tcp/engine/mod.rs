mod connection;
mod handle;
mod ingress;
mod poll;
mod strangers;

pub use handle::Conn;

use super::config::{ConnOptions, TcpConfig};
use super::conn::{ConnId, Ended};
use super::cookie::Cookies;
use super::counters::TcpCounters;
use super::emit::ip_len;
use super::key::{Key, KeyedHash};
use super::machine::{Env, Machine, Pool, Setup};
use super::pressure::{Pressure, Share};
use super::secret::Secrets;
use super::tombs::Tombs;
use crate::bucket::Bucket;
use crate::wheel::Wheel;
use connection::{Connection, Stage};
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// The TCP connections of one worker.
///
/// ```text
///   deliver ----> table: 4-tuple -> slot --+--> a connection's machine --> ready
///      |                                   |
///      +--> TIME-WAIT, SYN, cookie, RST    +<-- wheel, applications
///   poll <------ packets to the sink ------+--- ready: what may have to send
/// ```
///
/// Times are nanoseconds since any start, the same for all calls; they do not run
/// back. Tables have room for as many connections as there may be from the start (which
/// the system backs as it is used). A connection takes the memory of its buffers as they
/// fill, in blocks that go from one connection to the next; idle it has less than a
/// kilobyte.
pub struct TcpEngine {
    config: TcpConfig,
    counters: TcpCounters,
    secrets: Secrets,
    cookies: Cookies,
    answers: Bucket,
    /// The memory of buffers.
    pool: Pool,
    /// The last time that was told.
    now_ns: u64,
    /// Connections by their 4-tuples, as long as segments are for them.
    table: HashMap<Key, u32, KeyedHash>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    half_open: usize,
    tombs: Tombs,
    /// Slots that may have something to send, each once.
    ready: VecDeque<u32>,
    wheel: Wheel,
    /// Established from outside, not taken over yet.
    accepted: VecDeque<ConnId>,
}

/// The place of a connection.
#[derive(Default)]
struct Slot {
    generation: u32,
    is_ready: bool,
    connection: Option<Box<Connection>>,
}

/// Why a connection was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// `connections_max` is reached.
    Full,
    /// There is a connection of this 4-tuple.
    InUse,
    /// There can be no connection between these addresses and ports.
    Unaddressable,
}

impl TcpEngine {
    /// An engine without connections. `secret` keys its tables, sequence numbers and
    /// cookies: let it come from the operating system.
    pub fn new(config: TcpConfig, secret: [u8; 16]) -> Self {
        let secrets = Secrets::new(secret);
        let hash = KeyedHash(secrets.table);
        let places = config.half_open_max.saturating_add(config.connections_max);
        TcpEngine {
            cookies: Cookies::new(secrets.cookie),
            answers: Bucket::new(config.answers_max_per_s),
            pool: Pool::new(config.buffer_bytes_max),
            now_ns: 0,
            table: HashMap::with_capacity_and_hasher(places, hash.clone()),
            slots: Vec::with_capacity(places),
            free: Vec::with_capacity(places),
            half_open: 0,
            tombs: Tombs::new(config.time_wait_max, hash),
            ready: VecDeque::with_capacity(places),
            wheel: Wheel::new(places),
            accepted: VecDeque::with_capacity(config.connections_max),
            counters: TcpCounters::default(),
            secrets,
            config,
        }
    }

    /// What was done so far.
    pub fn counters(&self) -> &TcpCounters {
        &self.counters
    }

    /// Connections whose handshake, begun outside, is not over.
    pub fn half_open(&self) -> usize {
        self.half_open
    }

    /// All other connections that are not released and gone.
    pub fn connections(&self) -> usize {
        self.slots.len() - self.free.len() - self.half_open
    }

    /// Connections in TIME-WAIT, some of them perhaps over.
    pub fn time_waits(&self) -> usize {
        self.tombs.len()
    }

    /// Bytes that the buffers of connections hold.
    pub fn buffered_bytes(&self) -> usize {
        self.pool.bytes()
    }

    /// How much of what buffers may hold they do, in all and of a share.
    pub fn pressure(&self, share: Share) -> Pressure {
        self.pool.pressure(share)
    }

    /// Opens a connection from `local` to `remote`. Its SYN is sent by the next
    /// [`TcpEngine::poll`].
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        options: ConnOptions,
        now_ns: u64,
    ) -> Result<ConnId, ConnectError> {
        let key = Key::new(local, remote);
        if !key.is_possible() {
            return Err(ConnectError::Unaddressable);
        }
        if self.table.contains_key(&key) {
            return Err(ConnectError::InUse);
        }
        if self.connections() >= self.config.connections_max {
            self.counters.refused_connections += 1;
            return Err(ConnectError::Full);
        }
        self.now_ns = now_ns;
        let options = options.towards(&key.remote);
        let setup = self.setup(&key, self.isn(&key, now_ns), &options);
        self.tombs.remove(&key);
        let connection = Connection::new(key, Machine::open(&setup), options.mtu, now_ns);
        let slot = self.add(Connection {
            stage: Stage::Owned,
            until_ns: after(now_ns, self.config.half_open_timeout),
            ..connection
        });
        Ok(self.id(slot))
    }

    /// The next connection from outside that was established. It may have ended
    /// since; it is to be released in any case.
    pub fn accept(&mut self) -> Option<ConnId> {
        let id = self.accepted.pop_front()?;
        if let Some(connection) = self.connection(id.slot) {
            connection.stage = Stage::Owned;
        }
        Some(id)
    }

    /// A connection to read and write; `None` when it was released and is gone.
    pub fn conn(&mut self, id: ConnId) -> Option<Conn<'_>> {
        self.check(id)?;
        Some(Conn::new(self, id.slot))
    }

    /// Gives a connection back. What was written is still sent, then a FIN; the peer
    /// has `fin_timeout` for its own. Where something came that was not read, or comes
    /// yet, the connection is reset: the peer must not believe that it was
    /// (RFC 2525 section 2.17).
    pub fn release(&mut self, id: ConnId, now_ns: u64) {
        let Some(slot) = self.check(id) else { return };
        self.now_ns = now_ns;
        let fin_timeout = self.config.fin_timeout;
        let place = self.slots[slot as usize].connection.as_deref_mut();
        let Some(connection) = place else { return };
        let mut env = Env { now_ns, pool: &mut self.pool, counters: &mut self.counters };
        connection.stage = Stage::Released;
        connection.until_ns = after(now_ns, fin_timeout);
        connection.until_una = connection.machine.una();
        if !connection.is_open {
            self.remove(slot);
            return;
        }
        if connection.machine.unread() > 0 || connection.state().is_opening() {
            connection.end(Ended::Aborted, &mut env);
        } else {
            connection.shutdown(&mut env);
        }
        self.make_ready(slot);
    }

    /// The initial sequence number of a new connection: beyond what an earlier one of
    /// the same 4-tuple has used (RFC 1122 section 4.2.2.13).
    fn isn(&self, key: &Key, now_ns: u64) -> u32 {
        match self.tombs.get(key, now_ns) {
            Some(tomb) => tomb.snd_nxt.wrapping_add(0x1_0001),
            None => self.secrets.isn(key, now_ns),
        }
    }

    /// What a machine is made with.
    fn setup(&self, key: &Key, iss: u32, options: &ConnOptions) -> Setup {
        Setup {
            iss,
            mss: options.mtu - headers_len(key),
            receive_buffer: options.receive_buffer,
            send_buffer: options.send_buffer,
            share: options.share,
            stamp_offset: self.secrets.stamp_offset(key),
        }
    }

    fn add(&mut self, connection: Connection) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        self.half_open += usize::from(connection.stage == Stage::HalfOpen);
        self.table.insert(connection.key, slot);
        self.slots[slot as usize].connection = Some(Box::new(connection));
        self.make_ready(slot);
        slot
    }

    /// Ends a connection for the outside: segments are no longer for it. What came
    /// can still be read.
    fn detach(&mut self, slot: u32) {
        self.wheel.clear(slot);
        let Some(connection) = self.slots[slot as usize].connection.as_mut() else { return };
        if std::mem::take(&mut connection.is_open) {
            self.table.remove(&connection.key);
        }
        if matches!(connection.stage, Stage::HalfOpen | Stage::Released) {
            self.remove(slot);
        }
    }

    /// Frees what a connection has.
    fn remove(&mut self, slot: u32) {
        self.wheel.clear(slot);
        let place = &mut self.slots[slot as usize];
        let Some(mut connection) = place.connection.take() else { return };
        let mut env =
            Env { now_ns: self.now_ns, pool: &mut self.pool, counters: &mut self.counters };
        connection.machine.discard(&mut env);
        place.generation = place.generation.wrapping_add(1);
        self.free.push(slot);
        self.half_open -= usize::from(connection.stage == Stage::HalfOpen);
        if connection.is_open {
            self.table.remove(&connection.key);
        }
    }

    fn make_ready(&mut self, slot: u32) {
        if !std::mem::replace(&mut self.slots[slot as usize].is_ready, true) {
            self.ready.push_back(slot);
        }
    }

    fn connection(&mut self, slot: u32) -> Option<&mut Connection> {
        self.slots.get_mut(slot as usize)?.connection.as_deref_mut()
    }

    fn id(&self, slot: u32) -> ConnId {
        ConnId { slot, generation: self.slots[slot as usize].generation }
    }

    /// The slot of a connection that is still the one.
    fn check(&self, id: ConnId) -> Option<u32> {
        let slot = self.slots.get(id.slot as usize)?;
        (slot.generation == id.generation && slot.connection.is_some()).then_some(id.slot)
    }
}

fn after(now_ns: u64, duration: Duration) -> u64 {
    now_ns.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// Bytes of the headers of a segment without options.
fn headers_len(key: &Key) -> u16 {
    ip_len(key) as u16 + 20
}
