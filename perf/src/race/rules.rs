use crate::cluster::Cluster;
use crate::program::config::PODS;
use crate::site::{SERVICE_PORT, SNAT_PORTS, TARGET_PORT, Who};
use std::fmt::Write;

/// What kube-proxy's nftables mode has whatever the Services are.
const NFTABLES: &str = include_str!("../../peers/kube-proxy.nft");
/// What its iptables mode has.
const IPTABLES: &str = include_str!("../../peers/kube-proxy.iptables");

/// The rules of all Services as kube-proxy's nftables mode writes them, as one table
/// for `nft -f`. Ports of masquerade are those of Sluice's pool, so that one check fits
/// both.
pub fn nftables(cluster: &Cluster) -> String {
    let (mut services, mut vips, mut chains) = (String::new(), String::new(), String::new());
    // All pods, as kube-proxy's --cluster-cidr.
    let [pods, _] = PODS;
    for service in 0..cluster.services {
        let (vip, name) = (Who::Vip(service).addr(cluster.family), service_name(service));
        let chain = format!("service-{}-{name}", hash(u64::from(service), 8));
        let comma = if service == 0 { "" } else { ", " };
        let _ = write!(services, "{comma}{vip} . udp . {SERVICE_PORT} : goto {chain}");
        let _ = write!(vips, "{comma}{vip}");
        let mut choices = String::new();
        for (number, (backend, pod)) in endpoints(cluster, service).enumerate() {
            let hash = hash(u64::from(backend) | 1 << 32, 8);
            let endpoint = format!("endpoint-{hash}-{name}__{pod}/{TARGET_PORT}");
            let comma = if number == 0 { "" } else { ", " };
            let _ = write!(choices, "{comma}{number} : goto {endpoint}");
            let _ = writeln!(chains, "  chain {endpoint} {{");
            let _ = writeln!(chains, "    ip saddr {pod} jump mark-for-masquerade");
            let _ = writeln!(chains, "    meta l4proto udp dnat to {pod}:{TARGET_PORT}\n  }}");
        }
        let _ = writeln!(chains, "  chain {chain} {{");
        let _ = writeln!(
            chains,
            "    ip daddr {vip} udp dport {SERVICE_PORT} ip saddr != {pods} jump mark-for-masquerade"
        );
        let count = cluster.backends;
        let _ = writeln!(chains, "    numgen random mod {count} vmap {{ {choices} }}\n  }}");
    }
    fill(
        NFTABLES,
        &[
            ("SERVICE_IPS", &services),
            ("CLUSTER_IPS", &vips),
            ("NODE_IP", &Who::GatewayUplink.addr(cluster.family).to_string()),
            ("PORTS", &ports()),
            ("CHAINS", chains.trim_end()),
        ],
    )
}

/// The same as its iptables mode writes them, for `iptables-restore`.
pub fn iptables(cluster: &Cluster) -> String {
    let (mut declared, mut services, mut chains) = (String::new(), String::new(), String::new());
    let [pods, _] = PODS;
    for service in 0..cluster.services {
        let (vip, name) = (Who::Vip(service).addr(cluster.family), service_name(service));
        let name = name.trim_end_matches("/udp/dns");
        let chain = format!("KUBE-SVC-{}", hash(u64::from(service), 16));
        let _ = writeln!(declared, ":{chain} - [0:0]");
        let portal = format!(
            "-d {vip}/32 -p udp -m comment --comment \"{name}:dns cluster IP\" \
             -m udp --dport {SERVICE_PORT}"
        );
        let _ = writeln!(services, "-A KUBE-SERVICES {portal} -j {chain}");
        let _ = writeln!(chains, "-A {chain} ! -s {pods} {portal} -j KUBE-MARK-MASQ");
        let mut after = String::new();
        for (number, (backend, pod)) in endpoints(cluster, service).enumerate() {
            let endpoint = format!("KUBE-SEP-{}", hash(u64::from(backend) | 1 << 32, 16));
            let _ = writeln!(declared, ":{endpoint} - [0:0]");
            let left = cluster.backends - number as u32;
            // The last one takes what is left.
            let chance = match left {
                1 => String::new(),
                left => format!(
                    " -m statistic --mode random --probability {:.11}",
                    1.0 / f64::from(left)
                ),
            };
            let _ = writeln!(
                chains,
                "-A {chain} -m comment --comment \"{name}:dns -> {pod}:{TARGET_PORT}\"{chance} \
                 -j {endpoint}"
            );
            let comment = format!("-m comment --comment \"{name}:dns\"");
            let _ = writeln!(after, "-A {endpoint} -s {pod}/32 {comment} -j KUBE-MARK-MASQ");
            let _ = writeln!(
                after,
                "-A {endpoint} -p udp {comment} -m udp -j DNAT --to-destination {pod}:{TARGET_PORT}"
            );
        }
        chains.push_str(&after);
    }
    fill(
        IPTABLES,
        &[
            ("DECLARED", declared.trim_end()),
            ("SERVICES", services.trim_end()),
            ("CHAINS", chains.trim_end()),
            ("PORTS", &ports()),
        ],
    )
}

