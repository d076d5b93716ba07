use sluice_tables::{BackendId, ServiceId};
use std::sync::atomic::{AtomicU32, Ordering};

/// Ports of Services that are counted one by one, per worker: 384 KiB.
pub const SERVICES: usize = 1 << 15;
/// Endpoints that are counted one by one, per worker: 2 MiB.
pub const BACKENDS: usize = 1 << 17;

/// A number that goes up and down. Written by one worker only, with a relaxed
/// load and store (no locked instruction), and read by anyone.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU32);

impl Gauge {
    /// The value.
    #[inline]
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    fn set(&self, value: u32) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds `n` that come, or takes away as many that were added before.
    #[inline]
    pub(crate) fn count(&self, n: u32, come: bool) {
        let before = self.get();
        self.set(if come { before.wrapping_add(n) } else { before.wrapping_sub(n) });
    }
}

/// Flows of a port of a Service.
#[derive(Debug, Default)]
pub struct ServiceLoad {
    /// All of them.
    pub flows: Gauge,
    /// Those that are half open.
    pub half_open: Gauge,
    /// Flows that were refused for want of a SNAT port, since the start.
    pub snat_refused: Gauge,
}

/// Flows of an endpoint.
#[derive(Debug, Default)]
pub struct BackendLoad {
    /// All of them.
    pub flows: Gauge,
    /// Those that hold a SNAT port.
    pub snat: Gauge,
    service: Gauge,
    family: Gauge,
}

impl BackendLoad {
    /// The Service of its last flow.
    pub fn service(&self) -> ServiceId {
        ServiceId(self.service.get())
    }

    /// The index of its family ([`crate::wire::ip::Ip::INDEX`]).
    pub fn family(&self) -> usize {
        self.family.get() as usize
    }

    /// Notes whose endpoint it is.
    #[inline]
    pub(super) fn belongs(&self, service: ServiceId, family: usize) {
        self.service.set(service.0);
        self.family.set(family as u32);
    }
}

/// How many flows of one worker each Service and each endpoint has, over both
/// families. Memory is bounded: Services and endpoints whose numbers lie beyond
/// the bounds share one count that nobody asks for, together with flows that
/// have none.
#[derive(Debug)]
pub struct Loads {
    services: Box<[ServiceLoad]>,
    backends: Box<[BackendLoad]>,
}

impl Loads {
    /// All zero, for so many Services and endpoints.
    pub fn new(services: usize, backends: usize) -> Self {
        fn many<T: Default>(n: usize) -> Box<[T]> {
            (0..n).map(|_| T::default()).collect()
        }
        Loads { services: many(services + 1), backends: many(backends + 1) }
    }

    /// The load of a Service, if it is counted by itself.
    #[inline]
    pub fn service(&self, service: ServiceId) -> Option<&ServiceLoad> {
        let (_, own) = self.services.split_last()?;
        own.get(service.0 as usize)
    }

    /// The loads of all endpoints that have been counted by themselves, by
    /// number.
    pub fn backends(&self) -> &[BackendLoad] {
        self.backends.split_last().map_or(&[], |(_, own)| own)
    }

    /// The load of an endpoint, if it is counted by itself.
    #[inline]
    pub fn backend(&self, backend: BackendId) -> Option<&BackendLoad> {
        self.backends().get(backend.0 as usize)
    }

    /// The count that a Service's flows go into.
    #[inline]
    pub(crate) fn of_service(&self, service: ServiceId) -> &ServiceLoad {
        &self.services[(service.0 as usize).min(self.services.len() - 1)]
    }

    /// The count that an endpoint's flows go into.
    #[inline]
    pub(super) fn of_backend(&self, backend: BackendId) -> &BackendLoad {
        &self.backends[(backend.0 as usize).min(self.backends.len() - 1)]
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.services) + size_of_val(&*self.backends)
    }
}

impl Default for Loads {
    /// For [`SERVICES`] and [`BACKENDS`].
    fn default() -> Self {
        Loads::new(SERVICES, BACKENDS)
    }
}
