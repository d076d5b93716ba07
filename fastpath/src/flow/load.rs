use sluice_tables::{BackendId, ServiceId};
use std::sync::atomic::{AtomicU32, Ordering};

/// Ports of Services that are counted one by one, per worker: 256 KiB.
pub const SERVICES: usize = 1 << 15;
/// Endpoints that are counted one by one, per worker: 1 MiB.
pub const BACKENDS: usize = 1 << 17;

/// A count that goes up and down. Written by one worker only, with a relaxed
/// load and store (no locked instruction), and read by anyone.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU32);

impl Gauge {
    /// The value.
    #[inline]
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds `n` that come, or takes away as many that were added before.
    #[inline]
    pub(super) fn count(&self, n: u32, come: bool) {
        let before = self.get();
        let after = if come { before.wrapping_add(n) } else { before.wrapping_sub(n) };
        self.0.store(after, Ordering::Relaxed);
    }
}

/// Flows of a port of a Service.
#[derive(Debug, Default)]
pub struct ServiceLoad {
    /// All of them.
    pub flows: Gauge,
    /// Those that are half open.
    pub half_open: Gauge,
}

/// Flows of an endpoint.
#[derive(Debug, Default)]
pub struct BackendLoad {
    /// All of them.
    pub flows: Gauge,
    /// Those that hold a SNAT port.
    pub snat: Gauge,
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

    /// The load of an endpoint, if it is counted by itself.
    #[inline]
    pub fn backend(&self, backend: BackendId) -> Option<&BackendLoad> {
        let (_, own) = self.backends.split_last()?;
        own.get(backend.0 as usize)
    }

    /// The count that a Service's flows go into.
    #[inline]
    pub(super) fn of_service(&self, service: ServiceId) -> &ServiceLoad {
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
