//! `networking.k8s.io/v1` Ingress and IngressClass (`pkg/apis/networking/validation`).
//! Beyond that: the bounds below.

use super::network_policy::{FINDINGS_MAX, check_port_name, is_too_long};
use super::{check_l4_port, is_dns_label, is_dns_subdomain};
use crate::diagnostic::Finding;
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressClass, IngressRule, IngressTLS,
};
use std::net::IpAddr;

/// Most rules of an Ingress.
const RULES_MAX: usize = 1000;

/// Most paths of one rule.
const PATHS_MAX: usize = 1000;

/// Most entries of `spec.tls`, and most hosts of one.
const TLS_MAX: usize = 1000;

/// Most bytes of a path.
const PATH_LEN_MAX: usize = 2048;

/// Most bytes of the name of a controller.
const CONTROLLER_LEN_MAX: usize = 250;

const EXPECTED_HOST: &str = "a DNS name of a-z, 0-9, `-` and `.`, or one after `*.`";

/// Why Kubernetes would refuse an Ingress.
pub fn refusals(ingress: &Ingress, findings: &mut Vec<Finding>) {
    let Some(spec) = &ingress.spec else {
        findings.push(Finding::error("spec", "is missing").expected("a mapping with `rules`"));
        return;
    };
    let rules = spec.rules.as_deref().unwrap_or_default();
    if rules.is_empty() && spec.default_backend.is_none() {
        let finding = Finding::error("spec", "has neither rules nor a default backend");
        findings.push(finding.expected("`rules` or `defaultBackend`"));
    }
    if let Some(name) = spec.ingress_class_name.as_deref().filter(|name| !is_dns_subdomain(name)) {
        let message = format!("{name:?} is no name of a class");
        let finding = Finding::error("spec.ingressClassName", message);
        findings.push(finding.expected("the name of an IngressClass"));
    }
    if let Some(backend) = &spec.default_backend {
        check_backend("spec.defaultBackend", backend, findings);
    }
    if !is_too_long("spec.rules", "rules", rules.len(), RULES_MAX, findings) {
        for (i, rule) in rules.iter().enumerate() {
            check_rule(&format!("spec.rules[{i}]"), rule, findings);
            if findings.len() >= FINDINGS_MAX {
                break;
            }
        }
    }
    let tls = spec.tls.as_deref().unwrap_or_default();
    if !is_too_long("spec.tls", "entries", tls.len(), TLS_MAX, findings) {
        for (i, tls) in tls.iter().enumerate() {
            check_tls(&format!("spec.tls[{i}]"), tls, findings);
        }
    }
    findings.truncate(FINDINGS_MAX);
}

/// Why Kubernetes would refuse an IngressClass.
pub fn class_refusals(class: &IngressClass, findings: &mut Vec<Finding>) {
    let controller = class.spec.as_ref().and_then(|spec| spec.controller.as_deref());
    let controller = controller.unwrap_or_default();
    let is_path = |path: &str| {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "/-._~!$&'()*+,;=:@%".contains(c);
        !path.is_empty() && path.chars().all(is_allowed)
    };
    let parts = controller.split_once('/');
    let is_good = parts.is_some_and(|(domain, path)| is_dns_subdomain(domain) && is_path(path));
    if !is_good || controller.len() > CONTROLLER_LEN_MAX {
        let message = format!("{controller:?} is no name of a controller");
        let expected = format!(
            "a DNS name, `/` and a path, such as {:?}; at most {CONTROLLER_LEN_MAX} characters",
            crate::cluster::ingress::CONTROLLER,
        );
        findings.push(Finding::error("spec.controller", message).expected(expected));
    }
}

fn check_rule(path: &str, rule: &IngressRule, findings: &mut Vec<Finding>) {
    if let Some(host) = rule.host.as_deref().filter(|host| !host.is_empty()) {
        check_host(&format!("{path}.host"), host, findings);
    }
    let Some(http) = &rule.http else { return };
    let path = format!("{path}.http.paths");
    if http.paths.is_empty() {
        findings.push(Finding::error(&path, "is missing").expected("at least one path"));
    }
    if !is_too_long(&path, "paths", http.paths.len(), PATHS_MAX, findings) {
        for (i, one) in http.paths.iter().enumerate() {
            check_path(&format!("{path}[{i}]"), one, findings);
        }
    }
}

fn check_host(path: &str, host: &str, findings: &mut Vec<Finding>) {
    // In `spec.tls`, addresses pass that have the form of names.
    let is_tls = path.starts_with("spec.tls");
    let (bare, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((bare, rest)) => (bare, rest.strip_prefix(':').unwrap_or_default()),
        None => host.rsplit_once(':').unwrap_or((host, "")),
    };
    let is_addr = |text: &str| text.parse::<IpAddr>().is_ok();
    let message = if is_tls && is_dns_subdomain(host) {
        return;
    } else if is_addr(host) || is_addr(bare) {
        format!("{host:?} is an address")
    } else if host.contains('*') {
        match host.strip_prefix("*.") {
            Some(name) if host.len() <= 253 && is_dns_subdomain(name) => return,
            Some(name) if !name.contains('*') => format!("{name:?} is no DNS name"),
            _ => format!("{host:?} has an asterisk that is not its whole first label"),
        }
    } else if is_dns_subdomain(host) {
        return;
    } else if !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()) {
        format!("{host:?} has a port")
    } else {
        format!("{host:?} is no DNS name")
    };
    findings.push(Finding::error(path, message).expected(EXPECTED_HOST));
}

