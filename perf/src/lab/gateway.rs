use super::profile::{Profile, Traffic};
use crate::site::{self, Family, OVERLAY_MAC, SERVICE_PORT, TARGET_PORT, VNI, VXLAN_PORT, Who};
use anyhow::{Context, Result};
use std::fmt::Write;
use std::path::Path;

/// MTU of the underlay: frames of 1,518 bytes fit the tunnel over either family.
const UNDERLAY_MTU: u16 = 1600;

/// What a gateway needs to know that its profile does not say.
#[derive(Clone, Debug)]
pub struct Place {
    /// The core of its worker.
    pub cpu: usize,
    /// Its devices, by [`site::CLUSTER`] and [`site::UPLINK`].
    pub devices: [String; 2],
}

/// A MAC as text.
pub fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Ranges of the addresses of [`site`]: pods, Services, SNAT.
fn ranges(family: Family) -> [&'static str; 3] {
    match family {
        Family::V4 => ["10.0.0.0/9", "172.20.0.0/14", "10.200.0.0/24"],
        Family::V6 => ["2001:db8:8000::/33", "2001:db8:3::/108", "2001:db8:4::80/121"],
    }
}

/// The configuration of a gateway for a profile, whose manifests and socket are in a folder.
pub fn config(profile: &Profile, place: &Place, folder: &Path) -> String {
    let family = profile.ip();
    let addr = |who: Who| format!("{}/{}", who.addr(family), who.prefix_len(family));
    let [pods, services, snat] = ranges(family);
    let default = if family == Family::V4 { "0.0.0.0/0" } else { "::/0" };
    format!(
        "ports:
  - name: uplink
    device: {uplink}
    addresses: [\"{uplink_addr}\"]
  - name: cluster
    device: {cluster}
    addresses: [\"{cluster_addr}\"]
    mtu: {UNDERLAY_MTU}
workers:
  count: 1
  cores: [{cpu}]
  idle: {{mode: busy_poll}}
overlay:
  vxlan:
    vni: {VNI}
    udp_port: {VXLAN_PORT}
    port: cluster
    addresses: [\"{vtep}\"]
    mac: \"{overlay}\"
routes:
  - {{to: \"{default}\", via: \"{router}\"}}
snat:
  addresses: [\"{snat}\"]
cluster:
  pod_cidrs: [\"{pods}\"]
  service_cidrs: [\"{services}\"]
source:
  manifests: {{path: {folder}/manifests}}
admin:
  socket: {folder}/sluice.sock
logging: {{level: warn}}
",
        uplink = place.devices[site::UPLINK],
        cluster = place.devices[site::CLUSTER],
        uplink_addr = addr(Who::GatewayUplink),
        cluster_addr = addr(Who::GatewayCluster),
        cpu = place.cpu,
        vtep = Who::GatewayCluster.addr(family),
        overlay = mac(OVERLAY_MAC),
        router = Who::Router.addr(family),
        folder = folder.display(),
    )
}

/// The objects of a profile's cluster.
pub fn manifests(profile: &Profile) -> String {
    let (family, cluster) = (profile.ip(), profile.cluster());
    let (name, letter) = match family {
        Family::V4 => ("IPv4", "4"),
        Family::V6 => ("IPv6", "6"),
    };
    let protocol = if profile.traffic == Traffic::Handshakes { "TCP" } else { "UDP" };
    let mut text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n".to_owned();
    for node in 0..cluster.nodes {
        let pods = Who::Pod(node, 0);
        let pods = format!("{}/{}", pods.addr(family), pods.prefix_len(family));
        let _ = write!(
            text,
            "---
apiVersion: v1
kind: Node
metadata:
  name: node{node}
  annotations: {{sluice.dev/vtep-mac: \"{vtep}\"}}
spec: {{podCIDR: \"{pods}\", podCIDRs: [\"{pods}\"]}}
status:
  addresses: [{{type: InternalIP, address: \"{addr}\"}}]
  conditions: [{{type: Ready, status: \"True\"}}]
",
            vtep = mac(site::vtep_mac(node)),
            addr = Who::Node(node).addr(family),
        );
    }
    for service in 0..cluster.services {
        let vip = Who::Vip(service).addr(family);
        let _ = write!(
            text,
            "---
apiVersion: v1
kind: Service
metadata: {{name: s{service}, namespace: default}}
spec:
  type: ClusterIP
  ipFamilies: [{name}]
  clusterIP: \"{vip}\"
  clusterIPs: [\"{vip}\"]
  ports: [{{name: lab, port: {SERVICE_PORT}, protocol: {protocol}, targetPort: {TARGET_PORT}}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: s{service}-{letter}
  namespace: default
  labels: {{kubernetes.io/service-name: s{service}}}
addressType: {name}
ports: [{{name: lab, port: {TARGET_PORT}, protocol: {protocol}}}]
endpoints:
"
        );
        let first = service * cluster.backends;
        for backend in first..first + cluster.backends {
            let (node, addr) = cluster.backend(backend);
            let _ = writeln!(
                text,
                "  - {{addresses: [\"{addr}\"], nodeName: node{node}, conditions: {{ready: true}}}}"
            );
        }
    }
    text
}

/// Writes configuration and objects into a folder.
///
/// # Errors
/// When a file cannot be written.
pub fn write(profile: &Profile, place: &Place, folder: &Path) -> Result<()> {
    let objects = folder.join("manifests");
    std::fs::create_dir_all(&objects)
        .with_context(|| format!("cannot make {}", objects.display()))?;
    for (path, text) in [
        (folder.join("gateway.yaml"), config(profile, place, folder)),
        (objects.join("cluster.yaml"), manifests(profile)),
    ] {
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The addresses that devices need, as variables of a shell.
pub fn addresses(profile: &Profile) -> String {
    let family = profile.ip();
    let addr = |who: Who| format!("{}/{}", who.addr(family), who.prefix_len(family));
    let nodes: Vec<String> = (0..profile.nodes).map(|node| addr(Who::Node(node))).collect();
    let mut text = String::new();
    for (name, value) in [
        ("UPLINK_MAC", mac(site::PORT_MACS[site::UPLINK])),
        ("CLUSTER_MAC", mac(site::PORT_MACS[site::CLUSTER])),
        ("ROUTER_MAC", mac(site::ROUTER_MAC)),
        ("NODE_MAC", mac(site::node_mac(0))),
        ("ROUTER", addr(Who::Router)),
        ("NODE", addr(Who::Node(0))),
        ("UNDERLAY_MTU", UNDERLAY_MTU.to_string()),
    ] {
        let _ = writeln!(text, "{name}={value}");
    }
    let _ = writeln!(text, "NODES=({})", nodes.join(" "));
    text
}

#[cfg(all(test, feature = "scale"))]
mod tests {
    use super::*;
    use crate::lab::profile::Version;

    #[test]
    fn the_gateway_takes_its_configuration() {
        let place = Place { cpu: 1, devices: ["cluster".to_owned(), "uplink".to_owned()] };
        for family in [Version::V4, Version::V6] {
            let profile = Profile { family, services: 3, nodes: 2, ..Profile::default() };
            let text = config(&profile, &place, Path::new("/tmp/lab"));
            let loaded = sluice_config::parse("gateway.yaml", &text);
            let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!(loaded.config.ports.len(), 2);
            // A namespace, nodes, a Service and its slice each.
            assert_eq!(manifests(&profile).matches("apiVersion").count(), 1 + 2 + 2 * 3);
        }
    }
}
