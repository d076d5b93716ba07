//! What ends at the gateway and goes on as requests: listeners, the routes of their
//! requests, and who serves those. Free of where it comes from: Ingresses and Gateways
//! are compiled to the same.

mod certificates;
mod client_auth;
mod route;
mod upstream;

pub use certificates::{Certificate, Certificates, PrivateKey};
pub use client_auth::{ClientAuth, ClientAuthMode, ClientAuths};
pub use route::{HttpRoute, RouteAction, RouteTable};
pub use upstream::{BackendProtocol, Endpoint, Upstream, UpstreamId};

use crate::chunked::Chunked;
use crate::family::{Family, V4, V6};
use crate::service::SourceRanges;
use std::net::IpAddr;
use std::sync::Arc;

/// The number of a listener: index into [`L7::listeners`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u16);

/// Everything that requests are served by. Cloning it copies pointers.
#[derive(Clone, Debug, Default)]
pub struct L7 {
    /// The listeners; `None` where one has gone.
    pub listeners: Arc<Vec<Option<Arc<Listener>>>>,
    /// Who serves requests, by [`UpstreamId`].
    pub upstreams: Chunked<Option<Arc<Upstream>>>,
}

impl L7 {
    /// The listener of a number.
    pub fn listener(&self, id: ListenerId) -> Option<&Arc<Listener>> {
        self.listeners.get(usize::from(id.0))?.as_ref()
    }

    /// Who serves requests under a number.
    pub fn upstream(&self, id: UpstreamId) -> Option<&Arc<Upstream>> {
        self.upstreams.get(id.0)?.as_ref()
    }
}

/// What is listened for at some addresses and ports
/// ([`FamilyTables::listeners`](crate::FamilyTables::listeners)).
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name in output and metrics, such as `ingress-https`.
    pub name: Arc<str>,
    /// The certificates, if connections are encrypted.
    pub certificates: Option<Arc<Certificates>>,
    /// Where requests go.
    pub routes: Arc<RouteTable>,
    /// Who is believed about the clients for whom it speaks.
    pub trusted: Arc<TrustedSources>,
}

/// Proxies in front of the gateway, which are believed about their clients.
#[derive(Clone, Debug, Default)]
pub struct TrustedSources {
    /// Their IPv4 addresses.
    pub v4: SourceRanges<V4>,
    /// Their IPv6 addresses.
    pub v6: SourceRanges<V6>,
    /// Their connections begin with a PROXY protocol header, version 1 or 2.
    pub speak_proxy_protocol: bool,
}

impl TrustedSources {
    /// Whether an address is that of such a proxy.
    pub fn contains(&self, addr: IpAddr) -> bool {
        match addr {
            IpAddr::V4(_) => V4::from_ip(addr).is_some_and(|addr| self.v4.contains(&addr)),
            IpAddr::V6(_) => V6::from_ip(addr).is_some_and(|addr| self.v6.contains(&addr)),
        }
    }
}
