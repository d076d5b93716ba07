//! What ends at the gateway as requests: listeners, routes, who serves them.

use crate::cluster::Cluster;
use crate::cluster::ingress::{
    Backend, ClassName, ClientCertificates, Ingress, Options, PathMatch, Protocol,
};
use crate::compile::ingress::Route;
use crate::compile::{Compiler, backend_text};
use crate::object::{Kind, Name};
use serde::{Deserialize, Serialize};
use sluice_tables::http_routes::Host;
use sluice_tables::l7::{ListenerId, RouteAction, UpstreamId};
use sluice_tables::{Family, V4, V6};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Most sentences about Ingresses that name a host and are not served.
const STRANGERS_MAX: usize = 8;

/// Where requests are listened for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerView {
    /// Its name, such as `ingress-https`.
    pub name: String,
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// `HTTP` or `HTTPS`.
    pub protocol: String,
    /// The classes whose Ingresses are served there.
    pub classes: Vec<String>,
    /// How many Ingresses are.
    pub ingresses: usize,
    /// How many certificates there are for names.
    pub certificates: usize,
    /// The Secret of all other names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_certificate: Option<String>,
    /// `ready`; `elsewhere`: another gateway announces the address; `impaired`.
    pub state: String,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// A route of requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRouteView {
    /// The host; `*` for all.
    pub host: String,
    /// The path.
    pub path: String,
    /// `Exact`, `Prefix` or `Pattern`.
    pub path_type: String,
    /// The Ingress that it is from, as `namespace/name`.
    pub ingress: String,
    /// What of the Ingress it is.
    pub place: String,
    /// Where requests go, as `namespace/name:port`; `None`: nowhere.
    pub backend: Option<String>,
    /// Endpoints that get them.
    pub endpoints: usize,
    /// What else is done.
    pub options: RouteOptionsView,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
}

/// What is done with the requests of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteOptionsView {
    /// Those without TLS are sent to HTTPS.
    pub https_redirect: bool,
    /// The path that endpoints are asked for instead, with `$1` for what a group finds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<String>,
    /// Most bytes of a body; `None`: any.
    pub body_bytes_max: Option<u64>,
    /// How long a connection may take, in milliseconds.
    pub connect_ms: u64,
    /// How long an endpoint may send nothing.
    pub read_ms: u64,
    /// How long an endpoint may take nothing.
    pub send_ms: u64,
    /// `HTTP`, `HTTPS`, `GRPC` or `GRPCS`.
    pub protocol: String,
    /// The Secret, as `namespace/name`, of those whose certificates clients show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<String>,
    /// Connections to endpoints begin with a PROXY protocol header.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sends_proxy_protocol: bool,
}

impl Default for RouteOptionsView {
    fn default() -> Self {
        Self::of(&Options::default(), None, false)
    }
}

impl RouteOptionsView {
    fn of(options: &Options, asked: Option<&ClientCertificates>, https_redirect: bool) -> Self {
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let protocol = match options.protocol {
            Protocol::Http => "HTTP",
            Protocol::Https => "HTTPS",
            Protocol::Grpc => "GRPC",
            Protocol::Grpcs => "GRPCS",
        };
        RouteOptionsView {
            https_redirect,
            rewrite: options.rewrite_target.as_deref().map(str::to_owned),
            body_bytes_max: options.body_bytes_max,
            connect_ms: ms(options.connect_timeout),
            read_ms: ms(options.read_timeout),
            send_ms: ms(options.send_timeout),
            protocol: protocol.to_owned(),
            client_certificates: asked.map(|asked| asked.secret.to_string()),
            sends_proxy_protocol: options.sends_proxy_protocol,
        }
    }
}

/// What a request's names are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedQuery {
    /// Its host, without a port.
    pub host: String,
    /// The Ingress that it goes by, as routes have it, and the place in it.
    pub route: Option<(String, String)>,
    /// Who serves it.
    pub upstream: Option<UpstreamId>,
}

/// What is known of a request's way beside the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedView {
    /// What is wrong with the Ingress that it goes by.
    pub findings: Vec<String>,
    /// All endpoints of who serves it.
    pub endpoints: Vec<EndpointView>,
    /// Why there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Ingresses that name the host and are not served here, and why.
    pub strangers: Vec<String>,
    /// The connections to endpoints are the kernel's.
    pub is_of_kernel: bool,
}

