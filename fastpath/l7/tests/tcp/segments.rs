//! Segments by hand: built and read with etherparse.

use crate::net::{Outbox, Port80, SECOND};
use etherparse::{
    NetSlice, PacketBuilder, SlicedPacket, TcpHeader, TcpOptionElement, TransportSlice,
};
use sluice_l7::tcp::{ConnOptions, TcpConfig, TcpEngine};
use std::net::SocketAddr;

/// A segment, as a test writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seg {
    /// Of `S`, `A`, `F`, `R`.
    pub flags: &'static str,
    pub seq: u32,
    pub ack: u32,
    pub payload: Vec<u8>,
    pub window: u16,
    pub mss: Option<u16>,
    /// Window scale; not read.
    pub scale: Option<u8>,
    /// Whether selective acknowledgment is offered; not read.
    pub may_sack: bool,
    /// Blocks of it.
    pub sacks: Vec<(u32, u32)>,
    /// Timestamps: the sender's own, and the echo.
    pub stamps: Option<(u32, u32)>,
}

impl Seg {
    pub fn new(flags: &'static str, seq: u32, ack: u32) -> Seg {
        Seg { flags, seq, ack, window: 1_000, ..Seg::default() }
    }

    pub fn with(self, payload: &[u8]) -> Seg {
        Seg { payload: payload.to_vec(), ..self }
    }

    /// The IP packet.
    pub fn packet(&self, src: SocketAddr, dst: SocketAddr) -> Vec<u8> {
        let mut tcp = TcpHeader::new(src.port(), dst.port(), self.seq, self.window);
        tcp.syn = self.flags.contains('S');
        tcp.ack = self.flags.contains('A');
        tcp.fin = self.flags.contains('F');
        tcp.rst = self.flags.contains('R');
        tcp.acknowledgment_number = self.ack;
        let mss = self.mss.map(TcpOptionElement::MaximumSegmentSize);
        let scale = self.scale.map(TcpOptionElement::WindowScale);
        let may_sack = self.may_sack.then_some(TcpOptionElement::SelectiveAcknowledgementPermitted);
        let stamps = self.stamps.map(|(value, echo)| TcpOptionElement::Timestamp(value, echo));
        let sacks = self.sacks.split_first().map(|(first, rest)| {
            let mut more = [None; 3];
            rest.iter().zip(&mut more).for_each(|(block, place)| *place = Some(*block));
            TcpOptionElement::SelectiveAcknowledgement(*first, more)
        });
        let options = [mss, scale, may_sack, stamps, sacks];
        let options: Vec<_> = options.into_iter().flatten().collect();
        tcp.set_options(&options).unwrap();
        let builder = match (src, dst) {
            (SocketAddr::V4(src), SocketAddr::V4(dst)) => {
                PacketBuilder::ipv4(src.ip().octets(), dst.ip().octets(), 64)
            }
            (SocketAddr::V6(src), SocketAddr::V6(dst)) => {
                PacketBuilder::ipv6(src.ip().octets(), dst.ip().octets(), 64)
            }
            _ => panic!("one family"),
        };
        let mut packet = Vec::new();
        builder.tcp_header(tcp).write(&mut packet, &self.payload).unwrap();
        packet
    }

    /// Reads a packet; its checksums must be right.
    pub fn read(packet: &[u8]) -> Seg {
        let sliced = SlicedPacket::from_ip(packet).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else { panic!("no TCP") };
        let checksum = match sliced.net.as_ref().unwrap() {
            NetSlice::Ipv4(ip) => {
                let header = ip.header();
                assert_eq!(header.to_header().calc_header_checksum(), header.header_checksum());
                assert!(header.dont_fragment());
                tcp.calc_checksum_ipv4(header.source(), header.destination())
            }
            NetSlice::Ipv6(ip) => {
                tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination())
            }
            _ => panic!("no IP"),
        };
        assert_eq!(checksum.unwrap(), tcp.checksum());
        let flags = match (tcp.syn(), tcp.ack(), tcp.fin(), tcp.rst()) {
            (true, false, false, false) => "S",
            (true, true, false, false) => "SA",
            (false, true, false, false) => "A",
            (false, true, true, false) => "FA",
            (false, false, false, true) => "R",
            (false, true, false, true) => "RA",
            other => panic!("flags {other:?}"),
        };
        let (mut mss, mut stamps, mut sacks) = (None, None, Vec::new());
        for option in tcp.options_iterator() {
            match option.unwrap() {
                TcpOptionElement::MaximumSegmentSize(bytes) => mss = Some(bytes),
                TcpOptionElement::Timestamp(value, echo) => stamps = Some((value, echo)),
                TcpOptionElement::SelectiveAcknowledgement(first, more) => {
                    sacks = std::iter::once(first).chain(more.into_iter().flatten()).collect();
                }
                _ => {}
            }
        }
        Seg {
            flags,
            seq: tcp.sequence_number(),
            ack: tcp.acknowledgment_number(),
            payload: tcp.payload().to_vec(),
            window: tcp.window_size(),
            mss,
            scale: None,
            may_sack: false,
            sacks,
            stamps,
        }
    }
}

/// One engine and a peer that is a test.
pub struct Bench {
    pub engine: TcpEngine,
    pub now: u64,
    pub options: ConnOptions,
    pub gateway: SocketAddr,
    pub peer: SocketAddr,
}

impl Bench {
    pub fn new(is_v4: bool, config: TcpConfig) -> Bench {
        let (gateway, peer) = if is_v4 {
            (([192, 0, 2, 1], 80).into(), ([198, 51, 100, 7], 40_000).into())
        } else {
            let address = |n| [0x2001, 0xdb8, 0, 0, 0, 0, 0, n];
            ((address(1), 80).into(), (address(7), 40_000).into())
        };
        Bench {
            engine: TcpEngine::new(config, [9; 16]),
            now: SECOND,
            options: ConnOptions::default(),
            gateway,
            peer,
        }
    }

    /// What the engine answers to a segment, at once and when it is polled.
    pub fn say(&mut self, segment: &Seg) -> Vec<Seg> {
        let packet = segment.packet(self.peer, self.gateway);
        self.give(&packet)
    }

    pub fn give(&mut self, packet: &[u8]) -> Vec<Seg> {
        let mut outbox = Outbox::default();
        self.engine.deliver(packet, self.now, &mut Port80(self.options), &mut outbox);
        self.poll_into(outbox)
    }

    pub fn poll(&mut self) -> Vec<Seg> {
        self.poll_into(Outbox::default())
    }

    fn poll_into(&mut self, mut outbox: Outbox) -> Vec<Seg> {
        while self.engine.poll(self.now, 100, &mut outbox).is_some_and(|next| next <= self.now) {}
        outbox.packets.iter().map(|packet| Seg::read(packet)).collect()
    }

    /// Shakes hands from sequence number `isn` on; the engine's first one.
    pub fn establish(&mut self, isn: u32) -> u32 {
        self.establish_with(Seg { mss: Some(1_460), ..Seg::new("S", isn, 0) })
    }

    /// Shakes hands with options.
    pub fn establish_with(&mut self, syn: Seg) -> u32 {
        let answers = self.say(&syn);
        assert_eq!((answers.len(), answers[0].flags), (1, "SA"));
        let ours = syn.seq.wrapping_add(1);
        assert_eq!(answers[0].ack, ours);
        let theirs = answers[0].seq.wrapping_add(1);
        let stamps = syn.stamps.map(|(value, _)| (value, answers[0].stamps.unwrap().0));
        assert_eq!(self.say(&Seg { stamps, ..Seg::new("A", ours, theirs) }), []);
        theirs
    }
}
