//! From Ingresses to the routes of HTTP requests.
//!
//! A request takes the most specific of the paths that are for it: by its host, then
//! by its path ([`sluice_tables::http_routes`]). What no path of a host takes goes to
//! the default backend of an Ingress that names the host, if one has one, and at last to
//! that of any Ingress. Of Ingresses that want the same, the older one has it, then the
//! first by namespace and name.
//!
//! So each host is by itself: an edit makes the hosts anew that an Ingress names or has
//! named, and no others.

use crate::cluster::ingress::{
    Backend, Classes, ClientCertificates, FINDINGS_MAX, Ingress, Options, PathMatch,
};
use crate::diagnostic::Finding;
use crate::object::Name;
use hashbrown::HashMap;
use sluice_tables::http_routes::{Host, HttpRouteId, HttpRoutes, Rewrite};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

mod claims;
mod host;
mod patterns;

use host::OfHost;

/// The Ingresses of this gateway, compiled.
#[derive(Debug, Default)]
pub struct Ingresses {
    ours: BTreeMap<Name, Arc<Ingress>>,
    hosts: HashMap<Host, OfHost>,
    matches: HttpRoutes,
    /// Hosts whose clients have to show something.
    asking: BTreeMap<Host, ClientCertificates>,
    /// What each number of a route stands for.
    routes: Vec<Option<Arc<Route>>>,
    /// Numbers that stand for nothing.
    free: Vec<u32>,
}

/// What a change has touched.
#[derive(Debug, Default)]
pub struct Touched {
    /// Numbers of routes that stand for something else, or for nothing.
    pub routes: BTreeSet<u32>,
    /// Hosts that may have another certificate.
    pub certificates: BTreeSet<Host>,
    /// Clients of other hosts have to show something, or something else.
    pub asking: bool,
    /// Ingresses of which something else may be wrong, those included that are of others or
    /// are gone.
    pub ingresses: BTreeSet<Name>,
}

/// What becomes of the requests of a route.
#[derive(Clone, Debug, PartialEq)]
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
    /// What the annotations say.
    pub options: Arc<Options>,
    /// What clients of the host have to show, whichever Ingress says so.
    pub client_certificates: Option<ClientCertificates>,
}

impl Route {
    /// The path that the backend is asked for, in place of the client's.
    pub fn rewrite(&self) -> Option<Rewrite> {
        let target = self.options.rewrite_target.as_deref()?;
        let regex = match &self.path {
            PathMatch::Pattern(pattern) => Some(pattern.regex.clone()),
            PathMatch::Exact(_) | PathMatch::Prefix(_) => None,
        };
        // The target has been read when the Ingress was.
        Rewrite::new(regex, target).ok()
    }
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
    /// The Secret that has the certificate; `None`: that of the listener.
    pub secret: Option<Name>,
    /// The Ingress that it is from.
    pub ingress: Name,
}

impl Ingresses {
    /// Takes changes: the Ingresses of some names, as `get` has them now. If classes have
    /// changed, these are to be all that there are and were.
    pub fn update(
        &mut self,
        classes: &Classes,
        changed: impl IntoIterator<Item = Name>,
        get: impl Fn(&Name) -> Option<Arc<Ingress>>,
    ) -> Touched {
        let mut touched = Touched::default();
        let mut hosts = BTreeSet::new();
        for name in changed {
            let is_ours = |ingress: &Arc<Ingress>| classes.is_ours(ingress, &mut Vec::new());
            let new = get(&name).filter(is_ours);
            let old = match &new {
                Some(new) => self.ours.insert(name.clone(), new.clone()),
                None => self.ours.remove(&name),
            };
            let is_same = matches!((&old, &new), (Some(old), Some(new)) if Arc::ptr_eq(old, new));
            if !is_same {
                for host in old.iter().flat_map(|old| hosts_of(old)) {
                    if let Some(of) = self.hosts.get_mut(&host) {
                        of.remove(&name, old.as_deref());
                    }
                    hosts.insert(host);
                }
                for host in new.iter().flat_map(|new| hosts_of(new)) {
                    let of = self.hosts.entry(host.clone()).or_default();
                    of.add(&name, new.as_deref());
                    hosts.insert(host);
                }
            }
            touched.ingresses.insert(name);
        }
        for host in hosts {
            self.make(host, &mut touched);
        }
        touched
    }

