use super::{Admitted, FlowTable};
use crate::flow::Handshake;
use crate::reason::DropReason;
use crate::stages::policy::Rules;
use crate::wire::ip::Ip;
use sluice_tables::BackendId;

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

impl<F: Ip> FlowTable<F> {
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

    /// What the SYNs of an entry's flow have said.
    pub fn handshake(&self, entry: u32) -> &Handshake {
        &self.asides[entry as usize / 2].handshake
    }

    /// The same, to be changed.
    pub fn handshake_mut(&mut self, entry: u32) -> &mut Handshake {
        &mut self.asides[entry as usize / 2].handshake
    }
}