/// Endpoints of a Service: the number in the cluster, and the pod's address.
fn endpoints(cluster: &Cluster, service: u32) -> impl Iterator<Item = (u32, std::net::IpAddr)> {
    let (cluster, first) = (*cluster, service * cluster.backends);
    (first..first + cluster.backends).map(move |backend| (backend, cluster.backend(backend).1))
}

fn service_name(service: u32) -> String {
    format!("default/dns{service}/udp/dns")
}

fn ports() -> String {
    format!("{}-{}", SNAT_PORTS.0, SNAT_PORTS.1)
}

/// A name of at least 8 characters of base32, another for each number below 2^40.
fn hash(number: u64, len: u32) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    // The factor is odd, so no two numbers have the same 40 low bits.
    let bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let letter = |at: u32| char::from(LETTERS[(bits.rotate_right(5 * at) & 31) as usize]);
    (0..len).map(letter).collect()
}

/// Puts values in the place of `@NAME@`.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let text = template.to_owned();
    values.iter().fold(text, |text, (name, value)| text.replace(&format!("@{name}@"), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::Family;
    use std::collections::HashSet;

    fn cluster(services: u32, backends: u32) -> Cluster {
        Cluster { nodes: 1, backends, ..Cluster::new(Family::V4, services) }
    }

    #[test]
    fn no_two_names_are_the_same() {
        for len in [8, 16] {
            let names: HashSet<_> =
                (0..100_000).chain(1 << 32..(1 << 32) + 200_000).map(|n| hash(n, len)).collect();
            assert_eq!(names.len(), 300_000);
        }
    }

    #[test]
    fn every_chain_that_is_named_is_there() {
        let text = iptables(&cluster(3, 2));
        let declared: HashSet<_> =
            text.lines().filter_map(|line| line.strip_prefix(':')?.split(' ').next()).collect();
        let words = text.split_whitespace().filter(|word| word.starts_with("KUBE-"));
        for word in words {
            assert!(declared.contains(word), "{word}");
        }
        assert_eq!(declared.iter().filter(|name| name.starts_with("KUBE-SEP-")).count(), 6);

        let text = nftables(&cluster(3, 2));
        let goto =
            text.split("goto ").skip(1).filter_map(|rest| rest.split([' ', ',', '\n']).next());
        let mut count = 0;
        for chain in goto {
            assert!(text.contains(&format!("  chain {chain} {{\n")), "{chain}");
            count += 1;
        }
        assert_eq!(count, 3 + 6);
    }

    #[test]
    fn nothing_is_left_to_be_filled_in() {
        for text in [nftables(&cluster(1, 10)), iptables(&cluster(1, 10))] {
            assert!(!text.contains("@SERVICE") && !text.contains("@CHAINS@"), "{text}");
            assert!(!text.contains("@PORTS@") && !text.contains("@NODE_IP@"), "{text}");
            assert!(text.contains("10.0.0.2:5353") && text.contains("172.20.0.1"), "{text}");
        }
    }

    #[test]
    fn each_endpoint_gets_its_share() {
        let text = iptables(&cluster(1, 4));
        let chances: Vec<f64> = text
            .split("--probability ")
            .skip(1)
            .filter_map(|rest| rest.split(' ').next()?.parse().ok())
            .collect();
        let mut left = 1.0;
        for chance in &chances {
            assert!((left * chance - 0.25).abs() < 1e-6, "{chances:?}");
            left *= 1.0 - chance;
        }
        assert_eq!(chances.len(), 3);
    }
}
