//! VIPs announced unasked, at a bounded pace, and what is told of others who
//! claim them.

use super::Worker;
use crate::stages::link;
use sluice_tables::Tables;
use sluice_tables::mailbox::FromWorker;
use std::net::IpAddr;

/// Packets that announce VIPs, in a millisecond: 10,000 VIPs take a third of a
/// second, and no burst is larger than one that comes in.
const ANNOUNCE_BUDGET: usize = 32;

/// Room in the mailbox that claims of others leave for answers.
const ROOM_LEFT: usize = 8;

impl Worker {
    /// Takes a list of VIPs. Of two at a time, the first is enough.
    pub(super) fn take_announcement(&mut self, mut vips: Vec<IpAddr>) {
        if self.announcing.is_some() {
            vips.clear();
            let _ = self.mailbox.send(FromWorker::Announced { vips });
        } else {
            self.announcing = Some(vips);
        }
    }

    /// Announces some of the VIPs, and gives the list back after the last. To be
    /// called once a millisecond.
    pub(super) fn announce(&mut self, tables: &Tables) {
        let Some(vips) = &mut self.announcing else { return };
        let mut sent = 0;
        // One that is not announced any more costs a look all the same.
        for _ in 0..ANNOUNCE_BUDGET {
            if sent >= ANNOUNCE_BUDGET {
                break;
            }
            let Some(vip) = vips.pop() else { break };
            sent += link::announce(&mut self.core, tables, vip);
        }
        if vips.is_empty()
            && self.mailbox.room() > 0
            && let Some(vips) = self.announcing.take()
        {
            let _ = self.mailbox.send(FromWorker::Announced { vips });
        }
    }

    /// Tells control who claims VIPs of ours. To be called once a millisecond.
    pub(super) fn tell_conflicts(&mut self) {
        while self.mailbox.room() > ROOM_LEFT {
            let Some(conflict) = self.core.conflicts.pop() else { return };
            let _ = self.mailbox.send(FromWorker::Conflict(conflict));
        }
    }
}
