use sluice_tables::http_routes::{Conditions, Host, HttpRouteId, HttpRoutes, Match, Path, Rewrite};
use sluice_tables::l7::{
    BackendProtocol, Certificate, Certificates, ClientAuth, ClientAuths, HttpRoute, L7, Listener,
    PrivateKey, RouteAction, RouteTable, TrustedSources, Upstream, UpstreamId,
};
use sluice_tables::{SourceRanges, chunked};
use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A route, as a test says it.
#[derive(Clone)]
pub struct RouteSpec {
    host: &'static str,
    path: &'static str,
    conditions: Conditions,
    route: HttpRoute,
    protocol: BackendProtocol,
}

/// A route for a host, `""` for any, and a prefix.
pub fn route(host: &'static str, path: &'static str) -> RouteSpec {
    RouteSpec {
        host,
        path,
        conditions: Conditions::default(),
        route: HttpRoute {
            object: format!("Ingress shop{path}").into(),
            place: "spec.rules[0]".into(),
            action: RouteAction::Unsupported,
            https_redirect: false,
            client_auth: None,
            rewrite: None,
            body_bytes_max: None,
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(60),
            send_timeout: Duration::from_secs(60),
        },
        protocol: BackendProtocol::Http,
    }
}

impl RouteSpec {
    pub fn redirect(mut self) -> Self {
        self.route.https_redirect = true;
        self
    }

    pub fn asks_clients(mut self, auth: &Arc<ClientAuth>) -> Self {
        self.route.client_auth = Some(auth.clone());
        self
    }

    pub fn rewrite(mut self, pattern: &str, target: &str) -> Self {
        let pattern = regex::Regex::new(pattern).unwrap();
        self.route.rewrite = Some(Rewrite::new(Some(pattern), target).unwrap());
        self
    }

    pub fn body_max(mut self, bytes: u64) -> Self {
        self.route.body_bytes_max = Some(bytes);
        self
    }

    pub fn protocol(mut self, protocol: BackendProtocol) -> Self {
        self.protocol = protocol;
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.conditions.headers.push((name.into(), value.into()));
        self
    }

    pub fn unsupported(mut self) -> Self {
        self.protocol = BackendProtocol::H2;
        self.route.place = "unsupported".into();
        self
    }
}

/// A listener, as a test says it.
#[derive(Clone, Default)]
pub struct ListenerSpec {
    name: &'static str,
    routes: Vec<RouteSpec>,
    trusted: Vec<(Ipv4Addr, u8)>,
    certificates: Vec<&'static str>,
    client_auths: ClientAuths,
    speaks_proxy: bool,
    is_gone: bool,
}

pub fn listener(name: &'static str) -> ListenerSpec {
    ListenerSpec { name, ..ListenerSpec::default() }
}

impl ListenerSpec {
    pub fn route(mut self, route: RouteSpec) -> Self {
        self.routes.push(route);
        self
    }

    pub fn trusts(mut self, addr: &str, len: u8) -> Self {
        self.trusted.push((addr.parse().unwrap(), len));
        self
    }

    pub fn speaks_proxy(mut self) -> Self {
        self.speaks_proxy = true;
        self
    }

    /// Has certificates for names; `""` is the default one.
    pub fn certificates(mut self, names: &[&'static str]) -> Self {
        self.certificates = names.to_vec();
        self
    }

    /// Asks clients who ask for a name.
    pub fn asks_clients(mut self, name: &str, auth: Option<&Arc<ClientAuth>>) -> Self {
        self.client_auths.exact.insert(name.into(), auth.cloned());
        self
    }

    pub fn gone(mut self) -> Self {
        self.is_gone = true;
        self
    }
}

fn certificates(names: &[&str], client_auths: ClientAuths) -> Option<Arc<Certificates>> {
    let client_auths = Arc::new(client_auths);
    let mut all = Certificates { client_auths, ..Certificates::default() };
    for name in names {
        let certificate = Arc::new(Certificate {
            name: (*name).into(),
            not_after: i64::MAX,
            chain: Box::default(),
            key: PrivateKey::Pkcs8(Box::default()),
            prepared: OnceLock::new(),
        });
        match *name {
            "" => all.default = Some(certificate),
            name => drop(all.exact.insert(name.into(), certificate)),
        }
    }
    (!names.is_empty()).then(|| Arc::new(all))
}

/// Tables with listeners, each of whose routes has an upstream of its own.
pub fn tables(specs: Vec<ListenerSpec>) -> L7 {
    let mut tables = L7::default();
    let (mut listeners, mut next) = (Vec::new(), 0);
    let mut upstreams: chunked::Chunked<Option<Arc<Upstream>>> = chunked::Chunked::default();
    for spec in specs {
        if spec.is_gone {
            listeners.push(None);
            continue;
        }
        let (mut matches, mut routes) = (Vec::new(), chunked::Chunked::default());
        for (number, mut one) in spec.routes.into_iter().enumerate() {
            matches.push(Match {
                host: if one.host.is_empty() { Host::Any } else { Host::Exact(one.host.into()) },
                path: Path::Prefix(one.path.into()),
                conditions: one.conditions,
                route: HttpRouteId(number as u32),
            });
            if &*one.route.place != "unsupported" {
                let id = UpstreamId(next);
                next += 1;
                one.route.action = RouteAction::Forward(id);
                let name = format!("{}{}", one.host, one.path).into();
                let endpoints = Box::default();
                let upstream = Upstream {
                    id,
                    name,
                    protocol: one.protocol,
                    sends_proxy_protocol: false,
                    endpoints,
                };
                upstreams.set(id.0, Some(Arc::new(upstream)));
            }
            routes.set(number as u32, Some(Arc::new(one.route)));
        }
        let trusted = spec.trusted.iter().map(|(addr, len)| (addr.octets(), *len));
        listeners.push(Some(Arc::new(Listener {
            name: spec.name.into(),
            certificates: certificates(&spec.certificates, spec.client_auths),
            routes: Arc::new(RouteTable { matches: HttpRoutes::new(matches).unwrap(), routes }),
            trusted: Arc::new(TrustedSources {
                v4: SourceRanges::new(trusted),
                v6: SourceRanges::default(),
                speak_proxy_protocol: spec.speaks_proxy,
            }),
        })));
    }
    tables.listeners = Arc::new(listeners);
    tables.upstreams = upstreams;
    tables
}
