use sluice_tables::{ServiceId, Tables};
use std::collections::BTreeSet;

/// What changes between two versions, and which flows must look again.
#[derive(Debug, Default)]
pub(super) struct Epochs {
    is_changed: bool,
    routes: bool,
    policy: bool,
    policy_groups: BTreeSet<u8>,
    groups: BTreeSet<usize>,
}

impl Epochs {
    /// Something has changed that concerns no flow that exists.
    pub(super) fn changed(&mut self) {
        self.is_changed = true;
    }

    /// Packets may go another way.
    pub(super) fn route(&mut self) {
        self.is_changed = true;
        self.routes = true;
    }

    /// Policy may say something else to any flow.
    pub(super) fn policy(&mut self) {
        self.is_changed = true;
        self.policy = true;
    }

    /// Policy may say something else to flows of a group of addresses.
    pub(super) fn policy_group(&mut self, group: u8) {
        self.is_changed = true;
        self.policy_groups.insert(group);
    }

    /// Something got worse for the flows of a Service; [`ServiceId::NONE`]: for
    /// those without one.
    pub(super) fn service(&mut self, service: ServiceId) {
        self.group(Tables::service_group(service));
    }

    /// Something got worse for the flows of a group of Services.
    pub(super) fn group(&mut self, group: usize) {
        self.is_changed = true;
        self.groups.insert(group);
    }

    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Counts the epochs of `tables` on. They wrap: a flow that slept through
    /// 4 billion changes is not expected.
    pub(super) fn bump(&self, tables: &mut Tables) {
        if self.routes {
            tables.route_epoch = tables.route_epoch.wrapping_add(1);
        }
        if self.policy {
            // Groups count no more once there are no policies: the sum of all
            // epochs that a flow depends on must not become what it was. Both of
            // its groups may be the same.
            let groups = tables.policy_epochs.iter().filter(|_| !tables.has_policies);
            let groups =
                groups.fold(0u32, |sum, epoch| sum.wrapping_add(*epoch).wrapping_add(*epoch));
            tables.policy_epoch = tables.policy_epoch.wrapping_add(1).wrapping_add(groups);
        } else {
            for &group in &self.policy_groups {
                let epoch = &mut tables.policy_epochs[usize::from(group)];
                *epoch = epoch.wrapping_add(1);
            }
        }
        for &group in &self.groups {
            let epoch = &mut tables.service_epochs[group];
            *epoch = epoch.wrapping_add(1);
        }
    }
}
