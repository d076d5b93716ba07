//! Which flows may begin, and which one gives way to them.

use super::{FlowTable, prefetch};
use crate::flow::{Entry, State};
use crate::packet::Ingress;
use crate::reason::DropReason;
use crate::wire::ip::Ip;
use sluice_tables::ServiceId;
use sluice_tables::hash::endpoint;

/// Sources are counted by hash in so many classes.
pub(super) const SOURCES: usize = 1 << 16;
/// Flows looked at for one to give up.
const SCAN: usize = 16;

/// Flows of a class of sources.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SourceLoad {
    pub(super) flows: u32,
    pub(super) half_open: u32,
}

/// No flows of any source.
pub(super) fn sources() -> Box<[SourceLoad; SOURCES]> {
    let zeroed: Box<[SourceLoad]> = vec![SourceLoad::default(); SOURCES].into();
    // The length is right: the other arm is for the compiler alone.
    zeroed.try_into().unwrap_or_else(|_| Box::new([SourceLoad::default(); SOURCES]))
}

/// The class of a source. An IPv6 source outside of the cluster is a /64: its
/// owner has all addresses in it.
#[derive(Clone, Copy, Debug)]
pub struct Source(u16);

/// That a flow of a source may begin.
#[derive(Clone, Copy, Debug)]
pub struct Admitted(Source);

impl Admitted {
    /// Its source.
    #[inline]
    pub(super) fn source(self) -> Source {
        self.0
    }

    /// The index of its source's count.
    #[inline]
    pub(super) fn class(self) -> usize {
        usize::from(self.0.0)
    }
}

impl<F: Ip> FlowTable<F> {
    /// The class of a source, whose count the processor is asked to load. Of the
    /// cluster's own each is one, since a /64 is a node's pods.
    #[inline]
    pub fn source(&self, src: &F::Addr, is_of_cluster: bool) -> Source {
        const NETWORK_LEN: usize = 8;
        let addr = src.as_ref();
        let len = if is_of_cluster { addr.len() } else { addr.len().min(NETWORK_LEN) };
        let source = Source(endpoint(self.seed, &addr[..len], 0) as u16);
        self.prefetch_source(source);
        source
    }

    #[inline]
    pub(super) fn prefetch_source(&self, Source(class): Source) {
        prefetch(std::ptr::from_ref(&self.sources[usize::from(class)]).cast());
    }

    /// Judges whether a flow of a source to a Service may begin, before
    /// anything is spent on it. To a Service that has too many half-open ones
    /// it may if an older one of them gives way.
    ///
    /// # Errors
    /// `FlowSourceLimit`, `FlowServiceLimit`.
    #[inline]
    pub fn admit(
        &mut self,
        source: Source,
        service: ServiceId,
        now_ms: u32,
    ) -> Result<Admitted, DropReason> {
        let load = self.sources[usize::from(source.0)];
        // Under pressure a source may hold an eighth of the table, no more.
        let is_under_pressure = self.len >= self.flows_max - self.flows_max / 4;
        if load.flows >= self.limits.per_source
            || load.half_open >= self.limits.per_source_half_open
            || is_under_pressure && load.flows as usize > self.flows_max / 8
        {
            return Err(DropReason::FlowSourceLimit);
        }
        if let Some(load) = self.loads.service(service) {
            if load.flows.get() >= self.limits.per_service {
                return Err(DropReason::FlowServiceLimit);
            }
            if load.half_open.get() >= self.limits.per_service_half_open
                && !self.give_up_half_open(service, now_ms)
            {
                return Err(DropReason::FlowServiceLimit);
            }
        }
        Ok(Admitted(source))
    }

    /// A flow that the gateway begins itself may begin: who has asked for it was judged
    /// elsewhere.
    #[inline]
    pub fn admit_own(&self, source: Source) -> Admitted {
        Admitted(source)
    }

    /// Notes that a packet of its server's was looked at: the flow is no longer
    /// half open, unless its handshake is not over.
    pub fn answered(&mut self, entry: u32) {
        if self.entries[entry as usize / 2][0].bits & Entry::<F>::HALF_OPEN != 0 {
            self.settle(entry / 2);
        }
    }

    /// Takes a half-open flow out of those, if it is none any more.
    pub(super) fn settle(&mut self, flow: u32) {
        let [original, reply] = &mut self.entries[flow as usize];
        if reply.ingress == Ingress::UNSEEN || original.state.is_half_open() {
            return;
        }
        original.bits &= !Entry::<F>::HALF_OPEN;
        let service = original.service;
        let class = self.asides[flow as usize].admitted.class();
        self.sources[class].half_open -= 1;
        self.loads.of_service(service).half_open.down(1);
    }

    /// Gives up a flow for a new one: one that is closing, else the half-open
    /// one among those looked at that has waited longest, whatever its
    /// protocol: its first packet may have been forged. Others are never given
    /// up.
    pub(super) fn reclaim(&mut self, now_ms: u32) {
        let longest = self.longest(now_ms, |original| {
            if original.state.is_reusable() {
                return Some(true);
            }
            (original.bits & Entry::<F>::HALF_OPEN != 0).then_some(false)
        });
        self.give_up(longest);
    }

    /// Gives up a half-open flow of a Service for a new one: the first one on
    /// the way round the table, which is about the oldest, since new ones take
    /// the places behind. False when there is none among those looked at.
    #[cold]
    fn give_up_half_open(&mut self, service: ServiceId, now_ms: u32) -> bool {
        let longest = self.longest(now_ms, |original| {
            let is_half_open = original.bits & Entry::<F>::HALF_OPEN != 0;
            (is_half_open && original.service == service).then_some(true)
        });
        self.give_up(longest)
    }

    /// Of some flows that may be given up, the one that was silent for longest;
    /// the first one that `may_go` says to take at once.
    fn longest(&mut self, now_ms: u32, may_go: impl Fn(&Entry<F>) -> Option<bool>) -> Option<u32> {
        let mut longest = None;
        for _ in 0..SCAN.min(self.entries.len()) {
            self.hand = (self.hand + 1) % self.entries.len();
            let flow = self.hand as u32;
            let original = &self.entries[self.hand][0];
            if original.state == State::Free {
                continue;
            }
            let Some(at_once) = may_go(original) else { continue };
            if at_once {
                return Some(flow);
            }
            let idle = self.idle(flow, now_ms);
            if longest.is_none_or(|(most, _)| idle > most) {
                longest = Some((idle, flow));
            }
        }
        longest.map(|(_, flow)| flow)
    }

    fn give_up(&mut self, flow: Option<u32>) -> bool {
        if let Some(flow) = flow {
            self.given_up += 1;
            self.remove(flow * 2);
        }
        flow.is_some()
    }
}
