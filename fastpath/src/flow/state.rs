use crate::wire::l4::{Kind, flags};
use crate::wire::sctp::Chunk;

/// Where a connection is. TCP's states are those of Linux's conntrack, seen
/// from the middle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// The entry is free.
    #[default]
    Free,
    /// TCP: a SYN was seen.
    SynSent,
    /// TCP: a SYN and its SYN-ACK were seen.
    SynRecv,
    /// TCP: both directions have acknowledged.
    Established,
    /// TCP: one side has sent its FIN.
    FinWait,
    /// TCP: that FIN was acknowledged; the other side may go on sending.
    CloseWait,
    /// TCP: both sides have sent their FIN.
    LastAck,
    /// TCP: both FINs were acknowledged.
    TimeWait,
    /// TCP: reset.
    Close,
    /// SCTP: INIT was seen, perhaps its answer too.
    SctpInit,
    /// SCTP: the client has returned the cookie.
    SctpCookie,
    /// SCTP: the server has acknowledged the cookie.
    SctpEstablished,
    /// SCTP: one side has sent SHUTDOWN.
    SctpShutdown,
    /// SCTP: aborted, or the shutdown is complete.
    SctpClosed,
    /// UDP: no answer yet.
    UdpNew,
    /// UDP: answered.
    UdpStream,
    /// ICMP echo.
    Icmp,
    /// Any other protocol.
    Generic,
}

/// Milliseconds without a packet after which a flow in a state expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// By [`State`]; the first belongs to free entries.
    pub by_state_ms: [u32; 18],
    /// At most, for TCP or SCTP picked up in the middle that nobody has answered yet:
    /// one forged segment is enough to begin it.
    pub unanswered_ms: u32,
}

impl Default for Timeouts {
    /// Kernel defaults, as kube-proxy sets them: established 24 h, CLOSE_WAIT
    /// 1 h, unanswered 5 min (`nf_conntrack_tcp_timeout_unacknowledged`).
    /// SCTP's established is TCP's: the kernel's is 210 s now, 5 days once, but not
    /// every association sends heartbeats, and the longest timeout is how long the
    /// numbers of endpoints rest. Its handshakes and shutdowns are kept for RTO.Max
    /// (RFC 9260 section 16) instead of the kernel's 3 s, since a chunk that is sent
    /// again must find its flow.
    fn default() -> Self {
        let mut timeouts = Timeouts { by_state_ms: [0; 18], unanswered_ms: 300_000 };
        for (state, seconds) in [
            (State::SynSent, 120),
            (State::SynRecv, 60),
            (State::Established, 86_400),
            (State::FinWait, 120),
            (State::CloseWait, 3_600),
            (State::LastAck, 30),
            (State::TimeWait, 120),
            (State::Close, 10),
            (State::SctpInit, 60),
            (State::SctpCookie, 60),
            (State::SctpEstablished, 86_400),
            (State::SctpShutdown, 60),
            (State::SctpClosed, 10),
            (State::UdpNew, 30),
            (State::UdpStream, 120),
            (State::Icmp, 30),
            (State::Generic, 600),
        ] {
            timeouts.set(state, seconds * 1_000);
        }
        timeouts
    }
}

impl Timeouts {
    /// Sets a state's timeout. At most 2^31 milliseconds (24 days), so that
    /// times of entries can be compared.
    pub fn set(&mut self, state: State, ms: u32) {
        self.by_state_ms[state as usize] = ms.min(1 << 31);
    }

    /// The timeout of a state, in milliseconds.
    #[inline]
    pub fn of(&self, state: State) -> u32 {
        self.by_state_ms[state as usize]
    }

    /// The timeout of a flow in a state that nobody has answered yet, in
    /// milliseconds.
    #[inline]
    pub fn of_unanswered(&self, state: State) -> u32 {
        let ms = self.of(state);
        match state {
            State::Established | State::SctpEstablished => ms.min(self.unanswered_ms),
            _ => ms,
        }
    }
}

