use super::{
    Backend, BackendPort, ClassName, FINDINGS_MAX, Ingress, Options, Rule, RulePath, Tls, options,
    path,
};
use crate::cluster::annotations;
use crate::diagnostic::Finding;
use crate::object::Name;
use k8s_openapi::api::networking::v1;
use sluice_tables::http_routes::Host;
use std::net::IpAddr;
use std::sync::Arc;

/// Names the class, before there were objects for classes.
const CLASS: &str = "kubernetes.io/ingress.class";

impl Ingress {
    /// Reduces an Ingress of a namespace; what is left out becomes one of its findings.
    /// What the API server would refuse is left out without one: whoever asks
    /// [`refusals`](crate::validate::ingress::refusals) knows.
    pub fn reduce(namespace: &Arc<str>, ingress: &v1::Ingress) -> Self {
        let mut findings = Vec::new();
        let mut reduced = reduce(namespace, ingress, &mut findings);
        // What is not in force comes before what is ignored.
        findings.sort_by_key(|finding| finding.severity);
        findings.truncate(FINDINGS_MAX);
        reduced.findings = findings;
        reduced
    }
}

fn reduce(namespace: &Arc<str>, ingress: &v1::Ingress, findings: &mut Vec<Finding>) -> Ingress {
    let none = v1::IngressSpec::default();
    let spec = ingress.spec.as_ref().unwrap_or(&none);
    let metadata = &ingress.metadata;
    let options = Options::reduce(namespace, metadata, findings);
    let mut reduced = Ingress {
        created: metadata.creation_timestamp.as_ref().map(|time| time.0.as_second()),
        class: class(ingress, spec, findings),
        default_backend: None,
        rules: Vec::new(),
        tls: tls(namespace, spec, findings),
        options: Arc::new(options),
        findings: Vec::new(),
    };
    if options::is_canary(metadata) {
        let message = "canaries are not supported; the Ingress is left out";
        findings.push(Finding::error(options::path_of("canary"), message));
        return reduced;
    }
    reduced.default_backend = spec
        .default_backend
        .as_ref()
        .and_then(|of| backend(namespace, "spec.defaultBackend", of, findings));
    if reduced.default_backend.is_some() {
        path::check_groups("spec.defaultBackend", None, &reduced.options, findings);
    }
    for (index, of) in spec.rules.iter().flatten().enumerate() {
        let at = format!("spec.rules[{index}]");
        let Some(host) = host(of.host.as_deref().unwrap_or_default()) else { continue };
        let paths = of.http.as_ref().map(|http| {
            let paths = http.paths.iter().enumerate();
            let paths = paths.filter_map(|(index, of)| {
                let at = format!("{at}.http.paths[{index}]");
                let backend = backend(namespace, &format!("{at}.backend"), &of.backend, findings);
                let text = of.path.as_deref().unwrap_or_default();
                let path = path::reduce(&at, &of.path_type, text, &reduced.options, findings);
                Some(RulePath { index, path: path?, backend: backend? })
            });
            paths.collect()
        });
        if paths.is_none() && reduced.default_backend.is_none() {
            let finding = Finding::warning(at, "has no paths, and does nothing");
            findings.push(finding.expected("`http` with `paths`, or a `spec.defaultBackend`"));
        }
        reduced.rules.push(Rule { index, host, paths });
    }
    if reduced.options.is_restricted {
        // Left out, its requests would be those of shorter paths, which are open.
        let paths = reduced.rules.iter_mut().flat_map(|rule| rule.paths.iter_mut().flatten());
        let backends = paths.map(|path| &mut path.backend).chain(&mut reduced.default_backend);
        backends.for_each(|backend| *backend = Backend::Unsupported);
    }
    reduced
}

fn class(
    ingress: &v1::Ingress,
    spec: &v1::IngressSpec,
    findings: &mut Vec<Finding>,
) -> Option<ClassName> {
    let annotation = annotations::annotation(&ingress.metadata, CLASS);
    let annotation = annotation.filter(|name| !name.is_empty());
    let Some(field) = spec.ingress_class_name.as_deref() else {
        return annotation.map(|name| ClassName::Annotation(name.into()));
    };
    if let Some(other) = annotation.filter(|name| *name != field) {
        let message = format!("{other:?} is ignored: `spec.ingressClassName` is {field:?}");
        let finding = Finding::warning(annotations::path(CLASS), message);
        findings.push(finding.expected("one class"));
    }
    Some(ClassName::Field(field.into()))
}

/// The hosts that a text stands for. `None`: it is none.
fn host(text: &str) -> Option<Host> {
    match text.strip_prefix('*') {
        _ if text.is_empty() => Some(Host::Any),
        Some(suffix) => suffix.starts_with('.').then(|| Host::OneLabel(suffix.into())),
        None => Some(Host::Exact(text.into())),
    }
}

fn backend(
    namespace: &Arc<str>,
    at: &str,
    backend: &v1::IngressBackend,
    findings: &mut Vec<Finding>,
) -> Option<Backend> {
    let Some(service) = &backend.service else {
        let resource = backend.resource.as_ref()?;
        let message = format!("a {} as backend is not supported; 503 is answered", resource.kind);
        let finding = Finding::error(format!("{at}.resource"), message);
        findings.push(finding.expected("`service`"));
        return Some(Backend::Unsupported);
    };
    let port = service.port.as_ref()?;
    let port = match (port.name.as_deref().filter(|name| !name.is_empty()), port.number) {
        (Some(name), _) => BackendPort::Name(name.into()),
        (None, number) => BackendPort::Number(u16::try_from(number?).ok()?),
    };
    let service = Name { namespace: namespace.clone(), name: service.name.as_str().into() };
    Some(Backend::Service { service, port })
}

fn tls(namespace: &Arc<str>, spec: &v1::IngressSpec, findings: &mut Vec<Finding>) -> Vec<Tls> {
    let mut all = Vec::new();
    for (index, of) in spec.tls.iter().flatten().enumerate() {
        let mut hosts = Vec::new();
        for (at, text) in of.hosts.iter().flatten().enumerate() {
            if text.parse::<IpAddr>().is_ok() {
                // RFC 6066 section 3.
                let message = format!("{text:?} is an address, which no client sends as a name");
                let finding = Finding::error(format!("spec.tls[{index}].hosts[{at}]"), message);
                findings.push(finding.expected("a DNS name"));
            } else {
                hosts.extend(host(text).map(|host| (at, host)));
            }
        }
        // What has been left out does not make it the certificate of the rules.
        if hosts.is_empty() && of.hosts.as_ref().is_some_and(|hosts| !hosts.is_empty()) {
            continue;
        }
        let secret = of.secret_name.as_deref().filter(|name| !name.is_empty());
        let secret = secret.map(|name| Name { namespace: namespace.clone(), name: name.into() });
        all.push(Tls { index, hosts, secret });
    }
    all
}
