use super::{Key, Machine};
use crate::tcp::config::ConnOptions;
use crate::tcp::conn::{Ended, TcpState};
use crate::tcp::emit::Bare;
use crate::tcp::machine::Sent;
use crate::tcp::parse::{ACK, FIN, SYN, later};

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The engine's: its handshake, begun outside, is not over.
    HalfOpen,
    /// It waits to be accepted.
    Queued,
    /// The application's.
    Owned,
    /// The engine's again, until it is closed.
    Released,
}

/// A connection, and what its machine does not tell.
pub(super) struct Connection {
    pub key: Key,
    pub machine: Machine,
    pub stage: Stage,
    /// Whether segments are for it.
    pub is_open: bool,
    pub mtu: u16,
    /// Bytes that the largest window has.
    pub receive_buffer: u32,
    /// The initial sequence number.
    pub isn: u32,
    /// The peer's, when it is known.
    pub irs: Option<u32>,
    /// Bytes that were written and read, modulo 2^32.
    pub written: u32,
    pub read: u32,
    /// The next sequence number that was never sent (SND.NXT).
    pub snd_nxt: u32,
    /// What was last acknowledged to the peer.
    pub acked: u32,
    /// The window as it was last sent.
    pub window: u16,
    /// The peer's, as it stood in its last segment.
    pub peer_window: u16,
    pub heard_ns: u64,
    /// The end of the handshake's time, or of the time to be closed.
    pub until_ns: u64,
    /// No challenge ACK before.
    pub challenge_ns: u64,
    pub is_shut: bool,
    pub ended: Option<Ended>,
}

impl Connection {
    pub fn new(key: Key, machine: Machine, isn: u32, options: &ConnOptions, now_ns: u64) -> Self {
        Connection {
            key,
            machine,
            stage: Stage::HalfOpen,
            is_open: true,
            mtu: options.mtu,
            receive_buffer: options.receive_buffer,
            isn,
            irs: None,
            written: 0,
            read: 0,
            snd_nxt: isn,
            acked: 0,
            window: 0,
            peer_window: u16::MAX,
            heard_ns: now_ns,
            until_ns: u64::MAX,
            challenge_ns: 0,
            is_shut: false,
            ended: None,
        }
    }

    /// The state; a handshake that was reset is over.
    pub fn state(&self) -> TcpState {
        self.machine.state().unwrap_or(TcpState::Closed)
    }

    /// The next sequence number that is expected (RCV.NXT).
    pub fn rcv_nxt(&self) -> u32 {
        self.irs
            .unwrap_or_default()
            .wrapping_add(1)
            .wrapping_add(self.read)
            .wrapping_add(self.machine.unread() as u32)
            .wrapping_add(u32::from(self.state().has_fin()))
    }

    /// The first sequence number that is not acknowledged (SND.UNA).
    pub fn snd_una(&self) -> u32 {
        match self.state() {
            TcpState::SynSent | TcpState::SynReceived => self.isn,
            TcpState::FinWait2 | TcpState::TimeWait | TcpState::Closed => self.snd_nxt,
            _ => self
                .isn
                .wrapping_add(1)
                .wrapping_add(self.written)
                .wrapping_sub(self.machine.unacknowledged() as u32),
        }
    }

    /// Whether two full segments are not acknowledged to the peer, which is to be done
    /// at once (RFC 9293 section 3.8.6.3): senders go by the number of ACKs.
    pub fn owes_ack(&self) -> bool {
        let headers = if self.key.local.is_ipv4() { 40 } else { 60 };
        let unacknowledged = self.rcv_nxt().wrapping_sub(self.acked);
        unacknowledged >= 2 * (u32::from(self.mtu) - headers)
    }

    /// Notes what was sent; whether it was sent before.
    pub fn note_sent(&mut self, sent: &Sent) -> bool {
        let was_sent = sent.len > 0 && sent.seq != self.snd_nxt;
        // A byte that only asks for the window does not count before it is taken.
        let is_probe = sent.len == 1 && sent.flags & (SYN | FIN) == 0 && self.peer_window == 0;
        if !is_probe {
            self.snd_nxt = later(self.snd_nxt, sent.seq.wrapping_add(sent.len));
        }
        self.acked = sent.ack;
        self.window = sent.window;
        was_sent
    }

    /// An ACK of what has come.
    pub fn bare_ack(&self) -> Bare {
        Bare { seq: self.snd_nxt, ack: self.rcv_nxt(), flags: ACK, window: self.window, mss: None }
    }

    /// A FIN follows what was written.
    pub fn shutdown(&mut self) {
        if self.state() == TcpState::SynSent {
            self.end(Ended::Closed);
        } else {
            self.is_shut = true;
            self.machine.shutdown();
        }
    }

    /// Ends it; the first reason stays.
    pub fn end(&mut self, why: Ended) {
        self.ended.get_or_insert(why);
        self.machine.abort();
    }
}
