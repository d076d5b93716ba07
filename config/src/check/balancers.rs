//! The pools of load balancers' addresses against each other and against all else.

use ipnet::IpNet;

use super::prefixes::addresses_in_use;
use crate::document::Raw;
use crate::load_balancer::AddressRange;
use crate::read::{Located, Reader, not_a_host};
use crate::source::Source;

pub(crate) fn check(reader: &mut Reader<'_>, raw: &Raw) {
    let Some(balancer) = &raw.load_balancer else { return };
    let ranges: Vec<_> = balancer.ranges().collect();
    report_overlaps(reader, &ranges);
    for range in &ranges {
        check_free(reader, raw, range);
        check_subnets(reader, raw, range);
    }
    if let Ok(Source::Manifests(_)) = raw.source {
        let help = "addresses are written into the API's Services; in manifests, \
                    `status.loadBalancer.ingress` tells them";
        reader.warn(&balancer.spot, "nothing is allocated with `source.manifests`", help);
    }
}

/// Reports ranges that overlap another. Sorted, so that many ranges take no time.
fn report_overlaps(reader: &mut Reader<'_>, ranges: &[&Located<AddressRange>]) {
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(|range| (range.value, range.spot.span.start));
    let mut widest: Option<&Located<AddressRange>> = None;
    for range in sorted {
        if let Some(other) = widest.filter(|other| other.value.overlaps(&range.value)) {
            let in_order = other.spot.span.start < range.spot.span.start;
            let (first, second) = if in_order { (other, range) } else { (range, other) };
            let message = format!("{} overlaps {}", second.value, first.spot.refer());
            reader.error(&second.spot, message, "ranges that do not overlap");
        }
        if widest.is_none_or(|other| other.value.last < range.value.last) {
            widest = Some(range);
        }
    }
}

/// Reports a range that holds what something else uses.
fn check_free(reader: &mut Reader<'_>, raw: &Raw, range: &Located<AddressRange>) {
    let expected = "addresses that nothing else uses";
    let mut in_use = addresses_in_use(raw);
    if let Some((address, place)) = in_use.find(|(address, _)| range.value.contains(*address)) {
        let message =
            format!("{} holds {address}, which is taken by {}", range.value, place.refer());
        reader.error(&range.spot, message, expected);
        return;
    }
    let overlaps = |net: &&Located<IpNet>| range.value.overlaps(&net.value.into());
    let cluster = raw.cluster.pod_cidrs.iter().chain(&raw.cluster.service_cidrs);
    if let Some(net) = raw.snat.addresses.iter().chain(cluster).find(overlaps) {
        let message = format!("{} overlaps {} of {}", range.value, net.value, net.spot.refer());
        reader.error(&range.spot, message, expected);
    }
}

/// Reports a range that holds what is no host of a connected subnet.
fn check_subnets(reader: &mut Reader<'_>, raw: &Raw, range: &Located<AddressRange>) {
    for connected in raw.ports.iter().flat_map(|port| &port.addresses) {
        let subnet = connected.value.trunc();
        let ends = [subnet.network(), subnet.broadcast()].into_iter();
        let mut ends = ends.filter(|end| range.value.contains(*end));
        let unusable = ends.find_map(|end| not_a_host(&subnet, end).map(|reason| (end, reason)));
        if let Some((end, reason)) = unusable {
            let place = connected.spot.refer();
            let message = format!("{} holds {end}, {reason}, {place}", range.value);
            reader.error(&range.spot, message, "addresses that a host can have");
        }
    }
}
