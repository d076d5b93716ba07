//! Flows as the oracle knows them: an ordered map of tuples, searched and swept
//! naively. Nothing is cached: every packet is judged by today's world.

use super::parse::{Kind, Packet, Tuple};
use super::policy::Rules;
use super::wire::{ACK, FIN, RST, SYN};
use super::world::family as family_of;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Where a connection is, by the subject's labels.
#[derive(Clone, Debug)]
pub enum Track {
    Tcp(TcpTrack),
    Sctp(SctpTrack),
    Udp { answered: bool },
    Icmp,
    Generic,
}

/// A TCP connection as seen from the middle. Sides are client and server.
#[derive(Clone, Debug, Default)]
pub struct TcpTrack {
    /// The handshake so far: SYN, SYN-ACK, done.
    opening: u8,
    /// The side whose reset was believed last, while it is.
    reset_by: Option<usize>,
    /// By side: its FIN was seen, and acknowledged since.
    fin: [bool; 2],
    fin_acked: [bool; 2],
    /// By side: the latest number that it has acknowledged.
    acked: [Option<u32>; 2],
    /// The client's last SYN while it has no answer: the number behind it, and
    /// its window scale.
    syn: Option<(u32, Option<u8>)>,
    /// By side, once a SYN and its answer were seen.
    scale: Option<[u8; 2]>,
}

/// What else came of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Nothing,
    ResetIgnored,
    Restarted,
}

/// The life of an SCTP association as seen from the middle.
#[derive(Clone, Debug, Default)]
pub struct SctpTrack {
    /// The handshake so far: INIT, COOKIE ECHO, done.
    opening: u8,
    /// A shutdown was asked for.
    closing: bool,
    /// Aborted, or shut down.
    closed: bool,
    /// By side: the tag of what it sends.
    tags: [Option<u32>; 2],
    /// The tag of an INIT on the tuple of an association that there is.
    again: Option<u32>,
}

impl Track {
    /// The state that a flow begins in.
    pub fn begin(packet: &Packet) -> Self {
        match packet.kind {
            Kind::Tcp => {
                let is_syn = packet.flags & (SYN | ACK) == SYN;
                Track::Tcp(TcpTrack {
                    opening: if is_syn { 0 } else { 2 },
                    reset_by: (packet.flags & RST != 0).then_some(0),
                    syn: is_syn.then(|| (packet.numbers.0.wrapping_add(1), packet.scale)),
                    ..TcpTrack::default()
                })
            }
            Kind::Sctp => Track::Sctp(SctpTrack {
                opening: if packet.chunk == 1 { 0 } else { 2 },
                closing: [7, 8].contains(&packet.chunk),
                closed: [6, 14].contains(&packet.chunk),
                tags: match packet.chunk {
                    1 => [None, Some(packet.tags.1)],
                    6 | 7 | 8 | 14 => [None, None],
                    _ => [Some(packet.tags.0), None],
                },
                again: None,
            }),
            Kind::Udp => Track::Udp { answered: false },
            Kind::EchoRequest | Kind::EchoReply => Track::Icmp,
            _ => Track::Generic,
        }
    }

    /// True when a SYN or INIT of the client begins another connection.
    pub fn is_over(&self) -> bool {
        let over = ["time_wait", "close", "last_ack", "sctp_closed", "sctp_shutdown"];
        over.contains(&self.label())
    }

    /// Follows a packet from side 0 (client) or 1.
    pub fn follow(&mut self, packet: &Packet, side: usize) -> Heard {
        match self {
            Track::Tcp(tcp) => return tcp.follow(packet, side),
            Track::Sctp(sctp) => return sctp.follow(packet, side),
            Track::Udp { answered } => *answered |= side == 1,
            Track::Icmp | Track::Generic => {}
        }
        Heard::Nothing
    }

    /// A packet goes on: what it acknowledges is noted, unless it is far ahead
    /// or lies behind.
    pub fn acknowledge(&mut self, packet: &Packet, side: usize) {
        let Track::Tcp(tcp) = self else { return };
        if packet.flags & ACK == 0 || packet.flags & RST != 0 {
            return;
        }
        let to = packet.numbers.1;
        if tcp.acked[side].is_none_or(|from| ahead(from, to) < 32 << 20) {
            tcp.acked[side] = Some(to);
        }
    }