impl State {
    /// The state's name in output.
    pub fn label(self) -> &'static str {
        match self {
            State::Free => "free",
            State::SynSent => "syn_sent",
            State::SynRecv => "syn_recv",
            State::Established => "established",
            State::FinWait => "fin_wait",
            State::CloseWait => "close_wait",
            State::LastAck => "last_ack",
            State::TimeWait => "time_wait",
            State::Close => "close",
            State::SctpInit => "sctp_init",
            State::SctpCookie => "sctp_cookie",
            State::SctpEstablished => "sctp_established",
            State::SctpShutdown => "sctp_shutdown",
            State::SctpClosed => "sctp_closed",
            State::UdpNew => "udp_new",
            State::UdpStream => "udp_stream",
            State::Icmp => "icmp",
            State::Generic => "generic",
        }
    }

    /// The state of a flow that begins with this packet.
    pub fn initial(kind: Kind, tcp_flags: u8) -> State {
        match kind {
            Kind::Tcp if tcp_flags & (flags::SYN | flags::ACK) == flags::SYN => State::SynSent,
            // Picked up in the middle, as Linux does (`nf_conntrack_tcp_loose`).
            Kind::Tcp if tcp_flags & flags::RST != 0 => State::Close,
            Kind::Tcp => State::Established,
            Kind::Sctp(Chunk::Init) => State::SctpInit,
            Kind::Sctp(Chunk::Abort | Chunk::ShutdownComplete) => State::SctpClosed,
            Kind::Sctp(Chunk::Shutdown | Chunk::ShutdownAck) => State::SctpShutdown,
            // Picked up in the middle, or on another path of its ends.
            Kind::Sctp(_) => State::SctpEstablished,
            Kind::Udp => State::UdpNew,
            Kind::EchoRequest | Kind::EchoReply => State::Icmp,
            _ => State::Generic,
        }
    }

    /// True when a packet can leave the state as it is without a closer look,
    /// whatever its direction: everything but TCP control flags. None of SCTP's
    /// can: which chunks matter is looked at together with the checksum.
    #[inline]
    pub fn is_steady(self) -> bool {
        matches!(self, State::Established | State::UdpStream | State::Icmp | State::Generic)
    }

    /// True when a new flow may take the entry's place under pressure.
    pub fn is_reusable(self) -> bool {
        matches!(self, State::TimeWait | State::Close | State::SctpClosed)
    }

    /// True when a SYN begins another connection on the tuple.
    pub fn is_over(self) -> bool {
        matches!(self, State::TimeWait | State::Close | State::LastAck)
    }

    /// True for TCP whose handshake is not over.
    #[inline]
    pub fn is_handshake(self) -> bool {
        matches!(self, State::SynSent | State::SynRecv)
    }

    /// True for a connection whose handshake is not over.
    pub fn is_half_open(self) -> bool {
        matches!(self, State::SynSent | State::SynRecv | State::SctpInit | State::SctpCookie)
    }
}

/// What a connection remembers of FINs: low bits of [`crate::flow::Entry::bits`].
/// The side that began the flow is the client.
pub mod fin {
    /// The client has sent its FIN.
    pub const CLIENT: u8 = 1;
    /// The server has sent its FIN.
    pub const SERVER: u8 = 2;
    /// The server has acknowledged after the client's FIN.
    pub const CLIENT_ACKED: u8 = 4;
    /// The client has acknowledged after the server's FIN.
    pub const SERVER_ACKED: u8 = 8;
}

