use super::buckets::Buckets;
use super::wheel::Wheel;
use super::{Direction, Entry, FlowLimits, Key, Loads, State, Timeouts};
use crate::wire::ip::Ip;
use admit::{SOURCES, SourceLoad};
use ends::Ends;
use sluice_tables::BackendId;
use std::sync::Arc;

mod admit;
mod aside;
mod ends;
mod expire;
mod families;
mod life;
#[cfg(test)]
mod tests;

pub use admit::{Admitted, Source};
pub use aside::Aside;
pub use ends::Ended;
pub use expire::Expired;
pub use families::{FlowFamily, Flows};

/// "No candidate".
pub const NO_ENTRY: u32 = u32::MAX;

/// The flows of one family that one worker owns. A flow is two entries side by
/// side: number `2 n` for the original direction, `2 n + 1` for the reply.
/// Memory is touched as flows come; it is bounded by the table's capacity.
pub struct FlowTable<F: Ip> {
    buckets: Buckets,
    entries: Vec<[Entry<F>; 2]>,
    asides: Vec<Aside>,
    wheel: Wheel,
    free: Vec<u32>,
    flows_max: usize,
    len: usize,
    seed: u64,
    /// Flows by source.
    sources: Box<[SourceLoad; SOURCES]>,
    /// Flows by Service and endpoint, those of the other family included.
    loads: Arc<Loads>,
    limits: FlowLimits,
    /// Where the search for a flow to give up goes on.
    hand: usize,
    timeouts: Timeouts,
    snat_ports: u64,
    /// TCP connections whose handshake is not over.
    syns: usize,
    given_up: u64,
    /// Ended flows that are to be told of.
    ends: Ends<F>,
}

impl<F: Ip> FlowTable<F> {
    /// A table for `flows_max` flows (at least 1), whose hash is keyed by
    /// `seed`, and which counts them in `loads`.
    pub fn new(
        flows_max: usize,
        timeouts: Timeouts,
        limits: FlowLimits,
        loads: Arc<Loads>,
        seed: u64,
    ) -> Self {
        let flows_max = flows_max.clamp(1, (NO_ENTRY / 2 - 1) as usize);
        FlowTable {
            buckets: Buckets::new(flows_max * 2),
            entries: crate::hugepage::vec_with_capacity(flows_max),
            asides: crate::hugepage::vec_with_capacity(flows_max),
            wheel: Wheel::new(flows_max),
            free: Vec::with_capacity(flows_max),
            flows_max,
            len: 0,
            seed,
            sources: admit::sources(),
            loads,
            limits,
            hand: 0,
            timeouts,
            snat_ports: 0,
            syns: 0,
            given_up: 0,
            ends: Ends::default(),
        }
    }

    /// Flows in the table.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Flows that hold a SNAT port.
    pub fn snat_ports(&self) -> u64 {
        self.snat_ports
    }

    /// True when a sixteenth of the table are TCP connections whose handshake is not
    /// over.
    #[inline]
    pub fn has_many_syns(&self) -> bool {
        self.syns >= self.flows_max.div_ceil(16)
    }

    /// Flows given up for new ones since this was last asked.
    pub fn take_given_up(&mut self) -> u64 {
        std::mem::take(&mut self.given_up)
    }

    /// Flows that an endpoint has at this worker; 0 beyond the endpoints that
    /// are counted ([`super::load::BACKENDS`]).
    pub fn connections(&self, backend: BackendId) -> u32 {
        self.loads.backend(backend).map_or(0, |load| load.flows.get())
    }

    /// How many flows Services and endpoints have.
    pub fn loads(&self) -> &Loads {
        &self.loads
    }

    /// Bytes of memory once every flow has been used, but for [`Loads`], which
    /// both families share.
    pub fn memory_bytes(&self) -> usize {
        let of_flow = size_of::<[Entry<F>; 2]>() + size_of::<Aside>() + size_of::<u32>();
        self.buckets.memory_bytes()
            + self.wheel.memory_bytes(self.flows_max)
            + size_of_val(&*self.sources)
            + self.flows_max * of_flow
    }

    /// The hash of a key in this table.
    #[inline]
    pub fn hash(&self, key: &Key<F>) -> u64 {
        key.hash(self.seed)
    }

