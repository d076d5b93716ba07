use super::service::{Protocol, Service};
use crate::object::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A port at the gateway's own addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodePort {
    /// Of a Service's port (`spec.ports[].nodePort`).
    Service(u16, Protocol),
    /// Where somebody asks about a Service (`spec.healthCheckNodePort`).
    HealthCheck(u16),
}

/// Who claims which node port, and who has it. Who has one keeps it while it
/// claims it; of Services that are new the older one has it, then the first by
/// name; those without a creation time come last.
#[derive(Debug, Default)]
pub struct NodePorts {
    by_port: BTreeMap<NodePort, Claimed>,
    /// Ports whose claims have changed since [`NodePorts::settle`].
    unsettled: BTreeSet<NodePort>,
}

#[derive(Debug, Default)]
struct Claimed {
    claims: BTreeSet<(i64, Name)>,
    holder: Option<Name>,
}

impl NodePorts {
    /// Adds the claims of a Service; returns the other Services that claim the
    /// same ports.
    pub fn add(&mut self, name: &Name, service: &Arc<Service>) -> BTreeSet<Name> {
        for port in of(service) {
            self.by_port.entry(port).or_default().claims.insert(claim(name, service));
            self.unsettled.insert(port);
        }
        self.others(name, service)
    }

    /// Removes the claims of a Service; returns the other Services that claim
    /// the same ports.
    pub fn remove(&mut self, name: &Name, service: &Arc<Service>) -> BTreeSet<Name> {
        let others = self.others(name, service);
        for port in of(service) {
            if let Some(claimed) = self.by_port.get_mut(&port) {
                claimed.claims.remove(&claim(name, service));
                self.unsettled.insert(port);
            }
        }
        others
    }

    /// Decides who has the ports whose claims have changed.
    pub fn settle(&mut self) {
        for port in std::mem::take(&mut self.unsettled) {
            let Some(claimed) = self.by_port.get_mut(&port) else { continue };
            let Some((_, first)) = claimed.claims.first() else {
                self.by_port.remove(&port);
                continue;
            };
            let is_claimed = |holder: &&Name| claimed.claims.iter().any(|(_, n)| n == *holder);
            if claimed.holder.as_ref().filter(is_claimed).is_none() {
                claimed.holder = Some(first.clone());
            }
        }
    }

    /// The Service that has a port, as of the last [`NodePorts::settle`].
    pub fn holder(&self, port: NodePort) -> Option<&Name> {
        self.by_port.get(&port)?.holder.as_ref()
    }

    fn others(&self, name: &Name, service: &Service) -> BTreeSet<Name> {
        let claimed = of(service).filter_map(|port| self.by_port.get(&port));
        let names = claimed.flat_map(|claimed| &claimed.claims).map(|(_, other)| other);
        names.filter(|other| *other != name).cloned().collect()
    }
}

/// The node ports that a Service claims.
fn of(service: &Service) -> impl Iterator<Item = NodePort> {
    let ports = service.node_ports().map(|(port, number)| NodePort::Service(number, port.protocol));
    ports.chain(service.health_check_port().map(NodePort::HealthCheck))
}

fn claim(name: &Name, service: &Service) -> (i64, Name) {
    (service.created.unwrap_or(i64::MAX), name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;
    use crate::object::{Kind, decode};
    use serde_json::json;

    fn apply(cluster: &mut Cluster, name: &str, created: Option<&str>, ports: &[(u16, &str)]) {
        let ports: Vec<_> = (1..)
            .zip(ports)
            .map(|(i, (port, protocol))| {
                json!({"name": format!("p{i}"), "port": i, "nodePort": port, "protocol": protocol})
            })
            .collect();
        let object = json!({
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": {"type": "LoadBalancer", "ports": ports, "externalTrafficPolicy": "Local",
                     "healthCheckNodePort": 31000},
        });
        cluster.apply(&decode(Kind::Service, &object).unwrap(), None);
    }

    /// Who has TCP port 30080, UDP port 30080, and the health check.
    fn holders(cluster: &mut Cluster) -> [String; 3] {
        cluster.take_changes();
        let service = |protocol| NodePort::Service(30080, protocol);
        [service(Protocol::Tcp), service(Protocol::Udp), NodePort::HealthCheck(31000)].map(|port| {
            cluster.node_port_holder(port).map_or("-".to_owned(), |name| name.name.to_string())
        })
    }

    #[test]
    fn who_has_a_node_port_keeps_it() {
        let mut cluster = Cluster::default();
        apply(&mut cluster, "b", None, &[(30080, "TCP")]);
        apply(&mut cluster, "c", Some("2026-01-02T00:00:00Z"), &[(30080, "TCP"), (30080, "UDP")]);
        assert_eq!(holders(&mut cluster), ["c", "c", "c"], "the older one, whatever its name");
        apply(&mut cluster, "a", Some("2026-01-01T00:00:00Z"), &[(30080, "TCP"), (30080, "UDP")]);
        assert_eq!(holders(&mut cluster), ["c", "c", "c"]);
        apply(&mut cluster, "c", Some("2026-01-02T00:00:00Z"), &[(30080, "TCP")]);
        assert_eq!(holders(&mut cluster), ["c", "a", "c"]);
        cluster.delete(&Name::new("default", "c").key(Kind::Service));
        assert_eq!(holders(&mut cluster), ["a", "a", "a"]);
        cluster.delete(&Name::new("default", "a").key(Kind::Service));
        assert_eq!(holders(&mut cluster), ["b", "-", "b"]);
    }
}
