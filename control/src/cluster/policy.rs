use super::service::{AddressKind, ServiceAddress};
use ipnet::IpNet;
use std::net::IpAddr;

/// What the configuration says about which Services are served, and by which
/// addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Addresses that Services may have by `spec.externalIPs`.
    pub external_ips: Vec<IpNet>,
    /// The proxy name of the Services that are served; `None`: those that name
    /// no proxy.
    pub proxy_name: Option<String>,
}

impl Policy {
    /// The part of a configuration.
    pub fn of(config: &sluice_config::Services) -> Self {
        Policy { external_ips: config.external_ips.clone(), proxy_name: config.proxy_name.clone() }
    }

    /// Whether a Service may have an address that it asks for.
    pub(super) fn admits(&self, address: &ServiceAddress) -> bool {
        address.kind != AddressKind::External || self.admits_external(address.addr)
    }

    fn admits_external(&self, addr: IpAddr) -> bool {
        self.external_ips.iter().any(|net| net.contains(&addr))
    }

    /// Whether Services with this proxy name are served here (kube-proxy's
    /// selector in `cmd/kube-proxy/app/server.go`).
    pub(super) fn serves(&self, proxy_name: Option<&str>) -> bool {
        self.proxy_name.as_deref() == proxy_name
    }
}
