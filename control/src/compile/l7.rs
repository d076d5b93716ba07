//! What ends at the gateway: listeners for Ingresses, the routes of their requests, and who
//! serves those.

use super::epochs::Epochs;
use super::ids::Moment;
use super::ingress::{Ingresses, Touched};
use super::{Compiler, Subject};
use crate::cluster::ingress::HttpsRedirect;
use crate::cluster::{Changes, Cluster};
use crate::object::Name;
use sluice_tables::chunked::Chunked;
use sluice_tables::http_routes::{Host, HttpRouteId};
use sluice_tables::l7::{
    Certificates, HttpRoute, L7, Listener, ListenerId, RouteAction, RouteTable,
};
use sluice_tables::{Family, Tables, V4, V6};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

mod asking;
mod certificates;
mod findings;
mod identity;
mod moments;
mod setup;
mod shown;
mod upstreams;
mod users;

use asking::Asking;
use certificates::Certified;
pub(super) use identity::Identity;
use moments::Moments;
pub(super) use setup::Setup;
pub(crate) use shown::backend_text;
use upstreams::{UpstreamKey, Upstreams};
use users::Users;

/// The listener of HTTP.
const HTTP: ListenerId = ListenerId(0);

/// The listener of HTTPS.
const HTTPS: ListenerId = ListenerId(1);

/// What is known of requests.
#[derive(Debug)]
pub(super) struct Requests {
    ingresses: Ingresses,
    routes: Chunked<Option<Arc<HttpRoute>>>,
    upstreams: Upstreams,
    certified: Certified,
    asking: Asking,
    /// What both say of handshakes.
    certificates: Arc<Certificates>,
    /// Which Ingresses name a Service, or a Secret.
    users: Users,
    /// The addresses that are VIPs in the tables.
    vips: BTreeSet<IpAddr>,
    /// Ingresses that have become this gateway's, or another's.
    served: BTreeMap<Name, bool>,
    /// The time, in seconds since 1970, if it is known.
    unix_s: Option<i64>,
    moments: Moments,
    /// Secrets whose certificates have begun or ended since requests were compiled.
    due: BTreeSet<Name>,
}

impl Requests {
    pub(super) fn new(quarantine: std::time::Duration) -> Self {
        Requests {
            ingresses: Ingresses::default(),
            routes: Chunked::default(),
            upstreams: Upstreams::new(quarantine),
            certified: Certified::default(),
            asking: Asking::default(),
            certificates: Arc::default(),
            users: Users::default(),
            vips: BTreeSet::new(),
            served: BTreeMap::new(),
            unix_s: None,
            moments: Moments::default(),
            due: BTreeSet::new(),
        }
    }

    pub(super) fn upstream_ids(&mut self) -> &mut dyn super::ids::Quarantined {
        self.upstreams.ids()
    }
}

impl Compiler {
    /// Sets the time, in seconds since 1970: certificates have theirs. True if one that is
    /// used has begun or ended, which the next [`Compiler::compile`] is to tell.
    pub fn set_unix_time(&mut self, unix_s: i64) -> bool {
        let Some(setup) = self.statics.ingress.clone() else {
            self.requests.unix_s = Some(unix_s);
            return false;
        };
        let before = self.requests.unix_s.replace(unix_s).unwrap_or(unix_s);
        let passed = self.requests.moments.between(before, unix_s);
        let due: Vec<Name> = passed.filter(|name| self.uses(&setup, name)).cloned().collect();
        let is_any = !due.is_empty();
        self.requests.due.extend(due);
        is_any
    }

    /// The Secrets whose certificates are used, at most `max` of them, and the last second
    /// since 1970 in which each is valid; the first to end first.
    pub fn certificate_ends(&self, max: usize) -> Vec<(Name, i64)> {
        let Some(setup) = &self.statics.ingress else { return Vec::new() };
        let ends = self.requests.moments.last_seconds();
        let ends = ends.filter(|(name, _)| self.uses(setup, name));
        ends.take(max).map(|(name, end)| (name.clone(), end)).collect()
    }

    /// The Ingresses that have become this gateway's, or are not any more, since this was last
    /// called.
    pub fn take_served(&mut self) -> BTreeMap<Name, bool> {
        std::mem::take(&mut self.requests.served)
    }

