//! `policy.networking.k8s.io` ClusterNetworkPolicy, versions `v1beta1` and
//! `v1alpha2`, which are the same (network-policy-api.sigs.k8s.io,
//! `apis/v1beta1/clusternetworkpolicy_types.go`).
//!
//! Where exactly one field is to be set, such as in a peer, all are optional
//! here: an object with none of them is of a kind that is not known here.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, ObjectMeta};
use serde::{Deserialize, Serialize};

/// A policy of the whole cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterNetworkPolicy {
    /// As it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// As it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Metadata.
    pub metadata: ObjectMeta,
    /// What it says.
    pub spec: ClusterNetworkPolicySpec,
    /// What implementations say of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ClusterNetworkPolicyStatus>,
}

/// What a [`ClusterNetworkPolicy`] says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterNetworkPolicySpec {
    /// `Admin` or `Baseline`.
    pub tier: String,
    /// 0 to 1000; lower ones come first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// The pods that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<PodsPeer>,
    /// Rules for traffic towards them, in order.
    pub ingress: Vec<ClusterIngressRule>,
    /// Rules for traffic from them, in order.
    pub egress: Vec<ClusterEgressRule>,
}

/// What implementations say of a [`ClusterNetworkPolicy`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterNetworkPolicyStatus {
    /// One a thing that can be said.
    pub conditions: Vec<Condition>,
}

/// Pods: a subject, or a peer of an ingress rule. Exactly one field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodsPeer {
    /// All pods of namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<LabelSelector>,
    /// Some pods of namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<NamespacedPod>,
}

/// Some pods of some namespaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NamespacedPod {
    /// The namespaces; an empty one selects all.
    pub namespace_selector: LabelSelector,
    /// The pods; an empty one selects all. It must be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}

/// A rule for traffic towards the subject.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterIngressRule {
    /// Its name, of at most 100 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `Accept`, `Deny` or `Pass`.
    pub action: String,
    /// Where it comes from; at least one.
    pub from: Vec<PodsPeer>,
    /// Its protocols and destination ports; missing: all. If there, at least one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocols: Option<Vec<ClusterProtocol>>,
}

/// A rule for traffic from the subject.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterEgressRule {
    /// Its name, of at most 100 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `Accept`, `Deny` or `Pass`.
    pub action: String,
    /// Where it goes; at least one.
    pub to: Vec<EgressPeer>,
    /// Its protocols and destination ports; missing: all. If there, at least one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocols: Option<Vec<ClusterProtocol>>,
}

/// Where traffic goes. Exactly one field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EgressPeer {
    /// All pods of namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<LabelSelector>,
    /// Some pods of namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<NamespacedPod>,
    /// Addresses of nodes, by the nodes' labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<LabelSelector>,
    /// CIDRs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<String>>,
    /// Domain names; `*.` in front stands for any number of labels, not none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain_names: Option<Vec<String>>,
}

/// A protocol and destination ports. Exactly one field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterProtocol {
    /// TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<ClusterPorts>,
    /// UDP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp: Option<ClusterPorts>,
    /// SCTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sctp: Option<ClusterPorts>,
    /// A container port's name, whatever its protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_named_port: Option<String>,
}

/// What is asked of the ports of a protocol; at least one field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterPorts {
    /// The destination port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<ClusterPort>,
}

/// A port or some of them. Exactly one field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterPort {
    /// One: 1 to 65535.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<i32>,
    /// From one to a higher one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<ClusterPortRange>,
}

/// Ports from one to another, both included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterPortRange {
    /// The first one; it must be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<i32>,
    /// The last one, higher than the first; it must be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<i32>,
}

#[cfg(test)]
mod tests {
    use crate::{Kind, Object, decode, decode_text, unknown_keys};
    use serde_json::json;

    #[test]
    fn a_policy_is_decoded_whole_and_written_as_it_was() {
        let policy = json!({
            "apiVersion": "policy.networking.k8s.io/v1beta1", "kind": "ClusterNetworkPolicy",
            "metadata": {"name": "p"},
            "spec": {
                "tier": "Admin", "priority": 0,
                "subject": {"pods": {"namespaceSelector": {"matchLabels": {"a": "b"}}, "podSelector": {}}},
                "ingress": [{
                    "name": "x", "action": "Deny", "from": [{"namespaces": {"matchExpressions": [
                        {"key": "k", "operator": "Exists"}]}}],
                    "protocols": [{"tcp": {"destinationPort": {"number": 80}}},
                        {"udp": {"destinationPort": {"range": {"start": 1, "end": 2}}}},
                        {"destinationNamedPort": "web"}],
                }],
                "egress": [{"action": "Accept", "to": [{"nodes": {}}, {"networks": ["10.0.0.0/8", "fd00::/8"]},
                    {"domainNames": ["*.example.org"]}]}],
            },
        });
        let decoded = decode(Kind::ClusterNetworkPolicy, &policy).unwrap();
        assert_eq!(decoded.key().to_string(), "ClusterNetworkPolicy p");
        assert!(unknown_keys(&decoded, &policy).is_empty());
        let text = decode_text(Kind::ClusterNetworkPolicy, &policy.to_string()).unwrap();
        assert_eq!(text, decoded);
        let Object::ClusterNetworkPolicy(decoded) = decoded else { panic!() };
        assert_eq!(serde_json::to_value(decoded).unwrap(), policy);
    }

    #[test]
    fn kinds_of_peers_that_are_not_known_are_seen_and_named() {
        let policy = json!({
            "metadata": {"name": "p"},
            "spec": {
                "ingress": [{"from": [{"networks": ["10.0.0.0/8"]}]}],
                "egress": [{"to": [{"moons": {}}, {"moons": {"x": 1}, "domainnames": ["a.b"]}],
                    "protocols": [{"icmp": {"type": 8}}]}],
            },
        });
        let decoded = decode(Kind::ClusterNetworkPolicy, &policy).unwrap();
        let found = unknown_keys(&decoded, &policy);
        let paths: Vec<_> = found.iter().map(|unknown| unknown.path.as_str()).collect();
        let expected = [
            "spec.egress[0].protocols[0].icmp",
            "spec.egress[0].to[0].moons",
            "spec.egress[0].to[1].domainnames",
            "spec.egress[0].to[1].moons",
            "spec.ingress[0].from[0].networks",
        ];
        assert_eq!(paths, expected);
        let known = found[2].known(|_| true);
        assert_eq!(known, ["namespaces", "pods", "nodes", "networks", "domainNames"]);
        let Object::ClusterNetworkPolicy(decoded) = decoded else { panic!() };
        assert_eq!(decoded.spec.ingress[0].from[0], Default::default());
        assert_eq!(decoded.spec.egress[0].to, vec![Default::default(); 2]);
    }

    #[test]
    fn values_that_do_not_fit_are_named() {
        let policy = json!({"spec": {"priority": "1", "egress": [{"to": [{"networks": "x"}]}]}});
        let broken = decode(Kind::ClusterNetworkPolicy, &policy).unwrap_err();
        let mut paths: Vec<_> = broken.errors.iter().map(|error| error.path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["spec.egress[0].to[0].networks", "spec.priority"]);
        assert!(broken.rest.is_some());
    }
}
