//! `policy.networking.k8s.io` ClusterNetworkPolicy: what its CRD says
//! (network-policy-api, `config/crd/experimental`), its rules in CEL included,
//! and what its text says of domain names.
//!
//! A peer or protocol of which no field is set is of a kind that is not known
//! here, and is no fault.

use super::network_policy::{FINDINGS_MAX, check_port_name, is_too_long};
use super::{check_l4_port, cidr, label_selector};
use crate::diagnostic::Finding;
use crate::object::{
    ClusterNetworkPolicy, ClusterPort, ClusterProtocol, EgressPeer, NamespacedPod, PodsPeer,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Most rules of a direction, peers or protocols of a rule, and networks or
/// domain names of a peer.
const ITEMS_MAX: usize = 25;

/// The last priority.
pub(crate) const PRIORITY_MAX: i32 = 1000;

/// Most characters of a rule's name.
const NAME_MAX: usize = 100;

/// Most bytes of a domain name (RFC 1035 section 2.3.4), and of a label.
const DOMAIN_MAX: usize = 253;
const DOMAIN_LABEL_MAX: usize = 63;

pub(super) fn refusals(policy: &ClusterNetworkPolicy, findings: &mut Vec<Finding>) {
    let spec = &policy.spec;
    check_word("spec.tier", &spec.tier, &["Admin", "Baseline"], findings);
    let expected = format!("0 to {PRIORITY_MAX}");
    match spec.priority {
        None => findings.push(Finding::error("spec.priority", "is missing").expected(expected)),
        Some(priority) if (0..=PRIORITY_MAX).contains(&priority) => {}
        Some(priority) => {
            let message = format!("{priority} is no priority");
            findings.push(Finding::error("spec.priority", message).expected(expected));
        }
    }
    match &spec.subject {
        Some(subject) if *subject != PodsPeer::default() => {
            check_pods_peer("spec.subject", subject, findings);
        }
        _ => {
            let finding = Finding::error("spec.subject", "selects nothing");
            findings.push(finding.expected("one of namespaces, pods"));
        }
    }
    if !is_too_long("spec.ingress", "rules", spec.ingress.len(), ITEMS_MAX, findings) {
        for (i, rule) in spec.ingress.iter().enumerate() {
            let path = format!("spec.ingress[{i}]");
            check_rule(&path, rule.name.as_deref(), &rule.action, findings);
            if check_items(&format!("{path}.from"), "peers", Some(rule.from.len()), findings) {
                for (j, peer) in rule.from.iter().enumerate() {
                    check_pods_peer(&format!("{path}.from[{j}]"), peer, findings);
                }
            }
            check_protocols(&path, rule.protocols.as_deref(), findings);
        }
    }
    if !is_too_long("spec.egress", "rules", spec.egress.len(), ITEMS_MAX, findings) {
        for (i, rule) in spec.egress.iter().enumerate() {
            let path = format!("spec.egress[{i}]");
            check_rule(&path, rule.name.as_deref(), &rule.action, findings);
            if check_items(&format!("{path}.to"), "peers", Some(rule.to.len()), findings) {
                for (j, peer) in rule.to.iter().enumerate() {
                    check_egress_peer(&format!("{path}.to[{j}]"), peer, &rule.action, findings);
                }
            }
            check_protocols(&path, rule.protocols.as_deref(), findings);
            check_named_ports(&path, &rule.to, rule.protocols.as_deref(), findings);
        }
    }
    findings.truncate(FINDINGS_MAX);
}

fn check_word(path: &str, word: &str, known: &[&str], findings: &mut Vec<Finding>) {
    if !known.contains(&word) {
        let message = match word {
            "" => "is missing".to_owned(),
            _ => format!("{word:?} is unknown"),
        };
        findings.push(Finding::error(path, message).expected(known.join(" or ")));
    }
}

fn check_rule(path: &str, name: Option<&str>, action: &str, findings: &mut Vec<Finding>) {
    if name.is_some_and(|name| name.chars().count() > NAME_MAX) {
        let finding = Finding::error(format!("{path}.name"), "is too long");
        findings.push(finding.expected(format!("at most {NAME_MAX} characters")));
    }
    check_word(&format!("{path}.action"), action, &["Accept", "Deny", "Pass"], findings);
}

/// Whether a list that has an end is there in a size that can be.
fn check_items(path: &str, what: &str, len: Option<usize>, findings: &mut Vec<Finding>) -> bool {
    if len == Some(0) {
        let finding = Finding::error(path, "is empty");
        findings.push(finding.expected(format!("1 to {ITEMS_MAX} {what}")));
    }
    !is_too_long(path, what, len.unwrap_or(0), ITEMS_MAX, findings)
}

/// That at most one of some fields is there.
fn check_one(path: &str, fields: &[(&str, bool)], findings: &mut Vec<Finding>) {
    let there: Vec<&str> = fields.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
    if there.len() > 1 {
        let message = format!("has {} at once", there.join(" and "));
        findings.push(Finding::error(path, message).expected("exactly one of them"));
    }
}

fn check_pods_peer(path: &str, peer: &PodsPeer, findings: &mut Vec<Finding>) {
    let fields = [("namespaces", peer.namespaces.is_some()), ("pods", peer.pods.is_some())];
    check_one(path, &fields, findings);
    check_pods(path, peer.namespaces.as_ref(), peer.pods.as_ref(), findings);
}

fn check_pods(
    path: &str,
    namespaces: Option<&LabelSelector>,
    pods: Option<&NamespacedPod>,
    findings: &mut Vec<Finding>,
) {
    if let Some(selector) = namespaces {
        label_selector::check(&format!("{path}.namespaces"), selector, findings);
    }
    let Some(pods) = pods else { return };
    let namespaces = format!("{path}.pods.namespaceSelector");
    label_selector::check(&namespaces, &pods.namespace_selector, findings);
    let pod_path = format!("{path}.pods.podSelector");
    match &pods.pod_selector {
        Some(selector) => label_selector::check(&pod_path, selector, findings),
        None => {
            let finding = Finding::error(pod_path, "is missing");
            findings.push(finding.expected("a selector, or `{}` for all pods"));
        }
    }
}

fn check_egress_peer(path: &str, peer: &EgressPeer, action: &str, findings: &mut Vec<Finding>) {
    let fields = [
        ("namespaces", peer.namespaces.is_some()),
        ("pods", peer.pods.is_some()),
        ("nodes", peer.nodes.is_some()),
        ("networks", peer.networks.is_some()),
        ("domainNames", peer.domain_names.is_some()),
    ];
    check_one(path, &fields, findings);
    check_pods(path, peer.namespaces.as_ref(), peer.pods.as_ref(), findings);
    if let Some(selector) = &peer.nodes {
        label_selector::check(&format!("{path}.nodes"), selector, findings);
    }
    let networks = peer.networks.as_deref();
    let networks_path = format!("{path}.networks");
    if check_items(&networks_path, "networks", networks.map(<[_]>::len), findings) {
        for (i, text) in networks.unwrap_or_default().iter().enumerate() {
            cidr::check(&format!("{networks_path}[{i}]"), text, findings);
            check_once(&networks_path, networks.unwrap_or_default(), i, findings);
        }
    }
    let Some(names) = peer.domain_names.as_deref() else { return };
    let names_path = format!("{path}.domainNames");
    if !matches!(action, "Accept" | "") {
        let message = format!("a rule that does {action} has no domain names");
        findings.push(Finding::error(&names_path, message).expected("action Accept"));
    }
    if check_items(&names_path, "domain names", Some(names.len()), findings) {
        for (i, name) in names.iter().enumerate() {
            check_domain_name(&format!("{names_path}[{i}]"), name, findings);
            check_once(&names_path, names, i, findings);
        }
    }
}

/// That an entry of a set was not there before.
fn check_once(path: &str, entries: &[String], i: usize, findings: &mut Vec<Finding>) {
    if entries[..i].contains(&entries[i]) {
        let finding = Finding::error(format!("{path}[{i}]"), "is there already");
        findings.push(finding.expected("each entry once"));
    }
}

fn check_domain_name(path: &str, name: &str, findings: &mut Vec<Finding>) {
    let is_alphanumeric = |c: char| c.is_ascii_alphanumeric();
    let is_label = |label: &str| {
        (1..=DOMAIN_LABEL_MAX).contains(&label.len())
            && label.starts_with(is_alphanumeric)
            && label.ends_with(is_alphanumeric)
            && label.chars().all(|c| is_alphanumeric(c) || matches!(c, '-' | '_'))
    };
    let full = name.strip_suffix('.').unwrap_or(name);
    let plain = full.strip_prefix("*.").unwrap_or(full);
    if plain.len() <= DOMAIN_MAX && plain.contains('.') && plain.split('.').all(is_label) {
        return;
    }
    let (message, expected) = match plain.contains('*') {
        true => ("has its wildcard in a wrong place", "`*.` at the front, for whole labels"),
        false => ("is no domain name", "a name of two or more labels, such as www.example.org"),
    };
    findings.push(Finding::error(path, format!("{name:?} {message}")).expected(expected));
}

fn check_protocols(path: &str, protocols: Option<&[ClusterProtocol]>, findings: &mut Vec<Finding>) {
    let path = format!("{path}.protocols");
    if !check_items(&path, "protocols", protocols.map(<[_]>::len), findings) {
        return;
    }
    for (i, protocol) in protocols.unwrap_or_default().iter().enumerate() {
        let path = format!("{path}[{i}]");
        let named = protocol.destination_named_port.as_deref();
        let fields = [
            ("tcp", protocol.tcp.is_some()),
            ("udp", protocol.udp.is_some()),
            ("sctp", protocol.sctp.is_some()),
            ("destinationNamedPort", named.is_some()),
        ];
        check_one(&path, &fields, findings);
        if let Some(name) = named {
            check_port_name(&format!("{path}.destinationNamedPort"), name, findings);
        }
        let ports = [("tcp", &protocol.tcp), ("udp", &protocol.udp), ("sctp", &protocol.sctp)];
        for (key, ports) in ports {
            if let Some(port) = ports.as_ref().and_then(|ports| ports.destination_port.as_ref()) {
                check_port(&format!("{path}.{key}.destinationPort"), port, findings);
            }
        }
    }
}

fn check_port(path: &str, port: &ClusterPort, findings: &mut Vec<Finding>) {
    let fields = [("number", port.number.is_some()), ("range", port.range.is_some())];
    check_one(path, &fields, findings);
    if let Some(number) = port.number {
        check_l4_port(&format!("{path}.number"), number, findings);
    }
    let Some(range) = port.range else { return };
    for (key, port) in [("start", range.start), ("end", range.end)] {
        let path = format!("{path}.range.{key}");
        match port {
            Some(port) => check_l4_port(&path, port, findings),
            None => findings.push(Finding::error(path, "is missing").expected("1 to 65535")),
        }
    }
    if let (Some(start), Some(end)) = (range.start, range.end)
        && start >= end
    {
        let message = format!("{end} is not more than the start {start}");
        let finding = Finding::error(format!("{path}.range.end"), message);
        findings.push(finding.expected("a last port that is higher than the first"));
    }
}

/// Addresses and domain names have no named ports.
fn check_named_ports(
    path: &str,
    to: &[EgressPeer],
    protocols: Option<&[ClusterProtocol]>,
    findings: &mut Vec<Finding>,
) {
    let has_none =
        |p: &EgressPeer| p.networks.is_some() || p.nodes.is_some() || p.domain_names.is_some();
    let mut protocols = protocols.unwrap_or_default().iter();
    let named = protocols.position(|protocol| protocol.destination_named_port.is_some());
    if let (Some(i), Some(j)) = (named, to.iter().position(has_none)) {
        let path_of = format!("{path}.protocols[{i}].destinationNamedPort");
        let finding = Finding::error(path_of, format!("{path}.to[{j}] has no named ports"));
        findings.push(finding.expected("a rule whose peers are pods"));
    }
}

#[cfg(test)]
mod tests;
