//! Ingresses and their classes, reduced: `networking.k8s.io/v1` Ingress and
//! IngressClass (kubernetes.io/docs/concepts/services-networking/ingress).

use crate::diagnostic::Finding;
use crate::object::Name;
use regex::Regex;
use sluice_tables::http_routes::Host;
use std::sync::Arc;

/// Which Ingresses are this gateway's.
pub mod class;
/// What clients have to show.
pub mod client_auth;
/// What annotations say.
pub mod options;

mod path;
mod reduce;

pub use class::{CONTROLLER, Classes, IngressClass};
pub use client_auth::ClientCertificates;
pub use options::{HttpsRedirect, Options, Protocol};

/// Most findings about one Ingress, by itself and beside others: more help nobody.
pub(crate) const FINDINGS_MAX: usize = 32;

/// An Ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// When it was made, in seconds since 1970: of those that want the same, the older
    /// one has it.
    pub created: Option<i64>,
    /// The class that it names.
    pub class: Option<ClassName>,
    /// Takes what no path takes.
    pub default_backend: Option<Backend>,
    /// The hosts, and their paths.
    pub rules: Vec<Rule>,
    /// The certificates.
    pub tls: Vec<Tls>,
    /// What its annotations say, the same for all of its paths.
    pub options: Arc<Options>,
    /// What is wrong with it by itself, at most 32. Whose it is decides whether somebody
    /// is told: what this gateway does not support, another controller may.
    pub findings: Vec<Finding>,
}

/// The name of a class, and who tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassName {
    /// `spec.ingressClassName`.
    Field(Arc<str>),
    /// The annotation `kubernetes.io/ingress.class`.
    Annotation(Arc<str>),
}

/// Some paths of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its index in `spec.rules`.
    pub index: usize,
    /// The host: any, one, or those of one label in place of an asterisk.
    pub host: Host,
    /// The paths; `None`: it tells none, and is for the default backend alone.
    pub paths: Option<Vec<RulePath>>,
}

/// A path, and where its requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePath {
    /// Its index in `http.paths` of the rule.
    pub index: usize,
    /// The path.
    pub path: PathMatch,
    /// Where its requests go.
    pub backend: Backend,
}

/// Which paths of requests a path of a rule is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathMatch {
    /// This one.
    Exact(Box<str>),
    /// Those that begin with these elements; without a slash at its end.
    Prefix(Box<str>),
    /// Those that begin with what a pattern describes.
    Pattern(Pattern),
}

/// A pattern of paths, of any case (ingress-nginx, "Ingress Path Matching").
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As it is written.
    pub text: Box<str>,
    /// Finds it at the beginning of a path.
    pub regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl std::hash::Hash for Pattern {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backend {
    /// To a Service of the Ingress's namespace.
    Service {
        /// The Service.
        service: Name,
        /// Its port.
        port: BackendPort,
    },
    /// Nowhere: a resource that is no Service, or an Ingress that says who may ask in a
    /// way that is not supported. Its requests are not left to other paths, which are not
    /// meant for them.
    Unsupported,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackendPort {
    /// The number that clients of the Service address.
    Number(u16),
    /// Its name.
    Name(Arc<str>),
}

/// The certificate of some hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Its index in `spec.tls`.
    pub index: usize,
    /// The hosts, each with its index in `hosts`; none: those of the rules.
    pub hosts: Vec<(usize, Host)>,
    /// The Secret of the Ingress's namespace that has the certificate; `None`: that of
    /// the listener.
    pub secret: Option<Name>,
}

#[cfg(test)]
mod tests;
