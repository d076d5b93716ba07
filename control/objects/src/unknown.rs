//! Keys that no object of the kind has. The API server drops them, so they are
//! those that the typed object does not keep.

use crate::culprit::{self, Step};
use crate::decode::decode;
use crate::object::{Kind, Object};
use serde::Serialize;
use serde_json::{Value, json};

/// Most unknown keys of one object.
const UNKNOWN_MAX: usize = 32;

/// Keys of what is read here, wherever they stand. Which of them an object has
/// at a place, its type knows.
const KEYS: &[&str] = &[
    // Metadata.
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    "status",
    "name",
    "namespace",
    "labels",
    "annotations",
    "creationTimestamp",
    "deletionTimestamp",
    "finalizers",
    "ownerReferences",
    // Services.
    "ports",
    "selector",
    "clusterIP",
    "clusterIPs",
    "type",
    "externalIPs",
    "sessionAffinity",
    "sessionAffinityConfig",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
    "loadBalancerClass",
    "externalName",
    "externalTrafficPolicy",
    "internalTrafficPolicy",
    "healthCheckNodePort",
    "publishNotReadyAddresses",
    "ipFamilies",
    "ipFamilyPolicy",
    "allocateLoadBalancerNodePorts",
    "trafficDistribution",
    "protocol",
    "port",
    "targetPort",
    "nodePort",
    "appProtocol",
    "loadBalancer",
    "ingress",
    "ip",
    "ipMode",
    "hostname",
    // EndpointSlices.
    "addressType",
    "endpoints",
    "addresses",
    "conditions",
    "ready",
    "serving",
    "terminating",
    "nodeName",
    "zone",
    "hints",
    "targetRef",
    "deprecatedTopology",
    // Nodes.
    "podCIDR",
    "podCIDRs",
    "providerID",
    "taints",
    "unschedulable",
    "address",
    "capacity",
    "allocatable",
    // Pods.
    "containers",
    "initContainers",
    "containerPort",
    "hostPort",
    "hostIP",
    "hostNetwork",
    "image",
    "command",
    "args",
    "env",
    "resources",
    "restartPolicy",
    "readinessProbe",
    "serviceAccountName",
    "volumes",
    "tolerations",
    "podIP",
    "podIPs",
    "phase",
    // Network policies.
    "podSelector",
    "namespaceSelector",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
    "policyTypes",
    "egress",
    "from",
    "to",
    "endPort",
    "ipBlock",
    "cidr",
    "except",
    "tier",
    "priority",
    "subject",
    "action",
    "protocols",
    "namespaces",
    "pods",
    "nodes",
    "networks",
    "domainNames",
    "tcp",
    "udp",
    "sctp",
    "destinationPort",
    "destinationNamedPort",
    "number",
    "range",
    "start",
    "end",
    // Ingresses and their classes.
    "rules",
    "host",
    "http",
    "paths",
    "path",
    "pathType",
    "backend",
    "service",
    "resource",
    "tls",
    "hosts",
    "secretName",
    "ingressClassName",
    "defaultBackend",
    "controller",
    "parameters",
];

/// A key that no object of the kind has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// Its key path.
    pub path: String,
    /// The key itself.
    pub key: String,
    /// No other key stands beside it.
    pub is_alone: bool,
    kind: Kind,
    /// Where it stands.
    parent: Vec<Step>,
}

impl UnknownKey {
    /// Keys that there are in its place, as far as they matter here. Each that
    /// `is_wanted` is tried out, which takes time.
    pub fn known(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<&'static str> {
        let known = |key: &&str| is_wanted(key) && is_known(self.kind, &self.parent, key);
        KEYS.iter().copied().filter(known).collect()
    }
}

/// The keys of `value` that `object`, which was decoded from it, does not have.
pub fn unknown_keys(object: &Object, value: &Value) -> Vec<UnknownKey> {
    let kept = match object {
        Object::Namespace(object) => to_value(object),
        Object::Node(object) => to_value(object),
        Object::Service(object) => to_value(object),
        Object::EndpointSlice(object) => to_value(object),
        Object::Pod(object) => to_value(object),
        // Little of them is read; what else there is, their own API knows.
        Object::IpamBlock(_) | Object::IpPool(_) | Object::Secret(_) => return Vec::new(),
        Object::NetworkPolicy(object) => to_value(object),
        Object::ClusterNetworkPolicy(object) => to_value(object),
        Object::IngressClass(object) => to_value(object),
        Object::Ingress(object) => to_value(object),
    };
    let mut found = Vec::new();
    compare(object.kind(), value, &kept, &mut Vec::new(), &mut found);
    let to_key = |(mut steps, is_alone): (Vec<Step>, bool)| {
        let path = culprit::text(&steps);
        let key = match steps.pop() {
            Some(Step::Key(key)) => key,
            _ => String::new(),
        };
        UnknownKey { path, key, is_alone, kind: object.kind(), parent: steps }
    };
    found.into_iter().map(to_key).collect()
}

/// An object that was decoded can be written; if not, nothing is unknown.
fn to_value(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

fn compare(
    kind: Kind,
    value: &Value,
    kept: &Value,
    steps: &mut Vec<Step>,
    found: &mut Vec<(Vec<Step>, bool)>,
) {
    match (value, kept) {
        (Value::Object(value), Value::Object(kept)) => {
            for (key, child) in value {
                // What is empty need not be kept.
                let is_left_out = |steps: &[Step]| is_empty(child) && is_known(kind, steps, key);
                match kept.get(key) {
                    None if found.len() >= UNKNOWN_MAX || is_left_out(steps) => continue,
                    kept => {
                        steps.push(Step::Key(key.clone()));
                        match kept {
                            Some(kept) => compare(kind, child, kept, steps, found),
                            None => found.push((steps.clone(), value.len() == 1)),
                        }
                        steps.pop();
                    }
                }
            }
        }
        (Value::Array(value), Value::Array(kept)) if value.len() == kept.len() => {
            for (index, (value, kept)) in value.iter().zip(kept).enumerate() {
                steps.push(Step::Index(index));
                compare(kind, value, kept, steps, found);
                steps.pop();
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Whether objects of the kind have a key at a place: then there is a value that
/// does not fit it. Anything fits a key that is ignored.
fn is_known(kind: Kind, parent: &[Step], key: &str) -> bool {
    let mut steps = parent.to_vec();
    steps.push(Step::Key(key.to_owned()));
    let mut probes = [json!("\0"), json!(0.5)].into_iter();
    probes.any(|probe| decode(kind, &culprit::alone(&Value::Null, &steps, &probe)).is_err())
}

#[cfg(test)]
mod tests;
