use super::segment::{ACK, End, FIN, PSH, RST, SYN, Segment};
use crate::frames::Tcp;

const WINDOW: u16 = 64_240;
/// Bytes of data in a segment: what fits the overlay in both families.
const SEGMENT_BYTES: usize = 1300;
/// What is not acknowledged after so many nanoseconds is sent again: Linux' least.
const AGAIN_NS: u64 = 200_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its SYN is to be answered.
    Opening,
    /// Its SYN-ACK is to be acknowledged.
    Answering,
    Open,
    Reset,
}

/// One end of a TCP connection that has little to say and much patience: what it sends
/// fits any window, and what comes out of order it lets the other end send again.
#[derive(Clone, Debug)]
pub struct Conn {
    local: End,
    remote: End,
    state: State,
    /// The first number that is not acknowledged, and the next to be sent.
    una: u32,
    next: u32,
    /// The next number that is to come.
    expected: u32,
    /// Data from `una` on (behind the SYN, as long as that is not acknowledged).
    data: Vec<u8>,
    /// A FIN is to follow the data, and has been acknowledged.
    is_closing: bool,
    is_closed: bool,
    owes_ack: bool,
    peer_is_done: bool,
    mss: u16,
    sent_ns: u64,
    /// Times that something was sent again, or came out of order.
    pub lost: u64,
}

impl Conn {
    /// One that is opened from here.
    pub fn open(local: End, remote: End, isn: u32, mss: u16) -> Self {
        Conn {
            local,
            remote,
            state: State::Opening,
            una: isn,
            next: isn,
            expected: 0,
            data: Vec::new(),
            is_closing: false,
            is_closed: false,
            owes_ack: false,
            peer_is_done: false,
            mss,
            sent_ns: 0,
            lost: 0,
        }
    }

    /// One that is opened by a SYN.
    pub fn answer(syn: &Segment<'_>, isn: u32, mss: u16) -> Self {
        let expected = syn.seq.wrapping_add(1);
        Conn { state: State::Answering, expected, ..Conn::open(syn.dst, syn.src, isn, mss) }
    }

    /// Whether it has these ends, its own first.
    pub fn is_between(&self, local: End, remote: End) -> bool {
        (self.local, self.remote) == (local, remote)
    }

    /// Data can come and go.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// The other end has reset it.
    pub fn is_reset(&self) -> bool {
        self.state == State::Reset
    }

    /// The other end sends nothing more.
    pub fn peer_is_done(&self) -> bool {
        self.peer_is_done || self.is_reset()
    }

    /// Both ends are done, and know it.
    pub fn is_over(&self) -> bool {
        self.is_reset() || self.peer_is_done && self.is_closed && !self.owes_ack
    }

    /// Sends this, and
    pub fn write(&mut self, data: &[u8]) {
        self.data.extend_from_slice(data);
    }

    /// nothing after it.
    pub fn close(&mut self) {
        self.is_closing = true;
    }

    /// Takes a segment; its data goes to `into`.
    pub fn receive(&mut self, segment: &Segment<'_>, now_ns: u64, into: &mut Vec<u8>) {
        if segment.has(RST) {
            self.state = State::Reset;
            return;
        }
        let acked = segment.ack.wrapping_sub(self.una);
        match self.state {
            State::Opening => {
                if !segment.has(SYN | ACK) || acked != 1 {
                    return;
                }
                self.expected = segment.seq.wrapping_add(1);
                self.owes_ack = true;
                self.begin(segment.ack);
                return;
            }
            State::Answering => {
                if segment.has(SYN) {
                    // The SYN-ACK is lost.
                    self.next = self.una;
                    return;
                }
                if !segment.has(ACK) || acked != 1 {
                    return;
                }
                self.begin(segment.ack);
            }
            State::Open => {
                if segment.has(ACK) && (1..=self.next.wrapping_sub(self.una)).contains(&acked) {
                    self.is_closed = acked as usize > self.data.len();
                    self.data.drain(..self.data.len().min(acked as usize));
                    self.una = segment.ack;
                    self.sent_ns = now_ns;
                }
            }
            State::Reset => return,
        }
        let len = segment.payload.len() as u32;
        if len == 0 && !segment.has(FIN) {
            // A SYN-ACK again: its acknowledgment is lost.
            self.owes_ack |= segment.has(SYN);
            return;
        }
        self.owes_ack = true;
        if segment.seq != self.expected {
            self.lost += 1;
            return;
        }
        into.extend_from_slice(segment.payload);
        self.expected = self.expected.wrapping_add(len + u32::from(segment.has(FIN)));
        self.peer_is_done |= segment.has(FIN);
    }

    fn begin(&mut self, acked: u32) {
        self.state = State::Open;
        (self.una, self.next) = (acked, acked);
    }

    /// What has waited too long is to be sent again.
    pub fn on_time(&mut self, now_ns: u64) {
        if self.next != self.una && now_ns.saturating_sub(self.sent_ns) > AGAIN_NS {
            self.next = self.una;
            self.lost += 1;
        }
    }

    /// Sends whatever there is to be sent.
    pub fn send(&mut self, now_ns: u64, mut out: impl FnMut(&Tcp<'_>)) {
        let (src, dst, window) = (self.local, self.remote, WINDOW);
        let ack = self.expected;
        if matches!(self.state, State::Opening | State::Answering) {
            if self.next == self.una {
                let is_first = self.state == State::Opening;
                let (flags, ack) = if is_first { (SYN, 0) } else { (SYN | ACK, ack) };
                let (seq, mss) = (self.una, Some(self.mss));
                out(&Tcp { src, dst, seq, ack, flags, window, mss, payload: &[] });
                self.next = self.una.wrapping_add(1);
                self.sent_ns = now_ns;
            }
            return;
        }
        let mut segment = |seq, flags, payload: &[u8]| {
            out(&Tcp { src, dst, seq, ack, flags, window, mss: None, payload });
        };
        if self.state == State::Reset {
            return;
        }
        loop {
            let at = self.next.wrapping_sub(self.una) as usize;
            let Some(rest) = self.data.get(at..).filter(|rest| !rest.is_empty()) else { break };
            let part = &rest[..rest.len().min(SEGMENT_BYTES)];
            segment(self.next, PSH | ACK, part);
            self.next = self.next.wrapping_add(part.len() as u32);
            (self.owes_ack, self.sent_ns) = (false, now_ns);
        }
        let all = self.una.wrapping_add(self.data.len() as u32);
        if self.is_closing && !self.is_closed && self.next == all {
            segment(self.next, FIN | ACK, &[]);
            self.next = self.next.wrapping_add(1);
            (self.owes_ack, self.sent_ns) = (false, now_ns);
        }
        if self.owes_ack {
            segment(self.next, ACK, &[]);
            self.owes_ack = false;
        }
    }
}
