use super::{Flow, Protocol};
use k8s_openapi::api::core::v1::{ContainerPort, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicyPort;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

/// "protocol represents the protocol (TCP, UDP, or SCTP) which traffic must
/// match. If not specified, this field defaults to TCP. [..] If [port] is not
/// provided, this matches all port names and numbers. If present, only traffic
/// on the specified protocol AND port will be matched. [..] endPort indicates
/// that the range of ports from port to endPort if set, inclusive, should be
/// allowed" (`NetworkPolicyPort`).
pub(super) fn network_policy_port(flow: &Flow<'_>, entry: &NetworkPolicyPort) -> bool {
    let protocol = protocol_of(entry.protocol.as_deref());
    if flow.question.protocol != protocol {
        return false;
    }
    let port = i32::from(flow.question.port);
    match &entry.port {
        None => true,
        Some(IntOrString::Int(first)) => {
            (*first..=entry.end_port.unwrap_or(*first)).contains(&port)
        }
        Some(IntOrString::String(name)) => is_named(flow, name),
    }
}

/// An entry of `protocols` of a ClusterNetworkPolicy's rule; `None` if it has no
/// field that we know. The overview says that "if destinationPort is omitted, all
/// ports for the specified protocol match", but the schema wants one field at
/// least in `tcp`, `udp` and `sctp`, and
/// <https://network-policy-api.sigs.k8s.io/npeps/npep-187-ports-and-protocols/>
/// that nothing stands for a protocol alone: where it is omitted there was a
/// field of a later API.
pub(super) fn cluster_policy_protocol(flow: &Flow<'_>, entry: &Value) -> Option<bool> {
    if let Some(name) = entry["destinationNamedPort"].as_str() {
        return Some(is_named(flow, name));
    }
    let fields = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("sctp", Protocol::Sctp)];
    let (field, protocol) = fields.into_iter().find(|(field, _)| entry[*field].is_object())?;
    let is_port = numbered(&entry[field]["destinationPort"], flow.question.port)?;
    Some(flow.question.protocol == protocol && is_port)
}

/// "You must specify either Port or Range" (`Port`).
fn numbered(entry: &Value, port: u16) -> Option<bool> {
    let port = i64::from(port);
    if let Some(number) = entry["number"].as_i64() {
        return Some(number == port);
    }
    let range = entry["range"].as_object()?;
    Some((range["start"].as_i64()?..=range["end"].as_i64()?).contains(&port))
}

/// "This can either be a numerical or named port on a pod" (`NetworkPolicyPort`);
/// "a destination port on a pod based on the ContainerPort name"
/// (`destinationNamedPort`): of the destination, in either direction.
fn is_named(flow: &Flow<'_>, name: &str) -> bool {
    let Some(pod) = flow.world.pod_at(flow.question.dst) else { return false };
    container_ports(pod).any(|port| {
        port.name.as_deref() == Some(name)
            && protocol_of(port.protocol.as_deref()) == flow.question.protocol
            && port.container_port == i32::from(flow.question.port)
    })
}

/// The ports of containers, and of init containers that run as long as those.
/// <https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/>
fn container_ports(pod: &Pod) -> impl Iterator<Item = &ContainerPort> {
    let spec = pod.spec.iter();
    spec.flat_map(|spec| {
        let sidecars = spec.init_containers.iter().flatten();
        let sidecars = sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always"));
        spec.containers
            .iter()
            .chain(sidecars)
            .flat_map(|container| container.ports.iter().flatten())
    })
}

fn protocol_of(name: Option<&str>) -> Protocol {
    match name {
        None | Some("" | "TCP") => Protocol::Tcp,
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        Some(other) => panic!("the API knows no protocol {other:?}"),
    }
}
