use super::{Facts, params};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1;
use k8s_openapi::jiff::Timestamp;
use kube::api::Patch;
use kube::{Api, Client};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Where the leases of nodes are (kubernetes.io/docs/concepts/architecture/leases).
const LEASES: &str = "kube-node-lease";

/// Seconds for which a lease holds, as the kubelet's do; it is renewed four times as often.
pub(super) const LEASE_S: i32 = 40;

/// How often the conditions are written when nothing has changed, as the kubelet does.
const REPORT: Duration = Duration::from_mins(5);

/// Marks a gateway's Node, and keeps pods off it: no kubelet is there to start them.
pub const GATEWAY: &str = "sluice.dev/gateway";

/// The Node as it is made.
pub(super) fn node(facts: &Facts) -> v1::Node {
    let labels = json!({
        "kubernetes.io/hostname": facts.node,
        "kubernetes.io/os": "linux",
        // The DaemonSet of gateways selects others.
        GATEWAY: "external",
        // It is no backend of others' load balancers.
        "node.kubernetes.io/exclude-from-external-load-balancers": "",
    });
    let taint = |effect| json!({"key": GATEWAY, "effect": effect});
    let value = json!({
        "metadata": {"name": facts.node, "labels": labels},
        "spec": {"unschedulable": true, "taints": [taint("NoSchedule"), taint("NoExecute")]},
    });
    serde_json::from_value(value).unwrap_or_default()
}

/// What keeps a Node ready.
#[derive(Debug, Default)]
pub(super) struct Kept {
    reported: Option<Instant>,
}

impl Kept {
    /// Renews the Node's lease, and writes its addresses and conditions if they are others, or
    /// were written long ago.
    pub(super) async fn keep(
        &mut self,
        client: &Client,
        facts: &Facts,
        node: &v1::Node,
    ) -> Result<(), kube::Error> {
        let leases = Api::<Lease>::namespaced(client.clone(), LEASES);
        let now = Timestamp::now();
        let lease = lease(facts, node, now);
        leases.patch(&facts.node, &params().force(), &Patch::Apply(&lease)).await?;
        let is_due = self.reported.is_none_or(|at| at.elapsed() >= REPORT);
        if is_due || !is_as_told(facts, node) {
            let nodes = Api::<v1::Node>::all(client.clone());
            let status = status(facts, node, now);
            nodes.patch_status(&facts.node, &params(), &Patch::Strategic(&status)).await?;
            self.reported = Some(Instant::now());
        }
        Ok(())
    }
}

fn lease(facts: &Facts, node: &v1::Node, now: Timestamp) -> Value {
    let owner = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "name": facts.node,
        "uid": node.metadata.uid,
    });
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": facts.node, "namespace": LEASES, "ownerReferences": [owner]},
        "spec": {
            "holderIdentity": facts.node,
            "leaseDurationSeconds": LEASE_S,
            "renewTime": micros(now),
        },
    })
}

/// A time as Kubernetes' MicroTime has it: always six digits.
fn micros(now: Timestamp) -> String {
    format!("{now:.6}")
}

pub(super) fn status(facts: &Facts, node: &v1::Node, now: Timestamp) -> Value {
    let now = format!("{now:.0}");
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        let mut known = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let known = known.find(|known| known.type_ == kind && known.status == status);
        // It has been so since it was first said.
        let since = known.and_then(|known| known.last_transition_time.as_ref());
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now,
            "lastTransitionTime": since.map_or_else(|| json!(now), |since| json!(since)),
        })
    };
    let addresses = facts.addresses.iter();
    let addresses =
        addresses.map(|addr| json!({"type": "InternalIP", "address": addr.to_string()}));
    // Merged, the list would have one address of each type, and lose a family: so it is replaced,
    // as the kubelet does.
    let addresses: Vec<_> = addresses.chain([json!({"$patch": "replace"})]).collect();
    json!({"status": {
        "addresses": addresses,
        "conditions": [
            condition("Ready", "True", "SluiceRuns", "the gateway runs"),
            condition("NetworkUnavailable", "False", "SluiceRuns", "the gateway routes by itself"),
        ],
    }})
}

/// Whether the Node has its addresses, and is ready.
fn is_as_told(facts: &Facts, node: &v1::Node) -> bool {
    let Some(status) = &node.status else { return false };
    let has: Vec<_> = status.addresses.iter().flatten().map(|addr| addr.address.as_str()).collect();
    let is_ready = status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    is_ready && has == facts.addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
}
