//! Ports of Services as those who serve requests.

use crate::cluster::ingress::{Backend, BackendPort, Protocol};
use crate::cluster::{self, Cluster, EndpointState, Service, ServicePort};
use crate::compile::ids::{Ids, Moment, Quarantined};
use crate::compile::ingress::Route;
use crate::compile::{Compiler, ProgrammedPort};
use crate::object::Name;
use sluice_tables::l7::{BackendProtocol, Endpoint, Upstream, UpstreamId};
use sluice_tables::{BackendId, Family, Tables, V4, V6};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// What an [`UpstreamId`] stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct UpstreamKey {
    pub(super) service: Name,
    /// As Ingresses name it.
    pub(super) port: BackendPort,
    protocol: Protocol,
    sends_proxy_protocol: bool,
}

impl UpstreamKey {
    /// Where the requests of a route go; `None`: nowhere.
    pub(super) fn of(route: &Route) -> Option<Self> {
        let Backend::Service { service, port } = &route.backend else { return None };
        let (service, port) = (service.clone(), port.clone());
        let options = &route.options;
        let (protocol, sends_proxy_protocol) = (options.protocol, options.sends_proxy_protocol);
        Some(UpstreamKey { service, port, protocol, sends_proxy_protocol })
    }

    fn name(&self) -> Arc<str> {
        match &self.port {
            BackendPort::Number(port) => format!("{}:{port}", self.service).into(),
            BackendPort::Name(port) => format!("{}:{port}", self.service).into(),
        }
    }

    fn protocol(&self) -> BackendProtocol {
        match self.protocol {
            Protocol::Http => BackendProtocol::Http,
            Protocol::Https => BackendProtocol::Https,
            Protocol::Grpc => BackendProtocol::H2c,
            Protocol::Grpcs => BackendProtocol::H2,
        }
    }
}

/// Why a Service serves no requests of an Ingress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// There is none.
    NoService,
    /// It is a name for somebody else.
    External,
    /// It has no such port.
    NoPort,
}

/// The port of a Service that an Ingress names.
///
/// # Errors
/// If it has none.
pub(super) fn port_of<'a>(
    cluster: &'a Cluster,
    service: &Name,
    port: &BackendPort,
) -> Result<(&'a Service, usize, &'a ServicePort), Problem> {
    let service = cluster.service(service).ok_or(Problem::NoService)?;
    if service.kind == "ExternalName" {
        return Err(Problem::External);
    }
    let is_meant = |of: &ServicePort| match port {
        BackendPort::Number(number) => of.port == *number,
        BackendPort::Name(name) => of.name == **name,
    };
    let mut ports = service.ports.iter().enumerate();
    let found = ports.find(|(_, of)| of.protocol == cluster::Protocol::Tcp && is_meant(of));
    found.map(|(index, port)| (&**service, index, port)).ok_or(Problem::NoPort)
}

/// Who serves requests.
#[derive(Debug)]
pub(super) struct Upstreams {
    ids: Ids<UpstreamKey>,
    quarantine: Duration,
    used: BTreeMap<UpstreamKey, Used>,
    /// What the routes of numbers use.
    by_route: HashMap<u32, UpstreamKey>,
}

#[derive(Debug)]
struct Used {
    id: u32,
    /// How many routes use it.
    routes: usize,
}

impl Upstreams {
    pub(super) fn new(quarantine: Duration) -> Self {
        Upstreams {
            ids: Ids::new(quarantine),
            quarantine,
            used: BTreeMap::new(),
            by_route: HashMap::new(),
        }
    }

    pub(super) fn ids(&mut self) -> &mut dyn Quarantined {
        &mut self.ids
    }

    pub(super) fn quarantine(&self) -> Duration {
        self.quarantine
    }

    /// What a number stands for.
    pub(super) fn key(&self, id: UpstreamId) -> Option<&UpstreamKey> {
        self.ids.used(id.0)
    }

    /// Takes what a route has used; [`Upstreams::leave`] is to follow.
    pub(super) fn take_user(&mut self, route: u32) -> Option<UpstreamKey> {
        self.by_route.remove(&route)
    }

    /// Notes that a route uses an upstream.
    pub(super) fn use_by(&mut self, route: u32, key: UpstreamKey, at: Moment) -> UpstreamId {
        let ids = &mut self.ids;
        let used = self
            .used
            .entry(key.clone())
            .or_insert_with_key(|key| Used { id: ids.give(key, at), routes: 0 });
        used.routes += 1;
        self.by_route.insert(route, key);
        UpstreamId(used.id)
    }

    /// Notes that one route less uses an upstream; true if it was the last one.
    pub(super) fn leave(&mut self, key: UpstreamKey, next: &mut Tables, at: Moment) -> bool {
        let Some(used) = self.used.get_mut(&key) else { return false };
        used.routes -= 1;
        if used.routes > 0 {
            return false;
        }
        next.l7.upstreams.set(used.id, None);
        self.ids.free(used.id, at);
        self.used.remove(&key);
        true
    }
}

