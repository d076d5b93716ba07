//! Kubernetes objects: typed, with their names and the places where they were
//! read.
//!
//! A crate of its own for the sake of compile time: decoders for the hundreds
//! of types of a Pod are made here once, and nowhere else.
#![forbid(unsafe_code)]

mod calico;
mod cluster_network_policy;
mod culprit;
mod decode;
mod object;
mod places;
mod secret;
mod unknown;

pub use calico::{IpPool, IpPoolSpec, IpamBlock, IpamBlockSpec};
pub use cluster_network_policy::{
    ClusterEgressRule, ClusterIngressRule, ClusterNetworkPolicy, ClusterNetworkPolicySpec,
    ClusterNetworkPolicyStatus, ClusterPort, ClusterPortRange, ClusterPorts, ClusterProtocol,
    EgressPeer, NamespacedPod, PodsPeer,
};
pub use decode::{Broken, DecodeError, decode, decode_text};
pub use object::{Key, Kind, Name, Object, Origin};
pub use places::{Place, Places};
pub use secret::{Secret, SecretError, TLS_SECRET, is_secret_of_use};
pub use unknown::{UnknownKey, unknown_keys};
