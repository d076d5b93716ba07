use super::UpstreamConfig;
use crate::clock::after;
use std::cell::Cell;

/// How an endpoint does, as its requests tell.
#[derive(Default)]
pub(super) struct Health {
    /// Failures in a row.
    failures: Cell<u32>,
    /// How often it was left out since it last answered.
    ejections: Cell<u32>,
    ejected_until_ns: Cell<u64>,
}

impl Health {
    pub(super) fn ejected_until_ns(&self) -> u64 {
        self.ejected_until_ns.get()
    }

    pub(super) fn is_ejected(&self, now_ns: u64) -> bool {
        now_ns < self.ejected_until_ns.get()
    }

    /// It has answered.
    pub(super) fn answered(&self) {
        self.failures.set(0);
        self.ejections.set(0);
        self.ejected_until_ns.set(0);
    }

    /// It failed; says whether it is to be left out.
    pub(super) fn failed(&self, config: &UpstreamConfig, now_ns: u64) -> bool {
        self.failures.set(self.failures.get().saturating_add(1));
        self.failures.get() >= config.failures_max && !self.is_ejected(now_ns)
    }

    /// Leaves it out: twice as long each time, until it answers.
    pub(super) fn eject(&self, config: &UpstreamConfig, now_ns: u64) -> u64 {
        let time = config.ejected_min.saturating_mul(1 << self.ejections.get().min(31));
        self.ejections.set(self.ejections.get().saturating_add(1));
        self.ejected_until_ns.set(after(now_ns, time.min(config.ejected_max)));
        self.ejected_until_ns.get()
    }
}