impl Compiler {
    /// Sets what the tables say of the upstreams of a Service; true if that is different.
    pub(super) fn put_upstreams(
        &self,
        cluster: &Cluster,
        service: &Name,
        next: &mut Tables,
    ) -> bool {
        let used = &self.requests.upstreams.used;
        let first = UpstreamKey {
            service: service.clone(),
            port: BackendPort::Number(0),
            protocol: Protocol::Http,
            sends_proxy_protocol: false,
        };
        let of_service = used.range(first..).take_while(|(key, _)| key.service == *service);
        let mut is_new = false;
        for (key, Used { id, .. }) in of_service {
            let port = port_of(cluster, service, &key.port).ok();
            let endpoints = port.map(|port| self.endpoints_of(cluster, service, port, next));
            let upstream = Upstream {
                id: UpstreamId(*id),
                name: key.name(),
                protocol: key.protocol(),
                sends_proxy_protocol: key.sends_proxy_protocol,
                endpoints: endpoints.unwrap_or_default().into(),
            };
            if next.l7.upstream(upstream.id).map(|old| &**old) != Some(&upstream) {
                next.l7.upstreams.set(*id, Some(Arc::new(upstream)));
                is_new = true;
            }
        }
        is_new
    }

    /// The endpoints that requests may go to: those that are ready, or else those that end
    /// and still serve.
    fn endpoints_of(
        &self,
        cluster: &Cluster,
        name: &Name,
        port: (&Service, usize, &ServicePort),
        next: &Tables,
    ) -> Vec<Endpoint> {
        let of_port = port.2;
        let programmed = self.programmed(name);
        let programmed = programmed.and_then(|of| of.ports.get(&(of_port.port, of_port.protocol)));
        let endpoint = |addr: SocketAddr| Endpoint {
            addr,
            id: programmed
                .and_then(|of| backend(of, addr.ip(), addr.port()))
                .unwrap_or(BackendId::NONE),
        };
        let judged = self.judge_endpoints(cluster, name, port, next);
        let chosen = judged.into_iter().filter(|(.., why_not)| why_not.is_none());
        chosen.map(|(addr, ..)| endpoint(addr)).collect()
    }

    /// All endpoints, and why those get no requests that get none.
    pub(super) fn judge_endpoints<'a>(
        &self,
        cluster: &'a Cluster,
        name: &Name,
        (service, index, port): (&'a Service, usize, &ServicePort),
        next: &Tables,
    ) -> Vec<(SocketAddr, cluster::Endpoint<'a>, Option<WhyNot>)> {
        let mut endpoints = cluster.endpoints(name, service);
        let Some(of_port) = endpoints.ports.get_mut(index) else { return Vec::new() };
        let refused = |at, of: &cluster::Endpoint<'_>| match of.state {
            EndpointState::NotReady => Some(WhyNot::NotReady),
            _ => self.refuse_endpoint(cluster, at, port.protocol, next).map(WhyNot::Refused),
        };
        let of_port = std::mem::take(of_port).into_iter();
        let mut judged: Vec<_> = of_port
            .map(|(at, of)| {
                let why_not = refused(at, &of);
                (SocketAddr::new(at.0, at.1), of, why_not)
            })
            .collect();
        let may = judged.iter().filter(|(.., why_not)| why_not.is_none()).map(|(_, of, _)| of);
        let best = may.clone().map(|of| of.state).max();
        let has_weights = may.filter(|of| Some(of.state) == best).any(|of| of.weight > 0);
        for (_, of, why_not) in judged.iter_mut().filter(|(.., why_not)| why_not.is_none()) {
            *why_not = match of.weight {
                _ if Some(of.state) != best => Some(WhyNot::Draining),
                0 if has_weights => Some(WhyNot::Weight),
                _ => None,
            };
        }
        judged
    }
}

/// Why an endpoint gets no requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WhyNot {
    /// It is not ready.
    NotReady,
    /// It ends, and others are ready.
    Draining,
    /// Its weight is 0, and others have some.
    Weight,
    /// Its address is somebody else's.
    Refused(String),
}

impl std::fmt::Display for WhyNot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WhyNot::NotReady => f.write_str("not ready"),
            WhyNot::Draining => f.write_str("ends, and others are ready"),
            WhyNot::Weight => f.write_str("weight 0"),
            WhyNot::Refused(whose) => write!(f, "its address is {whose}"),
        }
    }
}

/// The number of an endpoint of a Service's port.
fn backend(port: &ProgrammedPort, addr: IpAddr, l4_port: u16) -> Option<BackendId> {
    let v4 = V4::from_ip(addr).and_then(|addr| port.v4.members.get(&(addr, l4_port)));
    let v6 = V6::from_ip(addr).and_then(|addr| port.v6.members.get(&(addr, l4_port)));
    v4.or(v6).map(|member| member.id)
}
