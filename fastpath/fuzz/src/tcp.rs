//! Segments into the TCP engine, from a peer who knows what is expected and does something
//! else.

use crate::input::Input;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use sluice_l7::tcp::{ConnId, ConnOptions, PacketSink, TcpConfig, TcpConn, TcpEngine};
use std::net::SocketAddr;
use std::task::{Context, Waker};

const SECOND: u64 = 1_000_000_000;

/// Bounds that inputs reach.
const CONNECTIONS_MAX: usize = 4;
const HALF_OPEN_MAX: usize = 2;
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// What is sent.
#[derive(Default)]
struct Sent(Vec<Vec<u8>>);

impl PacketSink for Sent {
    fn has_room(&self) -> bool {
        true
    }

    fn send(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8])) {
        let mut packet = vec![0; len];
        fill(&mut packet);
        self.0.push(packet);
    }
}

struct Bench {
    engine: TcpEngine,
    options: ConnOptions,
    now_ns: u64,
    is_v4: bool,
    ids: Vec<ConnId>,
    /// What the gateway has sent last: the next number of its, and what it expects.
    next: u32,
    expected: u32,
}

/// An input is the family and the options, then steps.
pub fn tcp(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let config = TcpConfig {
        connections_max: CONNECTIONS_MAX,
        half_open_max: if flags & 2 == 0 { HALF_OPEN_MAX } else { 0 },
        time_wait_max: 2,
        buffer_bytes_max: BUFFER_BYTES_MAX,
        ..TcpConfig::default()
    };
    let bytes = [1_000, 16_384, 65_536, 200_000][usize::from(flags >> 2 & 3)];
    let mut bench = Bench {
        engine: TcpEngine::new(config, [7; 16]),
        options: ConnOptions {
            receive_buffer: bytes,
            send_buffer: bytes,
            ..ConnOptions::default()
        },
        now_ns: SECOND,
        is_v4: flags & 1 == 0,
        ids: Vec::new(),
        next: 0,
        expected: 0,
    };
    while !input.is_empty() {
        bench.step(&mut input);
    }
    bench.end();
}

impl Bench {
    fn ends(&self, peer_port: u8) -> (SocketAddr, SocketAddr) {
        let (gateway, peer): (std::net::IpAddr, std::net::IpAddr) = match self.is_v4 {
            true => ([10, 0, 0, 1].into(), [10, 0, 0, 2].into()),
            false => {
                let addr = |last| [0xfd00, 0, 0, 0, 0, 0, 0, last].into();
                (addr(1), addr(2))
            }
        };
        ((gateway, 80).into(), (peer, 40_000 + u16::from(peer_port & 3)).into())
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let step = input.byte();
        let mut context = Context::from_waker(Waker::noop());
        let chosen = self.ids.get(usize::from(step >> 4) % self.ids.len().max(1)).copied();
        match step & 15 {
            0..=7 => {
                let packet = self.segment(step >> 4, input);
                self.deliver(&packet);
            }
            8 => {
                let len = input.byte();
                let packet = input.bytes(len.into());
                self.deliver(packet);
                self.engine.deliver_icmp(packet);
            }
            9 => {
                let (local, remote) = self.ends(step >> 4);
                let opened = self.engine.connect(local, remote, self.options, self.now_ns);
                self.ids.extend(opened);
            }
            10 => {
                if let Some(id) = chosen {
                    self.engine.release(id, self.now_ns);
                }
            }
            11 | 12 => {
                let len = usize::from(input.word());
                if let Some(mut conn) = chosen.and_then(|id| self.engine.conn(id)) {
                    let _ = match step & 15 {
                        11 => conn.poll_write(&mut context, &vec![1; len]),
                        _ => conn.poll_read(&mut context, &mut vec![0; len]),
                    };
                }
            }
            13 | 14 => {
                if let Some(mut conn) = chosen.and_then(|id| self.engine.conn(id)) {
                    if step & 15 == 13 { conn.shutdown() } else { conn.abort() }
                }
            }
            _ => self.now_ns += 1 << (input.byte() & 31),
        }
        self.poll();
        self.ids.extend(std::iter::from_fn(|| self.engine.accept()));
        assert!(self.engine.connections() <= CONNECTIONS_MAX, "too many connections");
        assert!(self.engine.half_open() <= HALF_OPEN_MAX, "too many handshakes");
        // Each buffer may have its first block.
        let most = BUFFER_BYTES_MAX + (CONNECTIONS_MAX + HALF_OPEN_MAX) * 2 * 4_096;
        assert!(self.engine.buffered_bytes() <= most, "too much memory");
    }

