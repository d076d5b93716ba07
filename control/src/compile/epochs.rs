use sluice_tables::{SERVICE_EPOCHS, ServiceId, Tables};

/// What changes between two versions, and which flows must look again.
#[derive(Debug)]
pub(super) struct Epochs {
    is_changed: bool,
    routes: bool,
    groups: [bool; SERVICE_EPOCHS + 1],
}

impl Default for Epochs {
    fn default() -> Self {
        Epochs { is_changed: false, routes: false, groups: [false; SERVICE_EPOCHS + 1] }
    }
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

    /// Something got worse for the flows of a Service; [`ServiceId::NONE`]: for
    /// those without one.
    pub(super) fn service(&mut self, service: ServiceId) {
        self.is_changed = true;
        self.groups[Tables::service_group(service)] = true;
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
        for (epoch, _) in
            tables.service_epochs.iter_mut().zip(self.groups).filter(|(_, worse)| *worse)
        {
            *epoch = epoch.wrapping_add(1);
        }
    }
}
