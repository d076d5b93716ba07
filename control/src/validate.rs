//! The rules by which the Kubernetes API would refuse an object
//! (`validation` under `pkg/apis/core`, `pkg/apis/discovery`,
//! `pkg/apis/networking`, and what CRDs say), as far as what is read here depends
//! on them. An object that breaks one is not applied: its last good version stays.

use crate::diagnostic::Finding;
use crate::object::Object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Label selectors.
pub(crate) mod label_selector;

/// ClusterNetworkPolicies.
pub(crate) mod cluster_network_policy;

/// Ingresses and their classes.
pub mod ingress;

mod calico;
mod cidr;
mod network_policy;
mod node;
mod pod;
mod secret;
mod service;
mod slice;

/// Why Kubernetes would refuse the object; empty if it would not.
pub fn refusals(object: &Object) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_label = matches!(object, Object::Service(_) | Object::Namespace(_));
    metadata(object.metadata(), is_label, &mut findings);
    match object {
        Object::Namespace(_) => {}
        Object::Node(node) => node::refusals(node, &mut findings),
        Object::Service(service) => service::refusals(service, &mut findings),
        Object::EndpointSlice(slice) => slice::refusals(slice, &mut findings),
        Object::Pod(pod) => pod::refusals(pod, &mut findings),
        Object::IpamBlock(block) => calico::refusals(&block.spec.cidr, &mut findings),
        Object::IpPool(pool) => calico::refusals(&pool.spec.cidr, &mut findings),
        Object::NetworkPolicy(policy) => network_policy::refusals(policy, &mut findings),
        Object::ClusterNetworkPolicy(policy) => {
            cluster_network_policy::refusals(policy, &mut findings);
        }
        Object::IngressClass(class) => ingress::class_refusals(class, &mut findings),
        Object::Ingress(ingress) => ingress::refusals(ingress, &mut findings),
        Object::Secret(secret) => secret::refusals(secret, &mut findings),
    }
    findings
}

fn metadata(metadata: &ObjectMeta, is_label: bool, findings: &mut Vec<Finding>) {
    const LABEL: &str = "1 to 63 of a-z, 0-9 and `-`, a letter or digit at both ends";
    const SUBDOMAIN: &str = "1 to 253 of a-z, 0-9, `-` and `.`, a letter or digit at both ends";
    match metadata.name.as_deref() {
        None | Some("") => {
            findings.push(Finding::error("metadata.name", "is missing").expected("a name"));
        }
        Some(name) => {
            let (good, expected) = if is_label {
                (is_dns_label(name), LABEL)
            } else {
                (is_dns_subdomain(name), SUBDOMAIN)
            };
            if !good {
                let message = format!("{name:?} is no valid name");
                findings.push(Finding::error("metadata.name", message).expected(expected));
            }
        }
    }
    if let Some(namespace) = metadata.namespace.as_deref().filter(|n| !n.is_empty())
        && !is_dns_label(namespace)
    {
        let message = format!("{namespace:?} is no valid namespace");
        findings.push(Finding::error("metadata.namespace", message).expected(LABEL));
    }
}

/// RFC 1123 label, as `k8s.io/apimachinery/pkg/util/validation` checks it.
fn is_dns_label(text: &str) -> bool {
    let is_alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 63
        && text.starts_with(is_alphanumeric)
        && text.ends_with(is_alphanumeric)
        && text.chars().all(|c| is_alphanumeric(c) || c == '-')
}

/// RFC 1123 subdomain.
fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

/// A port name (IANA service name, RFC 6335 section 5.1).
fn is_port_name(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && text.chars().any(|c| c.is_ascii_lowercase())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--")
}

fn check_l4_port(path: &str, port: i32, findings: &mut Vec<Finding>) {
    if !(1..=65535).contains(&port) {
        let message = format!("{port} is no valid port");
        findings.push(Finding::error(path, message).expected("1 to 65535"));
    }
}

fn check_protocol(path: &str, protocol: Option<&str>, findings: &mut Vec<Finding>) {
    if let Some(protocol) = protocol
        && !matches!(protocol, "TCP" | "UDP" | "SCTP")
    {
        let message = format!("{protocol:?} is no valid protocol");
        findings.push(Finding::error(path, message).expected("TCP, UDP or SCTP"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "web-1", "9", "a--b"] {
            assert!(is_dns_label(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", &"x".repeat(64)] {
            assert!(!is_dns_label(bad), "{bad}");
        }
        assert!(is_dns_subdomain("node-1.example.org"));
        assert!(!is_dns_subdomain("node..org"));
        assert!(is_port_name("http") && is_port_name("h2-c"));
        for bad in ["", "80", "Http", "a--b", "-a", "sixteen-letters-x"] {
            assert!(!is_port_name(bad), "{bad}");
        }
    }
}
