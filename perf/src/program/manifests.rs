use crate::cluster::{Cluster, TCP};
use crate::site::{self, Family, SERVICE_PORT, TARGET_PORT, Who};
use std::fmt::Write;

/// All Services, their endpoints and nodes as one file of objects of Kubernetes.
pub fn manifests(cluster: &Cluster) -> String {
    let family = cluster.family;
    let label = match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    let protocol = if cluster.protocol == TCP { "TCP" } else { "UDP" };
    let mut text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n".to_owned();
    for node in 0..cluster.nodes {
        let mac = site::mac_text(site::vtep_mac(node));
        let pods = Who::Pod(node, 0);
        let cidr = format!("\"{}/{}\"", pods.addr(family), pods.prefix_len(family));
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Node\nmetadata:\n  name: node{node}\n  \
             annotations: {{sluice.dev/vtep-mac: \"{mac}\"}}\nspec:\n  podCIDR: {cidr}\n  \
             podCIDRs: [{cidr}]\nstatus:\n  addresses: [{{type: InternalIP, address: \"{}\"}}]\n  \
             conditions: [{{type: Ready, status: \"True\"}}]\n",
            Who::Node(node).addr(family)
        );
    }
    for service in 0..cluster.services {
        let vip = Who::Vip(service).addr(family);
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: dns{service}, namespace: \
             default}}\nspec:\n  type: ClusterIP\n  ipFamilies: [{label}]\n  clusterIP: \
             \"{vip}\"\n  clusterIPs: [\"{vip}\"]\n  ports: [{{name: dns, port: {SERVICE_PORT}, \
             protocol: {protocol}, targetPort: {TARGET_PORT}}}]\n---\napiVersion: \
             discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: dns{service}-1\n  \
             namespace: default\n  labels: {{kubernetes.io/service-name: dns{service}}}\n\
             addressType: {label}\nports: [{{name: dns, port: {TARGET_PORT}, protocol: {protocol}}}]\n\
             endpoints:\n"
        );
        let first = service * cluster.backends;
        for backend in first..first + cluster.backends {
            let (node, pod) = cluster.backend(backend);
            let _ = writeln!(
                text,
                "  - {{addresses: [\"{pod}\"], nodeName: node{node}, conditions: {{ready: true}}}}"
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_is_there_once() {
        for (family, protocol) in [(Family::V4, "UDP"), (Family::V6, "TCP")] {
            let mut cluster = Cluster { nodes: 2, ..Cluster::new(family, 3) };
            if protocol == "TCP" {
                cluster.protocol = TCP;
            }
            let text = manifests(&cluster);
            // A namespace, nodes, a Service and its slice each.
            assert_eq!(text.matches("apiVersion").count(), 1 + 2 + 2 * 3);
            assert_eq!(text.matches(&format!("protocol: {protocol}")).count(), 2 * 3);
            assert_eq!(text.matches("conditions: {ready: true}").count(), 3 * 10);
        }
    }
}
