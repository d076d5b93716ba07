use super::UpstreamConfig;
use super::counters::Counting;
use super::time::Clock;
use std::cell::Cell;

/// What everything of a worker's upstreams needs.
pub(super) struct Shared {
    pub(super) clock: Box<dyn Clock>,
    pub(super) config: UpstreamConfig,
    pub(super) counting: Counting,
    /// Connections that there are, and
    pub(super) connections: Cell<usize>,
    /// those that are kept without a request.
    pub(super) idle: Cell<usize>,
    /// Somebody looks after those that are kept.
    pub(super) is_swept: Cell<bool>,
}

impl Shared {
    pub(super) fn new(clock: Box<dyn Clock>, config: UpstreamConfig) -> Self {
        Shared {
            clock,
            config,
            counting: Counting::default(),
            connections: Cell::default(),
            idle: Cell::default(),
            is_swept: Cell::default(),
        }
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }
}