/// The next state of a TCP connection, and its FIN bits, after a packet with
/// `tcp_flags` from the client (or the server).
pub fn next_tcp(state: State, fins: u8, tcp_flags: u8, from_client: bool) -> (State, u8) {
    use flags::{ACK, FIN, RST, SYN};
    if tcp_flags & RST != 0 {
        return (State::Close, fins);
    }
    match state {
        State::SynSent if !from_client && tcp_flags & (SYN | ACK) == SYN | ACK => {
            return (State::SynRecv, fins);
        }
        // Simultaneous open (RFC 9293 section 3.5).
        State::SynSent if !from_client && tcp_flags & SYN != 0 => return (State::SynRecv, fins),
        // Nothing but a SYN answers a SYN.
        State::SynSent => return (state, fins),
        State::SynRecv if from_client && tcp_flags & (SYN | ACK) == ACK && tcp_flags & FIN == 0 => {
            return (State::Established, fins);
        }
        // The reset was not believed by the ends: they go on.
        State::Close if tcp_flags & SYN == 0 => return (resume(fins), fins),
        _ => {}
    }
    if tcp_flags & SYN != 0 {
        return (state, fins);
    }
    let mut fins = fins;
    let (own, other, other_acked) = if from_client {
        (fin::CLIENT, fin::SERVER, fin::SERVER_ACKED)
    } else {
        (fin::SERVER, fin::CLIENT, fin::CLIENT_ACKED)
    };
    // A FIN that is sent again was first sent before the other side's came.
    let is_again = tcp_flags & FIN != 0 && fins & own != 0;
    if tcp_flags & ACK != 0 && fins & other != 0 && !is_again {
        fins |= other_acked;
    }
    if tcp_flags & FIN != 0 {
        fins |= own;
    }
    if fins == 0 { (state, fins) } else { (resume(fins), fins) }
}

/// The next state of an SCTP association after a packet whose most telling
/// chunk is `chunk`, from the client (or the server). Simplified from Linux's
/// `nf_conntrack_proto_sctp`: who shuts down first does not matter, and tags are
/// not remembered. A forged ABORT or SHUTDOWN therefore changes the state, but
/// the ends, which do not believe it, go on, and so does the flow.
pub fn next_sctp(state: State, chunk: Chunk, from_client: bool) -> State {
    match (state, chunk) {
        (_, Chunk::Abort | Chunk::ShutdownComplete) => State::SctpClosed,
        (State::SctpInit, Chunk::CookieEcho) => State::SctpCookie,
        (State::SctpInit | State::SctpCookie, Chunk::CookieAck) if !from_client => {
            State::SctpEstablished
        }
        (State::SctpEstablished, Chunk::Shutdown | Chunk::ShutdownAck) => State::SctpShutdown,
        // No end sends it after its part of a shutdown (section 8.3): there was
        // none, or the one that was asked has data left.
        (State::SctpShutdown, Chunk::Heartbeat) => State::SctpEstablished,
        (State::SctpClosed, Chunk::Other | Chunk::Heartbeat) => State::SctpEstablished,
        _ => state,
    }
}

/// The state that the FIN bits stand for.
fn resume(fins: u8) -> State {
    use fin::{CLIENT, CLIENT_ACKED, SERVER, SERVER_ACKED};
    let acked = fins & (CLIENT_ACKED | SERVER_ACKED) != 0;
    match (fins & CLIENT != 0, fins & SERVER != 0) {
        (false, false) => State::Established,
        (true, true) if fins == CLIENT | SERVER | CLIENT_ACKED | SERVER_ACKED => State::TimeWait,
        (true, true) => State::LastAck,
        _ if acked => State::CloseWait,
        _ => State::FinWait,
    }
}

#[cfg(test)]
mod tests {
    use super::flags::{ACK, FIN, RST, SYN};
    use super::*;

    /// Runs (from client, flags) through the machine from a client's SYN on.
    fn run(packets: &[(bool, u8)]) -> State {
        let mut state = (State::SynSent, 0);
        for &(from_client, bits) in packets {
            state = next_tcp(state.0, state.1, bits, from_client);
        }
        state.0
    }

    const OPEN: [(bool, u8); 2] = [(false, SYN | ACK), (true, ACK)];

    fn after_open(rest: &[(bool, u8)]) -> State {
        run(&[&OPEN[..], rest].concat())
    }

