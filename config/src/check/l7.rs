//! The addresses where requests end against all else.

use super::prefixes::addresses_in_use;
use crate::document::Raw;
use crate::load_balancer::RawLoadBalancer;
use crate::read::{Reader, not_a_host};

pub(crate) fn check(reader: &mut Reader<'_>, raw: &Raw) {
    let Some(l7) = &raw.l7 else { return };
    for (address, spot) in l7.vips() {
        let mut in_use = addresses_in_use(raw);
        let used = in_use.find(|(other, _)| *other == address).map(|(_, spot)| spot);
        let cluster = raw.cluster.pod_cidrs.iter().chain(&raw.cluster.service_cidrs);
        let mut nets = raw.snat.addresses.iter().chain(cluster);
        let net = nets.find(|net| net.value.contains(&address)).map(|net| &net.spot);
        let mut ranges = raw.load_balancer.iter().flat_map(RawLoadBalancer::ranges);
        let range = ranges.find(|range| range.value.contains(address)).map(|range| &range.spot);
        if let Some(owner) = used.or(net).or(range) {
            let message = format!("{address} is taken by {}", owner.refer());
            reader.error(spot, message, "an address that nothing else uses");
        }
        for connected in raw.ports.iter().flat_map(|port| &port.addresses) {
            if let Some(reason) = not_a_host(&connected.value.trunc(), address) {
                let message = format!("{address} is {reason}, {}", connected.spot.refer());
                reader.error(spot, message, "the address of a host");
            }
        }
    }
}
