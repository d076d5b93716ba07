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

    /// Adds `n`.
    #[inline]
    pub(crate) fn up(&self, n: u32) {
        self.set(self.get().wrapping_add(n));
    }

    /// Takes away `n` that were added before.
    #[inline]
    pub(super) fn down(&self, n: u32) {
        self.set(self.get().wrapping_sub(n));
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
}

/// How many flows of one worker each Service and each endpoint has, over both
/// families. Memory is bounded: Services and endpoints whose numbers lie beyond
/// the bounds share one count that nobody asks for, together with flows that
/// have none.
#[derive(Debug)]
pub struct Loads {
    services: Box<[ServiceLoad]>,
    backends: Box<[BackendLoad]>,
    other_services: ServiceLoad,
    other_backends: BackendLoad,
}

impl Loads {
    /// All zero, for so many Services and endpoints.
    pub fn new(services: usize, backends: usize) -> Self {
        fn many<T: Default>(n: usize) -> Box<[T]> {
            (0..n).map(|_| T::default()).collect()
        }
        Loads {
            services: many(services),
            backends: many(backends),
            other_services: ServiceLoad::default(),
            other_backends: BackendLoad::default(),
        }
    }

    /// The load of a Service, if it is counted by itself.
    #[inline]
    pub fn service(&self, service: ServiceId) -> Option<&ServiceLoad> {
        self.services.get(service.0 as usize)
    }

    /// The load of an endpoint, if it is counted by itself.
    #[inline]
    pub fn backend(&self, backend: BackendId) -> Option<&BackendLoad> {
        self.backends.get(backend.0 as usize)
    }

    /// The loads of all endpoints that are counted by themselves, by number.
    pub fn backends(&self) -> &[BackendLoad] {
        &self.backends
    }

    /// The count that a Service's flows go into.
    #[inline]
    pub(crate) fn of_service(&self, service: ServiceId) -> &ServiceLoad {
        self.service(service).unwrap_or(&self.other_services)
    }

    /// The count that an endpoint's flows go into.
    #[inline]
    fn of_backend(&self, backend: BackendId) -> &BackendLoad {
        self.backend(backend).unwrap_or(&self.other_backends)
    }

    /// A flow begins, half open, that has so many SNAT ports (0 or 1).
    #[inline]
    pub(super) fn begin(&self, of: (ServiceId, BackendId), snat: u32, family: usize) {
        let (service, backend) = (self.of_service(of.0), self.of_backend(of.1));
        service.flows.up(1);
        service.half_open.up(1);
        backend.flows.up(1);
        backend.snat.up(snat);
        backend.service.set(of.0.0);
        backend.family.set(family as u32);
    }

    /// A flow ends.
    #[inline]
    pub(super) fn end(&self, of: (ServiceId, BackendId), half_open: u32, snat: u32) {
        let (service, backend) = (self.of_service(of.0), self.of_backend(of.1));
        service.flows.down(1);
        service.half_open.down(half_open);
        backend.flows.down(1);
        backend.snat.down(snat);
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
