//! `networking.k8s.io/v1` NetworkPolicy (`pkg/apis/networking/validation`).
//! Beyond that: host bits, excepts that overlap, and the bounds below.

use super::{check_l4_port, check_protocol, cidr, is_port_name, label_selector};
use crate::diagnostic::Finding;
use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Most rules of one direction.
const RULES_MAX: usize = 1000;

/// Most peers of one rule.
const PEERS_MAX: usize = 1000;

/// Most ports of one rule.
const PORTS_MAX: usize = 1000;

/// Most excepts of one block.
const EXCEPTS_MAX: usize = 1000;

/// Most findings about one policy: more help nobody.
pub(super) const FINDINGS_MAX: usize = 32;

pub(super) fn refusals(policy: &NetworkPolicy, findings: &mut Vec<Finding>) {
    // A policy that says nothing is about all pods of its namespace.
    let Some(spec) = &policy.spec else { return };
    if let Some(selector) = &spec.pod_selector {
        label_selector::check("spec.podSelector", selector, findings);
    }
    check_types(spec.policy_types.as_deref().unwrap_or_default(), findings);
    let ingress = spec.ingress.as_deref().unwrap_or_default();
    let egress = spec.egress.as_deref().unwrap_or_default();
    let ingress = ingress.iter().map(|rule| (&rule.from, &rule.ports));
    let egress = egress.iter().map(|rule| (&rule.to, &rule.ports));
    check_rules("spec.ingress", "from", ingress, findings);
    check_rules("spec.egress", "to", egress, findings);
    findings.truncate(FINDINGS_MAX);
}

fn check_types(types: &[String], findings: &mut Vec<Finding>) {
    const EXPECTED: &str = "Ingress, Egress or both";
    if types.len() > 2 {
        let message = format!("{} types are too many", types.len());
        findings.push(Finding::error("spec.policyTypes", message).expected(EXPECTED));
        return;
    }
    for (i, kind) in types.iter().enumerate() {
        if !matches!(kind.as_str(), "Ingress" | "Egress") {
            let message = format!("{kind:?} is no type of policy");
            let path = format!("spec.policyTypes[{i}]");
            findings.push(Finding::error(path, message).expected(EXPECTED));
        }
    }
}

type Rule<'a> = (&'a Option<Vec<NetworkPolicyPeer>>, &'a Option<Vec<NetworkPolicyPort>>);

fn check_rules<'a>(
    path: &str,
    peers_key: &str,
    rules: impl ExactSizeIterator<Item = Rule<'a>>,
    findings: &mut Vec<Finding>,
) {
    if is_too_long(path, "rules", rules.len(), RULES_MAX, findings) {
        return;
    }
    for (i, (peers, ports)) in rules.enumerate() {
        if findings.len() >= FINDINGS_MAX {
            return;
        }
        let peers = peers.as_deref().unwrap_or_default();
        let peers_path = format!("{path}[{i}].{peers_key}");
        if !is_too_long(&peers_path, "peers", peers.len(), PEERS_MAX, findings) {
            for (j, peer) in peers.iter().enumerate() {
                check_peer(&format!("{peers_path}[{j}]"), peer, findings);
            }
        }
        let ports = ports.as_deref().unwrap_or_default();
        let ports_path = format!("{path}[{i}].ports");
        if !is_too_long(&ports_path, "ports", ports.len(), PORTS_MAX, findings) {
            for (j, port) in ports.iter().enumerate() {
                check_port(&format!("{ports_path}[{j}]"), port, findings);
            }
        }
    }
}

/// Whether a list has more than a number of entries.
pub(super) fn is_too_long(
    path: &str,
    what: &str,
    len: usize,
    max: usize,
    findings: &mut Vec<Finding>,
) -> bool {
    if len > max {
        let message = format!("{len} {what} are too many");
        findings.push(Finding::error(path, message).expected(format!("at most {max}")));
    }
    len > max
}