    /// Asks the processor to load the bucket of a hash.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        prefetch(self.buckets.line(hash));
    }

    /// The entry that the bucket suggests, which it asks the processor to load;
    /// [`NO_ENTRY`] if none.
    #[inline(always)]
    pub fn suggest(&self, hash: u64) -> u32 {
        let Some(entry) = self.buckets.suggest(hash) else { return NO_ENTRY };
        if let Some(flow) = self.entries.get(entry as usize / 2) {
            let line = std::ptr::from_ref(&flow[entry as usize % 2]).cast::<u8>();
            prefetch(line);
            if !F::IS_V4 {
                prefetch(line.wrapping_add(64));
            }
        }
        entry
    }

    /// The entry of a key, tried at `candidate` first.
    #[inline(always)]
    pub fn find(&self, key: &Key<F>, hash: u64, candidate: u32) -> Option<u32> {
        if self.is_entry_of(candidate, key) {
            return Some(candidate);
        }
        // Flows that began or ended since the candidate was read.
        self.buckets.find(hash, |entry| self.is_entry_of(entry, key))
    }

    #[inline]
    fn is_entry_of(&self, entry: u32, key: &Key<F>) -> bool {
        match self.entries.get(entry as usize / 2) {
            Some(flow) => {
                let entry = &flow[entry as usize % 2];
                entry.key == *key && entry.state != State::Free
            }
            None => false,
        }
    }

    /// An entry by number.
    ///
    /// # Panics
    /// When there is no such entry: numbers come from [`FlowTable::find`].
    #[inline]
    pub fn entry(&self, entry: u32) -> &Entry<F> {
        &self.entries[entry as usize / 2][entry as usize % 2]
    }

    /// An entry by number, to be changed (not its key).
    ///
    /// # Panics
    /// As [`FlowTable::entry`].
    #[inline]
    pub fn entry_mut(&mut self, entry: u32) -> &mut Entry<F> {
        &mut self.entries[entry as usize / 2][entry as usize % 2]
    }

    /// Both directions of an entry's flow.
    pub fn both(&self, entry: u32) -> &[Entry<F>; 2] {
        &self.entries[entry as usize / 2]
    }

    /// The direction that an entry stands for.
    #[inline]
    pub fn direction(entry: u32) -> Direction {
        if entry.is_multiple_of(2) { Direction::Original } else { Direction::Reply }
    }

    /// Lets an entry's flow live on from now, as if its client had spoken.
    pub fn keep(&mut self, entry: u32, now_ms: u32) {
        self.entries[entry as usize / 2][0].last_seen_ms = now_ms;
    }

    /// Forgets what the directions of an entry's flow have acknowledged.
    pub fn forget_acks(&mut self, entry: u32) {
        for entry in &mut self.entries[entry as usize / 2] {
            entry.bits &= !Entry::<F>::ACKED;
        }
    }

    /// True when a key is taken.
    pub fn contains(&self, key: &Key<F>, hash: u64) -> bool {
        self.buckets.find(hash, |entry| self.is_entry_of(entry, key)).is_some()
    }

    /// The hashes of both directions of a flow.
    fn hashes(&self, flow: u32) -> [u64; 2] {
        let [original, reply] = &self.entries[flow as usize];
        [self.hash(&original.key), self.hash(&reply.key)]
    }

    /// Asks the processor to load both entries of a flow and what is beside
    /// them.
    #[inline]
    fn prefetch_flow(&self, flow: u32) {
        let Some(entries) = self.entries.get(flow as usize) else { return };
        let line = std::ptr::from_ref(entries).cast::<u8>();
        for at in (0..size_of::<[Entry<F>; 2]>()).step_by(64) {
            prefetch(line.wrapping_add(at));
        }
        prefetch(std::ptr::from_ref(&self.asides[flow as usize]).cast());
    }

    /// Flows from number `from` on that are in use: (number of the original
    /// entry, entries, idle milliseconds, milliseconds to expiry), looking at
    /// `budget` flows at most, and where to go on.
    pub fn scan(
        &self,
        from: usize,
        budget: usize,
        now_ms: u32,
        mut each: impl FnMut(u32, &[Entry<F>; 2], u32, u32) -> bool,
    ) -> Option<usize> {
        let end = self.entries.len().min(from.saturating_add(budget));
        for flow in from..end {
            let entries = &self.entries[flow];
            if entries[0].state == State::Free {
                continue;
            }
            let number = flow as u32;
            let (idle, left) = (self.idle(number, now_ms), self.expires_in(number, now_ms));
            if !each(number * 2, entries, idle, left) {
                return Some(flow);
            }
        }
        (end < self.entries.len()).then_some(end)
    }
}

/// Asks the processor to load a cache line.
#[inline]
#[allow(unsafe_code)]
pub fn prefetch(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing architecturally and cannot fault.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
