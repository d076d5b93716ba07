use super::flows::{pod_of, rule_text, service_text};
use crate::cluster::Cluster;
use crate::compile::{Compiler, Direction};
use crate::driver::PodNames;
use serde::{Deserialize, Serialize};
use sluice_tables::{BackendId, Family, LocalAddress, RuleId, ServiceId, V4, V6};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What is to be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamesQuery {
    /// Addresses: of the source, of the destination, of who gets it.
    pub addresses: [IpAddr; 3],
    /// Rules of policies: of the source, of the destination.
    pub rules: [RuleId; 2],
    /// A Service's port.
    pub service: ServiceId,
    /// An endpoint.
    pub backend: BackendId,
}

/// What numbers and addresses stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Who has the addresses, in their order.
    pub who: [WhoView; 3],
    /// The rules; `None` for no rule.
    pub rules: [Option<String>; 2],
    /// The Service, as `namespace/name:port`.
    pub service: Option<String>,
    /// The pod behind the endpoint, as `namespace/name`.
    pub pod: Option<String>,
}

/// Who has an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhoView {
    /// The address.
    pub address: IpAddr,
    /// What it is.
    pub kind: WhoKind,
    /// A pod's `namespace/name`, a node's name, a Service's `namespace/name`, the
    /// gateway's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The node that a pod is on, or whose pod range it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// A pod's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What policies would deny to a pod is told of, and passes: its namespace asks
    /// for that.
    #[serde(default)]
    pub audited: bool,
    /// Policies for what a pod sends, in the order in which they are asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<PolicyView>,
    /// Policies for what a pod gets, in the order in which they are asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<PolicyView>,
}

/// What has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhoKind {
    /// A pod with addresses of its own.
    Pod,
    /// A node, or a pod in its node's network.
    Node,
    /// A Service.
    Service,
    /// The gateway itself.
    Gateway,
    /// An address of a node's pod range that no known pod has.
    PodRange,
    /// Nobody whom the cluster knows.
    Outside,
}

/// A policy that selects a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyView {
    /// Its kind and name.
    pub policy: String,
    /// What only it would deny is told of, and passes.
    pub audited: bool,
    /// It cannot be understood: it denies everything.
    pub refused: bool,
}

/// What numbers and addresses stand for now, or have stood for until lately.
pub(crate) fn names(
    cluster: &Cluster,
    compiler: &Compiler,
    pods: &PodNames,
    query: &NamesQuery,
) -> Names {
    Names {
        who: query.addresses.map(|addr| who(cluster, compiler, pods, addr)),
        rules: query.rules.map(|rule| rule_text(compiler, rule)),
        service: service_text(compiler, query.service),
        pod: pod_of(compiler, query.backend),
    }
}

fn who(cluster: &Cluster, compiler: &Compiler, pods: &PodNames, address: IpAddr) -> WhoView {
    let mut view = WhoView {
        address,
        kind: WhoKind::Outside,
        name: None,
        node: None,
        labels: BTreeMap::new(),
        audited: false,
        egress: Vec::new(),
        ingress: Vec::new(),
    };
    if let Some(name) = pods.get(address) {
        let pod = cluster.pod(&name);
        view.kind = WhoKind::Pod;
        view.node = pod.and_then(|pod| pod.node.as_deref()).map(str::to_owned);
        view.labels = pod.map(|pod| pod.labels.clone()).unwrap_or_default();
        view.audited = cluster.namespace(&name.namespace).is_some_and(|of| of.is_audited);
        let policies = |direction| {
            let keys = compiler.policies_of(&name, direction);
            let view = |key| {
                let policy = cluster.network_policy(&key);
                PolicyView {
                    policy: key.to_string(),
                    audited: policy.is_some_and(|policy| policy.is_audited),
                    refused: policy.is_some_and(|policy| policy.is_refused),
                }
            };
            keys.into_iter().map(view).collect()
        };
        view.egress = policies(Direction::Egress);
        view.ingress = policies(Direction::Ingress);
        view.name = Some(name.to_string());
    } else if let Some(service) = cluster.share(address).and_then(|share| share.holder()) {
        view.kind = WhoKind::Service;
        view.name = Some(service.to_string());
    } else if let Some(of) = own(compiler, address) {
        view.kind = WhoKind::Gateway;
        view.name = of;
    } else if let Some(node) = node_of(cluster, address) {
        view.kind = WhoKind::Node;
        view.name = Some(node);
    } else if let Some(node) = range_of(cluster, address) {
        view.kind = WhoKind::PodRange;
        view.node = Some(node);
    }
    view
}

/// Whether an address is the gateway's own, and the port that it is on.
fn own(compiler: &Compiler, addr: IpAddr) -> Option<Option<String>> {
    fn of<F: Family>(compiler: &Compiler, addr: IpAddr) -> Option<LocalAddress> {
        F::of(compiler.tables()).local.get(&F::from_ip(addr)?).copied()
    }
    Some(match of::<V4>(compiler, addr).or_else(|| of::<V6>(compiler, addr))? {
        LocalAddress::Snat => None,
        LocalAddress::Port(port) | LocalAddress::Kernel(port) => {
            compiler.tables().port(port).map(|port| port.name.clone())
        }
    })
}

/// The node that has an address: its own, that of its tunnel's end or device.
fn node_of(cluster: &Cluster, addr: IpAddr) -> Option<String> {
    let has = |node: &crate::cluster::Node| {
        node.all_addresses.contains(&addr)
            || node.addresses.contains(&addr)
            || node.tunnel.vteps.iter().any(|(_, vtep)| *vtep == addr)
            || node.tunnel.devices.contains(&addr)
    };
    cluster.nodes().find(|(_, node)| has(node)).map(|(name, _)| name.to_string())
}

/// The node whose pods have the addresses around this one: the narrowest range, where
/// several hold it.
fn range_of(cluster: &Cluster, addr: IpAddr) -> Option<String> {
    let ranges = cluster
        .nodes()
        .flat_map(|(name, node)| node.pod_cidrs.iter().map(move |(_, range)| (range, name)));
    let holding = ranges.filter(|(range, _)| range.contains(&addr));
    holding.max_by_key(|(range, _)| range.prefix_len()).map(|(_, name)| name.to_string())
}
