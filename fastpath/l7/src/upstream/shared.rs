use super::UpstreamConfig;
use super::counters::Counting;
use super::permit::{self, Policies};
use crate::clock::{self, Clock};
use crate::net::Net;
use std::cell::Cell;
use std::rc::Rc;

/// What everything of a worker's upstreams needs.
pub(super) struct Shared {
    pub(super) clock: Rc<dyn Clock>,
    pub(super) policies: Box<dyn Policies>,
    pub(super) config: UpstreamConfig,
    pub(super) counting: Counting,
    /// Connections that there are, and
    pub(super) connections: Cell<usize>,
    /// those that are kept without a request.
    pub(super) idle: Cell<usize>,
    /// Somebody looks after those that are kept.
    pub(super) is_swept: Cell<bool>,
    /// None are kept any more.
    pub(super) is_ending: Cell<bool>,
}

impl Shared {
    pub(super) fn new<N: Net>(net: &N, config: UpstreamConfig) -> Self {
        Shared {
            clock: clock::of(net),
            policies: Box::new(permit::Of(net.clone())),
            config,
            counting: Counting::default(),
            connections: Cell::default(),
            idle: Cell::default(),
            is_swept: Cell::default(),
            is_ending: Cell::default(),
        }
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }
}