    /// Compiles what of Ingresses has changed, and what depends on these Services.
    pub(super) fn compile_requests(
        &mut self,
        cluster: &Cluster,
        (changes, is_reset): (&Changes, bool),
        services: &BTreeSet<Name>,
        next: &mut Tables,
        epochs: &mut Epochs,
        at: Moment,
    ) {
        if is_reset {
            self.put_listeners(cluster, next, epochs);
        }
        let Some(setup) = self.statics.ingress.clone() else {
            if is_reset {
                self.forget_ingresses(cluster);
            }
            return;
        };
        for name in &changes.secrets {
            self.requests.moments.set(name, cluster.secret(name).map(|secret| &**secret));
        }
        let mut touched = self.update_ingresses(cluster, changes, is_reset);
        let mut are_listeners_new = is_reset;
        let of_secrets = is_reset || changes.secrets.iter().any(|name| self.uses(&setup, name));
        if of_secrets || !touched.certificates.is_empty() {
            let requests = &mut self.requests;
            let only = (!of_secrets).then_some(&touched.certificates);
            let others = requests.certified.update(&requests.ingresses, cluster, &setup, only);
            if let Some(hosts) = others {
                are_listeners_new = true;
                touched.routes.extend(with_routes(&requests.ingresses, &hosts));
            }
        }
        if of_secrets || touched.asking {
            let requests = &mut self.requests;
            if let Some(hosts) = requests.asking.update(&requests.ingresses, cluster) {
                are_listeners_new = true;
                let routes = hosts.iter().flat_map(|host| requests.ingresses.routes_of(host));
                touched.routes.extend(routes);
            }
        }
        if are_listeners_new {
            let requests = &mut self.requests;
            requests.certificates = Arc::new(Certificates {
                client_auths: requests.asking.table().clone(),
                ..Certificates::clone(requests.certified.table())
            });
        }
        if self.put_http_routes(cluster, &touched.routes, services, next, at) {
            epochs.changed();
        }
        if are_listeners_new || !touched.routes.is_empty() {
            self.put_tables(&setup, next);
            epochs.changed();
        }
        let due = std::mem::take(&mut self.requests.due);
        let users = &self.requests.users;
        touched.ingresses.extend(changes.services.iter().flat_map(|name| users.of_service(name)));
        let secrets = changes.secrets.union(&due);
        touched.ingresses.extend(secrets.flat_map(|name| users.of_secret(name)));
        if changes.classes || is_reset {
            self.findings.set(Subject::Classes, findings::of_classes(cluster));
        }
        let is_default = |name: &Name| setup.default_certificate.as_ref() == Some(name);
        if of_secrets || due.iter().any(is_default) {
            let findings = findings::of_default(cluster, &setup, self.requests.unix_s);
            self.findings.set(Subject::DefaultCertificate, findings);
        }
        for name in touched.ingresses {
            let findings = self.ingress_findings(cluster, &setup, &name);
            self.findings.set(Subject::Ingress(name), findings);
        }
    }

    fn update_ingresses(
        &mut self,
        cluster: &Cluster,
        changes: &Changes,
        is_reset: bool,
    ) -> Touched {
        let requests = &mut self.requests;
        let mut changed = changes.ingresses.clone();
        if changes.classes || is_reset {
            changed.extend(cluster.ingresses().map(|(name, _)| name.clone()));
            changed.extend(requests.ingresses.ours().keys().cloned());
        }
        let before: Vec<bool> =
            changed.iter().map(|name| requests.ingresses.ours().contains_key(name)).collect();
        let get = |name: &Name| cluster.ingress(name).cloned();
        let touched = requests.ingresses.update(cluster.classes(), changed.iter().cloned(), get);
        for (name, was_ours) in changed.iter().zip(before) {
            let ours = requests.ingresses.ours().get(name);
            if ours.is_some() != was_ours {
                requests.served.insert(name.clone(), ours.is_some());
            }
            requests.users.set(name, ours.map(|ingress| &**ingress));
        }
        touched
    }

    /// Whether a Secret is that of some Ingress, or of those without one.
    fn uses(&self, setup: &Setup, secret: &Name) -> bool {
        let mut users = self.requests.users.of_secret(secret);
        setup.default_certificate.as_ref() == Some(secret) || users.next().is_some()
    }

