use super::tuple::FlowTuple;
use serde::{Deserialize, Serialize};
use sluice_control::view::{FlowView, PolicyView, WhoView};
use std::net::IpAddr;

/// What becomes of a packet, step by step. What does not apply is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The packet.
    pub packet: FlowTuple,
    /// The tables that decided.
    pub tables_version: u64,
    /// What is wrong with the manifests, if they were read for this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifests: Option<Manifests>,
    /// Flows of the packet that running workers have, as they are stored; `None`:
    /// nobody was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flows: Option<Vec<Match>>,
    /// Flows that there are beside those.
    pub flows_left_out: usize,
    /// By what way it comes.
    pub from: From,
    /// Who sends it.
    pub source: WhoView,
    /// To whom it is sent.
    pub destination: WhoView,
    /// The Service's port that is addressed, as `namespace/name:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The endpoint that was chosen, as `ADDRESS:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The pod behind it, where that is known of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_pod: Option<String>,
    /// Who gets it, if not who is addressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<WhoView>,
    /// What policies that select its source say.
    pub egress: JudgmentView,
    /// What policies that select who gets it say.
    pub ingress: JudgmentView,
    /// The way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<Way>,
    /// The address and port that stand in for the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snat: Option<String>,
    /// Of a new flow: `forwarded`, `answered` (by the gateway itself), `kernel` (its
    /// port passes it to the kernel) or `dropped`.
    pub verdict: String,
    /// Why it is dropped: a label of `sluice show drops`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the reason means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// What was assumed, and what cannot be known.
    pub notes: Vec<String>,
}

/// How much of the manifests is wrong, and left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifests {
    /// Errors.
    pub errors: u64,
    /// Warnings.
    pub warnings: u64,
}

/// By what way a packet comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct From {
    /// The port.
    pub port: String,
    /// The node, if it comes by its tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// A flow that a packet belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// The packet's direction in it.
    pub direction: Direction,
    /// The flow.
    #[serde(flatten)]
    pub flow: FlowView,
}

/// A direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From who began it.
    Original,
    /// To who began it.
    Reply,
}

/// What the policies of one end say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgmentView {
    /// Those that select it, in the order in which they are asked.
    pub policies: Vec<PolicyView>,
    /// Its namespace asks that what would be denied passes.
    pub namespace_audited: bool,
    /// The rule that decided; a default denial counts as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What was decided.
    pub ruling: Ruling,
}

/// What policies decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// It passes.
    Allowed,
    /// It passes, though it would be denied if the policy were not audited.
    Audited,
    /// It passes these, and is dropped later: whether they are audited is not told.
    Passed,
    /// It is dropped.
    Denied,
    /// They were not asked.
    NotAsked,
    /// It was dropped for another reason: whether they were asked is not told.
    NotTold,
}

/// The way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// What kind of way.
    pub kind: WayKind,
    /// The port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// The next hop on the port's link, where there is one; of a tunnel, its
    /// underlay's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// The node at the other end of the tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Where the tunnel ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vtep: Option<IpAddr>,
}

/// Kinds of ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WayKind {
    /// The destination is on the port's link.
    Connected,
    /// A next hop forwards it.
    Via,
    /// A node has it.
    Tunnel,
}
