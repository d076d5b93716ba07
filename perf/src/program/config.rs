use crate::site::{self, Family, OVERLAY_MAC, VNI, VXLAN_PORT, Who};
use std::fmt::Write;
use std::path::PathBuf;

/// Pods of all nodes, by family.
pub const PODS: [&str; 2] = ["10.0.0.0/9", "2001:db8:8000::/33"];
/// Services.
const SERVICES: [&str; 2] = ["172.20.0.0/14", "2001:db8:3::/108"];

/// The addresses that clients are translated to.
fn pool(family: Family) -> &'static str {
    match family {
        Family::V4 => "10.200.0.0/24",
        Family::V6 => "2001:db8:4::80/121",
    }
}

/// The devices of a gateway.
#[derive(Clone, Debug)]
pub enum Ports {
    /// One towards clients and one towards nodes, by AF_XDP.
    Pair {
        /// By [`site::CLUSTER`] and [`site::UPLINK`].
        devices: [String; 2],
        /// MTU towards nodes.
        underlay_mtu: u16,
    },
    /// One of DPDK's for both sides.
    Trunk {
        /// What DPDK calls it.
        device: String,
        /// Frames for it.
        frames: u32,
    },
}

/// A gateway with one worker that never sleeps.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// The family of everything.
    pub family: Family,
    /// Its devices.
    pub ports: Ports,
    /// Whether pods are behind VXLAN, or behind a route to their node.
    pub overlay: bool,
    /// Whether clients keep their addresses.
    pub keeps_clients: bool,
    /// The core of its worker.
    pub cpu: usize,
    /// The folder with the objects.
    pub manifests: PathBuf,
    /// Its admin socket.
    pub socket: PathBuf,
}

impl Gateway {
    /// Its configuration.
    pub fn config(&self) -> String {
        let mut text = self.ports();
        if self.overlay {
            self.add_overlay(&mut text);
        }
        let snat = match self.keeps_clients {
            true => "mode: preserve".to_owned(),
            false => format!("addresses: [\"{}\"]", pool(self.family)),
        };
        let [pods, services] = [PODS, SERVICES].map(|[v4, v6]| format!("\"{v4}\", \"{v6}\""));
        let _ = write!(
            text,
            "routes: [{routes}]
snat: {{{snat}}}
workers:
  count: 1
  cores: [{cpu}]
  idle: {{mode: busy_poll}}
cluster:
  pod_cidrs: [{pods}]
  service_cidrs: [{services}]
source:
  manifests: {{path: \"{manifests}\"}}
admin:
  socket: \"{socket}\"
logging: {{level: warn}}
",
            routes = self.routes(),
            cpu = self.cpu,
            manifests = self.manifests.display(),
            socket = self.socket.display(),
        );
        text
    }

    fn addr(&self, who: Who) -> String {
        format!("\"{}/{}\"", who.addr(self.family), who.prefix_len(self.family))
    }

    fn ports(&self) -> String {
        let [cluster, uplink] = [Who::GatewayCluster, Who::GatewayUplink].map(|who| self.addr(who));
        match &self.ports {
            Ports::Pair { devices, underlay_mtu } => format!(
                "ports:
  - name: uplink
    device: \"{}\"
    addresses: [{uplink}]
  - name: cluster
    device: \"{}\"
    addresses: [{cluster}]
    mtu: {underlay_mtu}
",
                devices[site::UPLINK],
                devices[site::CLUSTER],
            ),
            Ports::Trunk { device, frames } => format!(
                "ports:
  - name: cluster
    device: \"{device}\"
    addresses: [{uplink}, {cluster}]
io:
  backend: dpdk
  frames: {frames}
  ring_len: 1024
  dpdk: {{huge_pages: true}}
"
            ),
        }
    }

    fn add_overlay(&self, text: &mut String) {
        let _ = write!(
            text,
            "overlay:
  vxlan:
    vni: {VNI}
    udp_port: {VXLAN_PORT}
    port: cluster
    addresses: [\"{}\"]
    mac: \"{}\"
",
            Who::GatewayCluster.addr(self.family),
            site::mac_text(OVERLAY_MAC),
        );
    }

    fn routes(&self) -> String {
        let any = if self.family == Family::V4 { "0.0.0.0/0" } else { "::/0" };
        let router = Who::Router.addr(self.family);
        let mut routes = format!("{{to: \"{any}\", via: \"{router}\"}}");
        if !self.overlay {
            let (pods, node) = (self.addr(Who::Pod(0, 0)), Who::Node(0).addr(self.family));
            let _ = write!(routes, ", {{to: {pods}, via: \"{node}\"}}");
        }
        routes
    }
}

#[cfg(all(test, feature = "scale"))]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_takes_its_configuration() {
        let devices = ["cluster", "uplink"].map(str::to_owned);
        let pair = Ports::Pair { devices, underlay_mtu: 1600 };
        let trunk =
            Ports::Trunk { device: "net_pcap0,rx_pcap=a,infinite_rx=1".to_owned(), frames: 4096 };
        for family in [Family::V4, Family::V6] {
            for (ports, count) in [(&pair, 2), (&trunk, 1)] {
                for (overlay, keeps_clients) in [(true, false), (true, true), (false, false)] {
                    let gateway = Gateway {
                        family,
                        ports: ports.clone(),
                        overlay,
                        keeps_clients,
                        cpu: 1,
                        manifests: "/tmp/lab/manifests".into(),
                        socket: "/tmp/lab/sluice.sock".into(),
                    };
                    let loaded = sluice_config::parse("gateway.yaml", &gateway.config());
                    let config = loaded.unwrap_or_else(|errors| panic!("{errors}")).config;
                    assert_eq!(config.ports.len(), count);
                    assert_eq!(config.overlay.is_some(), overlay);
                }
            }
        }
    }
}