fn check_path(path: &str, of: &HTTPIngressPath, findings: &mut Vec<Finding>) {
    let text = of.path.as_deref().unwrap_or_default();
    let at = format!("{path}.path");
    match of.path_type.as_str() {
        "Exact" | "Prefix" => {
            check_absolute(&at, text, findings);
            let sequences = ["//", "/./", "/../", "%2f", "%2F"].into_iter();
            let inside = sequences.filter(|bad| text.contains(bad));
            let at_end = ["/..", "/."].into_iter().filter(|bad| text.ends_with(bad));
            for bad in inside.chain(at_end) {
                let message = format!("{text:?} has {bad:?}");
                let expected = "elements between single slashes, none of them `.` or `..`";
                findings.push(Finding::error(&at, message).expected(expected));
            }
        }
        "ImplementationSpecific" => {
            if !text.is_empty() {
                check_absolute(&at, text, findings);
            }
        }
        kind => {
            let message = match kind {
                "" => "is missing".to_owned(),
                kind => format!("{kind:?} is no type of path"),
            };
            let finding = Finding::error(format!("{path}.pathType"), message);
            findings.push(finding.expected("Exact, Prefix or ImplementationSpecific"));
        }
    }
    is_too_long(&at, "bytes", text.len(), PATH_LEN_MAX, findings);
    check_backend(&format!("{path}.backend"), &of.backend, findings);
}

fn check_absolute(path: &str, text: &str, findings: &mut Vec<Finding>) {
    if !text.starts_with('/') {
        let message = format!("{text:?} is no absolute path");
        findings.push(Finding::error(path, message).expected("a path that begins with `/`"));
    }
}

fn check_backend(path: &str, backend: &IngressBackend, findings: &mut Vec<Finding>) {
    let service = match (&backend.service, &backend.resource) {
        (Some(_), Some(_)) => {
            let finding = Finding::error(path, "has a service and a resource");
            findings.push(finding.expected("`service` alone"));
            return;
        }
        (None, None) => {
            findings.push(Finding::error(path, "has no service").expected("`service`"));
            return;
        }
        // That it is not supported is said of what is accepted.
        (None, Some(resource)) => {
            for (field, text) in [("kind", &resource.kind), ("name", &resource.name)] {
                if text.is_empty() {
                    let finding = Finding::error(format!("{path}.resource.{field}"), "is missing");
                    findings.push(finding.expected(format!("the {field} of the resource")));
                }
            }
            return;
        }
        (Some(service), None) => service,
    };
    if !is_dns_label(&service.name) {
        let message = format!("{:?} is no name of a Service", service.name);
        let finding = Finding::error(format!("{path}.service.name"), message);
        findings.push(finding.expected("the name of a Service of the same namespace"));
    }
    let path = format!("{path}.service.port");
    let port = service.port.as_ref();
    let name = port.and_then(|port| port.name.as_deref()).filter(|name| !name.is_empty());
    let number = port.and_then(|port| port.number).filter(|number| *number != 0);
    match (name, number) {
        (Some(_), Some(_)) => {
            let finding = Finding::error(path, "has a name and a number");
            findings.push(finding.expected("`name` or `number`"));
        }
        (None, None) => {
            let finding = Finding::error(path, "is missing");
            findings.push(finding.expected("`name` or `number` of a port of the Service"));
        }
        (Some(name), None) => check_port_name(&format!("{path}.name"), name, findings),
        (None, Some(number)) => check_l4_port(&format!("{path}.number"), number, findings),
    }
}

fn check_tls(path: &str, tls: &IngressTLS, findings: &mut Vec<Finding>) {
    let hosts = tls.hosts.as_deref().unwrap_or_default();
    let at = format!("{path}.hosts");
    if !is_too_long(&at, "hosts", hosts.len(), TLS_MAX, findings) {
        for (i, host) in hosts.iter().enumerate() {
            check_host(&format!("{at}[{i}]"), host, findings);
        }
    }
    let secret = tls.secret_name.as_deref().filter(|name| !name.is_empty());
    if let Some(name) = secret.filter(|name| !is_dns_subdomain(name)) {
        let message = format!("{name:?} is no name of a Secret");
        let finding = Finding::error(format!("{path}.secretName"), message);
        findings.push(finding.expected("the name of a Secret of the same namespace"));
    }
}

#[cfg(test)]
mod tests;
