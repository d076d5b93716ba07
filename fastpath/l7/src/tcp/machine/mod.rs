//! The state machine of one connection (RFC 9293): plain state that is told what comes
//! and what time it is, and asked for one segment at a time.
//!
//! ```text
//!   segment_in --> ack --> loss: scoreboard, RACK-TLP, congestion window
//!        |                   |
//!        +--> receive_buffer +--> out <-- timers, send_buffer
//! ```

mod ack;
mod ack_delay;
mod blocks;
mod cubic;
mod loss;
mod out;
mod receive_buffer;
mod rtt;
mod scoreboard;
mod segment_in;
mod send_buffer;
#[cfg(test)]
mod tests;
mod timers;

pub(super) use blocks::Pool;
pub(super) use segment_in::Verdict;

use super::conn::TcpState;
use super::counters::TcpCounters;
use super::options::Options;
use super::pressure::Share;
use cubic::Cubic;
use loss::Loss;
use receive_buffer::ReceiveBuffer;
use rtt::Rtt;
use scoreboard::Scoreboard;
use send_buffer::SendBuffer;
use timers::Timers;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// What is assumed where a SYN offers nothing (RFC 9293 section 3.7.1).
pub(super) const MSS_DEFAULT: u16 = 536;
/// The smallest segments that a peer can ask for: smaller ones would be a way to make
/// much of little.
const MSS_LEAST: u16 = 216;

/// What a connection has from its engine for the moment.
pub(super) struct Env<'a> {
    pub now_ns: u64,
    pub pool: &'a mut Pool,
    pub counters: &'a mut TcpCounters,
}

/// What a connection is made with.
#[derive(Clone, Copy)]
pub(super) struct Setup {
    /// Its initial sequence number.
    pub iss: u32,
    /// The largest segment that the path takes, in bytes of data and options.
    pub mss: u16,
    pub receive_buffer: u32,
    pub send_buffer: u32,
    /// Whose part of the memory for buffers it takes.
    pub share: Share,
    /// Added to the time in what is sent as timestamps.
    pub stamp_offset: u32,
}

impl Setup {
    /// The window scale that is offered.
    pub fn scale(&self) -> u8 {
        ReceiveBuffer::new(self.receive_buffer, self.share).scale()
    }
}

/// One connection.
pub(super) struct Machine {
    state: TcpState,
    /// What both ends have offered.
    may_sack: bool,
    may_stamp: bool,
    /// Whether an end is to be told, by RST.
    owes_reset: bool,
    /// Whether a SYN or SYN-ACK is to be sent.
    owes_syn: bool,
    /// Whether an ACK is to be sent at once.
    owes_ack: bool,
    ack_delay: ack_delay::AckDelay,
    /// Whether a segment is to be sent that asks for an answer.
    owes_probe: Probe,
    /// A FIN follows what was written.
    is_shut: bool,
    is_fin_sent: bool,
    /// What has changed for the application since it was last asked.
    is_readable: bool,
    is_writable: bool,
    syns: u8,
    /// Shifts of windows: of the peer's, and of ours.
    peer_scale: u8,
    scale: u8,
    /// The path's, and the peer's.
    mss: u16,
    peer_mss: u16,
    /// The largest segment that has come, and the largest since the last ACK.
    segment_seen: u16,
    segment_since_ack: u16,

    /// The first number that is not acknowledged, the next that was never sent, the
    /// peer's window and the segment that it is from (RFC 9293 section 3.3.1).
    iss: u32,
    una: u32,
    nxt: u32,
    window: u32,
    window_seq: u32,
    /// The largest window that the peer has had.
    window_max: u32,
    sent_ns: u64,

    irs: u32,
    /// RCV.NXT as it was last told to the peer.
    acked: u32,
    /// The peer's timestamp that is echoed, and when it came.
    stamp_recent: u32,
    stamp_offset: u32,
    stamp_ns: u64,

    timers: Timers,
    rtt: Rtt,
    cubic: Cubic,
    loss: Loss,
    board: Scoreboard,
    send: SendBuffer,
    receive: ReceiveBuffer,
}

/// Segments that ask for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    None,
    /// Whether the last segment was lost (RFC 8985 section 7).
    Tail,
    /// Whether the window is still closed (RFC 9293 section 3.8.6.1).
    Window,
}

impl Machine {
    /// A connection that is to be opened from here.
    pub fn open(setup: &Setup) -> Machine {
        let receive = ReceiveBuffer::new(setup.receive_buffer, setup.share);
        Machine {
            state: TcpState::SynSent,
            may_sack: true,
            may_stamp: true,
            owes_reset: false,
            owes_syn: true,
            owes_ack: false,
            ack_delay: ack_delay::AckDelay::default(),
            owes_probe: Probe::None,
            is_shut: false,
            is_fin_sent: false,
            is_readable: false,
            is_writable: false,
            syns: 0,
            peer_scale: 0,
            scale: receive.scale(),
            mss: setup.mss,
            peer_mss: MSS_DEFAULT,
            segment_seen: MSS_DEFAULT,
            segment_since_ack: 0,
            iss: setup.iss,
            una: setup.iss,
            nxt: setup.iss,
            window: 0,
            window_seq: 0,
            window_max: 0,
            sent_ns: 0,
            irs: 0,
            acked: 0,
            stamp_recent: 0,
            stamp_offset: setup.stamp_offset,
            stamp_ns: 0,
            timers: Timers::default(),
            rtt: Rtt::default(),
            cubic: Cubic::new(setup.mss.into()),
            loss: Loss::new(setup.iss),
            board: Scoreboard::default(),
            send: SendBuffer::new(setup.iss.wrapping_add(1), setup.send_buffer, setup.share),
            receive,
        }
    }

