use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Labels of a Namespace, Pod or Node.
pub(super) type Labels = BTreeMap<String, String>;

/// The objects of a cluster, as they were written.
#[derive(Default)]
pub struct World {
    namespaces: Vec<Namespace>,
    nodes: Vec<Node>,
    pods: Vec<Pod>,
    pub(super) network_policies: Vec<NetworkPolicy>,
    pub(super) cluster_policies: Vec<Value>,
    /// The addresses that DNS answers gave to a name, which is in lower case.
    learned: BTreeMap<String, Vec<IpAddr>>,
}

impl World {
    /// The cluster of these objects, by `kind`. Other kinds are none of ours.
    pub fn of<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut world = World::default();
        for object in objects {
            match object["kind"].as_str() {
                Some("Namespace") => world.namespaces.push(typed(object)),
                Some("Node") => world.nodes.push(typed(object)),
                Some("Pod") => world.pods.push(typed(object)),
                Some("NetworkPolicy") => world.network_policies.push(typed(object)),
                Some("ClusterNetworkPolicy") => world.cluster_policies.push(object.clone()),
                _ => {}
            }
        }
        world
    }

    /// A DNS answer for a name went through the gateway.
    pub fn learn(&mut self, name: &str, addresses: &[IpAddr]) {
        self.learned.insert(name.to_ascii_lowercase(), addresses.to_vec());
    }

    /// The pod that has an address. "NetworkPolicies apply to hostNetwork pods
    /// in an undefined way": here they are not asked, and such a pod is its
    /// node's address to others.
    /// <https://kubernetes.io/docs/concepts/services-networking/network-policies/#networkpolicy-and-hostnetwork-pods>
    pub fn pod_at(&self, addr: IpAddr) -> Option<&Pod> {
        let has_it = |pod: &&Pod| {
            !is_on_host_network(pod) && !has_ended(pod) && pod_addresses(pod).any(|a| a == addr)
        };
        self.pods.iter().filter(has_it).max_by_key(|pod| age_order(pod))
    }

    /// True for a pod and itself.
    pub fn is_same(one: &Pod, other: &Pod) -> bool {
        identity(&one.metadata) == identity(&other.metadata)
    }

    /// "The Kubernetes control plane sets an immutable label
    /// `kubernetes.io/metadata.name` on all namespaces".
    /// <https://kubernetes.io/docs/concepts/services-networking/network-policies/#targeting-a-namespace-by-its-name>
    pub(super) fn namespace_labels(&self, name: &str) -> Labels {
        let namespace = self.namespace(name);
        let mut labels = namespace.and_then(|n| n.metadata.labels.clone()).unwrap_or_default();
        labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
        labels
    }

    /// True for a policy or Namespace that is only tried out.
    pub(super) fn is_namespace_audited(&self, name: &str) -> bool {
        self.namespace(name).is_some_and(|namespace| is_audited(&namespace.metadata))
    }

    fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.iter().find(|n| n.metadata.name.as_deref() == Some(name))
    }

    /// All addresses of a node, of whatever type.
    pub(super) fn node_addresses(&self, name: &str) -> impl Iterator<Item = IpAddr> {
        let node = self.nodes.iter().find(|node| node.metadata.name.as_deref() == Some(name));
        node.into_iter().flat_map(addresses_of)
    }

    /// The addresses of the nodes whose labels are wanted.
    pub(super) fn addresses_of_nodes(
        &self,
        is_wanted: impl Fn(&Labels) -> bool,
    ) -> impl Iterator<Item = IpAddr> {
        let nodes = self.nodes.iter().filter(move |node| is_wanted(&labels_of(&node.metadata)));
        nodes.flat_map(addresses_of)
    }

    /// The names that have an address.
    pub(super) fn names_of(&self, addr: IpAddr) -> impl Iterator<Item = &str> {
        let named = self.learned.iter().filter(move |(_, addrs)| addrs.contains(&addr));
        named.map(|(name, _)| name.as_str())
    }
}

/// True for a policy or Namespace with the annotation.
pub(super) fn is_audited(metadata: &ObjectMeta) -> bool {
    let annotations = metadata.annotations.as_ref();
    annotations.and_then(|all| all.get("sluice.dev/policy-audit")).is_some_and(|v| v == "true")
}

/// The labels of an object, none if it has none.
pub(super) fn labels_of(metadata: &ObjectMeta) -> Labels {
    metadata.labels.clone().unwrap_or_default()
}

/// The namespace of an object; no namespace is `default`.
pub(super) fn namespace_of(metadata: &ObjectMeta) -> &str {
    metadata.namespace.as_deref().filter(|name| !name.is_empty()).unwrap_or("default")
}

/// The namespace and name of an object.
pub(super) fn identity(metadata: &ObjectMeta) -> (&str, &str) {
    (namespace_of(metadata), metadata.name.as_deref().unwrap_or_default())
}

fn typed<T: DeserializeOwned>(object: &Value) -> T {
    serde_json::from_value(object.clone()).unwrap_or_else(|e| panic!("{e} in {object}"))
}

fn is_on_host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false)
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

/// The greatest has the address.
fn age_order(pod: &Pod) -> (Option<&Time>, (&str, &str)) {
    (pod.metadata.creation_timestamp.as_ref(), identity(&pod.metadata))
}

/// "podIPs holds the IP addresses allocated to the pod. If this field is
/// specified, the 0th entry must match the podIP field."
fn pod_addresses(pod: &Pod) -> impl Iterator<Item = IpAddr> {
    let status = pod.status.as_ref();
    let all = status.and_then(|status| status.pod_ips.as_deref()).unwrap_or_default();
    let first = status.and_then(|status| status.pod_ip.as_deref()).filter(|_| all.is_empty());
    all.iter().map(|ip| ip.ip.as_str()).chain(first).filter_map(|text| text.parse().ok())
}

fn addresses_of(node: &Node) -> impl Iterator<Item = IpAddr> {
    let status = node.status.as_ref();
    let all = status.and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    all.iter().filter_map(|entry| entry.address.parse().ok())
}
