mod backends;
mod ranking;
mod rules;

pub use backends::{BackendSet, COMPARED_MAX};
pub use rules::{Balance, FrontendRules, Locality, SourceRanges};

use crate::family::Family;
use crate::ids::{BackendId, ServiceId};
use std::sync::Arc;

/// What a client connects to: one port of one VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrontendKey<F: Family> {
    /// The VIP.
    pub addr: F::Addr,
    /// The TCP, UDP or SCTP port.
    pub l4_port: u16,
    /// The IP protocol number.
    pub protocol: u8,
}

/// One port of one VIP, and who serves it.
#[derive(Clone, Debug)]
pub struct Frontend<F: Family> {
    /// The Service port: counters and epochs go by it.
    pub service: ServiceId,
    /// The endpoints in rotation. Empty means: refused.
    pub backends: Arc<BackendSet<F>>,
    /// What it asks for beyond that; `None` for most.
    pub rules: Option<Arc<FrontendRules<F>>>,
}

/// One endpoint in rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendRef<F: Family> {
    /// Its stable number.
    pub id: BackendId,
    /// The pod's address.
    pub addr: F::Addr,
    /// The target port.
    pub l4_port: u16,
    /// Its share of new connections, in proportion to the others' weights; at
    /// least 1.
    pub weight: u16,
}

/// What is known of an endpoint, for flows that use it already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendState {
    /// Not known (any more).
    #[default]
    Gone,
    /// Known, not ready, not serving: no new flow; UDP flows move away.
    NotReady,
    /// Terminating and still serving: no new flow while others are ready;
    /// flows stay.
    Draining,
    /// In rotation.
    Ready,
}