fn check_peer(path: &str, peer: &NetworkPolicyPeer, findings: &mut Vec<Finding>) {
    let selectors =
        [("podSelector", &peer.pod_selector), ("namespaceSelector", &peer.namespace_selector)];
    let mut has_selector = false;
    for (key, selector) in selectors {
        if let Some(selector) = selector {
            has_selector = true;
            label_selector::check(&format!("{path}.{key}"), selector, findings);
        }
    }
    match &peer.ip_block {
        None if has_selector => {}
        None => {
            let expected = "podSelector, namespaceSelector, both of them, or ipBlock";
            findings.push(Finding::error(path, "selects nothing").expected(expected));
        }
        Some(block) => {
            if has_selector {
                let finding = Finding::error(path, "has an ipBlock and a selector");
                findings.push(finding.expected("one of them, and the other as a peer of its own"));
            }
            check_block(&format!("{path}.ipBlock"), block, findings);
        }
    }
}

fn check_block(path: &str, block: &IPBlock, findings: &mut Vec<Finding>) {
    let net = cidr::check(&format!("{path}.cidr"), &block.cidr, findings);
    let excepts = block.except.as_deref().unwrap_or_default();
    let excepts_path = format!("{path}.except");
    if is_too_long(&excepts_path, "excepts", excepts.len(), EXCEPTS_MAX, findings) {
        return;
    }
    let mut inside: Vec<(IpNet, usize)> = Vec::new();
    for (i, text) in excepts.iter().enumerate() {
        let path = format!("{excepts_path}[{i}]");
        let Some(except) = cidr::check(&path, text, findings) else { continue };
        let Some(net) = net else { continue };
        let is_same_family = except.addr().is_ipv4() == net.addr().is_ipv4();
        if !is_same_family || !net.contains(&except) || except == net {
            let message = match is_same_family {
                true => format!("{except} is no part of {net}"),
                false => format!("{except} and {net} are of different families"),
            };
            let expected = format!("a range inside of {net}, and smaller than it");
            findings.push(Finding::error(path, message).expected(expected));
            continue;
        }
        inside.push((except, i));
    }
    // A range comes before those that lie in it.
    inside.sort_unstable();
    let mut outer: Option<(IpNet, usize)> = None;
    for (except, i) in inside {
        let Some((other, j)) = outer.filter(|(other, _)| other.contains(&except)) else {
            outer = Some((except, i));
            continue;
        };
        let message = format!("{except} overlaps {other} of {excepts_path}[{j}]");
        let finding = Finding::error(format!("{excepts_path}[{i}]"), message);
        findings.push(finding.expected("ranges that do not overlap"));
    }
}

fn check_port(path: &str, port: &NetworkPolicyPort, findings: &mut Vec<Finding>) {
    check_protocol(&format!("{path}.protocol"), port.protocol.as_deref(), findings);
    let end_path = format!("{path}.endPort");
    match (&port.port, port.end_port) {
        (Some(IntOrString::Int(first)), end) => {
            check_l4_port(&format!("{path}.port"), *first, findings);
            let Some(end) = end else { return };
            check_l4_port(&end_path, end, findings);
            if end < *first {
                let message = format!("{end} is less than port {first}");
                let finding = Finding::error(end_path, message);
                findings.push(finding.expected("the last port of a range that begins at `port`"));
            }
        }
        (Some(IntOrString::String(name)), end) => {
            check_port_name(&format!("{path}.port"), name, findings);
            if end.is_some() {
                let finding = Finding::error(end_path, "there is no range from a named port");
                findings.push(finding.expected("`port` as a number"));
            }
        }
        (None, Some(_)) => {
            let finding = Finding::error(end_path, "there is no `port` where the range begins");
            findings.push(finding.expected("`port` as a number"));
        }
        (None, None) => {}
    }
}

pub(super) fn check_port_name(path: &str, name: &str, findings: &mut Vec<Finding>) {
    if !is_port_name(name) {
        let message = format!("{name:?} is no valid port name");
        let expected =
            "1 to 65535, or a name: 1 to 15 of a-z, 0-9 and `-` with at least one letter";
        findings.push(Finding::error(path, message).expected(expected));
    }
}

#[cfg(test)]
mod tests;