    /// Makes the routes of these numbers, and the upstreams of them and of `services`; true if
    /// upstreams are different.
    fn put_http_routes(
        &mut self,
        cluster: &Cluster,
        numbers: &BTreeSet<u32>,
        services: &BTreeSet<Name>,
        next: &mut Tables,
        at: Moment,
    ) -> bool {
        let mut wanted = services.clone();
        let requests = &mut self.requests;
        let old: Vec<Option<UpstreamKey>> =
            numbers.iter().map(|number| requests.upstreams.take_user(*number)).collect();
        for &number in numbers {
            let Some(route) = requests.ingresses.route(HttpRouteId(number)).cloned() else {
                requests.routes.set(number, None);
                continue;
            };
            let action = match UpstreamKey::of(&route) {
                Some(key) => {
                    wanted.insert(key.service.clone());
                    RouteAction::Forward(requests.upstreams.use_by(number, key, at))
                }
                None => RouteAction::Unsupported,
            };
            let is_certified = requests.certified.is_to_have(&route.host);
            let options = &route.options;
            let route = HttpRoute {
                object: format!("Ingress {}", route.ingress).into(),
                place: route.place.to_string().into(),
                action,
                https_redirect: match options.https_redirect {
                    HttpsRedirect::Always => true,
                    HttpsRedirect::WithCertificate => is_certified,
                    HttpsRedirect::Never => false,
                },
                client_auth: route
                    .client_certificates
                    .as_ref()
                    .and_then(|asked| requests.asking.get(asked))
                    .cloned(),
                rewrite: route.rewrite(),
                body_bytes_max: options.body_bytes_max,
                connect_timeout: options.connect_timeout,
                read_timeout: options.read_timeout,
                send_timeout: options.send_timeout,
            };
            requests.routes.set(number, Some(Arc::new(route)));
        }
        let mut is_new = false;
        for key in old.into_iter().flatten() {
            is_new |= self.requests.upstreams.leave(key, next, at);
        }
        for name in &wanted {
            is_new |= self.put_upstreams(cluster, name, next);
        }
        is_new
    }

    fn put_tables(&self, setup: &Setup, next: &mut Tables) {
        let requests = &self.requests;
        let routes = Arc::new(RouteTable {
            matches: requests.ingresses.matches().clone(),
            routes: requests.routes.clone(),
        });
        let listener = |name: &str, certificates| {
            let (routes, trusted) = (routes.clone(), setup.trusted.clone());
            Some(Arc::new(Listener { name: name.into(), certificates, routes, trusted }))
        };
        let certificates = Some(requests.certificates.clone());
        next.l7.listeners =
            Arc::new(vec![listener("ingress-http", None), listener("ingress-https", certificates)]);
    }

    /// Sets where is listened, and the VIPs of that.
    fn put_listeners(&mut self, cluster: &Cluster, next: &mut Tables, epochs: &mut Epochs) {
        let setup = self.statics.ingress.clone();
        next.v4.listeners = listeners::<V4>(setup.as_deref());
        next.v6.listeners = listeners::<V6>(setup.as_deref());
        let are_vips = setup.iter().filter(|setup| setup.are_vips);
        let vips: BTreeSet<IpAddr> = are_vips.flat_map(|setup| &setup.addresses).copied().collect();
        let old = std::mem::replace(&mut self.requests.vips, vips.clone());
        for addr in old.union(&vips) {
            self.put_vip(cluster, *addr, next, epochs);
        }
        if setup.is_none() {
            next.l7 = L7::default();
        }
        epochs.changed();
    }

    /// Ingresses are not served any more.
    fn forget_ingresses(&mut self, cluster: &Cluster) {
        let names: Vec<Name> = self.requests.ingresses.ours().keys().cloned().collect();
        let served = names.iter().map(|name| (name.clone(), false)).collect();
        for name in names.iter().chain(cluster.ingresses().map(|(name, _)| name)) {
            self.findings.set(Subject::Ingress(name.clone()), Vec::new());
        }
        self.findings.set(Subject::Classes, Vec::new());
        self.findings.set(Subject::DefaultCertificate, Vec::new());
        let quarantine = self.requests.upstreams.quarantine();
        let unix_s = self.requests.unix_s;
        self.requests = Requests { unix_s, served, ..Requests::new(quarantine) };
    }
}

/// The routes of hosts, and of those that they are a wildcard for.
fn with_routes(ingresses: &Ingresses, hosts: &BTreeSet<Host>) -> BTreeSet<u32> {
    let is_covered = |host: &&Host| {
        let Host::Exact(name) = host else { return hosts.contains(*host) };
        let suffix = name.find('.').map(|at| Host::OneLabel(name[at..].into()));
        hosts.contains(*host) || suffix.is_some_and(|suffix| hosts.contains(&suffix))
    };
    let has_wildcard = hosts.iter().any(|host| matches!(host, Host::OneLabel(_)));
    let covered = ingresses.hosts().filter(|_| has_wildcard).filter(is_covered);
    covered.chain(hosts).flat_map(|host| ingresses.routes_of(host)).copied().collect()
}

fn listeners<F: Family>(
    setup: Option<&Setup>,
) -> Arc<hashbrown::HashMap<(F::Addr, u16), ListenerId>> {
    let of = |setup: &Setup| {
        let addresses: Vec<F::Addr> =
            setup.addresses.iter().copied().filter_map(F::from_ip).collect();
        let ports = [(setup.http_port, HTTP), (setup.https_port, HTTPS)];
        let at = |(port, id)| addresses.iter().map(move |addr| ((*addr, port), id)).collect();
        ports.into_iter().flat_map(|port| -> Vec<_> { at(port) }).collect()
    };
    Arc::new(setup.map(of).unwrap_or_default())
}
