//! The SNAT pool and the cluster's ranges against each other and against the addresses in use.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::document::Raw;
use crate::read::{Located, Reader, Spot, not_a_host};

pub(crate) fn check(reader: &mut Reader<'_>, raw: &Raw) {
    let (pool, cluster) = (&raw.snat.addresses, &raw.cluster);
    report_overlaps(reader, pool, &[]);
    report_overlaps(reader, &cluster.pod_cidrs, &[]);
    report_overlaps(reader, &cluster.service_cidrs, &cluster.pod_cidrs);
    check_pool(reader, raw);
    check_service_ranges(reader, raw);
    check_pod_ranges(reader, raw);
}

pub(super) fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// Reports prefixes that overlap an earlier one of their list, or one of `others`.
fn report_overlaps(
    reader: &mut Reader<'_>,
    prefixes: &[Located<IpNet>],
    others: &[Located<IpNet>],
) {
    for (index, net) in prefixes.iter().enumerate() {
        let mut earlier = others.iter().chain(&prefixes[..index]);
        if let Some(first) = earlier.find(|first| overlap(&first.value, &net.value)) {
            let message = format!("{} overlaps {}", net.value, first.spot.refer());
            reader.error(&net.spot, message, "prefixes that do not overlap");
        }
    }
}

/// Every address in use and where it stands: the ports', the kernel's, the tunnel endpoints'.
pub(super) fn addresses_in_use(raw: &Raw) -> impl Iterator<Item = (IpAddr, &Spot)> {
    let ports = raw.ports.iter().flat_map(|port| {
        let own = port.addresses.iter().map(|address| (address.value.addr(), &address.spot));
        own.chain(port.kernel_addresses.iter().map(|address| (address.value, &address.spot)))
    });
    ports.chain(tunnel_endpoints(raw))
}

fn tunnel_endpoints(raw: &Raw) -> impl Iterator<Item = (IpAddr, &Spot)> {
    let endpoints = raw.overlay.iter().flat_map(|(vxlan, _)| &vxlan.addresses);
    endpoints.map(|address| (address.value, &address.spot))
}

fn check_pool(reader: &mut Reader<'_>, raw: &Raw) {
    for pool in &raw.snat.addresses {
        let net = pool.value;
        if let Some((address, first)) = addresses_in_use(raw).find(|(a, _)| net.contains(a)) {
            let message = format!("{net} holds {address}, which is taken by {}", first.refer());
            reader.error(&pool.spot, message, "addresses that nothing else uses");
        }
        for connected in raw.ports.iter().flat_map(|port| &port.addresses) {
            let subnet = connected.value.trunc();
            if !overlap(&subnet, &net) {
                continue;
            }
            let ends = [subnet.network(), subnet.broadcast()].into_iter();
            let unusable = ends
                .filter(|end| net.contains(end))
                .find_map(|end| not_a_host(&subnet, end).map(|reason| (end, reason)));
            if let Some((end, reason)) = unusable {
                let message = format!("{net} holds {end}, {reason}, {}", connected.spot.refer());
                reader.error(&pool.spot, message, "addresses that a host can have");
            } else {
                let message = format!("{net} lies in the connected subnet {subnet}");
                let help = "nodes and clients of that subnet must learn that Sluice has these \
                            addresses; a prefix of the gateway's pod range needs no such care";
                reader.warn(&pool.spot, message, help);
            }
        }
    }
}

/// A ClusterIP is a virtual address: nothing real may lie in its range.
fn check_service_ranges(reader: &mut Reader<'_>, raw: &Raw) {
    for range in &raw.cluster.service_cidrs {
        let net = range.value;
        if let Some((address, first)) = addresses_in_use(raw).find(|(a, _)| net.contains(a)) {
            let message = format!("{net} holds {address}, which is taken by {}", first.refer());
            reader.error(&range.spot, message, "a range of ClusterIPs only");
        }
        if let Some(pool) = raw.snat.addresses.iter().find(|pool| overlap(&pool.value, &net)) {
            let message = format!("{net} overlaps the SNAT pool at {}", pool.spot.refer());
            reader.error(&range.spot, message, "a range of ClusterIPs only");
        }
    }
}

/// A tunnel to a pod range that holds the tunnel's own end would lead into itself.
fn check_pod_ranges(reader: &mut Reader<'_>, raw: &Raw) {
    for range in &raw.cluster.pod_cidrs {
        let net = range.value;
        if let Some((address, first)) = tunnel_endpoints(raw).find(|(a, _)| net.contains(a)) {
            let message = format!("{net} holds the tunnel endpoint {address} of {}", first.refer());
            reader.error(&range.spot, message, "a range of pods only");
        }
    }
}
