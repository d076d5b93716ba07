//! What somebody who asks at `spec.healthCheckNodePort` is told.

use super::Compiler;
use super::halves::{Half, Halves};
use crate::cluster::{Cluster, NodePort};
use crate::object::Name;
use sluice_tables::{BackendState, RouteTarget, Tables, V4, V6};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The answer about one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The Service.
    pub service: Name,
    /// Endpoints that are ready and that there is a way to.
    pub endpoints: usize,
}

impl Compiler {
    /// The answers, by TCP port.
    pub fn health_checks(&self) -> BTreeMap<u16, HealthCheck> {
        self.health.values().cloned().collect()
    }

    /// Counts the changes of [`Compiler::health_checks`].
    pub fn health_version(&self) -> u64 {
        self.health_version
    }

    /// Counts the endpoints of those of these Services that are asked about; of
    /// all that are where the routes of ranges are new, and of those that have an
    /// endpoint where one of `rerouted` is.
    pub(super) fn compile_health(
        &mut self,
        cluster: &Cluster,
        mut names: BTreeSet<Name>,
        rerouted: &BTreeSet<IpAddr>,
        next: &Tables,
    ) {
        if !self.health.is_empty() {
            names.extend(rerouted.iter().flat_map(|addr| self.with_target(*addr)));
        }
        let is_moved = !Arc::ptr_eq(&self.tables.v4.routes, &next.v4.routes)
            || !Arc::ptr_eq(&self.tables.v6.routes, &next.v6.routes);
        if is_moved {
            names.extend(self.health.keys().cloned());
        }
        for name in names {
            let port = cluster.service(&name).and_then(|service| service.health_check_port());
            let holder = |port| cluster.node_port_holder(NodePort::HealthCheck(port));
            match port.filter(|port| holder(*port) == Some(&name)) {
                Some(port) => {
                    let endpoints = self.reachable(&name, next);
                    let check = (port, HealthCheck { service: name.clone(), endpoints });
                    if self.health.get(&name) != Some(&check) {
                        self.health.insert(name, check);
                        self.health_version += 1;
                    }
                }
                None => self.health_version += u64::from(self.health.remove(&name).is_some()),
            }
        }
    }

    /// Addresses of endpoints that are ready and reachable; where they have both
    /// families, those of one.
    fn reachable(&self, name: &Name, next: &Tables) -> usize {
        let ports = || self.services.get(name).into_iter().flat_map(|s| s.ports.values());
        let v4 = ports().flat_map(|port| reachable_in(V4::half(port), next));
        let v6 = ports().flat_map(|port| reachable_in(V6::half(port), next));
        v4.collect::<BTreeSet<_>>().len().max(v6.collect::<BTreeSet<_>>().len())
    }
}

fn reachable_in<'a, F: Halves>(
    half: &'a Half<F>,
    next: &'a Tables,
) -> impl Iterator<Item = F::Addr> + 'a {
    let ready = half.members.iter().filter(|(_, member)| member.state == BackendState::Ready);
    let has_way = |addr: &F::Addr| {
        let target = F::of(next).route(addr);
        target.is_some_and(|target| target != RouteTarget::Blackhole)
    };
    ready.map(|((addr, _), _)| *addr).filter(has_way)
}
