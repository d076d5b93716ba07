use sluice_l7::tcp::{
    ConnId, ConnOptions, Ended, Listeners, PacketSink, TcpConfig, TcpConn, TcpCounters, TcpEngine,
    TcpState,
};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

/// Nanoseconds in a millisecond and a second.
pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;

/// Who opens connections, and who listens on its port 80 unless told otherwise.
pub const CLIENT: usize = 0;
pub const SERVER: usize = 1;

pub const FAMILIES: [bool; 2] = [true, false];

/// What happens to packets on their way.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    pub loss: f64,
    pub duplicate: f64,
    /// One way.
    pub delay_ns: u64,
    /// Added to the delay at random, for each packet: a source of reordering.
    pub jitter_ns: u64,
}

/// Packets that an engine has sent.
#[derive(Default)]
pub struct Outbox {
    pub packets: Vec<Vec<u8>>,
    pub is_full: bool,
}

impl PacketSink for Outbox {
    fn has_room(&self) -> bool {
        !self.is_full
    }

    fn send(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8])) {
        // What was there before must not show.
        let mut packet = vec![0xa5; len];
        fill(&mut packet);
        self.packets.push(packet);
    }
}

/// The listeners of a host: its port 80.
pub struct Port80(pub ConnOptions);

impl Listeners for Port80 {
    fn listens(&mut self, local: SocketAddr, _remote: SocketAddr) -> Option<ConnOptions> {
        (local.port() == 80).then_some(self.0)
    }
}

/// Whether a packet is lost: of whom, what, and how many were before it.
type Drops = dyn FnMut(usize, &[u8], usize) -> bool;

/// Changes a packet.
type Mangles = dyn FnMut(&mut Vec<u8>);

/// When it arrives, a number that keeps the order, where, and what.
type OnWire = (u64, usize, usize, Vec<u8>);

/// Two engines, a wire and a clock.
pub struct Net {
    pub now: u64,
    pub engines: [TcpEngine; 2],
    pub faults: Faults,
    /// Nothing arrives before.
    pub silent_until: u64,
    pub options: ConnOptions,
    /// Every packet that was sent, by whom, lost ones too.
    pub log: Vec<(usize, Vec<u8>)>,
    /// Decides which packets are lost, beside the faults.
    pub drops: Box<Drops>,
    /// Changes packets on their way.
    pub mangles: Box<Mangles>,
    random: fastrand::Rng,
    wire: BinaryHeap<Reverse<OnWire>>,
}

impl Net {
    pub fn new(seed: u64, faults: Faults) -> Net {
        Net::with(seed, faults, TcpConfig::default())
    }

    /// Both engines with one config.
    pub fn with(seed: u64, faults: Faults, config: TcpConfig) -> Net {
        Net {
            now: SECOND,
            engines: [TcpEngine::new(config.clone(), [1; 16]), TcpEngine::new(config, [2; 16])],
            faults,
            silent_until: 0,
            options: ConnOptions::default(),
            log: Vec::new(),
            drops: Box::new(|_, _, _| false),
            mangles: Box::new(|_| ()),
            random: fastrand::Rng::with_seed(seed),
            wire: BinaryHeap::new(),
        }
    }

    pub fn address(host: usize, is_v4: bool, port: u16) -> SocketAddr {
        let octet = host as u8 + 1;
        if is_v4 {
            ([10, 0, 0, octet], port).into()
        } else {
            ([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(octet)], port).into()
        }
    }

    /// Opens a connection from a port of the client's.
    pub fn connect(&mut self, is_v4: bool, port: u16) -> Stream {
        let (local, remote) = (Net::address(CLIENT, is_v4, port), Net::address(SERVER, is_v4, 80));
        let id = self.engines[CLIENT].connect(local, remote, self.options, self.now).unwrap();
        Stream::new(CLIENT, id)
    }

    /// Opens a connection and waits for it at both ends.
    pub fn pair(&mut self, is_v4: bool, port: u16) -> (Stream, Stream) {
        let client = self.connect(is_v4, port);
        let mut server = None;
        assert!(self.run(60 * SECOND, |net| {
            server = server.or_else(|| net.engines[SERVER].accept());
            server.is_some() && net.state(&client) == Some(TcpState::Established)
        }));
        (client, Stream::new(SERVER, server.unwrap()))
    }

    pub fn state(&mut self, stream: &Stream) -> Option<TcpState> {
        self.engines[stream.host].conn(stream.id).map(|conn| conn.state())
    }

    pub fn counters(&self, host: usize) -> &TcpCounters {
        self.engines[host].counters()
    }