    /// The state's name, as `sluice show flows` prints it.
    pub fn label(&self) -> &'static str {
        match self {
            Track::Tcp(tcp) => tcp.label(),
            Track::Sctp(sctp) => sctp.label(),
            Track::Udp { answered: false } => "udp_new",
            Track::Udp { answered: true } => "udp_stream",
            Track::Icmp => "icmp",
            Track::Generic => "generic",
        }
    }

    /// Milliseconds without a packet until a flow in this state expires: the
    /// kernel's defaults, as kube-proxy sets them; of SCTP's handshakes and
    /// shutdowns RTO.Max (RFC 9260 section 16).
    pub fn timeout_ms(&self) -> u64 {
        let seconds = match self.label() {
            "syn_sent" | "fin_wait" | "time_wait" | "udp_stream" => 120,
            "syn_recv" | "sctp_init" | "sctp_cookie" | "sctp_shutdown" => 60,
            "established" | "sctp_established" => 86_400,
            "close_wait" => 3_600,
            "close" | "sctp_closed" => 10,
            "generic" => 600,
            // last_ack, udp_new, icmp
            _ => 30,
        };
        seconds * 1_000
    }
}

impl SctpTrack {
    fn follow(&mut self, packet: &Packet, side: usize) -> Heard {
        let (chunk, (tag, gives)) = (packet.chunk, packet.tags);
        match chunk {
            // Only while it begins does it say anything of tags.
            1 => {
                match (side, self.label()) {
                    (0, "sctp_init") => self.tags[1] = Some(gives),
                    (0, _) => self.again = Some(gives),
                    _ => {}
                }
                return Heard::Nothing;
            }
            6 if side == 1 && self.again == Some(tag) => {
                self.hear(chunk, side);
                return Heard::Nothing;
            }
            2 => {
                let answers = side == 1 && self.label() == "sctp_init" && self.tags[1] == Some(tag);
                if answers {
                    self.tags[0] = Some(gives);
                }
                return Heard::Nothing;
            }
            _ => {}
        }
        let ends = [6, 7, 8, 14].contains(&chunk);
        let is_turned = [6, 14].contains(&chunk) && self.tags[1 - side] == Some(tag);
        match self.tags[side] {
            Some(known) if known != tag && !is_turned => return Heard::ResetIgnored,
            None if !ends => self.tags[side] = Some(tag),
            _ => {}
        }
        self.hear(chunk, side);
        Heard::Nothing
    }

    fn hear(&mut self, chunk: u8, side: usize) {
        let (is_heartbeat, is_data) = ([4, 5].contains(&chunk), chunk == 0);
        if [6, 14].contains(&chunk) {
            self.closed = true;
        } else if self.closed {
            // Whoever goes on did not believe the end.
            if is_heartbeat || is_data {
                *self = SctpTrack {
                    opening: 2,
                    tags: self.tags,
                    again: self.again,
                    ..SctpTrack::default()
                };
            }
        } else if self.opening < 2 {
            if chunk == 10 {
                self.opening = 1;
            }
            if chunk == 11 && side == 1 {
                self.opening = 2;
            }
        } else if [7, 8].contains(&chunk) {
            self.closing = true;
        } else if is_heartbeat {
            self.closing = false;
        }
    }

    fn label(&self) -> &'static str {
        match (self.closed, self.opening, self.closing) {
            (true, ..) => "sctp_closed",
            (_, 0, _) => "sctp_init",
            (_, 1, _) => "sctp_cookie",
            (.., true) => "sctp_shutdown",
            (.., false) => "sctp_established",
        }
    }
}

/// How far one sequence number is ahead of another, in a space that wraps.
fn ahead(from: u32, to: u32) -> u64 {
    (u64::from(to) + (1 << 32) - u64::from(from)) % (1 << 32)
}

