mod maglev;

use crate::family::Family;
use crate::hash;
use crate::ids::{BackendId, ServiceId};
use std::sync::Arc;

/// Up to this many backends the choice is by rendezvous hashing; above, by a
/// Maglev table.
pub const RENDEZVOUS_MAX: usize = 16;

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

/// The endpoints in rotation of one frontend, and the way to choose one.
///
/// The choice depends on the endpoints' addresses alone, not on their order or
/// ids, so that gateways agree and a change moves few flows: rendezvous hashing
/// (Thaler and Ravishankar, 1998) up to [`RENDEZVOUS_MAX`], a Maglev table
/// (Eisenbud et al., NSDI 2016) above.
#[derive(Clone, Debug)]
pub struct BackendSet<F: Family> {
    backends: Box<[BackendRef<F>]>,
    seeds: Box<[u64]>,
    maglev: Box<[u16]>,
}

impl<F: Family> Default for BackendSet<F> {
    fn default() -> Self {
        BackendSet::new(Vec::new())
    }
}

impl<F: Family> BackendSet<F> {
    /// The most endpoints of one frontend; more are left out.
    pub const BACKENDS_MAX: usize = 10_000;

    /// Prepares the choice among `backends` (the first
    /// [`BackendSet::BACKENDS_MAX`] of them in address order).
    pub fn new(mut backends: Vec<BackendRef<F>>) -> Self {
        backends.sort_by_key(|b| (b.addr, b.l4_port));
        backends.dedup_by_key(|b| (b.addr, b.l4_port));
        backends.truncate(Self::BACKENDS_MAX);
        let seeds: Vec<u64> =
            backends.iter().map(|b| hash::endpoint(0, b.addr.as_ref(), b.l4_port)).collect();
        let maglev =
            if backends.len() > RENDEZVOUS_MAX { maglev::build(&seeds) } else { Box::default() };
        let seeds = if maglev.is_empty() { seeds } else { Vec::new() };
        BackendSet { backends: backends.into(), seeds: seeds.into(), maglev }
    }

    /// The endpoints, in address order.
    pub fn backends(&self) -> &[BackendRef<F>] {
        &self.backends
    }

    /// The endpoint for a connection with this hash; `None` when there is none.
    #[inline]
    pub fn choose(&self, hash: u64) -> Option<&BackendRef<F>> {
        if self.maglev.is_empty() {
            let best =
                (0..self.seeds.len()).max_by_key(|&i| hash::fold(hash ^ self.seeds[i], MIX))?;
            return self.backends.get(best);
        }
        // Multiply-shift instead of a division: the hash's high half, scaled.
        let slot = ((hash >> 32) * self.maglev.len() as u64) >> 32;
        self.backends.get(usize::from(self.maglev[slot as usize]))
    }

    /// Bytes of memory behind the set.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.backends)
            + size_of_val(&*self.seeds)
            + size_of_val(&*self.maglev)
    }
}

const MIX: u64 = 0xa076_1d64_78bd_642f;

#[cfg(test)]
mod tests;
