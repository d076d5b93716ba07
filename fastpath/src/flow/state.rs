use crate::wire::l4::{Kind, flags};

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
    pub by_state_ms: [u32; 13],
    /// At most, for TCP picked up in the middle that nobody has answered yet:
    /// one forged segment is enough to begin it.
    pub unanswered_ms: u32,
}

impl Default for Timeouts {
    /// Kernel defaults, as kube-proxy sets them: established 24 h, CLOSE_WAIT
    /// 1 h, unanswered 5 min (`nf_conntrack_tcp_timeout_unacknowledged`).
    fn default() -> Self {
        let mut timeouts = Timeouts { by_state_ms: [0; 13], unanswered_ms: 300_000 };
        for (state, seconds) in [
            (State::SynSent, 120),
            (State::SynRecv, 60),
            (State::Established, 86_400),
            (State::FinWait, 120),
            (State::CloseWait, 3_600),
            (State::LastAck, 30),
            (State::TimeWait, 120),
            (State::Close, 10),
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
        if state == State::Established { ms.min(self.unanswered_ms) } else { ms }
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
            Kind::Udp => State::UdpNew,
            Kind::EchoRequest | Kind::EchoReply => State::Icmp,
            _ => State::Generic,
        }
    }

    /// True when a packet can leave the state as it is without a closer look,
    /// whatever its direction: everything but TCP control flags.
    #[inline]
    pub fn is_steady(self) -> bool {
        matches!(self, State::Established | State::UdpStream | State::Icmp | State::Generic)
    }

    /// True when a new flow may take the entry's place under pressure.
    pub fn is_reusable(self) -> bool {
        matches!(self, State::TimeWait | State::Close)
    }

    /// True when a SYN begins another connection on the tuple.
    pub fn is_over(self) -> bool {
        matches!(self, State::TimeWait | State::Close | State::LastAck)
    }

    /// True for a connection whose handshake is not over.
    pub fn is_half_open(self) -> bool {
        matches!(self, State::SynSent | State::SynRecv)
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
}
