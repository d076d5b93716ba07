use super::allocator::PoolUse;
use crate::object::Kind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What became of an attempt to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteResult {
    /// It is written.
    Written,
    /// The object had changed: it is tried again with what it is now.
    Conflict,
    /// The object is gone.
    Gone,
    /// The API server refuses it; tried again, ever more seldom.
    Refused,
    /// The API server could not be asked; tried again, ever more seldom.
    Failed,
}

impl WriteResult {
    /// All, in order.
    pub const ALL: [WriteResult; 5] = [
        WriteResult::Written,
        WriteResult::Conflict,
        WriteResult::Gone,
        WriteResult::Refused,
        WriteResult::Failed,
    ];

    /// The label of its metric.
    pub fn as_str(self) -> &'static str {
        match self {
            WriteResult::Written => "written",
            WriteResult::Conflict => "conflict",
            WriteResult::Gone => "gone",
            WriteResult::Refused => "refused",
            WriteResult::Failed => "failed",
        }
    }
}

/// What is written back, in numbers. Clones share.
#[derive(Clone, Debug, Default)]
pub struct StatusMetrics {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    writes: [AtomicU64; 5],
    /// Of Services, and of Ingresses.
    pending: [AtomicU64; 2],
    events: AtomicU64,
    events_suppressed: AtomicU64,
    pools: Mutex<Vec<PoolUse>>,
}

impl StatusMetrics {
    /// Attempts to write a status so far.
    pub fn writes(&self, result: WriteResult) -> u64 {
        self.shared.writes[result as usize].load(Ordering::Relaxed)
    }

    /// Objects whose status is to be written.
    pub fn pending(&self) -> u64 {
        self.shared.pending.iter().map(|pending| pending.load(Ordering::Relaxed)).sum()
    }

    /// Events that were written, counts of repeated ones too.
    pub fn events(&self) -> u64 {
        self.shared.events.load(Ordering::Relaxed)
    }

    /// Events that were not written: repeated too soon, too many of one object
    /// or of all, or refused by the API server.
    pub fn events_suppressed(&self) -> u64 {
        self.shared.events_suppressed.load(Ordering::Relaxed)
    }

    /// How much of the pools is in use; empty while this gateway does not
    /// allocate.
    pub fn pools(&self) -> Vec<PoolUse> {
        self.shared.pools.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn wrote(&self, result: WriteResult) {
        self.shared.writes[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_pending(&self, kind: Kind, pending: usize) {
        self.shared.pending[usize::from(kind == Kind::Ingress)]
            .store(pending as u64, Ordering::Relaxed);
    }

    pub(super) fn event(&self) {
        self.shared.events.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn suppressed(&self) {
        self.shared.events_suppressed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_pools(&self, pools: Vec<PoolUse>) {
        *self.shared.pools.lock().unwrap_or_else(PoisonError::into_inner) = pools;
    }
}