/// An endpoint of a Service, as requests see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointView {
    /// Its address and port.
    pub address: SocketAddr,
    /// The pod behind it, as `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The node that it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Why it gets no requests, if it gets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

/// Everywhere that requests are listened for.
pub(crate) fn listeners(cluster: &Cluster, compiler: &Compiler, unix_s: i64) -> Vec<ListenerView> {
    let tables = compiler.tables();
    let at = |(addr, port): (IpAddr, u16), id: ListenerId| {
        let listener = tables.l7.listener(id)?;
        Some((SocketAddr::new(addr, port), listener))
    };
    let v4 = tables.v4.listeners.iter();
    let v4 = v4.filter_map(|((addr, port), id)| at((V4::to_ip(*addr), *port), *id));
    let v6 = tables.v6.listeners.iter();
    let v6 = v6.filter_map(|((addr, port), id)| at((V6::to_ip(*addr), *port), *id));
    let mut all: Vec<_> = v4.chain(v6).collect();
    all.sort_by_key(|(at, _)| *at);
    let classes: Vec<String> = cluster.classes().ours().map(|name| name.to_string()).collect();
    let of_secrets = secret_problems(cluster, compiler, unix_s);
    let view = |(at, listener): (SocketAddr, &std::sync::Arc<sluice_tables::l7::Listener>)| {
        let certificates = listener.certificates.as_ref();
        let mut problems = Vec::new();
        if classes.is_empty() {
            problems.push("no IngressClass has this gateway's controller".to_owned());
        }
        if let Some(of) = certificates {
            if of.exact.is_empty() && of.wildcards.is_empty() && of.default.is_none() {
                problems.push("no certificate: handshakes are refused".to_owned());
            }
            problems.extend(of_secrets.iter().cloned());
        }
        let is_elsewhere = !compiler.are_requests_of_kernel() && !compiler.is_announced(at.ip());
        ListenerView {
            name: listener.name.to_string(),
            address: at.ip(),
            port: at.port(),
            protocol: if certificates.is_some() { "HTTPS" } else { "HTTP" }.to_owned(),
            classes: classes.clone(),
            ingresses: compiler.ingresses().map_or(0, |all| all.ours().len()),
            certificates: certificates.map_or(0, |of| of.exact.len() + of.wildcards.len()),
            default_certificate: certificates
                .and_then(|of| of.default.as_ref())
                .map(|of| of.name.trim_start_matches("Secret ").to_owned()),
            state: match (is_elsewhere, problems.is_empty()) {
                (true, _) => "elsewhere",
                (false, true) => "ready",
                (false, false) => "impaired",
            }
            .to_owned(),
            problems,
        }
    };
    all.into_iter().map(view).collect()
}

fn secret_problems(cluster: &Cluster, compiler: &Compiler, unix_s: i64) -> Vec<String> {
    let names = compiler.secrets().into_keys();
    let problem = |name: Name| {
        let problem = compiler.secret_problem(cluster, &name, unix_s)?;
        Some(format!("Secret {name}: {problem}"))
    };
    names.filter_map(problem).collect()
}

/// All routes, by host and path.
pub(crate) fn http_routes(cluster: &Cluster, compiler: &Compiler) -> Vec<HttpRouteView> {
    let Some(ingresses) = compiler.ingresses() else { return Vec::new() };
    let mut findings: BTreeMap<String, Vec<(&str, String)>> = BTreeMap::new();
    for (key, finding) in compiler.findings().filter(|(key, _)| key.kind == Kind::Ingress) {
        let of = findings.entry(format!("{}/{}", key.namespace, key.name)).or_default();
        of.push((&finding.path, finding.message.clone()));
    }
    let view = |(id, route): (sluice_tables::http_routes::HttpRouteId, &std::sync::Arc<Route>)| {
        let mut view = route_view(compiler, id.0, route);
        let of_ingress = findings.get(&view.ingress).into_iter().flatten();
        let of_place = of_ingress.filter(|(path, _)| path.starts_with(&view.place));
        view.findings.extend(of_place.map(|(_, message)| message.clone()));
        // A finding is at the first place alone that names a Service.
        if let Some(problem) = compiler.backend_problem(cluster, &route.backend)
            && !view.findings.iter().any(|message| message.starts_with(&problem))
        {
            view.findings.push(format!("{problem}; 503 is answered"));
        }
        if matches!(route.backend, Backend::Unsupported) {
            view.findings.push("asks for what is not supported; 503 is answered".to_owned());
        } else if view.endpoints == 0 && view.findings.is_empty() {
            view.findings.push("no endpoint is ready; 503 is answered".to_owned());
        }
        view
    };
    let mut views: Vec<_> = ingresses.routes().map(view).collect();
    views.sort_by(|a, b| (&a.host, &a.path, &a.path_type).cmp(&(&b.host, &b.path, &b.path_type)));
    views
}

