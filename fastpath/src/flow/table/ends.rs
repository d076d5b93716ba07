use super::FlowTable;
use super::expire::Condemned;
use crate::events::is_sampled;
use crate::flow::{Entry, State};
use crate::wire::ip::Ip;
use sluice_tables::{BackendId, RuleId};

/// Ends that wait until they are told, at most: more than begin in a turn under any
/// load that a log can follow.
const ENDS_MAX: usize = 256;

/// A flow that has ended, or is to be told of: what was known of it.
#[derive(Clone, Copy, Debug)]
pub struct Ended<F: Ip> {
    /// Original direction and reply.
    pub entries: [Entry<F>; 2],
    /// Its last state.
    pub state: State,
    /// Policies cut it.
    pub is_cut: bool,
    /// The endpoint.
    pub backend: BackendId,
    /// The rules that let it pass, or that cut it: egress, ingress.
    pub rules: [RuleId; 2],
}

/// Flows that have ended and are to be told of.
#[derive(Debug)]
pub(super) struct Ends<F: Ip> {
    /// One in so many; 0: none.
    pub(super) sample: u32,
    list: Vec<Ended<F>>,
    missed: u64,
}

impl<F: Ip> Default for Ends<F> {
    fn default() -> Self {
        Ends { sample: 0, list: Vec::new(), missed: 0 }
    }
}

impl<F: Ip> Ended<F> {
    /// A flow by the number of one of its entries, as it is now.
    pub(crate) fn of(table: &FlowTable<F>, number: u32) -> Self {
        let entries = *table.both(number);
        Ended {
            entries,
            state: entries[0].state,
            is_cut: table.cut(number).is_some(),
            backend: table.backend(number),
            rules: table.rules(number),
        }
    }
}

impl<F: Ip> FlowTable<F> {
    /// Keeps the ends of one flow in `sample` from now on; 0: of none.
    pub(crate) fn keep_ends(&mut self, sample: u32) {
        self.ends.sample = sample;
        if sample == 0 {
            self.ends.list.clear();
        } else {
            self.ends.list.reserve_exact(ENDS_MAX - self.ends.list.len());
        }
    }

    /// A flow that has ended since this was last asked.
    pub(crate) fn take_end(&mut self) -> Option<Ended<F>> {
        self.ends.list.pop()
    }

    /// Ends that found no room since this was last asked.
    pub(crate) fn take_missed_ends(&mut self) -> u64 {
        std::mem::take(&mut self.ends.missed)
    }

    #[cold]
    pub(super) fn keep_end(&mut self, Condemned { flow, hashes }: Condemned) {
        if !is_sampled(hashes[0], self.ends.sample) {
            return;
        }
        if self.ends.list.len() == ENDS_MAX {
            self.ends.missed += 1;
        } else {
            self.ends.list.push(Ended::of(self, flow * 2));
        }
    }
}
