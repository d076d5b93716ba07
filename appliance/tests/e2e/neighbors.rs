use crate::gateway::Gateway;
use crate::kernel::assert_undamaged;
use crate::lab::{FAMILIES, Lab};
use serde_json::Value;

/// Counts the gateway's questions to the client: those to all, and those to it
/// alone.
const WATCH: &str = "
table ip6 watch {
  counter to_all {}
  counter to_one {}
  chain input {
    type filter hook input priority 0
    ip6 saddr 2001:db8:1::1 icmpv6 type nd-neighbor-solicit ip6 daddr ff02::/16 counter name to_all
    ip6 saddr 2001:db8:1::1 icmpv6 type nd-neighbor-solicit ip6 daddr != ff02::/16 counter name to_one
  }
}
";

/// Linux answers a question that it alone got without its MAC (RFC 4861 section
/// 7.2.4): that confirms all the same, and nobody has to be asked for again.
#[test]
fn neighbors_in_use_are_confirmed_by_linux() {
    let Some(lab) = Lab::up(&[]) else { return };
    lab.edit_config("ports:\n", "neighbors: {reachable_s: 1}\nports:\n");
    let gateway = Gateway::ready(&lab);
    let ping = |family: &crate::lab::Family, count: &str| {
        lab.ok("client", &["ping", "-q", "-n", "-i", "0.2", "-c", count, "-W", "5", family.web])
    };
    for family in &FAMILIES {
        ping(family, "2");
    }
    std::fs::write(lab.folder.join("watch.nft"), WATCH).unwrap();
    lab.ok("client", &["nft", "-f", &lab.folder.join("watch.nft").to_string_lossy()]);
    for family in &FAMILIES {
        let sent = ping(family, "40");
        assert!(sent.contains(" 0% packet loss"), "{}: {sent}", family.name);
    }
    let (to_all, to_one) = (questions(&lab, "to_all"), questions(&lab, "to_one"));
    assert!(to_one >= 2, "asked {to_one} times");
    assert_eq!(to_all, 0, "asked everybody again, though the client answers");
    assert_eq!(gateway.metric("sluice_drops_total", &["\"neighbor_unreachable\""]), 0.0);
    assert_undamaged(&lab);
    gateway.stop();
}

fn questions(lab: &Lab, counter: &str) -> u64 {
    let text = lab.ok("client", &["nft", "-j", "list", "counter", "ip6", "watch", counter]);
    let answer: Value = serde_json::from_str(&text).unwrap();
    let found = answer["nftables"].as_array().unwrap().iter();
    let counts = found.filter_map(|entry| entry["counter"]["packets"].as_u64());
    counts.sum()
}
