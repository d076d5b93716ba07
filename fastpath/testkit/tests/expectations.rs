//! Patterns against frames: what matches, and how a mismatch reads.

use sluice_testkit::packet::{Bindings, Defaults, Line, Value, parse};

fn compare(pattern: &str, packet: &str, bindings: &mut Bindings) -> Result<(), Vec<String>> {
    let defaults = Defaults::default();
    let frame = parse(packet, &defaults).unwrap_or_else(|e| panic!("{packet}\n{e}"));
    let line = Line::parse(pattern).unwrap_or_else(|e| panic!("{pattern}\n{e}"));
    line.compare(&frame, &defaults, bindings).map_err(|mismatch| mismatch.differences)
}

fn differences(pattern: &str, packet: &str) -> Vec<String> {
    compare(pattern, packet, &mut Bindings::new()).err().unwrap_or_default()
}

const SYN: &str = "ip 10.0.0.2 > 10.96.0.10 ttl 63 df / tcp 40000 > 80 S seq 7 mss 1460";

#[test]
fn what_is_not_written_is_not_compared() {
    for pattern in [
        SYN,
        "ip 10.0.0.2 > 10.96.0.10 / tcp 40000 > 80 S",
        "ip * > 10.96.0.10 / tcp * > * !SA",
        "ip / tcp",
        "ip / tcp S seq 7",
        "eth 02:..:01 > * / ip / tcp",
        "ip ttl 60..63 df no-mf / tcp 1024..65535 > !443",
        "ip 10.0.0.0..10.0.0.255 > !10.0.0.1 / tcp mss 1460",
        "ip / *",
        "*",
        "ip / tcp / data 0",
    ] {
        assert_eq!(differences(pattern, SYN), Vec::<String>::new(), "{pattern}");
    }
}

#[test]
fn every_difference_is_told() {
    assert_eq!(
        differences("ip 10.0.0.2 > 10.1.0.7 ttl 62 no-df / tcp 40000 > 1..79 SA mss !1460", SYN),
        [
            "ip dst: expected 10.1.0.7, is 10.96.0.10",
            "ip ttl: expected 62, is 63",
            "ip df: expected not set, is set",
            "tcp dport: expected 1..79, is 80",
            "tcp flags: expected SA, is S",
            "tcp mss: expected !1460, is 1460",
        ]
    );
}

#[test]
fn layers_must_be_the_ones_written() {
    let data = "ip 10.0.0.1 > 10.0.0.2 / udp 1 > 2 / data 4";
    assert_eq!(differences("ip / tcp", data), ["expected `tcp`, is `udp`"]);
    assert_eq!(differences("ip", data), ["did not expect `udp`"]);
    assert_eq!(differences("ip / udp / data 0", data).len(), 1);
    assert_eq!(differences("ip / udp / data * / data *", data), ["expected `data`, is the end"]);
    assert_eq!(differences("ip / udp", data), Vec::<String>::new());
    let tagged = format!("vlan 7 / {data}");
    assert_eq!(differences("ip / udp", &tagged), ["expected `ip`, is `vlan`"]);
    let error = format!("ip 10.0.0.9 > 10.0.0.1 / icmp unreachable port quoting {data}");
    assert_eq!(differences("ip / icmp unreachable port", &error), ["did not expect quoted `ip`"]);
    assert!(differences("ip / icmp unreachable port quoting ip / udp", &error).is_empty());
    assert!(differences("ip / icmp unreachable port / *", &error).is_empty());
}

#[test]
fn checksums_and_lengths_must_be_right_unless_written() {
    let wrong = "ip 10.0.0.1 > 10.0.0.2 badsum / tcp 1 > 2 badsum=0x0001";
    assert_eq!(
        differences("ip / tcp", wrong),
        ["ip checksum is wrong: badsum(ip)", "tcp checksum is wrong: badsum(tcp)=0x0001"]
    );
    assert!(differences("ip badsum / tcp badsum", wrong).is_empty());
    assert!(differences("ip badsum / *", wrong).len() == 1);
    let right = "ip 10.0.0.1 > 10.0.0.2 / udp 1 > 2";
    assert_eq!(differences("ip badsum / udp", right).len(), 1);
    let short = "ip 10.0.0.1 > 10.0.0.2 len 90 / udp 1 > 2";
    assert_eq!(differences("ip / udp", short), ["ip len 90 contradicts the packet"]);
    assert!(differences("ip len 90 / udp", short).is_empty());
    let udp = "ip 10.0.0.1 > 10.0.0.2 / udp 1 > 2 len 9";
    assert_eq!(differences("ip / udp", udp), ["udp len 9 contradicts the packet"]);
}

