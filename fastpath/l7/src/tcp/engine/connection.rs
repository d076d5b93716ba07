use super::{Env, Key, Machine};
use crate::tcp::conn::{Ended, TcpState};
use std::task::Waker;

/// Bytes that a peer has to take in the time that a released connection is given.
const PROGRESS: u32 = 1_024;

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

/// A connection, and who has to do with it.
pub(super) struct Connection {
    pub key: Key,
    pub machine: Machine,
    pub stage: Stage,
    /// Whether segments are for it.
    pub is_open: bool,
    pub mtu: u16,
    pub heard_ns: u64,
    /// The end of the handshake's time, or of the time to be closed.
    pub until_ns: u64,
    /// What was acknowledged when that was set last.
    pub until_una: u32,
    /// No challenge ACK before.
    pub challenge_ns: u64,
    pub is_shut: bool,
    pub ended: Option<Ended>,
    pub reader: Option<Waker>,
    pub writer: Option<Waker>,
}

impl Connection {
    pub fn new(key: Key, machine: Machine, mtu: u16, now_ns: u64) -> Self {
        Connection {
            key,
            machine,
            stage: Stage::HalfOpen,
            is_open: true,
            mtu,
            heard_ns: now_ns,
            until_ns: u64::MAX,
            until_una: 0,
            challenge_ns: 0,
            is_shut: false,
            ended: None,
            reader: None,
            writer: None,
        }
    }

    pub fn state(&self) -> TcpState {
        self.machine.state()
    }

    /// Wakes those for whom something has changed.
    pub fn wake(&mut self) {
        let (is_readable, is_writable) = self.machine.take_events();
        let reader = self.reader.take_if(|_| is_readable);
        let writer = self.writer.take_if(|_| is_writable);
        reader.into_iter().chain(writer).for_each(Waker::wake);
    }

    /// Gives a released connection more time, where its peer gets on with what is left.
    pub fn prolong(&mut self, until_ns: u64) {
        let una = self.machine.una();
        let acknowledged = una.wrapping_sub(self.until_una);
        if acknowledged >= PROGRESS || acknowledged > 0 && self.machine.is_acknowledged() {
            (self.until_ns, self.until_una) = (until_ns, una);
        }
    }

    /// A FIN follows what was written.
    pub fn shutdown(&mut self, env: &mut Env<'_>) {
        if self.state() == TcpState::SynSent {
            self.end(Ended::Closed, env);
        } else {
            self.is_shut = true;
            self.machine.shutdown();
        }
    }

    /// Ends it; the first reason stays.
    pub fn end(&mut self, why: Ended, env: &mut Env<'_>) {
        self.ended.get_or_insert(why);
        self.machine.abort(env);
        self.wake();
    }
}
