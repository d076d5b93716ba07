//! `services`: what of Kubernetes Services is a matter of the gateway, not of the Service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::read::{
    Fields, Located, Reader, Reported, list, listen_address, pool_prefix, route_prefix, text,
};
use crate::schema::{self, Key, Section};

/// How Services are served.
#[derive(Clone, Debug, PartialEq)]
pub struct Services {
    /// Sluice's own addresses in these prefixes serve NodePorts; `None`: all of them.
    pub node_port_addresses: Option<Vec<IpNet>>,
    /// The addresses that Services may have by `spec.externalIPs`. Whoever may write Services may
    /// take any of them (CVE-2020-8554).
    pub external_ips: Vec<IpNet>,
    /// The gateway's zone (`topology.kubernetes.io/zone`); `None`: that of its Node object.
    pub zone: Option<String>,
    /// The value of the label `service.kubernetes.io/service-proxy-name` of the Services that are
    /// served; `None`: those without the label.
    pub proxy_name: Option<String>,
    /// Kernel addresses where `spec.healthCheckNodePort` of Services is answered.
    pub health_check_addresses: Vec<IpAddr>,
}

/// Most prefixes of one kind.
const PREFIXES_MAX: usize = 256;

/// Most addresses where health checks are answered.
const HEALTH_CHECK_ADDRESSES_MAX: usize = 16;

pub(crate) static SECTION: Section = Section {
    path: "services",
    keys: &[
        Key {
            name: "node_port_addresses",
            kind: "list of prefixes",
            default: schema::Default::Words("all of Sluice's addresses on ports"),
            meaning: "which of Sluice's addresses serve NodePorts, as kube-proxy's \
                      `--nodeport-addresses`",
        },
        Key {
            name: "external_ips",
            kind: "list of prefixes",
            default: schema::Default::Words("none"),
            meaning: "addresses that Services may have by `spec.externalIPs`; whoever may write \
                      Services may take any of them (CVE-2020-8554)",
        },
        Key {
            name: "zone",
            kind: "label value",
            default: schema::Default::Words("that of the gateway's Node, if it has one"),
            meaning: "zone of clients that are no pods, for topology hints",
        },
        Key {
            name: "proxy_name",
            kind: "label value",
            default: schema::Default::Words("none: Services without the label"),
            meaning: "serve only Services whose label `service.kubernetes.io/service-proxy-name` \
                      has this value",
        },
        Key {
            name: "health_check_addresses",
            kind: "list of at most 16 addresses",
            default: schema::Default::Words("`0.0.0.0` and `::`"),
            meaning: "where `spec.healthCheckNodePort` of Services is answered; kernel sockets, so \
                      none of Sluice's addresses; an empty list: nowhere",
        },
    ],
};

/// `services` as read, its addresses not yet checked against Sluice's.
pub(crate) struct RawServices {
    pub node_port_addresses: Option<Vec<Located<IpNet>>>,
    external_ips: Vec<Located<IpNet>>,
    zone: Option<String>,
    proxy_name: Option<String>,
    pub health_check_addresses: Option<Vec<Located<IpAddr>>>,
}

impl RawServices {
    /// Reads `services`.
    pub(crate) fn read(reader: &mut Reader<'_>, root: &Fields<'_>) -> Result<Self, Reported> {
        let fields = root.section(reader, "services", &SECTION)?;
        let prefixes = || list(0..=PREFIXES_MAX, route_prefix);
        let node_port_addresses = fields.optional(reader, "node_port_addresses", prefixes());
        let external_ips =
            fields.optional(reader, "external_ips", list(0..=PREFIXES_MAX, pool_prefix));
        let zone = fields.optional(reader, "zone", label_value);
        let proxy_name = fields.optional(reader, "proxy_name", label_value);
        let addresses = list(0..=HEALTH_CHECK_ADDRESSES_MAX, listen_address);
        let health_check_addresses = fields.optional(reader, "health_check_addresses", addresses);
        Ok(Self {
            node_port_addresses: node_port_addresses?.map(|list| list.value),
            external_ips: external_ips?.map(|list| list.value).unwrap_or_default(),
            zone: zone?.map(|zone| zone.value),
            proxy_name: proxy_name?.map(|name| name.value),
            health_check_addresses: health_check_addresses?.map(|list| list.value),
        })
    }

    /// The section as it will be used.
    pub(crate) fn build(self) -> Services {
        let values = |nets: Vec<Located<IpNet>>| nets.into_iter().map(|net| net.value).collect();
        let everywhere = || vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let told = |addresses: Vec<Located<IpAddr>>| {
            addresses.into_iter().map(|address| address.value).collect()
        };
        Services {
            node_port_addresses: self.node_port_addresses.map(values),
            external_ips: values(self.external_ips),
            zone: self.zone,
            proxy_name: self.proxy_name,
            health_check_addresses: self.health_check_addresses.map_or_else(everywhere, told),
        }
    }
}

/// Reads the value of a label that is not empty.
fn label_value(reader: &mut Reader<'_>, field: crate::read::Field<'_>) -> Result<String, Reported> {
    let expected = "1 to 63 of a-z, A-Z, 0-9, `-`, `_` and `.`, a letter or digit at both ends";
    let read = text(expected, |text| {
        let alphanumeric = |c: char| c.is_ascii_alphanumeric();
        let is_good = text.len() <= 63
            && text.starts_with(alphanumeric)
            && text.ends_with(alphanumeric)
            && text.chars().all(|c| alphanumeric(c) || matches!(c, '-' | '_' | '.'));
        if is_good { Ok(text.to_owned()) } else { Err(String::new()) }
    });
    read(reader, field)
}
