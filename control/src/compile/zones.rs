//! Zones: where nodes and the gateway are.

use super::Compiler;
use super::epochs::Epochs;
use super::nodes::is_gateway;
use crate::cluster::Cluster;
use sluice_tables::{Tables, VtepId, ZoneId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The zones in the tables. Numbers are given anew with every version: no flow
/// keeps one.
#[derive(Debug, Default)]
pub(super) struct Zones {
    /// Numbers of those where clients may be.
    pub(super) ids: BTreeMap<Arc<str>, ZoneId>,
    /// The zone of each node that tells one.
    of_nodes: BTreeMap<Arc<str>, Arc<str>>,
}

impl Zones {
    /// The number of a zone that a client may be in.
    pub(super) fn id(&self, zone: &str) -> Option<ZoneId> {
        self.ids.get(zone).copied()
    }

    /// Numbers these zones: who has a number keeps it.
    fn renumber(&mut self, wanted: &BTreeSet<Arc<str>>) -> bool {
        let before = self.ids.clone();
        self.ids.retain(|zone, _| wanted.contains(zone));
        let used: BTreeSet<ZoneId> = self.ids.values().copied().collect();
        let mut free = (0..ZoneId::NONE.0).map(ZoneId).filter(|id| !used.contains(id));
        for zone in wanted {
            if !self.ids.contains_key(zone) {
                self.ids.extend(free.next().map(|id| (zone.clone(), id)));
            }
        }
        before != self.ids
    }
}

impl Compiler {
    /// Sets the zones of the nodes that have tunnels, and of the gateway; true
    /// if that, or the zone of any node, is new.
    pub(super) fn put_zones(
        &mut self,
        cluster: &Cluster,
        vteps: &BTreeMap<Arc<str>, VtepId>,
        next: &mut Tables,
        epochs: &mut Epochs,
    ) -> bool {
        let told = |(name, node): (&Arc<str>, &Arc<crate::cluster::Node>)| {
            Some((name.clone(), node.zone.clone()?))
        };
        let of_nodes: BTreeMap<_, _> = cluster.nodes().filter_map(told).collect();
        let gateway = || {
            let mut nodes = cluster.nodes();
            nodes.find(|(name, node)| is_gateway(name, node, &self.statics))?.1.zone.clone()
        };
        let own = self.statics.zone.clone().or_else(gateway);
        let mut wanted: BTreeSet<Arc<str>> = own.iter().cloned().collect();
        wanted.extend(vteps.keys().filter_map(|node| of_nodes.get(node)).cloned());
        let mut is_new = self.zones.renumber(&wanted);
        is_new |= of_nodes != self.zones.of_nodes;
        let id =
            |zone: Option<&Arc<str>>| zone.and_then(|z| self.zones.id(z)).unwrap_or(ZoneId::NONE);
        let zone = id(own.as_ref());
        let len = vteps.values().map(|id| id.0 as usize + 1).max().unwrap_or(0);
        let mut zones = vec![ZoneId::NONE; len];
        for (node, vtep) in vteps {
            zones[vtep.0 as usize] = id(of_nodes.get(node));
        }
        self.zones.of_nodes = of_nodes;
        if *next.zones != zones || next.zone != zone {
            next.zones = Arc::new(zones);
            next.zone = zone;
            epochs.changed();
        }
        is_new
    }
}
