//! Flows whose time is over.

use super::FlowTable;
use crate::flow::Entry;
use crate::wire::ip::Ip;

/// Steps from one station of the expiry to the next.
const LAG: usize = 4;

/// A flow that the wheel has given up, and the hashes of its keys.
#[derive(Clone, Copy)]
pub(super) struct Condemned {
    pub(super) flow: u32,
    pub(super) hashes: [u64; 2],
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

    /// Milliseconds since the last packet of a flow.
    pub(super) fn idle(&self, flow: u32, now_ms: u32) -> u32 {
        let since = |entry: &Entry<F>| now_ms.wrapping_sub(entry.last_seen_ms);
        let entries = &self.entries[flow as usize];
        let [original, reply] = entries;
        // The reply's time means nothing before its first packet.
        if is_answered(entries) { since(original).min(since(reply)) } else { since(original) }
    }

    pub(super) fn expires_in(&self, flow: u32, now_ms: u32) -> u32 {
        let entries = &self.entries[flow as usize];
        let state = entries[0].state;
        let timeout = if is_answered(entries) {
            self.timeouts.of(state)
        } else {
            self.timeouts.of_unanswered(state)
        };
        timeout.saturating_sub(self.idle(flow, now_ms))
    }
}

/// True when a packet of the other side has passed.
#[inline]
fn is_answered<F: Ip>([_, reply]: &[Entry<F>; 2]) -> bool {
    reply.packets != 0
}