#[test]
fn a_missing_udp_checksum_is_fine_only_for_vxlan_over_ipv4() {
    let absent = ["udp has no checksum (`nosum` allows it)"];
    assert_eq!(differences("ip / udp", "ip 10.0.0.1 > 10.0.0.2 / udp 1 > 2 nosum"), absent);
    let inner = "vxlan vni 1 / ip 10.0.0.1 > 10.0.0.2 / udp 1 > 2";
    let over4 = format!("ip 10.0.0.1 > 10.0.0.2 / udp 1 > 4789 nosum / {inner}");
    assert!(differences("ip / udp / vxlan vni 1 / ip / udp", &over4).is_empty());
    let over6 = format!("ip6 fd00::1 > fd00::2 / udp 1 > 4789 nosum / {inner}");
    assert_eq!(differences("ip6 / udp / vxlan vni 1 / ip / udp", &over6), absent);
    assert!(differences("ip6 / udp nosum / vxlan vni 1 / *", &over6).is_empty());
}

#[test]
fn fragments_and_short_quotes_are_not_judged_by_what_is_missing() {
    let first = "ip 10.0.0.1 > 10.0.0.2 id 5 mf / udp 1 > 2 len 2000 sum 0x1234 / data 100";
    assert!(differences("ip mf / udp", first).is_empty());
    let quote = "ip 10.0.0.9 > 10.0.0.1 / icmp unreachable port quoting \
                 ip 10.0.0.1 > 10.0.0.2 len 128 / udp 1 > 2 len 108 sum 0x1234";
    assert!(differences("ip / icmp unreachable port quoting ip / udp", quote).is_empty());
}

#[test]
fn captures_bind_once_and_only_on_a_match() {
    let mut bindings = Bindings::new();
    let packet = |sport: u16| format!("ip 10.0.0.1 > 10.0.0.2 / udp {sport} > 53");
    let failed = compare("ip / udp $p:1024..29999 > 54", &packet(2000), &mut bindings);
    assert_eq!(failed.unwrap_err(), ["udp dport: expected 54, is 53"]);
    assert_eq!(bindings.get("p"), None);

    let failed = compare("ip / udp $p:1024..29999 > 53", &packet(30000), &mut bindings);
    assert_eq!(failed.unwrap_err(), ["udp sport: expected $p:1024..29999, is 30000"]);

    compare("ip $a > * / udp $p:1024..29999 > 53", &packet(2000), &mut bindings).unwrap();
    assert_eq!(bindings.get("p"), Some(&Value::Num(2000)));
    compare("ip $a > * / udp $p > 53", &packet(2000), &mut bindings).unwrap();
    let failed = compare("ip / udp $p > 53", &packet(2001), &mut bindings);
    assert_eq!(failed.unwrap_err(), ["udp sport: expected 2000 ($p), is 2001"]);
    compare("ip / udp !$p > 53", &packet(2001), &mut bindings).unwrap();

    let reply = Line::parse("ip 10.0.0.2 > $a / udp 53 > $p").unwrap();
    let frame = reply.build(&Defaults::default(), &bindings).unwrap();
    let written = parse("ip 10.0.0.2 > 10.0.0.1 / udp 53 > 2000", &Defaults::default()).unwrap();
    assert_eq!(frame, written);
    let other = Line::parse("ip6 $a > fd00::1").unwrap();
    let error = other.build(&Defaults::default(), &bindings).unwrap_err().to_string();
    assert_eq!(error, "column 5: src cannot be the bound address 10.0.0.1");
}

#[test]
fn a_lone_raw_is_the_whole_frame() {
    assert!(differences("raw 0x0102", "raw 0x0102").is_empty());
    assert_eq!(differences("raw 0x0103", "raw 0x0102").len(), 1);
    assert!(differences("raw *", SYN).is_empty());
}

#[test]
fn a_mismatch_shows_both_packets() {
    let defaults = Defaults::default();
    let frame = parse(SYN, &defaults).unwrap();
    let line = Line::parse("ip ttl 62 / tcp").unwrap();
    let mismatch = line.compare(&frame, &defaults, &mut Bindings::new()).unwrap_err();
    assert_eq!(
        mismatch.to_string(),
        format!("expected: ip ttl 62 / tcp\nactual:   {SYN}\ndiffers:  ip ttl: expected 62, is 63")
    );
}
