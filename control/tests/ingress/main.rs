//! From the manifests of Ingresses to the routes that requests take.

mod conformance;
mod contradictions;
mod documentation;
mod ingress_nginx;
mod official;
mod random;

use k8s_openapi::api::networking::v1;
use serde_json::Value;
use sluice_control::cluster::ingress::{Backend, BackendPort, Classes, Ingress, IngressClass};
use sluice_control::compile::ingress::{Ingresses, Route};
use sluice_control::diagnostic::Finding;
use sluice_control::object::Name;
use sluice_control::validate;
use sluice_tables::http_routes::{Host, HttpRouteId, HttpRoutes, Request};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Ingresses and their classes, from manifests.
#[derive(Default)]
struct Cluster {
    classes: Classes,
    ingresses: BTreeMap<Name, Arc<Ingress>>,
}

/// The class that Ingresses of these tests are of where they name none.
const DEFAULT_CLASS: &str = r#"
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata:
  name: sluice
  annotations:
    ingressclass.kubernetes.io/is-default-class: "true"
spec:
  controller: sluice.dev/ingress
"#;

impl Cluster {
    /// Reads documents of YAML.
    fn read(text: &str) -> Cluster {
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let mut cluster = Cluster::default();
        documents.iter().for_each(|document| cluster.add(document));
        cluster
    }

    /// The same, with a class of ours for those that name none.
    fn read_with_class(text: &str) -> Cluster {
        Cluster::read(&format!("{DEFAULT_CLASS}---\n{text}"))
    }

    fn add(&mut self, document: &Value) {
        let parse = |error| panic!("{error}: {document}");
        let mut refused = Vec::new();
        if document["kind"] == "IngressClass" {
            let class: v1::IngressClass =
                serde_json::from_value(document.clone()).unwrap_or_else(parse);
            validate::ingress::class_refusals(&class, &mut refused);
            let name = class.metadata.name.as_deref().unwrap().into();
            self.classes.set(&name, Some(IngressClass::reduce(&class, &mut Vec::new())));
        } else {
            let parse = |error| panic!("{error}: {document}");
            let ingress: v1::Ingress =
                serde_json::from_value(document.clone()).unwrap_or_else(parse);
            validate::ingress::refusals(&ingress, &mut refused);
            let metadata = &ingress.metadata;
            let namespace = metadata.namespace.as_deref().unwrap_or("default");
            let name = Name::new(namespace, metadata.name.as_deref().unwrap());
            let reduced = Ingress::reduce(&name.namespace, &ingress);
            self.ingresses.insert(name, Arc::new(reduced));
        }
        assert_eq!(refused, [], "{document}");
    }

    fn compile(&self) -> Compiled {
        let mut of = Ingresses::default();
        let get = |name: &Name| self.ingresses.get(name).cloned();
        of.update(&self.classes, self.ingresses.keys().cloned(), get);
        self.compiled(&of)
    }

    /// What has been compiled, in an order.
    fn compiled(&self, of: &Ingresses) -> Compiled {
        let mut ours: Vec<(&Name, &Arc<Ingress>)> = of.ours().iter().collect();
        ours.sort_by_key(|(name, ingress)| (ingress.created.is_none(), ingress.created, *name));
        let mut findings = Vec::new();
        for (name, ingress) in &self.ingresses {
            let mut alone = Vec::new();
            if self.classes.is_ours(ingress, &mut alone) {
                alone.extend(ingress.findings.iter().cloned());
            }
            findings.extend(alone.into_iter().map(|finding| (name.clone(), finding)));
        }
        let mut certificates: Vec<Certificate> = Vec::new();
        for (name, ingress) in &ours {
            let together = of.findings(name).into_iter();
            findings.extend(together.map(|finding| ((*name).clone(), finding)));
            for tls in &ingress.tls {
                let of_rules = ingress.rules.iter().map(|rule| &rule.host);
                let of_rules = of_rules.filter(|_| tls.hosts.is_empty());
                for host in of_rules.chain(tls.hosts.iter().map(|(_, host)| host)) {
                    let found = of.certificate(host).expect("somebody tells it");
                    let is_known = certificates.iter().any(|known| known.host == *host);
                    if !is_known && found.ingress == **name {
                        let (secret, ingress) = (found.secret.clone(), found.ingress.clone());
                        certificates.push(Certificate { host: host.clone(), secret, ingress });
                    }
                }
            }
        }
        assert_eq!(certificates.len(), of.certificates().count());
        Compiled {
            routes: of.matches().clone(),
            targets: of.routes().map(|(id, route)| (id, route.clone())).collect(),
            certificates,
            ingresses: of.ours().keys().cloned().collect(),
            findings,
        }
    }
}

/// All that follows from some Ingresses.
struct Compiled {
    routes: HttpRoutes,
    targets: BTreeMap<HttpRouteId, Arc<Route>>,
    certificates: Vec<Certificate>,
    ingresses: Vec<Name>,
    findings: Vec<(Name, Finding)>,
}

#[derive(Debug, PartialEq)]
struct Certificate {
    host: Host,
    secret: Option<Name>,
    ingress: Name,
}

impl Compiled {
    fn target(&self, id: HttpRouteId) -> Option<&Route> {
        self.targets.get(&id).map(|route| &**route)
    }

    fn targets(&self) -> Vec<&Route> {
        self.targets.values().map(|route| &**route).collect()
    }
}

/// The route that a request takes.
fn route<'a>(compiled: &'a Compiled, host: &str, path: &str) -> Option<&'a Route> {
    let request = Request { method: "GET", host, path, ..Request::default() };
    let id = compiled.routes.find(&request)?;
    Some(compiled.target(id).expect("a route has a target"))
}

/// The backend that a request goes to, as `service:port`.
fn backend(compiled: &Compiled, host: &str, path: &str) -> Option<String> {
    Some(match &route(compiled, host, path)?.backend {
        Backend::Service { service, port: BackendPort::Number(port) } => {
            format!("{}:{port}", service.name)
        }
        Backend::Service { service, port: BackendPort::Name(port) } => {
            format!("{}:{port}", service.name)
        }
        Backend::Unsupported => "unsupported".to_owned(),
    })
}

/// Asserts where requests go: host, path, and the backend.
fn assert_routes(compiled: &Compiled, cases: &[(&str, &str, Option<&str>)]) {
    for (host, path, expected) in cases {
        assert_eq!(backend(compiled, host, path).as_deref(), *expected, "{host}{path}");
    }
}

/// Findings as `name: path: message`.
fn said(findings: &[(Name, Finding)]) -> Vec<String> {
    let said = findings.iter().map(|(name, f)| format!("{name}: {}: {}", f.path, f.message));
    said.collect()
}
