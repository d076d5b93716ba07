//! Plain data for `sluice show` and `sluice status`: addresses are strings,
//! and everything can be written as JSON and read back.

mod certificates;
mod explain;
mod flows;
mod names;
mod network;
mod requests;
mod services;
mod status;

pub use certificates::CertificateView;
pub use explain::{Names, NamesQuery, PolicyView, WhoKind, WhoView};
pub use flows::{FlowQuery, FlowView, FlowsView};
pub use names::{DomainNameView, NamesMetrics};
pub use network::{NeighborView, NeighborsView, RouteView, TunnelView};
pub use requests::{
    EndpointView, HttpRouteView, ListenerView, RequestedQuery, RequestedView, RouteOptionsView,
    host_text,
};
pub use services::{BackendView, PoliciesView, ServicePortView, ServiceView, VipView};
pub use status::{CERTIFICATES_MAX, ControlMetrics, StatusView, VersionsView, WorkerView};

pub(crate) use certificates::certificates;
pub(crate) use explain::names;
pub(crate) use flows::flow_view;
pub(crate) use network::{neighbors_view, routes, tunnels};
pub(crate) use requests::{http_routes, listeners, requested};
pub(crate) use services::{backends, services};

/// A MAC as text.
fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The name of an IP protocol, or its number.
fn protocol_text(protocol: u8) -> String {
    match protocol {
        1 => "ICMP".to_owned(),
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        58 => "ICMPv6".to_owned(),
        132 => "SCTP".to_owned(),
        other => other.to_string(),
    }
}
