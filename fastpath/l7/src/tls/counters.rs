use super::TlsRefusal;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const REFUSALS: usize = TlsRefusal::ALL.len();

/// What has been done, counted by workers and helpers.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub clients: Side,
    pub backends: Side,
    pub sources_untracked: AtomicU64,
    pub abandoned: AtomicU64,
    pub panics: AtomicU64,
    pub helper_ns: AtomicU64,
}

/// Which end of the gateway a handshake is at.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub done: AtomicU64,
    pub resumed: AtomicU64,
    pub refused: [AtomicU64; REFUSALS],
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Relaxed);
}

impl Side {
    pub fn count_done(&self, was_resumed: bool) {
        add(&self.done, 1);
        add(&self.resumed, was_resumed.into());
    }

    pub fn count_refused(&self, refusal: TlsRefusal) {
        if let Some(counter) = self.refused.get(refusal as usize) {
            add(counter, 1);
        }
    }

    fn read(&self) -> SideCounters {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        SideCounters {
            done: read(&self.done),
            resumed: read(&self.resumed),
            refused: self.refused.each_ref().map(read),
        }
    }
}

impl Counts {
    pub fn read(&self) -> TlsCounters {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        TlsCounters {
            clients: self.clients.read(),
            backends: self.backends.read(),
            sources_untracked: read(&self.sources_untracked),
            abandoned: read(&self.abandoned),
            panics: read(&self.panics),
            helper_ns: read(&self.helper_ns),
        }
    }
}

/// What handshakes have come to, since the start of their helpers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsCounters {
    /// With clients.
    pub clients: SideCounters,
    /// With backends.
    pub backends: SideCounters,
    /// Handshakes of clients that no limit was kept for, since the table of sources is
    /// full of those with handshakes under way.
    pub sources_untracked: u64,
    /// Handshakes that a helper did not go on with, since nobody waits for them.
    pub abandoned: u64,
    /// Panics of helpers: each ended one handshake.
    pub panics: u64,
    /// Time that helpers worked, in nanoseconds.
    pub helper_ns: u64,
}

/// What handshakes at one side have come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SideCounters {
    /// Handshakes that were over, resumed ones included.
    pub done: u64,
    /// Handshakes that went on with a session from before.
    pub resumed: u64,
    refused: [u64; REFUSALS],
}

impl SideCounters {
    /// Handshakes that came to nothing, by why.
    pub fn refused(&self, refusal: TlsRefusal) -> u64 {
        self.refused.get(refusal as usize).copied().unwrap_or(0)
    }

    /// All handshakes that came to nothing.
    pub fn refused_all(&self) -> u64 {
        self.refused.iter().sum()
    }
}
