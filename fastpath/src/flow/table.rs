use super::buckets::Buckets;
use super::wheel::Wheel;
use super::{Direction, Entry, FlowLimits, Handshake, Key, Loads, State, Timeouts};
use crate::reason::DropReason;
use crate::stages::policy::Rules;
use crate::wire::ip::Ip;
use admit::{SOURCES, SourceLoad};
use ends::Ends;
use sluice_tables::{BackendId, V4, V6};
use std::sync::Arc;

mod admit;
mod ends;
#[cfg(test)]
mod tests;

pub use admit::{Admitted, Source};
pub use ends::Ended;

/// The flows of both families of one worker.
pub struct Flows {
    /// IPv4.
    pub v4: FlowTable<V4>,
    /// IPv6.
    pub v6: FlowTable<V6>,
}

impl Flows {
    /// Bytes of memory once every flow has been used.
    pub fn memory_bytes(&self) -> usize {
        self.v4.memory_bytes() + self.v6.memory_bytes() + self.v4.loads.memory_bytes()
    }
}

/// Which table of [`Flows`] is a family's.
pub trait FlowFamily: Ip {
    /// The family's flows.
    fn flows(flows: &mut Flows) -> &mut FlowTable<Self>;

    /// The family's flows, to be looked at.
    fn table(flows: &Flows) -> &FlowTable<Self>;
}

impl FlowFamily for V4 {
    #[inline]
    fn flows(flows: &mut Flows) -> &mut FlowTable<V4> {
        &mut flows.v4
    }

    #[inline]
    fn table(flows: &Flows) -> &FlowTable<V4> {
        &flows.v4
    }
}

impl FlowFamily for V6 {
    #[inline]
    fn flows(flows: &mut Flows) -> &mut FlowTable<V6> {
        &mut flows.v6
    }

    #[inline]
    fn table(flows: &Flows) -> &FlowTable<V6> {
        &flows.v6
    }
}

/// "No candidate".
pub const NO_ENTRY: u32 = u32::MAX;

/// What is kept of a flow beside its entries: no packet of an established one
/// needs it.
#[derive(Clone, Copy, Debug)]
pub struct Aside {
    /// The endpoint.
    pub backend: BackendId,
    /// What TCP's SYNs have said.
    pub handshake: Handshake,
    /// Whose flow it is.
    pub admitted: Admitted,
    /// The rules of policies that let it pass, or that cut it.
    pub rules: Rules,
    /// Why policies cut it, if they do: as its last packet found it.
    pub cut: Option<DropReason>,
}

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

/// Steps from one station of the expiry to the next.
const LAG: usize = 4;

/// A flow that the wheel has given up, and the hashes of its keys.
#[derive(Clone, Copy)]
struct Condemned {
    flow: u32,
    hashes: [u64; 2],
}