    /// Makes a host anew.
    fn make(&mut self, host: Host, touched: &mut Touched) {
        let Some(mut of) = self.hosts.remove(&host) else { return };
        let (made, asked) = of.make(&host, &self.ours, touched);
        // A name that asks for nothing has to be known where those beside it ask.
        let has_wildcard = self.asking.keys().any(|host| !matches!(host, Host::Exact(_)));
        let old = match asked {
            Some(asked) => self.asking.insert(host.clone(), asked),
            None => self.asking.remove(&host),
        };
        touched.asking |= old.as_ref() != self.asking.get(&host) || has_wildcard;
        let mut old = std::mem::take(&mut of.numbers).into_iter();
        for route in made {
            let number = old.next().or_else(|| self.free.pop()).unwrap_or_else(|| {
                self.routes.push(None);
                self.routes.len() as u32 - 1
            });
            of.numbers.push(number);
            let slot = &mut self.routes[number as usize];
            if slot.as_deref() != Some(&route) {
                *slot = Some(Arc::new(route));
                touched.routes.insert(number);
            }
        }
        for number in old {
            self.routes[number as usize] = None;
            self.free.push(number);
            touched.routes.insert(number);
        }
        let routes = of.numbers.iter().filter_map(|number| {
            Some((HttpRouteId(*number), self.routes[*number as usize].as_deref()?))
        });
        // What is too much has been left out.
        if patterns::set(&mut self.matches, &host, routes).is_err() {
            let _ = self.matches.set_host(&host, []);
        }
        if !of.is_empty() {
            self.hosts.insert(host, of);
        }
    }

    /// Which route a request takes.
    pub fn matches(&self) -> &HttpRoutes {
        &self.matches
    }

    /// What the number of a route stands for.
    pub fn route(&self, id: HttpRouteId) -> Option<&Arc<Route>> {
        self.routes.get(id.0 as usize)?.as_ref()
    }

    /// All routes, by their numbers.
    pub fn routes(&self) -> impl Iterator<Item = (HttpRouteId, &Arc<Route>)> {
        let routes = (0..).map(HttpRouteId).zip(&self.routes);
        routes.filter_map(|(id, route)| Some((id, route.as_ref()?)))
    }

    /// The numbers of the routes of a host.
    pub fn routes_of(&self, host: &Host) -> &[u32] {
        self.hosts.get(host).map_or(&[], |of| &of.numbers)
    }

    /// All hosts that Ingresses name.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.keys()
    }

    /// Where the certificate of a host is.
    pub fn certificate(&self, host: &Host) -> Option<&Certificate> {
        self.hosts.get(host)?.certificate.as_ref()
    }

    /// The hosts that have certificates.
    pub fn certificates(&self) -> impl Iterator<Item = (&Host, &Certificate)> {
        self.hosts.iter().filter_map(|(host, of)| Some((host, of.certificate.as_ref()?)))
    }

    /// The hosts whose clients have to show something.
    pub fn asking(&self) -> &BTreeMap<Host, ClientCertificates> {
        &self.asking
    }

    /// The Ingresses that are this gateway's.
    pub fn ours(&self) -> &BTreeMap<Name, Arc<Ingress>> {
        &self.ours
    }

    /// What is wrong with an Ingress of this gateway beside others, at most 32.
    pub fn findings(&self, name: &Name) -> Vec<Finding> {
        let Some(ingress) = self.ours.get(name) else { return Vec::new() };
        let hosts: Vec<(Host, &OfHost)> = hosts_of(ingress)
            .into_iter()
            .filter_map(|host| self.hosts.get(&host).map(|of| (host, of)))
            .collect();
        let of_paths = hosts.iter().flat_map(|(_, of)| of.findings(name)).cloned();
        let taken = hosts.iter().find_map(|(host, of)| Some((host, of.default_of(name)?)));
        let of_default =
            taken.map(|(host, other)| claims::lost_default(name, ingress, host, other));
        of_paths.chain(of_default).take(FINDINGS_MAX).collect()
    }
}

/// The hosts that an Ingress says something of, each once: those of its rules, of its
/// certificates, and all of them if it has a default backend.
fn hosts_of(ingress: &Ingress) -> Vec<Host> {
    let of_rules = ingress.rules.iter().map(|rule| &rule.host);
    let of_tls = ingress.tls.iter().flat_map(|tls| &tls.hosts).map(|(_, host)| host);
    let all = ingress.default_backend.is_some().then_some(&Host::Any);
    let mut hosts = Vec::new();
    let mut known = BTreeSet::new();
    for host in of_rules.chain(of_tls).chain(all) {
        if known.insert(host) {
            hosts.push(host.clone());
        }
    }
    hosts
}
