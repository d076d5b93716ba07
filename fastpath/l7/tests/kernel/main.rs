//! The engine speaks to somebody who shares no code with it: the kernel's TCP, through
//! a TUN device.

mod tun;

use sluice_l7::tcp::{ConnId, ConnOptions, PacketSink, TcpConfig, TcpConn, TcpEngine};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::task::{Context, Poll, Waker};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;
use tun::{ENGINE, KERNEL, Tun, kernel_errors, now_ns, run};

const PORT: u16 = 8_080;
const MS: u64 = 1_000_000;
const PAUSE: Duration = Duration::from_millis(700);
/// A machine that is too busy for so long fails the test.
const DEADLINE_NS: u64 = 120_000 * MS;

/// What is done to packets, in both directions.
#[derive(Clone, Copy, Default)]
struct Faults {
    loss: f64,
    duplicate: f64,
    /// How many are late, by 3 ms at most.
    late: f64,
}

const FAULTY: Faults = Faults { loss: 0.02, duplicate: 0.02, late: 0.05 };

#[derive(Default)]
struct Outbox(Vec<Vec<u8>>);

impl PacketSink for Outbox {
    fn has_room(&self) -> bool {
        true
    }

    fn send(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8])) {
        let mut packet = vec![0xa5; len];
        fill(&mut packet);
        self.0.push(packet);
    }
}

/// One direction between the engine and the device.
struct Way {
    faults: Faults,
    random: fastrand::Rng,
    held: BinaryHeap<Reverse<(u64, u64, Vec<u8>)>>,
    count: u64,
}

impl Way {
    fn new(faults: Faults, seed: u64) -> Way {
        let random = fastrand::Rng::with_seed(seed);
        Way { faults, random, held: BinaryHeap::new(), count: 0 }
    }

    fn put(&mut self, packet: &[u8], now: u64) {
        if self.random.f64() < self.faults.loss {
            return;
        }
        for _ in 0..1 + usize::from(self.random.f64() < self.faults.duplicate) {
            let is_late = self.random.f64() < self.faults.late;
            let at = now + if is_late { self.random.u64(0..3 * MS) } else { 0 };
            self.count += 1;
            self.held.push(Reverse((at, self.count, packet.to_vec())));
        }
    }

    fn take(&mut self, now: u64) -> Option<Vec<u8>> {
        let is_due = self.held.peek().is_some_and(|Reverse((at, ..))| *at <= now);
        is_due.then(|| self.held.pop()).flatten().map(|Reverse((.., packet))| packet)
    }
}

/// A byte of a stream, by its place.
fn byte(at: usize, seed: u8) -> u8 {
    (at as u8).wrapping_add((at >> 8) as u8).wrapping_add((at >> 16) as u8) ^ seed
}

fn fill(into: &mut [u8], at: usize, seed: u8) {
    for (n, place) in into.iter_mut().enumerate() {
        *place = byte(at + n, seed);
    }
}

fn check(data: &[u8], at: usize, seed: u8) {
    let wrong = data.iter().enumerate().find(|(n, had)| **had != byte(at + n, seed));
    assert!(wrong.is_none(), "byte {} is wrong", at + wrong.unwrap().0);
}

/// The kernel's end: sends and receives at once, to the end of both.
fn kernel_end(stream: TcpStream, len: usize, is_paused: bool) {
    let mut reader = stream.try_clone().unwrap();
    let reads = spawn(move || {
        if is_paused {
            std::thread::park_timeout(PAUSE);
        }
        let (mut got, mut buffer) = (0, vec![0; 65_536]);
        loop {
            match reader.read(&mut buffer).unwrap() {
                0 => break,
                n => {
                    check(&buffer[..n], got, 2);
                    got += n;
                }
            }
        }
        assert_eq!(got, len, "what the kernel has received");
    });
    let (mut writer, mut buffer) = (stream, vec![0; 50_000]);
    for at in (0..len).step_by(buffer.len()) {
        let n = buffer.len().min(len - at);
        fill(&mut buffer[..n], at, 1);
        writer.write_all(&buffer[..n]).unwrap();
    }
    writer.shutdown(Shutdown::Write).unwrap();
    reads.join().unwrap();
}

/// The engine's end of a connection.
#[derive(Default)]
struct End {
    sent: usize,
    received: usize,
    is_at_end: bool,
    is_shut: bool,
}

impl End {
    fn pump(&mut self, engine: &mut TcpEngine, id: ConnId, len: usize, reads: bool) {
        let mut conn = engine.conn(id).unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut buffer = [0; 10_000];
        while self.sent < len {
            let n = buffer.len().min(len - self.sent);
            fill(&mut buffer[..n], self.sent, 2);
            match conn.poll_write(&mut context, &buffer[..n]) {
                Poll::Ready(written) => self.sent += written.unwrap(),
                Poll::Pending => break,
            }
        }
        if self.sent == len && !self.is_shut && conn.poll_open(&mut context).is_ready() {
            self.is_shut = true;
            conn.shutdown();
        }
        while reads && let Poll::Ready(read) = conn.poll_read(&mut context, &mut buffer) {
            match read.unwrap() {
                0 => {
                    self.is_at_end = true;
                    break;
                }
                n => {
                    check(&buffer[..n], self.received, 1);
                    self.received += n;
                }
            }
        }
    }
}

struct Lab {
    tun: Tun,
    engine: TcpEngine,
    /// To the engine, and from it.
    ways: [Way; 2],
}