    /// Goes on, event by event, until `done`; false if the time is over before.
    pub fn run(&mut self, limit_ns: u64, mut done: impl FnMut(&mut Net) -> bool) -> bool {
        let end = self.now + limit_ns;
        loop {
            if done(self) {
                return true;
            }
            let next = self.settle();
            if done(self) {
                return true;
            }
            match self.settle().min(next) {
                next if next > end => {
                    self.now = end;
                    return false;
                }
                next => self.now = self.now.max(next),
            }
            while let Some(Reverse((at, ..))) = self.wire.peek()
                && *at <= self.now
            {
                let Some(Reverse((_, _, to, packet))) = self.wire.pop() else { break };
                self.deliver(to, &packet);
            }
        }
    }

    /// Lets time pass.
    pub fn wait(&mut self, ns: u64) {
        self.run(ns, |_| false);
    }

    /// Polls both engines until neither has anything to do now; when something
    /// happens next.
    fn settle(&mut self) -> u64 {
        let mut next = u64::MAX;
        for host in [CLIENT, SERVER] {
            let mut outbox = Outbox::default();
            let mut turns = 0;
            let at = loop {
                match self.engines[host].poll(self.now, 64, &mut outbox) {
                    Some(at) if at <= self.now => turns += 1,
                    at => break at,
                }
                assert!(turns < 10_000, "an engine never rests");
            };
            self.post(host, outbox);
            next = next.min(at.unwrap_or(u64::MAX));
        }
        next.min(self.wire.peek().map_or(u64::MAX, |Reverse((at, ..))| *at))
    }

    /// Gives a host a packet, as the wire does.
    pub fn deliver(&mut self, host: usize, packet: &[u8]) {
        let mut outbox = Outbox::default();
        let mut listeners = Port80(self.options);
        self.engines[host].deliver(packet, self.now, &mut listeners, &mut outbox);
        self.post(host, outbox);
    }

    fn post(&mut self, from: usize, outbox: Outbox) {
        for packet in outbox.packets {
            let n = self.log.len();
            let is_lost = (self.drops)(from, &packet, n) || self.random.f64() < self.faults.loss;
            let copies = 1 + usize::from(self.random.f64() < self.faults.duplicate);
            for copy in 0..if is_lost { 0 } else { copies } {
                let jitter = self.random.u64(0..=self.faults.jitter_ns);
                let at = (self.now + self.faults.delay_ns + jitter).max(self.silent_until);
                let mut packet = packet.clone();
                (self.mangles)(&mut packet);
                self.wire.push(Reverse((at, 2 * n + copy, 1 - from, packet)));
            }
            self.log.push((from, packet));
        }
    }
}

/// An application's end of a connection.
pub struct Stream {
    pub host: usize,
    pub id: ConnId,
    /// What is to be sent, and how much of it is.
    pub data: Vec<u8>,
    pub sent: usize,
    pub received: Vec<u8>,
    pub is_at_end: bool,
    pub ended: Option<Ended>,
    /// Whether a FIN follows the data.
    pub shuts: bool,
    pub reads: bool,
}

impl Stream {
    pub fn new(host: usize, id: ConnId) -> Stream {
        Stream {
            host,
            id,
            data: Vec::new(),
            sent: 0,
            received: Vec::new(),
            is_at_end: false,
            ended: None,
            shuts: false,
            reads: true,
        }
    }

    /// Sends `len` bytes that are told apart by their places, then a FIN.
    pub fn send(&mut self, len: usize, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        self.data = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
        self.shuts = true;
    }

    /// Writes and reads what can be.
    pub fn pump(&mut self, net: &mut Net) {
        let Some(mut conn) = net.engines[self.host].conn(self.id) else { return };
        let mut context = Context::from_waker(Waker::noop());
        while self.sent < self.data.len() {
            match conn.poll_write(&mut context, &self.data[self.sent..]) {
                Poll::Ready(Ok(written)) => self.sent += written,
                Poll::Ready(Err(ended)) => {
                    self.ended = Some(ended);
                    return;
                }
                Poll::Pending => break,
            }
        }
        if self.shuts && self.sent == self.data.len() && !conn.state().is_opening() {
            self.shuts = false;
            conn.shutdown();
        }
        let mut buffer = [0; 4_096];
        while self.reads && !self.is_at_end {
            match conn.poll_read(&mut context, &mut buffer) {
                Poll::Ready(Ok(0)) => self.is_at_end = true,
                Poll::Ready(Ok(read)) => self.received.extend_from_slice(&buffer[..read]),
                Poll::Ready(Err(ended)) => {
                    self.ended = Some(ended);
                    return;
                }
                Poll::Pending => break,
            }
        }
    }

    pub fn conn<'a>(&self, net: &'a mut Net) -> sluice_l7::tcp::Conn<'a> {
        net.engines[self.host].conn(self.id).unwrap()
    }

    pub fn release(&self, net: &mut Net) {
        let now = net.now;
        net.engines[self.host].release(self.id, now);
    }
}
