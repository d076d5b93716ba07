//! Flows begin, change their state and end.

use super::expire::Condemned;
use super::{Aside, FlowTable};
use crate::flow::{Entry, State};
use crate::reason::DropReason;
use crate::wire::ip::Ip;

impl<F: Ip> FlowTable<F> {
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
    pub(super) fn forget(&mut self, condemned: Condemned) {
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
}
