//! From the manifests of Ingresses to the routes that requests take.

mod conformance;
mod contradictions;
mod documentation;
mod ingress_nginx;
mod random;

use k8s_openapi::api::networking::v1;
use serde_json::Value;
use sluice_control::cluster::ingress::{Backend, BackendPort, Classes, Ingress, IngressClass};
use sluice_control::compile::ingress::{Compiled, Route, compile};
use sluice_control::diagnostic::Finding;
use sluice_control::object::Name;
use sluice_control::validate;
use sluice_tables::http_routes::Request;
use std::collections::BTreeMap;

/// Ingresses and their classes, from manifests.
#[derive(Default)]
struct Cluster {
    classes: Classes,
    ingresses: BTreeMap<Name, Ingress>,
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
            self.ingresses.insert(name, reduced);
        }
        assert_eq!(refused, [], "{document}");
    }

    fn compile(&self) -> Compiled {
        compile(&self.classes, &self.ingresses)
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
