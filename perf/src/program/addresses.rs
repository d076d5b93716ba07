use crate::cluster::Cluster;
use crate::site::{
    self, CLUSTER, DEVICE_MAC, Family, SERVICE_PORT, TARGET_PORT, UPLINK, VNI, VXLAN_PORT, Who,
};
use std::fmt::Write;

/// The addresses of everything around a gateway with so many nodes, as variables of a shell;
/// those of IPv6 end with a 6. The pods are those of one Service, on the first node.
pub fn shell_variables(nodes: u32) -> String {
    let mut text = String::new();
    for (name, mac) in [
        ("CLUSTER_MAC", site::PORT_MACS[CLUSTER]),
        ("UPLINK_MAC", site::PORT_MACS[UPLINK]),
        ("ROUTER_MAC", site::ROUTER_MAC),
        ("NODE_MAC", site::node_mac(0)),
        ("OVERLAY_MAC", site::OVERLAY_MAC),
        ("VTEP_MAC", site::vtep_mac(0)),
        ("DEVICE_MAC", DEVICE_MAC),
    ] {
        let _ = writeln!(text, "{name}={}", site::mac_text(mac));
    }
    for (name, number) in [
        ("SERVICE_PORT", SERVICE_PORT.into()),
        ("TARGET_PORT", TARGET_PORT.into()),
        ("VNI", VNI),
        ("VXLAN_PORT", VXLAN_PORT.into()),
    ] {
        let _ = writeln!(text, "{name}={number}");
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
        let all: Vec<_> = (0..nodes).map(|n| Who::Node(n).addr(family).to_string()).collect();
        let _ = writeln!(text, "NODE_IPS{suffix}=({})", all.join(" "));
        let cluster = Cluster { nodes: 1, ..Cluster::new(family, 1) };
        let pods: Vec<_> =
            (0..cluster.backends).map(|b| cluster.backend(b).1.to_string()).collect();
        let _ = writeln!(text, "PODS{suffix}=({})", pods.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_gets_both_families() {
        let text = shell_variables(2);
        for line in [
            "ROUTER_MAC=02:00:00:00:00:04",
            "VNI=42",
            "ROUTER_IP=198.18.1.0",
            "LINK_LEN6=48",
            "NODE_IPS=(172.16.1.0 172.16.1.1)",
            "NODE_IPS6=(2001:db8:1::100 2001:db8:1::101)",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
