//! What of requests is shown to people.

use super::findings;
use super::upstreams::UpstreamKey;
use crate::cluster::Cluster;
use crate::cluster::ingress::{Backend, BackendPort};
use crate::compile::Compiler;
use crate::compile::ingress::Ingresses;
use crate::object::Name;
use sluice_tables::l7::{HttpRoute, Upstream, UpstreamId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// An endpoint of a Service's port, and whether requests go there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) addr: SocketAddr,
    pub(crate) pod: Option<String>,
    pub(crate) node: Option<String>,
    /// Why requests do not go there, if they do not.
    pub(crate) why_not: Option<String>,
}

impl Compiler {
    /// The Ingresses of this gateway; `None`: none are served.
    pub(crate) fn ingresses(&self) -> Option<&Ingresses> {
        self.statics.ingress.as_ref().map(|_| &self.requests.ingresses)
    }

    /// Whether the addresses of Ingresses are the kernel's.
    pub(crate) fn are_requests_of_kernel(&self) -> bool {
        self.statics.ingress.as_ref().is_some_and(|setup| !setup.are_vips)
    }

    /// A route, as workers have it, by its number.
    pub(crate) fn http_route(&self, number: u32) -> Option<&HttpRoute> {
        self.requests.routes.get(number)?.as_deref()
    }

    /// Who serves the requests of a route.
    pub(crate) fn upstream(&self, id: UpstreamId) -> Option<&Upstream> {
        self.tables.l7.upstream(id).map(|upstream| &**upstream)
    }

    /// The Secrets that Ingresses name, and who names each; that of all other hosts may be
    /// named by nobody.
    pub(crate) fn secrets(&self) -> BTreeMap<Name, BTreeSet<Name>> {
        let mut secrets: BTreeMap<Name, BTreeSet<Name>> = BTreeMap::new();
        if let Some(default) = self.default_certificate() {
            secrets.entry(default.clone()).or_default();
        }
        for (name, ingress) in self.ingresses().into_iter().flat_map(Ingresses::ours) {
            for secret in ingress.tls.iter().filter_map(|tls| tls.secret.as_ref()) {
                secrets.entry(secret.clone()).or_default().insert(name.clone());
            }
        }
        secrets
    }

    /// The Secret of hosts that no Ingress gives a certificate.
    pub(crate) fn default_certificate(&self) -> Option<&Name> {
        self.statics.ingress.as_ref()?.default_certificate.as_ref()
    }

    /// What is wrong with a Secret at a time, in words.
    pub(crate) fn secret_problem(
        &self,
        cluster: &Cluster,
        name: &Name,
        unix_s: i64,
    ) -> Option<String> {
        findings::problem_of(cluster.secret(name).map(|secret| &**secret), Some(unix_s))
    }

    /// What is wrong with where a route's requests go, in words.
    pub(crate) fn backend_problem(&self, cluster: &Cluster, backend: &Backend) -> Option<String> {
        findings::problem_of_backend(cluster, backend).map(|(message, _)| message)
    }

    /// The endpoints of an upstream, those included that get no requests; and what is wrong
    /// with it as a whole. `None`: there is no such upstream any more.
    pub(crate) fn judged(
        &self,
        cluster: &Cluster,
        id: UpstreamId,
    ) -> Option<(Vec<Judged>, Option<String>)> {
        let key: &UpstreamKey = self.requests.upstreams.key(id)?;
        let (service, port) = (key.service.clone(), key.port.clone());
        let problem = self.backend_problem(cluster, &Backend::Service { service, port });
        let Ok(port) = super::upstreams::port_of(cluster, &key.service, &key.port) else {
            return Some((Vec::new(), problem));
        };
        let judged = self.judge_endpoints(cluster, &key.service, port, &self.tables);
        let shown = judged.into_iter().map(|(at, of, why_not)| Judged {
            addr: at,
            pod: of.pod.map(|pod| format!("{}/{pod}", key.service.namespace)),
            node: of.node.map(|node| node.to_string()),
            why_not: why_not.map(|why| why.to_string()),
        });
        Some((shown.collect(), problem))
    }
}

/// A backend, as it is written in short.
pub(crate) fn backend_text(backend: &Backend) -> Option<String> {
    let Backend::Service { service, port } = backend else { return None };
    Some(match port {
        BackendPort::Number(port) => format!("{service}:{port}"),
        BackendPort::Name(port) => format!("{service}:{port}"),
    })
}