    /// A connection that answers a SYN with sequence number `irs`.
    pub fn accept(setup: &Setup, irs: u32, window: u16, options: &Options, now_ns: u64) -> Machine {
        let mut machine = Machine::open(setup);
        machine.state = TcpState::SynReceived;
        machine.take_syn(irs, window, options, now_ns);
        machine
    }

    /// A connection whose SYN-ACK was sent by somebody else, who offered as much as
    /// the options do that are taken for the SYN's.
    pub fn resume(setup: &Setup, irs: u32, window: u16, options: &Options, now_ns: u64) -> Machine {
        let mut machine = Machine::accept(setup, irs, window, options, now_ns);
        machine.owes_syn = false;
        machine.nxt = setup.iss.wrapping_add(1);
        machine.acked = machine.receive.next();
        // It is not known when that was.
        machine.syns = 2;
        machine
    }

    pub fn state(&self) -> TcpState {
        self.state
    }

    /// Whether the peer is still to be told that it is over.
    pub fn owes_reset(&self) -> bool {
        self.owes_reset
    }

    /// The first sequence number that is not acknowledged (SND.UNA).
    pub fn una(&self) -> u32 {
        self.una
    }

    /// The next sequence number that was never sent (SND.NXT).
    pub fn nxt(&self) -> u32 {
        self.nxt
    }

    /// The next sequence number that is expected (RCV.NXT).
    pub fn expected(&self) -> u32 {
        self.receive.next()
    }

    /// Whether all that has come is acknowledged to the peer.
    pub fn has_acknowledged(&self) -> bool {
        self.acked == self.receive.next()
    }

    /// Bytes that have come and are not read.
    pub fn unread(&self) -> u32 {
        self.receive.unread()
    }

    /// Whether everything that was written, and the FIN if there is one, is acknowledged.
    pub fn is_acknowledged(&self) -> bool {
        let is_fin_out = self.is_shut && !self.is_fin_sent;
        !self.state.is_opening() && self.una == self.nxt && self.send.is_empty() && !is_fin_out
    }

    /// Whether the peer does not let anything be sent, and something is to be.
    pub fn is_shut_out(&self) -> bool {
        self.window == 0 && !self.state.is_opening() && !self.is_acknowledged()
    }

    /// Reads; `None` when nothing is there yet, 0 at the end.
    pub fn read(&mut self, into: &mut [u8], env: &mut Env<'_>) -> Option<usize> {
        let len = self.receive.read(into, env.pool);
        if len > 0 {
            let segment = self.segment_seen.into();
            let is_open = self.state != TcpState::Closed;
            let window_max = env.pool.window_max(self.receive.share());
            self.owes_ack |= is_open && self.receive.is_update_due(segment, window_max);
            return Some(len);
        }
        self.receive.has_fin().then_some(0)
    }

    /// Takes what there is room for.
    pub fn write(&mut self, data: &[u8], env: &mut Env<'_>) -> usize {
        if self.is_shut || self.state == TcpState::Closed {
            return 0;
        }
        self.send.write(data, self.cubic.window(), env.pool)
    }

    /// A FIN follows what was written.
    pub fn shutdown(&mut self) {
        self.is_shut = true;
        match self.state {
            TcpState::Established => self.state = TcpState::FinWait1,
            TcpState::CloseWait => self.state = TcpState::LastAck,
            // Else it is shut when it is established.
            _ => {}
        }
    }

    /// Ends the connection. The peer is told, if it knows of it.
    pub fn abort(&mut self, env: &mut Env<'_>) {
        self.owes_reset = !matches!(self.state, TcpState::SynSent | TcpState::Closed);
        self.close(env);
    }

    /// The connection is over: nothing of what is to be sent will be.
    fn close(&mut self, env: &mut Env<'_>) {
        self.state = TcpState::Closed;
        self.send.clear(env.pool);
        self.board = Scoreboard::default();
        self.timers = Timers::default();
        self.owes_syn = false;
        self.owes_ack = false;
        self.owes_probe = Probe::None;
        self.is_readable = true;
        self.is_writable = true;
    }

    /// Gives back the memory of what was not read.
    pub fn discard(&mut self, env: &mut Env<'_>) {
        self.send.clear(env.pool);
        self.receive.clear(env.pool);
    }

    /// Whether there is something for who reads, and for who writes or waits, since
    /// this was last asked.
    pub fn take_events(&mut self) -> (bool, bool) {
        (std::mem::take(&mut self.is_readable), std::mem::take(&mut self.is_writable))
    }

    /// Bytes of data that a segment has, beside what options take.
    fn segment(&self) -> u32 {
        let mss = self.mss.min(self.peer_mss.max(MSS_LEAST));
        u32::from(mss) - if self.may_stamp { 12 } else { 0 }
    }

    /// Bytes that are on their way.
    fn pipe(&self) -> u32 {
        let flight = self.nxt.wrapping_sub(self.una);
        let rest = flight - self.board.sacked() - self.board.lost();
        rest - self.loss.assumed(rest)
    }
}
