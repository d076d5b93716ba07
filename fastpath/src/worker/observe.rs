//! What the worker is asked to tell of single packets.

use super::Worker;
use crate::core::Core;
use crate::flow::FlowTable;
use crate::wire::ip::Ip;
use sluice_tables::Observe;
use sluice_tables::mailbox::FromWorker;
use std::sync::Arc;

impl Worker {
    /// Tells what is asked for from now on.
    pub(super) fn observe(&mut self, observe: Arc<Observe>) {
        let old = self.core.events.observe(observe, self.core.now);
        let sample = self.core.events.sample();
        self.flows.v4.keep_ends(sample);
        self.flows.v6.keep_ends(sample);
        // `receive` has made sure that there is room.
        let _ = self.mailbox.send(FromWorker::Unobserved(old));
    }

    /// Tells of the flows that have ended in this turn.
    #[cold]
    pub(super) fn tell_ends(&mut self) {
        tell(&mut self.core, &mut self.flows.v4);
        tell(&mut self.core, &mut self.flows.v6);
    }
}

fn tell<F: Ip>(core: &mut Core, table: &mut FlowTable<F>) {
    while let Some(flow) = table.take_end() {
        core.tell_ended(&flow);
    }
    core.count_untold_ends(table.take_missed_ends());
}