impl TcpTrack {
    /// Whether a reset is believed: it refuses the client's SYN, or lies in the
    /// window of its receiver, as far as that is known.
    fn believes(&self, packet: &Packet, side: usize) -> bool {
        let (seq, ack) = packet.numbers;
        let refuses = side == 1
            && packet.flags & ACK != 0
            && self.syn.is_some_and(|(behind, _)| behind == ack);
        if side == 1 && self.label() == "syn_sent" {
            return refuses;
        }
        refuses || self.in_window(seq, side)
    }

    /// Whether a number of a side's is in the other one's window, as far as that
    /// is known.
    fn in_window(&self, number: u32, side: usize) -> bool {
        let receiver = 1 - side;
        let scale = self.scale.map_or(14, |scales| scales[receiver]);
        self.acked[receiver].is_none_or(|acked| ahead(acked, number) <= 65_535 << scale)
    }

    fn follow(&mut self, packet: &Packet, side: usize) -> Heard {
        let flags = packet.flags;
        if flags & RST != 0 {
            if !self.believes(packet, side) {
                return Heard::ResetIgnored;
            }
            self.reset_by = Some(side);
            return Heard::Nothing;
        }
        if self.reset_by == Some(1 - side) {
            return Heard::Nothing;
        }
        let (seq, _) = packet.numbers;
        if flags & FIN != 0
            && !self.fin[side]
            && !self.in_window(seq.wrapping_add(packet.payload), side)
        {
            return Heard::ResetIgnored;
        }
        let was_reset = self.reset_by.is_some();
        if flags & SYN != 0 {
            let (seq, ack) = packet.numbers;
            let is_answer = flags & ACK != 0;
            if side == 0 && !is_answer {
                self.syn = Some((seq.wrapping_add(1), packet.scale));
            }
            let asked = self.syn.filter(|(behind, _)| side == 1 && is_answer && *behind == ack);
            if let Some((_, offered)) = asked {
                let again = self.opening == 2;
                let scale = offered.zip(packet.scale).map_or([0, 0], |(c, s)| [c, s]);
                *self = TcpTrack { opening: 1, scale: Some(scale), ..TcpTrack::default() };
                return if again { Heard::Restarted } else { Heard::Nothing };
            }
            if side == 1 && self.opening == 0 && !was_reset {
                self.opening = 1;
            }
            return Heard::Nothing;
        }
        // Who goes on has not reset.
        if was_reset {
            self.reset_by = None;
            self.opening = 2;
            return Heard::Nothing;
        }
        // Nothing but a SYN answers a SYN.
        if self.opening == 0 {
            return Heard::Nothing;
        }
        if self.fin == [false; 2] && side == 0 && self.opening == 1 && flags & (ACK | FIN) == ACK {
            self.opening = 2;
            return Heard::Nothing;
        }
        // A FIN that is sent again was there before the other one came.
        let is_again = flags & FIN != 0 && self.fin[side];
        if flags & ACK != 0 && self.fin[1 - side] && !is_again {
            self.fin_acked[1 - side] = true;
        }
        if flags & FIN != 0 {
            self.fin[side] = true;
        }
        Heard::Nothing
    }

    fn label(&self) -> &'static str {
        if self.reset_by.is_some() {
            return "close";
        }
        let acked = self.fin_acked[0] || self.fin_acked[1];
        match (self.fin, self.opening) {
            ([false, false], 0) => "syn_sent",
            ([false, false], 1) => "syn_recv",
            ([false, false], _) => "established",
            ([true, true], _) if self.fin_acked == [true, true] => "time_wait",
            ([true, true], _) => "last_ack",
            _ if acked => "close_wait",
            _ => "fin_wait",
        }
    }
}

/// What a flow's packets become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    pub src: IpAddr,
    pub src_port: u16,
    pub dst: IpAddr,
    pub dst_port: u16,
}

impl Translation {
    /// Packets of a tuple stay as they are.
    pub fn none(tuple: &Tuple) -> Self {
        let Tuple { src, dst, src_port, dst_port, .. } = *tuple;
        Translation { src, src_port, dst, dst_port }
    }
}

