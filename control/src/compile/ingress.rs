//! From Ingresses to the routes of HTTP requests.
//!
//! A request takes the most specific of the paths that are for it: by its host, then
//! by its path ([`sluice_tables::http_routes`]). What no path of a host takes goes to
//! the default backend of an Ingress that names the host, if one has one, and at last to
//! that of any Ingress. Of Ingresses that want the same, the older one has it, then the
//! first by namespace and name.

use crate::cluster::ingress::{Backend, Classes, FINDINGS_MAX, Ingress, Options, PathMatch};
use crate::diagnostic::Finding;
use crate::object::Name;
use hashbrown::HashMap;
use sluice_tables::http_routes::{Host, HttpRouteId, HttpRoutes, Rewrite};
use std::collections::BTreeSet;
use std::sync::Arc;

mod claims;
mod patterns;

use claims::Claims;

/// All Ingresses of this gateway, compiled.
#[derive(Debug, Default)]
pub struct Compiled {
    /// Which route a request takes.
    pub routes: HttpRoutes,
    /// What each number of a route stands for. Numbers of another compilation stand for
    /// others.
    targets: Vec<Route>,
    /// The certificates of hosts, each host once.
    pub certificates: Vec<Certificate>,
    /// The Ingresses that are this gateway's.
    pub ingresses: BTreeSet<Name>,
    /// What is wrong with Ingresses of this gateway, by themselves and then together:
    /// of each at most 32.
    pub findings: Vec<(Name, Finding)>,
}

impl Compiled {
    /// What the number of a route stands for.
    pub fn target(&self, id: HttpRouteId) -> Option<&Route> {
        self.targets.get(id.0 as usize)
    }

    /// All routes, by their numbers.
    pub fn targets(&self) -> &[Route] {
        &self.targets
    }
}

/// What becomes of the requests of a route.
#[derive(Clone, Debug)]
pub struct Route {
    /// The Ingress that it is from.
    pub ingress: Name,
    /// What of the Ingress it is.
    pub place: Place,
    /// Its hosts.
    pub host: Host,
    /// Its paths.
    pub path: PathMatch,
    /// Where requests go.
    pub backend: Backend,
    /// The path that the backend is asked for, in place of the client's.
    pub rewrite: Option<Rewrite>,
    /// What else the annotations say.
    pub options: Arc<Options>,
}

/// What of an Ingress a route is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `spec.rules[rule].http.paths[path]`.
    Path {
        /// The index of the rule.
        rule: usize,
        /// The index of the path.
        path: usize,
    },
    /// `spec.defaultBackend`.
    DefaultBackend,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Path { rule, path } => write!(f, "spec.rules[{rule}].http.paths[{path}]"),
            Place::DefaultBackend => f.write_str("spec.defaultBackend"),
        }
    }
}

/// Where the certificate of a host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The host: any, one, or those of one label in place of an asterisk.
    pub host: Host,
    /// The Secret that has the certificate; `None`: that of the listener.
    pub secret: Option<Name>,
    /// The Ingress that it is from.
    pub ingress: Name,
}

/// Compiles the Ingresses of a cluster, of which those of other controllers are left
/// out.
pub fn compile<'a>(
    classes: &Classes,
    ingresses: impl IntoIterator<Item = (&'a Name, &'a Ingress)>,
) -> Compiled {
    let mut ours: Vec<(&Name, &Ingress)> = Vec::new();
    let (mut alone, mut findings) = (Vec::new(), Vec::new());
    for (name, ingress) in ingresses {
        let mut found = Vec::new();
        if classes.is_ours(ingress, &mut found) {
            ours.push((name, ingress));
            found.extend(ingress.findings.iter().cloned());
        }
        alone.extend(found.into_iter().map(|finding| (name.clone(), finding)));
    }
    ours.sort_by_key(|(name, ingress)| (ingress.created.is_none(), ingress.created, *name));
    let mut claims = Claims::default();
    for (name, ingress) in &ours {
        claims.add_paths(name, ingress);
    }
    for (name, ingress) in &ours {
        claims.add_default(name, ingress);
    }
    findings.append(&mut claims.findings);
    let (routes, targets) = patterns::build(claims.routes, &mut findings);
    let certificates = certificates(&ours, &mut findings);
    let mut counts: HashMap<Name, usize> = HashMap::new();
    findings.retain(|(name, _): &(Name, Finding)| {
        let count = counts.entry(name.clone()).or_default();
        *count += 1;
        *count <= FINDINGS_MAX
    });
    alone.append(&mut findings);
    Compiled {
        routes,
        targets,
        certificates,
        ingresses: ours.iter().map(|(name, _)| (*name).clone()).collect(),
        findings: alone,
    }
}

fn certificates(
    ours: &[(&Name, &Ingress)],
    findings: &mut Vec<(Name, Finding)>,
) -> Vec<Certificate> {
    let mut known: HashMap<Host, usize> = HashMap::new();
    let mut all: Vec<Certificate> = Vec::new();
    for (name, ingress) in ours {
        for tls in &ingress.tls {
            let of_rules = ingress.rules.iter().map(|rule| (None, &rule.host));
            let named = tls.hosts.iter().map(|(index, host)| (Some(*index), host));
            let hosts = of_rules.filter(|_| tls.hosts.is_empty()).chain(named);
            for (index, host) in hosts {
                let Some(at) = known.get(host) else {
                    known.insert(host.clone(), all.len());
                    let (secret, ingress) = (tls.secret.clone(), (*name).clone());
                    all.push(Certificate { host: host.clone(), secret, ingress });
                    continue;
                };
                let other = &all[*at];
                if other.secret == tls.secret {
                    continue;
                }
                let at = match index {
                    Some(index) => format!("spec.tls[{}].hosts[{index}]", tls.index),
                    None => format!("spec.tls[{}]", tls.index),
                };
                let message = format!(
                    "{} has the certificate of {}",
                    claims::text_of(host),
                    claims::other(&other.ingress, name),
                );
                let finding = Finding::error(at, message).expected("one Secret for each host");
                findings.push(((*name).clone(), finding));
            }
        }
    }
    all
}