impl Lab {
    fn turn(&mut self) {
        let now = now_ns();
        let mut buffer = [0; 2_000];
        for _ in 0..64 {
            let Some(packet) = self.tun.read(&mut buffer) else { break };
            // Beside multicast, which the kernel sends by itself.
            if packet[if packet[0] >> 4 == 4 { 9 } else { 6 }] == 6 {
                self.ways[0].put(packet, now);
            }
        }
        let mut outbox = Outbox::default();
        let mut listens =
            |local: SocketAddr, _: SocketAddr| (local.port() == PORT).then(ConnOptions::default);
        while let Some(packet) = self.ways[0].take(now) {
            self.engine.deliver(&packet, now, &mut listens, &mut outbox);
        }
        let next = self.engine.poll(now, 64, &mut outbox);
        for packet in outbox.0 {
            self.ways[1].put(&packet, now);
        }
        while let Some(packet) = self.ways[1].take(now) {
            self.tun.write(&packet);
        }
        self.tun.wait(next.map_or(MS, |next| next.saturating_sub(now).min(MS)));
    }
}

/// A connection over which both send so much, opened from one side or the other.
#[derive(Clone, Copy)]
struct Case {
    family: usize,
    is_kernel_first: bool,
    faults: Faults,
    len: usize,
    /// Both begin to read after a while, when windows are closed.
    is_paused: bool,
    sysctls: &'static [&'static str],
    /// The kernel's SYN is answered with a cookie.
    is_flooded: bool,
}

const CASE: Case = Case {
    family: 0,
    is_kernel_first: true,
    faults: Faults { loss: 0.0, duplicate: 0.0, late: 0.0 },
    len: 20_000_000,
    is_paused: false,
    sysctls: &[],
    is_flooded: false,
};

/// Runs a case on a thread of its own, since that changes what network it is in.
fn transfer(case: Case) {
    let done = spawn(move || transfer_here(case)).join();
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn transfer_here(case: Case) {
    let Case { family, is_kernel_first, faults, len, is_paused, sysctls, is_flooded } = case;
    let Some(tun) = Tun::up() else { return };
    for setting in sysctls {
        run("sysctl", &format!("-w {setting}"));
    }
    let half_open_max = if is_flooded { 0 } else { 10 };
    let config = TcpConfig { half_open_max, ..TcpConfig::default() };
    let engine = TcpEngine::new(config, [7; 16]);
    let mut lab = Lab { tun, engine, ways: [Way::new(faults, 1), Way::new(faults, 2)] };
    let address = |ip: &str| SocketAddr::new(ip.parse().unwrap(), PORT);
    let (kernel, gateway) = (address(KERNEL[family]), address(ENGINE[family]));
    let mut id = None;
    let peer: JoinHandle<()> = if is_kernel_first {
        spawn(move || kernel_end(TcpStream::connect(gateway).unwrap(), len, is_paused))
    } else {
        let listener = TcpListener::bind(kernel).unwrap();
        let options = ConnOptions::default();
        id = Some(lab.engine.connect(gateway, kernel, options, now_ns()).unwrap());
        spawn(move || kernel_end(listener.accept().unwrap().0, len, is_paused))
    };
    let start = now_ns();
    let mut end = End::default();
    while !end.is_at_end || !peer.is_finished() {
        assert!(now_ns() < start + DEADLINE_NS, "{} {}", end.sent, end.received);
        lab.turn();
        id = id.or_else(|| lab.engine.accept());
        if let Some(id) = id {
            let reads = !is_paused || now_ns() > start + PAUSE.as_nanos() as u64;
            end.pump(&mut lab.engine, id, len, reads);
        }
    }
    peer.join().unwrap();
    assert_eq!(end.received, len, "what the engine has received");
    lab.engine.release(id.unwrap(), now_ns());
    while lab.engine.connections() > 0 {
        assert!(now_ns() < start + DEADLINE_NS, "it is not closed");
        lab.turn();
    }
    assert_eq!(lab.engine.buffered_bytes(), 0);
    let counters = lab.engine.counters();
    assert_eq!((counters.malformed, counters.aborts_sent, counters.resets_received), (0, 0, 0));
    assert_eq!(kernel_errors(), 0);
    assert!(counters.window_probes > 0 || !is_paused);
    assert_eq!(counters.cookies_taken, u64::from(is_flooded));
}

#[test]
fn the_kernel_connects() {
    for family in [0, 1] {
        transfer(Case { family, ..CASE });
    }
}

#[test]
fn the_kernel_connects_by_a_cookie() {
    for family in [0, 1] {
        transfer(Case { family, is_flooded: true, ..CASE });
        transfer(Case { family, is_flooded: true, faults: FAULTY, len: 5_000_000, ..CASE });
    }
}

#[test]
fn the_kernel_listens() {
    for family in [0, 1] {
        transfer(Case { family, is_kernel_first: false, ..CASE });
    }
}

#[test]
fn packets_are_lost_doubled_and_late() {
    for (family, is_kernel_first) in [(0, true), (1, true), (0, false), (1, false)] {
        transfer(Case { family, is_kernel_first, faults: FAULTY, len: 5_000_000, ..CASE });
    }
}

#[test]
fn windows_close_and_open_again() {
    for family in [0, 1] {
        transfer(Case { family, is_paused: true, ..CASE });
    }
}

#[test]
fn the_kernel_offers_less() {
    let faulty = Case { faults: FAULTY, len: 2_000_000, ..CASE };
    let least =
        &["net.ipv4.tcp_sack=0", "net.ipv4.tcp_timestamps=0", "net.ipv4.tcp_window_scaling=0"];
    transfer(Case { sysctls: &least[..1], ..faulty });
    transfer(Case { sysctls: &least[1..2], family: 1, is_kernel_first: false, ..faulty });
    transfer(Case { sysctls: least, is_kernel_first: false, ..faulty });
    transfer(Case { sysctls: least, family: 1, ..faulty });
}