/// What flows of an address are counted by: itself, or its /64, unless it is the
/// cluster's own.
pub fn source_of(address: &IpAddr, by_tunnel: bool) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) if by_tunnel => v6.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets()[..8].to_vec(),
    }
}

/// One flow.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The tuple of each direction's packets.
    pub tuples: [Tuple; 2],
    pub track: Track,
    pub service: Option<u32>,
    pub backend: Option<u32>,
    /// What its limits are counted by: see [`source_of`].
    pub source: Vec<u8>,
    /// The worker that has it.
    pub worker: usize,
    /// A packet of the server was looked at.
    pub answered: bool,
    /// Nobody has answered, or the handshake is not over; never again once that
    /// has changed.
    pub half_open: bool,
    /// The rules of policies that let its last packet pass.
    pub rules: Rules,
    /// Its last packet was denied.
    pub cut: bool,
    /// Time of the last packet of each direction that went on.
    pub seen_ms: [Option<u64>; 2],
    /// Time of the last change of state, by whatever packet.
    pub changed_ms: u64,
}

impl Flow {
    /// The flow is no longer half open, if that is so.
    pub fn settle(&mut self) {
        let opening = ["syn_sent", "syn_recv", "sctp_init", "sctp_cookie"];
        let opens = opening.contains(&self.track.label());
        self.half_open &= !self.answered || opens;
    }

    /// What a packet of a direction becomes: what the other one expects.
    pub fn translation(&self, side: usize) -> Translation {
        let other = &self.tuples[1 - side];
        Translation {
            src: other.dst,
            src_port: other.dst_port,
            dst: other.src,
            dst_port: other.src_port,
        }
    }

    /// Milliseconds without a packet until the flow expires.
    pub fn timeout_ms(&self) -> u64 {
        let answered = self.seen_ms[1].is_some();
        match self.track.label() {
            // Linux, `nf_conntrack_tcp_timeout_unacknowledged`.
            "established" | "sctp_established" if !answered => 300_000,
            _ => self.track.timeout_ms(),
        }
    }

    /// Milliseconds since the last packet of either direction.
    pub fn idle_ms(&self, now_ms: u64) -> u64 {
        now_ms - self.seen_ms.iter().flatten().max().copied().unwrap_or(0)
    }
}

/// All flows.
#[derive(Clone, Debug, Default)]
pub struct Flows {
    by_tuple: BTreeMap<Tuple, (u64, usize)>,
    list: BTreeMap<u64, Flow>,
    next: u64,
    /// The most that there were at a time, by family.
    most: [usize; 2],
}

impl Flows {
    /// The flow of a tuple and the direction that the tuple stands for.
    pub fn find(&self, tuple: &Tuple) -> Option<(u64, usize)> {
        self.by_tuple.get(tuple).copied()
    }

    pub fn get(&self, id: u64) -> &Flow {
        &self.list[&id]
    }

    pub fn get_mut(&mut self, id: u64) -> &mut Flow {
        self.list.get_mut(&id).expect("a flow")
    }

    pub fn add(&mut self, flow: Flow) -> u64 {
        let id = self.next;
        self.next += 1;
        for side in [1, 0] {
            self.by_tuple.insert(flow.tuples[side], (id, side));
        }
        let family = family_of(&flow.tuples[0].src);
        self.list.insert(id, flow);
        let now = self.list.values().filter(|other| family_of(&other.tuples[0].src) == family);
        self.most[family] = self.most[family].max(now.count());
        id
    }

    /// The most flows of a family that there were at a time.
    pub fn most(&self, family: usize) -> usize {
        self.most[family]
    }

    pub fn remove(&mut self, id: u64) {
        if let Some(flow) = self.list.remove(&id) {
            for tuple in flow.tuples {
                self.by_tuple.remove(&tuple);
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, &Flow)> {
        self.list.iter().map(|(id, flow)| (*id, flow))
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }
}

/// What is counted per Service: packets and bytes from and to clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceCount {
    pub packets: [u64; 2],
    pub bytes: [u64; 2],
}