fn route_view(compiler: &Compiler, number: u32, route: &Route) -> HttpRouteView {
    let (path, path_type) = match &route.path {
        PathMatch::Exact(path) => (&**path, "Exact"),
        PathMatch::Prefix(path) if path.is_empty() => ("/", "Prefix"),
        PathMatch::Prefix(path) => (&**path, "Prefix"),
        PathMatch::Pattern(pattern) => (&*pattern.text, "Pattern"),
    };
    let of_tables = compiler.http_route(number);
    let upstream = of_tables.and_then(|route| match route.action {
        RouteAction::Forward(id) => compiler.upstream(id),
        RouteAction::Unsupported => None,
    });
    let https_redirect = of_tables.is_some_and(|route| route.https_redirect);
    HttpRouteView {
        host: host_text(&route.host),
        path: path.to_owned(),
        path_type: path_type.to_owned(),
        ingress: route.ingress.to_string(),
        place: route.place.to_string(),
        backend: backend_text(&route.backend),
        endpoints: upstream.map_or(0, |upstream| upstream.endpoints.len()),
        options: RouteOptionsView::of(
            &route.options,
            route.client_certificates.as_ref(),
            https_redirect,
        ),
        findings: Vec::new(),
    }
}

/// Hosts as Ingresses write them.
pub fn host_text(host: &Host) -> String {
    match host {
        Host::Any => "*".to_owned(),
        Host::Exact(name) => name.to_string(),
        Host::OneLabel(suffix) | Host::Labels(suffix) => format!("*{suffix}"),
    }
}

/// What is known of a request's way beside the tables.
pub(crate) fn requested(
    cluster: &Cluster,
    compiler: &Compiler,
    query: &RequestedQuery,
) -> RequestedView {
    let findings = query.route.as_ref().map(|(object, _)| {
        let of_object = compiler.findings().filter(|(key, _)| key.to_string() == *object);
        of_object.map(|(_, finding)| format!("{}: {}", finding.path, finding.message)).collect()
    });
    let judged = query.upstream.and_then(|id| compiler.judged(cluster, id));
    let (endpoints, problem) = judged.unwrap_or_default();
    let endpoints = endpoints.into_iter().map(|of| EndpointView {
        address: of.addr,
        pod: of.pod,
        node: of.node,
        why_not: of.why_not,
    });
    RequestedView {
        findings: findings.unwrap_or_default(),
        endpoints: endpoints.collect(),
        problem,
        strangers: strangers(cluster, compiler, &query.host),
        is_of_kernel: compiler.are_requests_of_kernel(),
    }
}

/// Ingresses that name a host, or are for all, and are not this gateway's.
fn strangers(cluster: &Cluster, compiler: &Compiler, host: &str) -> Vec<String> {
    let is_for = |of: &Host| match of {
        Host::Any => false,
        Host::Exact(name) => name.eq_ignore_ascii_case(host),
        Host::OneLabel(suffix) | Host::Labels(suffix) => {
            host.find('.').is_some_and(|at| host[at..].eq_ignore_ascii_case(suffix))
        }
    };
    let ours = compiler.ingresses();
    let is_ours = |name: &Name| ours.is_some_and(|all| all.ours().contains_key(name));
    let named = cluster.ingresses().filter(|(name, ingress)| {
        !is_ours(name) && ingress.rules.iter().any(|rule| is_for(&rule.host))
    });
    let text = |(name, ingress): (&Name, &std::sync::Arc<Ingress>)| match &ingress.class {
        Some(ClassName::Field(class) | ClassName::Annotation(class)) => {
            let class = class.escape_default();
            format!("Ingress {name} names the host, but its class {class} is not this gateway's")
        }
        None => format!(
            "Ingress {name} names the host, but no class, and the default class is not this \
             gateway's"
        ),
    };
    named.take(STRANGERS_MAX).map(text).collect()
}
