use crate::lab::Lab;

/// Counters of damaged packets: any of them grows when Sluice sends a packet
/// whose checksum or length is wrong. Names are those of `nstat`.
const DAMAGE: &[&str] = &[
    "TcpInErrs",
    "TcpInCsumErrors",
    "UdpInCsumErrors",
    "Udp6InCsumErrors",
    "IcmpInCsumErrors",
    "Icmp6InCsumErrors",
    "IpExtInCsumErrors",
    "IpExtInTruncatedPkts",
    "Ip6InTruncatedPkts",
];

/// Counters of headers that were wrong. Packets whose hops have run out are
/// counted here too.
const HEADERS: &[&str] = &["IpInHdrErrors", "Ip6InHdrErrors"];

/// The namespaces whose kernels receive what Sluice sends.
const ENDS: [&str; 7] = ["client", "node1", "node2", "pod1a", "pod1b", "pod2a", "pod2b"];

/// No kernel has seen a damaged packet.
pub fn assert_undamaged(lab: &Lab) {
    assert_no(lab, &[DAMAGE, HEADERS].concat());
    assert_clean_tunnels(lab);
}

/// The same, after a trace of hops.
pub fn assert_undamaged_payloads(lab: &Lab) {
    assert_no(lab, DAMAGE);
    assert_clean_tunnels(lab);
}

fn assert_no(lab: &Lab, names: &[&str]) {
    for namespace in ENDS {
        let table = lab.ok(namespace, &["nstat", "-asz"]);
        for name in names {
            let count = counter(&table, name);
            assert_eq!(count, Some(0), "{namespace}: {name}");
        }
    }
}

fn assert_clean_tunnels(lab: &Lab) {
    for node in ["node1", "node2"] {
        let links = lab.ok(node, &["ip", "-s", "-j", "link", "show", "vxlan"]);
        let links: serde_json::Value = serde_json::from_str(&links).unwrap();
        for error in ["errors", "over_errors"] {
            let count = &links[0]["stats64"]["rx"][error];
            assert_eq!(count.as_u64(), Some(0), "{node}: vxlan {error}: {links}");
        }
    }
}

fn counter(table: &str, name: &str) -> Option<u64> {
    let mut rows = table.lines().map(str::split_whitespace);
    rows.find_map(|mut row| (row.next() == Some(name)).then(|| row.next()?.parse().ok())?)
}
