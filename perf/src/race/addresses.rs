use super::capture::DEVICE_MAC;
use crate::cluster::Cluster;
use crate::site::{self, CLUSTER, Family, SERVICE_PORT, TARGET_PORT, UPLINK, VNI, VXLAN_PORT, Who};
use std::fmt::Write;

/// The addresses of everything, as variables of a shell; those of IPv6 end with a 6.
pub fn shell_variables() -> String {
    let mac = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    let mut text = String::new();
    for (name, value) in [
        ("CLUSTER_MAC", mac(site::PORT_MACS[CLUSTER])),
        ("UPLINK_MAC", mac(site::PORT_MACS[UPLINK])),
        ("ROUTER_MAC", mac(site::ROUTER_MAC)),
        ("NODE_MAC", mac(site::node_mac(0))),
        ("OVERLAY_MAC", mac(site::OVERLAY_MAC)),
        ("VTEP_MAC", mac(site::vtep_mac(0))),
        ("DEVICE_MAC", mac(DEVICE_MAC)),
        ("SERVICE_PORT", SERVICE_PORT.to_string()),
        ("TARGET_PORT", TARGET_PORT.to_string()),
        ("VNI", VNI.to_string()),
        ("VXLAN_PORT", VXLAN_PORT.to_string()),
    ] {
        let _ = writeln!(text, "{name}={value}");
    }
    for (family, suffix) in [(Family::V4, ""), (Family::V6, "6")] {
        for (name, who) in [
            ("CLUSTER_IP", Who::GatewayCluster),
            ("UPLINK_IP", Who::GatewayUplink),
            ("ROUTER_IP", Who::Router),
            ("NODE_IP", Who::Node(0)),
            ("POD_NET", Who::Pod(0, 0)),
            ("SNAT_IP", Who::Snat(1)),
            ("VIP", Who::Vip(0)),
        ] {
            let _ = writeln!(text, "{name}{suffix}={}", who.addr(family));
        }
        let _ = writeln!(text, "LINK_LEN{suffix}={}", Who::Router.prefix_len(family));
        let _ = writeln!(text, "POD_LEN{suffix}={}", Who::Pod(0, 0).prefix_len(family));
        let cluster = Cluster { nodes: 1, ..Cluster::new(family, 1) };
        let pods: Vec<_> =
            (0..cluster.backends).map(|b| cluster.backend(b).1.to_string()).collect();
        let _ = writeln!(text, "PODS{suffix}=({})", pods.join(" "));
    }
    text
}
