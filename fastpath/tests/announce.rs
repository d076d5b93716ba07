//! Announcements keep a pace: thousands of VIPs are no burst.

use sluice_testkit::gateway::{Compiler, Gateway, GatewayOptions, Topology};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Packets of announcements in a millisecond.
const PACE: usize = 32;

#[test]
fn a_list_of_vips_is_told_at_a_pace_and_whole() {
    let v4 = (0..100).map(|last| IpAddr::from(Ipv4Addr::new(192, 0, 2, 100 + last)));
    let v6 = (0..100).map(|last| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 1, last)));
    let vips: Vec<IpAddr> = v4.chain(v6).collect();
    let mut topology = Topology::standard();
    topology.vips.extend(vips.iter().map(|vip| (*vip, true)));
    let mut gateway = Gateway::new(&GatewayOptions::default()).unwrap();
    gateway.publish(Compiler::new(1).compile(&topology)).unwrap();
    gateway.announce(vips.clone()).unwrap();
    let mut told = 0;
    for _ in 0..vips.len().div_ceil(PACE) {
        gateway.advance(Duration::from_millis(1)).unwrap();
        let sent = std::iter::from_fn(|| gateway.sent(0)).count();
        assert!(sent <= PACE, "{sent} packets in a millisecond");
        told += sent;
    }
    assert_eq!(told, vips.len());
    assert_eq!(gateway.counts().get("announcements"), told as u64);
    gateway.close().unwrap();
}