/// What a turn of the expiry did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Flows looked at.
    pub visited: usize,
    /// Flows removed.
    pub removed: usize,
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

    /// The backend of an entry's flow.
    pub fn backend(&self, entry: u32) -> BackendId {
        self.asides[entry as usize / 2].backend
    }

    /// The rules of policies that let an entry's flow pass, or that cut it.
    pub fn rules(&self, entry: u32) -> Rules {
        self.asides[entry as usize / 2].rules
    }

    /// Why policies cut an entry's flow, if its last packet was told so.
    pub fn cut(&self, entry: u32) -> Option<DropReason> {
        self.asides[entry as usize / 2].cut
    }

    /// Notes the rules that let an entry's flow pass now.
    pub fn set_rules(&mut self, entry: u32, rules: Rules) {
        let aside = &mut self.asides[entry as usize / 2];
        (aside.rules, aside.cut) = (rules, None);
    }

    /// Notes the rules that cut an entry's flow, why, and in which epoch of its original
    /// direction: that entry keeps the one before, which is as stale as any.
    pub fn set_cut(&mut self, entry: u32, rules: Rules, reason: DropReason, epoch: u32) {
        let aside = &mut self.asides[entry as usize / 2];
        (aside.rules, aside.cut) = (rules, Some(reason));
        self.entries[entry as usize / 2][0].epoch = epoch.wrapping_sub(1);
    }

    /// True when an entry's flow was cut in this epoch of its original direction, and not
    /// before.
    pub fn is_cut_in(&self, entry: u32, epoch: u32) -> bool {
        self.cut(entry).is_some() && self.both(entry)[0].epoch == epoch.wrapping_sub(1)
    }

    /// Lets an entry's flow live on from now, as if its client had spoken.
    pub fn keep(&mut self, entry: u32, now_ms: u32) {
        self.entries[entry as usize / 2][0].last_seen_ms = now_ms;
    }

    /// What the SYNs of an entry's flow have said.
    pub fn handshake(&self, entry: u32) -> &Handshake {
        &self.asides[entry as usize / 2].handshake
    }

    /// The same, to be changed.
    pub fn handshake_mut(&mut self, entry: u32) -> &mut Handshake {
        &mut self.asides[entry as usize / 2].handshake
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

    /// Creates a flow from its two entries (state and keys set; the reply's key
    /// is known to be free) and the hashes of their keys. Returns the number of
    /// the original entry.
    ///
    /// # Errors
    /// `FlowTableFull`.
    pub fn create(
        &mut self,
        mut original: Entry<F>,
        reply: Entry<F>,
        hashes: [u64; 2],
        aside: Aside,
        now_ms: u32,
    ) -> Result<u32, DropReason> {
        original.bits |= Entry::<F>::HALF_OPEN;
        if self.len >= self.flows_max {
            self.reclaim(now_ms);
        }
        let flow = match self.free.pop() {
            Some(flow) => flow,
            None if self.entries.len() < self.flows_max => {
                self.entries.push([Entry::free(); 2]);
                self.asides.push(aside);
                self.wheel.grow();
                (self.entries.len() - 1) as u32
            }
            None => return Err(DropReason::FlowTableFull),
        };
        if !self.buckets.insert(hashes[0], flow * 2) {
            self.free.push(flow);
            return Err(DropReason::FlowTableFull);
        }
        if !self.buckets.insert(hashes[1], flow * 2 + 1) {
            self.buckets.remove(hashes[0], flow * 2);
            self.free.push(flow);
            return Err(DropReason::FlowTableFull);
        }
        let deadline = now_ms.wrapping_add(self.timeouts.of_unanswered(original.state));
        self.wheel.insert(flow, deadline, now_ms);
        let snat = u32::from(original.bits & Entry::<F>::SNAT != 0);
        self.snat_ports += u64::from(snat);
        self.loads.begin((original.service, aside.backend), snat, F::INDEX);
        let source = &mut self.sources[aside.admitted.class()];
        source.flows += 1;
        source.half_open += 1;
        self.syns += usize::from(original.state == State::SynSent);
        self.entries[flow as usize] = [original, reply];
        self.asides[flow as usize] = aside;
        self.len += 1;
        // The place of the next flow.
        if let Some(&next) = self.free.last() {
            self.prefetch_flow(next);
            self.wheel.prefetch(next);
        }
        Ok(flow * 2)
    }

    /// Removes the flow of an entry.
    pub fn remove(&mut self, entry: u32) {
        let flow = entry / 2;
        self.wheel.remove(flow);
        self.forget(Condemned { flow, hashes: self.hashes(flow) });
    }

    /// Gives up a flow that the wheel no longer holds.
    fn forget(&mut self, condemned: Condemned) {
        if self.ends.sample != 0 {
            self.keep_end(condemned);
        }
        let Condemned { flow, hashes } = condemned;
        self.buckets.remove(hashes[0], flow * 2);
        self.buckets.remove(hashes[1], flow * 2 + 1);
        let entries = &mut self.entries[flow as usize];
        let aside = &self.asides[flow as usize];
        let Entry { bits, service, .. } = entries[0];
        let half_open = u32::from(bits & Entry::<F>::HALF_OPEN != 0);
        let snat = u32::from(bits & Entry::<F>::SNAT != 0);
        self.snat_ports -= u64::from(snat);
        self.loads.end((service, aside.backend), half_open, snat);
        let source = &mut self.sources[aside.admitted.class()];
        source.flows -= 1;
        source.half_open -= half_open;
        self.syns -= usize::from(entries[0].state.is_handshake());
        for entry in entries {
            entry.state = State::Free;
        }
        self.free.push(flow);
        self.len -= 1;
    }

    /// Changes the state of an entry's flow, and TCP's FIN bits.
    pub fn set_state(&mut self, entry: u32, state: State, fins: u8, now_ms: u32) {
        let flow = entry / 2;
        let before = self.entries[flow as usize][0].state;
        self.syns += usize::from(state.is_handshake());
        self.syns -= usize::from(before.is_handshake());
        for entry in &mut self.entries[flow as usize] {
            entry.state = state;
            entry.bits = entry.bits & !Entry::<F>::FINS | fins;
        }
        if self.entries[flow as usize][0].bits & Entry::<F>::HALF_OPEN != 0 {
            self.settle(flow);
        }
        // A flow that lives longer now stays where it is: when its slot comes
        // up, its time is looked at and it moves on.
        if self.timeouts.of(state) < self.timeouts.of(before) {
            self.wheel.remove(flow);
            self.wheel.insert(flow, now_ms.wrapping_add(self.timeouts.of(state)), now_ms);
        }
    }

    /// Removes flows whose time has come, looking at `budget` flows at most.
    ///
    /// A flow passes two stations some steps apart: by the first its entries
    /// are on their way from memory, by the second its buckets. Otherwise each
    /// would cost four trips to memory, one after the other.
    pub fn expire(&mut self, now_ms: u32, budget: usize) -> Expired {
        let mut expired = Expired::default();
        let mut looked_at: [Option<u32>; LAG] = [None; LAG];
        let mut condemned: [Option<Condemned>; LAG] = [None; LAG];
        let mut on_the_way = 0;
        for step in 0.. {
            let due = if expired.visited < budget { self.wheel.due(now_ms) } else { None };
            if let Some(flow) = due {
                expired.visited += 1;
                on_the_way += 1;
                self.prefetch_flow(flow);
            } else if on_the_way == 0 {
                break;
            }
            let station = step % LAG;
            let next = std::mem::replace(&mut looked_at[station], due).and_then(|flow| {
                let hashes = self.judge(flow, now_ms);
                on_the_way -= usize::from(hashes.is_none());
                Some(Condemned { flow, hashes: hashes? })
            });
            if let Some(gone) = std::mem::replace(&mut condemned[station], next) {
                self.forget(gone);
                expired.removed += 1;
                on_the_way -= 1;
            }
        }
        expired
    }

    /// The hashes of a flow that has come due, its buckets asked for, if its
    /// time is over; otherwise it goes back to the wheel.
    fn judge(&mut self, flow: u32, now_ms: u32) -> Option<[u64; 2]> {
        let left = self.expires_in(flow, now_ms);
        if left > 0 {
            self.wheel.insert(flow, now_ms.wrapping_add(left), now_ms);
            return None;
        }
        let hashes = self.hashes(flow);
        hashes.iter().for_each(|&hash| self.prefetch_bucket(hash));
        self.prefetch_source(self.asides[flow as usize].admitted.source());
        Some(hashes)
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

    /// Milliseconds since the last packet of a flow.
    fn idle(&self, flow: u32, now_ms: u32) -> u32 {
        let since = |entry: &Entry<F>| now_ms.wrapping_sub(entry.last_seen_ms);
        let entries = &self.entries[flow as usize];
        let [original, reply] = entries;
        // The reply's time means nothing before its first packet.
        if is_answered(entries) { since(original).min(since(reply)) } else { since(original) }
    }

    fn expires_in(&self, flow: u32, now_ms: u32) -> u32 {
        let entries = &self.entries[flow as usize];
        let state = entries[0].state;
        let timeout = if is_answered(entries) {
            self.timeouts.of(state)
        } else {
            self.timeouts.of_unanswered(state)
        };
        timeout.saturating_sub(self.idle(flow, now_ms))
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

/// True when a packet of the other side has passed.
#[inline]
fn is_answered<F: Ip>([_, reply]: &[Entry<F>; 2]) -> bool {
    reply.packets != 0
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
