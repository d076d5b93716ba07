//! Objects of Calico's, as far as they are read: of the API `crd.projectcalico.org/v1`,
//! and of `projectcalico.org/v3` where a cluster has that as CRDs
//! (github.com/projectcalico/calico, `libcalico-go/lib/apis`).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

/// Addresses that were given to a node for its pods.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct IpamBlock {
    /// Metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What it says.
    #[serde(default)]
    pub spec: IpamBlockSpec,
}

/// What an [`IpamBlock`] says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct IpamBlockSpec {
    /// The addresses.
    pub cidr: String,
    /// `host:NAME` of the node that has it; nothing while nobody does.
    pub affinity: Option<String>,
    /// It is being removed, and counts for nothing.
    pub deleted: bool,
}

/// Addresses of which blocks are made.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct IpPool {
    /// Metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What it says.
    #[serde(default)]
    pub spec: IpPoolSpec,
}

/// What an [`IpPool`] says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IpPoolSpec {
    /// The addresses.
    pub cidr: String,
    /// `Never` (the default), `Always` or `CrossSubnet`.
    pub vxlan_mode: Option<String>,
    /// `Workload`, `Tunnel`, `LoadBalancer`; nothing: the first two.
    pub allowed_uses: Vec<String>,
}

#[cfg(test)]
mod tests {
    use crate::{Kind, Object, decode};
    use serde_json::json;

    #[test]
    fn what_is_not_read_does_not_matter_and_what_is_read_must_fit() {
        let block = json!({
            "apiVersion": "projectcalico.org/v3", "kind": "IPAMBlock", "metadata": {"name": "b"},
            "spec": {
                "cidr": "10.1.0.0/26", "affinity": "host:n1", "allocations": [0, null],
                "unallocated": [1], "attributes": [{"handle_id": "x"}], "strictAffinity": false,
                "sequenceNumber": 17,
            },
        });
        let Ok(Object::IpamBlock(decoded)) = decode(Kind::IpamBlock, &block) else { panic!() };
        assert_eq!(decoded.spec.affinity.as_deref(), Some("host:n1"));
        let bad = json!({"metadata": {"name": "b"}, "spec": {"cidr": 1, "vxlanMode": "Always"}});
        let broken = decode(Kind::IpPool, &bad).unwrap_err();
        assert_eq!(broken.errors[0].path, "spec.cidr");
    }
}
