//! What is wrong with Ingresses beside what they need.

use super::Setup;
use super::upstreams::{Problem, port_of};
use crate::cluster::ingress::{Backend, BackendPort, FINDINGS_MAX, Ingress, client_auth};
use crate::cluster::{Cluster, Secret};
use crate::compile::Compiler;
use crate::compile::ingress::Place;
use crate::diagnostic::Finding;
use crate::object::{Key, Kind, Name};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Compiler {
    /// Everything that is wrong with an Ingress: by itself, beside others, and with what it
    /// names. Nothing if it is none of this gateway's, but that nobody has its class.
    pub(super) fn ingress_findings(
        &self,
        cluster: &Cluster,
        setup: &Setup,
        name: &Name,
    ) -> Vec<(Key, Finding)> {
        let Some(ingress) = cluster.ingress(name) else { return Vec::new() };
        let mut findings = Vec::new();
        if cluster.classes().is_ours(ingress, &mut findings) {
            findings.extend(ingress.findings.iter().cloned());
            let mut more = self.requests.ingresses.findings(name);
            more.extend(of_backends(cluster, ingress));
            more.extend(of_secrets(cluster, setup, ingress, self.requests.unix_s));
            more.extend(of_clients(cluster, ingress));
            more.truncate(FINDINGS_MAX);
            findings.append(&mut more);
        }
        findings.into_iter().map(|finding| (name.key(Kind::Ingress), finding)).collect()
    }
}

/// That classes of this gateway are marked as the default, and another one is it.
pub(super) fn of_classes(cluster: &Cluster) -> Vec<(Key, Finding)> {
    let key = |name: &Arc<str>| Key {
        kind: Kind::IngressClass,
        namespace: "".into(),
        name: name.clone(),
    };
    cluster.classes().findings().map(|(name, finding)| (key(name), finding)).collect()
}

/// What is wrong with the certificate of hosts that no Ingress gives one.
pub(super) fn of_default(
    cluster: &Cluster,
    setup: &Setup,
    unix_s: Option<i64>,
) -> Vec<(Key, Finding)> {
    let Some(name) = &setup.default_certificate else { return Vec::new() };
    let message = problem_of(cluster.secret(name).map(|secret| &**secret), unix_s);
    let finding = |message: String| {
        let message = format!("`l7.ingress.default_certificate` of the configuration: {message}");
        (name.key(Kind::Secret), Finding::error("", message).expected(EXPECTED))
    };
    message.map(finding).into_iter().collect()
}

const EXPECTED: &str = "a Secret of type kubernetes.io/tls with a certificate and its key";

/// Each Service or port that is not there, at the first place that names it.
fn of_backends(cluster: &Cluster, ingress: &Ingress) -> Vec<Finding> {
    let of_paths = ingress.rules.iter().flat_map(|rule| {
        rule.paths.iter().flatten().map(|path| {
            let place = Place::Path { rule: rule.index, path: path.index };
            (format!("{place}.backend.service"), &path.backend)
        })
    });
    let place = format!("{}.service", Place::DefaultBackend);
    let of_default = ingress.default_backend.as_ref().map(|backend| (place, backend));
    let mut known = BTreeSet::new();
    let finding = |(place, backend): (String, &Backend)| {
        let problem = problem_of_backend(cluster, backend);
        let (message, expected) = problem.filter(|_| known.insert(backend.clone()))?;
        Some(Finding::error(place, format!("{message}; 503 is answered")).expected(expected))
    };
    of_paths.chain(of_default).filter_map(finding).collect()
}

/// What is wrong with where requests go, in words, and what was expected.
pub(super) fn problem_of_backend(
    cluster: &Cluster,
    backend: &Backend,
) -> Option<(String, &'static str)> {
    let Backend::Service { service, port } = backend else { return None };
    Some(match port_of(cluster, service, port).err()? {
        Problem::NoService => (format!("there is no Service {service}"), "the name of a Service"),
        Problem::External => (
            format!("Service {service} is of type ExternalName, which is not supported"),
            "a Service with endpoints",
        ),
        Problem::NoPort => {
            let port = match port {
                BackendPort::Number(port) => port.to_string(),
                BackendPort::Name(port) => format!("{port:?}"),
            };
            (format!("Service {service} has no TCP port {port}"), "a port of the Service")
        }
    })
}

/// Each certificate that is not as it should be.
fn of_secrets(
    cluster: &Cluster,
    setup: &Setup,
    ingress: &Ingress,
    unix_s: Option<i64>,
) -> Vec<Finding> {
    let default = setup.default_certificate.as_ref();
    let has_default =
        default.is_some_and(|name| cluster.secret(name).is_some_and(|s| s.certificate.is_some()));
    let without = match has_default {
        true => "its hosts have the default certificate",
        false => "its hosts have no certificate",
    };
    let mut findings = Vec::new();
    for tls in &ingress.tls {
        let Some(name) = &tls.secret else {
            if !has_default {
                let message = "names no Secret, and there is no default certificate";
                let finding = Finding::error(format!("spec.tls[{}]", tls.index), message);
                findings.push(finding.expected("`secretName`"));
            }
            continue;
        };
        let secret = cluster.secret(name);
        let has_some = secret.is_some_and(|secret| secret.certificate.is_some());
        let path = format!("spec.tls[{}].secretName", tls.index);
        let Some(mut message) = problem_of(secret.map(|secret| &**secret), unix_s) else {
            continue;
        };
        message = format!("Secret {name}: {message}");
        if !has_some {
            message = format!("{message}; {without}");
        }
        findings.push(Finding::error(path, message).expected(EXPECTED));
    }
    findings
}

/// That nobody is let in, since it is not known whose certificates are to be taken.
fn of_clients(cluster: &Cluster, ingress: &Ingress) -> Option<Finding> {
    let name = &ingress.options.client_certificates.as_ref()?.secret;
    let error = match cluster.secret(name).map(|secret| &secret.authorities) {
        None => "is not there, or has no `ca.crt`",
        Some(Ok(_)) => return None,
        Some(Err(error)) => error,
    };
    let message = format!("Secret {name}: it {error}; nobody is let in");
    let expected = "a Secret with certificates to be trusted in `ca.crt`";
    Some(Finding::error(client_auth::place(), message).expected(expected))
}

/// What is wrong with a Secret, in words.
pub(super) fn problem_of(secret: Option<&Secret>, unix_s: Option<i64>) -> Option<String> {
    let Some(secret) = secret else {
        return Some("it is not there, or is none of type kubernetes.io/tls".to_owned());
    };
    let Some(certificate) = &secret.certificate else {
        return secret.error.map(|error| format!("it {error}"));
    };
    if let Some(error) = secret.error {
        return Some(format!("it {error}; its last good version stays in force"));
    }
    let now = unix_s?;
    if now > certificate.not_after {
        return Some("its certificate has expired; it is still served".to_owned());
    }
    let message = "its certificate is not valid yet; it is served nevertheless";
    (now < secret.not_before).then(|| message.to_owned())
}
