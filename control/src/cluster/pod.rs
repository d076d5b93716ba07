use super::address;
use super::annotations;
use super::service::Protocol;
use crate::diagnostic::Finding;
use k8s_openapi::api::core::v1;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// A Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// When it was made, in seconds since 1970.
    pub created: Option<i64>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its usable addresses, none once it has ended (phase Failed or
    /// Succeeded); the path of each in the manifest.
    pub ips: Vec<(Arc<str>, IpAddr)>,
    /// The node that it is on.
    pub node: Option<Arc<str>>,
    /// It uses its node's addresses.
    pub is_host_network: bool,
    /// Its condition Ready is True.
    pub is_ready: bool,
    /// It has a deletion time.
    pub is_terminating: bool,
    /// Named container ports: name, protocol, number.
    pub ports: Vec<(String, Protocol, u16)>,
    /// Its share of new connections, in proportion to the others' weights; 0:
    /// none while others have some.
    pub weight: Option<u16>,
}

impl Pod {
    /// Reduces a pod; what is left out becomes a finding.
    pub fn reduce(pod: &v1::Pod, findings: &mut Vec<Finding>) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let phase = status.phase.as_deref().unwrap_or_default();
        let has_ended = matches!(phase, "Failed" | "Succeeded");
        let ready = status.conditions.iter().flatten().find(|c| c.type_ == "Ready");
        if phase == "Running" && ready.is_none() {
            let message = "has no condition Ready; it counts as not ready";
            let expected = "`{type: Ready, status: \"True\"}` in a pod that is";
            findings.push(Finding::warning("status.conditions", message).expected(expected));
        }
        let spec = pod.spec.as_ref();
        let created = pod.metadata.creation_timestamp.as_ref();
        Pod {
            created: created.map(|time| time.0.as_second()),
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            ips: if has_ended { Vec::new() } else { ips(&status, findings) },
            node: spec.and_then(|spec| spec.node_name.as_deref()).map(Into::into),
            is_host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
            is_ready: ready.is_some_and(|condition| condition.status == "True"),
            is_terminating: pod.metadata.deletion_timestamp.is_some(),
            ports: spec.map(named_ports).unwrap_or_default(),
            weight: annotations::weight(&pod.metadata, findings),
        }
    }
}

fn ips(status: &v1::PodStatus, findings: &mut Vec<Finding>) -> Vec<(Arc<str>, IpAddr)> {
    let list = status.pod_ips.as_deref().unwrap_or_default();
    let all: Vec<(String, &str)> = if list.is_empty() {
        status.pod_ip.iter().map(|ip| ("status.podIP".to_owned(), ip.as_str())).collect()
    } else {
        let path = |i: usize| format!("status.podIPs[{i}].ip");
        list.iter().enumerate().map(|(i, ip)| (path(i), ip.ip.as_str())).collect()
    };
    let mut ips = Vec::new();
    for (path, text) in all {
        let reason = match text.parse::<IpAddr>() {
            _ if text.is_empty() => continue,
            Err(_) => "no IP address",
            Ok(ip) => match address::unusable(ip) {
                Some(reason) => reason,
                None => {
                    ips.push((path.into(), ip));
                    continue;
                }
            },
        };
        let message = format!("{text:?} is {reason}; the pod is not reached by it");
        findings.push(Finding::error(path, message).expected("a unicast address"));
    }
    ips
}

/// The ports of containers, and of init containers that go on running
/// (`FindPort` in Kubernetes' `pkg/api/v1/pod`).
fn named_ports(spec: &v1::PodSpec) -> Vec<(String, Protocol, u16)> {
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let protocol = Protocol::of(port.protocol.as_deref())?;
            Some((port.name.clone()?, protocol, u16::try_from(port.container_port).ok()?))
        })
        .collect()
}
