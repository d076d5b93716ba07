use crate::site::{self, Family, Who};
use anyhow::{Result, anyhow};
use sluice_config::Config;
use sluice_control::PortFacts;

/// The configuration of a gateway with one worker at the site's addresses, both
/// families, tunnels over IPv4; `source` is its section of that name.
///
/// # Errors
/// When it is not valid.
pub fn config(source: &str) -> Result<Config> {
    let link = |who: Who| {
        [Family::V4, Family::V6].map(|f| format!("\"{}/{}\"", who.addr(f), who.prefix_len(f)))
    };
    let text = format!(
        "node_name: gateway
ports:
  - {{name: cluster, device: cluster, addresses: [{}], mtu: 1500}}
  - {{name: uplink, device: uplink, addresses: [{}], mtu: 1500}}
workers: {{count: 1}}
overlay:
  vxlan: {{vni: {}, udp_port: {}, port: cluster, addresses: [{}], mac: \"{}\"}}
routes:
  - {{to: 0.0.0.0/0, via: {}}}
  - {{to: \"::/0\", via: \"{}\"}}
snat:
  addresses: [{}]
  ports: {{min: {}, max: {}}}
cluster:
  pod_cidrs: [10.0.0.0/9, \"2001:db8:8000::/33\"]
  service_cidrs: [172.20.0.0/15, \"2001:db8:3::/108\"]
source: {source}
",
        link(Who::GatewayCluster).join(", "),
        link(Who::GatewayUplink).join(", "),
        site::VNI,
        site::VXLAN_PORT,
        Who::GatewayCluster.addr(Family::V4),
        site::mac_text(site::OVERLAY_MAC),
        Who::Router.addr(Family::V4),
        Who::Router.addr(Family::V6),
        snat().join(", "),
        site::SNAT_PORTS.0,
        site::SNAT_PORTS.1,
    );
    let loaded = sluice_config::parse("scale.yaml", &text).map_err(|errors| anyhow!("{errors}"))?;
    Ok(loaded.config)
}

/// A source that is not used.
pub const NO_SOURCE: &str = "{manifests: {path: .}}";

/// The site's SNAT addresses as prefixes: IPv6's begin at 1, and one is left out.
fn snat() -> Vec<String> {
    let v4 = format!("{}/24", Who::Snat(0).addr(Family::V4));
    let v6 = (0..8)
        .map(|bit| format!("\"{}/{}\"", Who::Snat((1 << bit) - 1).addr(Family::V6), 128 - bit));
    std::iter::once(v4).chain(v6).collect()
}

/// The devices of the configuration's ports.
pub fn facts() -> Vec<PortFacts> {
    site::PORT_MACS.map(|mac| PortFacts { mac, mtu: 1500 }).to_vec()
}