    /// A segment whose numbers are near those that are right.
    fn segment(&self, port: u8, input: &mut Input<'_>) -> Vec<u8> {
        let flags = input.byte();
        let near = |word: u16| match word >> 14 {
            // Mostly what is right, or a little beside it.
            0 => 0,
            1 => i32::from(word & 7) - 4,
            2 => i32::from(word & 0x3fff) - 0x2000,
            _ => i32::from(word) << 16,
        };
        let seq = self.expected.wrapping_add_signed(near(input.word()));
        let ack = self.next.wrapping_add_signed(near(input.word()));
        let (window, len) = (input.word(), usize::from(input.word() & 0x7ff));
        let options = input.byte();
        let options = input.bytes(usize::from(options % 11) * 4);
        let (gateway, peer) = self.ends(port);
        let builder = match (peer.ip(), gateway.ip()) {
            (std::net::IpAddr::V4(from), std::net::IpAddr::V4(to)) => {
                etherparse::PacketBuilder::ipv4(from.octets(), to.octets(), 64)
            }
            (std::net::IpAddr::V6(from), std::net::IpAddr::V6(to)) => {
                etherparse::PacketBuilder::ipv6(from.octets(), to.octets(), 64)
            }
            _ => unreachable!("both ends are of one family"),
        };
        let mut tcp = builder.tcp(peer.port(), gateway.port(), seq, window);
        for (bit, set) in [(1, 'F'), (2, 'S'), (4, 'R'), (16, 'A')] {
            tcp = match set {
                _ if flags & bit == 0 => tcp,
                'F' => tcp.fin(),
                'S' => tcp.syn(),
                'R' => tcp.rst(),
                _ => tcp.ack(ack),
            };
        }
        let tcp = match tcp.options_raw(options) {
            Ok(tcp) => tcp,
            Err(_) => unreachable!("40 bytes at most, in words"),
        };
        let mut packet = Vec::new();
        let written = tcp.write(&mut packet, &vec![1; len]);
        assert!(written.is_ok(), "a segment that cannot be written");
        packet
    }

    fn deliver(&mut self, packet: &[u8]) {
        let (options, mut sent) = (self.options, Sent::default());
        let mut listens = |local: SocketAddr, _| (local.port() == 80).then_some(options);
        self.engine.deliver(packet, self.now_ns, &mut listens, &mut sent);
        self.read(&sent);
    }

    fn poll(&mut self) {
        for polls in 0.. {
            assert!(polls < 1_000, "it never rests");
            let mut sent = Sent::default();
            let next = self.engine.poll(self.now_ns, 16, &mut sent);
            self.read(&sent);
            if next.is_none_or(|next| next > self.now_ns) {
                return;
            }
        }
    }

    /// Everything that is sent can be read, fits the path, and has right checksums.
    fn read(&mut self, sent: &Sent) {
        for packet in &sent.0 {
            assert!(packet.len() <= 1_500, "longer than the path takes");
            let Ok(sliced) = SlicedPacket::from_ip(packet) else { panic!("no IP packet is sent") };
            let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else {
                panic!("no TCP segment is sent")
            };
            let checksum = match &sliced.net {
                Some(NetSlice::Ipv4(ip)) => {
                    tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination())
                }
                Some(NetSlice::Ipv6(ip)) => {
                    tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination())
                }
                _ => panic!("no IP packet is sent"),
            };
            assert_eq!(checksum.ok(), Some(tcp.checksum()), "a wrong checksum");
            if !tcp.rst() {
                let controls = u32::from(tcp.syn()) + u32::from(tcp.fin());
                let len = tcp.payload().len() as u32 + controls;
                self.next = tcp.sequence_number().wrapping_add(len);
                if tcp.ack() {
                    self.expected = tcp.acknowledgment_number();
                }
            }
        }
    }

    /// Everything ends when its time is over.
    fn end(mut self) {
        for _ in 0..60 {
            self.ids.extend(std::iter::from_fn(|| self.engine.accept()));
            for id in std::mem::take(&mut self.ids) {
                self.engine.release(id, self.now_ns);
            }
            self.now_ns += 20 * SECOND;
            self.poll();
        }
        assert_eq!(self.engine.half_open() + self.engine.connections(), 0, "something stays");
        assert_eq!(self.engine.buffered_bytes(), 0, "memory stays");
    }
}
