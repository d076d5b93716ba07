//! Who may connect, and to which endpoint.

use super::Distribution;
use crate::cluster::annotations::{annotation, path};
use crate::diagnostic::Finding;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::ServiceSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sluice_tables::Balance;

/// How endpoints are chosen.
const LOAD_BALANCING: &str = "sluice.dev/load-balancing";

/// Seconds of ClientIP affinity where none are told
/// (`DefaultClientIPServiceAffinitySeconds`).
const AFFINITY_S_DEFAULT: u32 = 10_800;

/// How long a client goes where it went before, in seconds.
pub(super) fn affinity_s(spec: &ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref();
    let told = config.and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    Some(told.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(AFFINITY_S_DEFAULT))
}

/// Which endpoints a client prefers.
pub(super) fn distribution(
    spec: &ServiceSpec,
    findings: &mut Vec<Finding>,
) -> Option<Distribution> {
    match spec.traffic_distribution.as_deref()? {
        "PreferClose" | "PreferSameZone" => Some(Distribution::SameZone),
        "PreferSameNode" => Some(Distribution::SameNode),
        other => {
            let message = format!("{other:?} is unknown; all endpoints are used alike");
            let finding = Finding::warning("spec.trafficDistribution", message);
            findings.push(finding.expected("PreferSameZone, PreferSameNode or PreferClose"));
            None
        }
    }
}

/// How endpoints are chosen.
pub(super) fn balance(metadata: &ObjectMeta, findings: &mut Vec<Finding>) -> Balance {
    match annotation(metadata, LOAD_BALANCING) {
        None | Some("consistent") => Balance::Consistent,
        Some("least-connections") => Balance::LeastConnections,
        Some("random-of-two") => Balance::RandomOfTwo,
        Some(other) => {
            let message = format!("{other:?} is unknown; it is `consistent`");
            let finding = Finding::error(path(LOAD_BALANCING), message);
            findings.push(finding.expected("consistent, least-connections or random-of-two"));
            Balance::Consistent
        }
    }
}

/// Who may connect; `None`: everyone. A range that cannot be read holds nobody.
pub(super) fn sources(spec: &ServiceSpec, findings: &mut Vec<Finding>) -> Option<Vec<IpNet>> {
    let list = spec.load_balancer_source_ranges.as_ref().filter(|list| !list.is_empty())?;
    let mut sources = Vec::new();
    for (i, text) in list.iter().enumerate() {
        match text.trim().parse::<IpNet>() {
            Ok(net) => sources.push(net.trunc()),
            Err(_) => {
                let path = format!("spec.loadBalancerSourceRanges[{i}]");
                let message = format!("{text:?} is no range; nobody may connect by it");
                let expected = "a prefix such as 192.0.2.0/24";
                findings.push(Finding::error(path, message).expected(expected));
            }
        }
    }
    Some(sources)
}