    #[test]
    fn the_handshake_establishes() {
        assert_eq!(run(&[(true, SYN)]), State::SynSent);
        assert_eq!(run(&OPEN[..1]), State::SynRecv);
        assert_eq!(run(&OPEN), State::Established);
        assert_eq!(run(&[(false, SYN | ACK), (true, SYN)]), State::SynRecv);
    }

    #[test]
    fn closing_takes_every_order() {
        let c = (true, FIN | ACK);
        let s = (false, FIN | ACK);
        let (ca, sa) = ((true, ACK), (false, ACK));
        assert_eq!(after_open(&[c]), State::FinWait);
        assert_eq!(after_open(&[c, sa]), State::CloseWait);
        assert_eq!(after_open(&[c, sa, sa, ca]), State::CloseWait);
        assert_eq!(after_open(&[c, s]), State::LastAck);
        assert_eq!(after_open(&[c, s, ca]), State::TimeWait);
        assert_eq!(after_open(&[s, c, sa]), State::TimeWait);
        assert_eq!(after_open(&[s, ca]), State::CloseWait);
        // Simultaneous close: neither FIN acknowledges the other's.
        assert_eq!(after_open(&[c, s, sa, ca]), State::TimeWait);
    }

    #[test]
    fn a_reset_closes_and_disbelief_reopens() {
        assert_eq!(after_open(&[(true, RST)]), State::Close);
        assert_eq!(after_open(&[(true, RST), (false, ACK)]), State::Established);
        assert_eq!(run(&[(false, RST | ACK)]), State::Close);
    }

    /// Runs (from client, chunk) through the machine from a client's INIT on.
    fn run_sctp(packets: &[(bool, Chunk)]) -> State {
        let step = |state, &(from_client, chunk): &_| next_sctp(state, chunk, from_client);
        packets.iter().fold(State::initial(Kind::Sctp(Chunk::Init), 0), step)
    }

    #[test]
    fn an_association_begins_with_four_packets_and_ends_with_three() {
        use Chunk::*;
        let life = [
            (false, InitAck, State::SctpInit),
            (true, CookieEcho, State::SctpCookie),
            (false, CookieAck, State::SctpEstablished),
            (true, Other, State::SctpEstablished),
            (false, Heartbeat, State::SctpEstablished),
            (false, Shutdown, State::SctpShutdown),
            (true, Other, State::SctpShutdown),
            (true, ShutdownAck, State::SctpShutdown),
            (false, ShutdownComplete, State::SctpClosed),
        ];
        let packets = life.map(|(from_client, chunk, _)| (from_client, chunk));
        for (i, (_, chunk, state)) in life.into_iter().enumerate() {
            assert_eq!(run_sctp(&packets[..=i]), state, "{chunk:?}");
        }
    }

    #[test]
    fn a_client_alone_establishes_no_association() {
        use Chunk::*;
        assert_eq!(run_sctp(&[(true, CookieEcho), (true, CookieAck)]), State::SctpCookie);
        assert_eq!(run_sctp(&[(true, Other), (true, Heartbeat)]), State::SctpInit);
        assert_eq!(run_sctp(&[(true, Shutdown)]), State::SctpInit);
    }

    #[test]
    fn an_abort_closes_and_disbelief_reopens() {
        use Chunk::*;
        assert_eq!(run_sctp(&[(false, Abort)]), State::SctpClosed);
        let open = [(false, InitAck), (true, CookieEcho), (false, CookieAck)];
        let after = |rest: &[(bool, Chunk)]| run_sctp(&[&open[..], rest].concat());
        assert_eq!(after(&[(true, Abort), (false, Other)]), State::SctpEstablished);
        assert_eq!(after(&[(true, Shutdown), (false, Heartbeat)]), State::SctpEstablished);
        assert_eq!(after(&[(true, Abort), (false, ShutdownAck)]), State::SctpClosed);
    }
}
