//! Each address has one owner: a port, the kernel, or both for a tunnel endpoint.

use std::collections::HashMap;
use std::net::IpAddr;

use super::prefixes::overlap;
use crate::document::Raw;
use crate::l7::{L7Io, RawL7};
use crate::load_balancer::RawLoadBalancer;
use crate::ports::PortIndex;
use crate::read::{Reader, Spot, not_a_host};

pub(crate) fn check(reader: &mut Reader<'_>, raw: &Raw) {
    let own = check_port_addresses(reader, raw);
    check_kernel_addresses(reader, raw, &own);
    check_tunnel_endpoints(reader, raw);
    check_metrics(reader, raw, &own);
    check_health_checks(reader, raw, &own);
    check_l7(reader, raw, &own);
    warn_node_ports(reader, raw, &own);
}

/// Sluice's own addresses and where they stand.
type Own<'r> = HashMap<IpAddr, &'r Spot>;

fn check_port_addresses<'r>(reader: &mut Reader<'_>, raw: &'r Raw) -> Own<'r> {
    let mut own = Own::new();
    for address in raw.ports.iter().flat_map(|port| &port.addresses) {
        let host = address.value.addr();
        if let Some(first) = own.get(&host) {
            let message = format!("{host} is taken by {}", first.refer());
            reader.error(&address.spot, message, "each address once");
        } else {
            own.insert(host, &address.spot);
        }
    }
    // Two ports in one subnet: the way out would be a matter of chance. Of two
    // that overlap, the smaller would hide hosts of the other.
    for (index, port) in raw.ports.iter().enumerate() {
        for address in &port.addresses {
            let subnet = address.value.trunc();
            let same_address = own.get(&address.value.addr()) != Some(&&address.spot);
            let mut earlier = raw.ports[..index].iter().flat_map(|port| &port.addresses);
            let overlapped = earlier.find(|first| overlap(&first.value.trunc(), &subnet));
            if let Some(first) = overlapped.filter(|_| !same_address) {
                let (net, place) = (first.value.trunc(), first.spot.refer());
                let message = if net == subnet {
                    format!("{subnet} is the subnet of {place}")
                } else {
                    format!("{subnet} overlaps {net}, the subnet of {place}")
                };
                reader.error(&address.spot, message, "a subnet of its own for each port");
            }
        }
    }
    own
}

fn check_kernel_addresses(reader: &mut Reader<'_>, raw: &Raw, own: &Own<'_>) {
    let mut seen: HashMap<(IpAddr, Option<usize>), &Spot> = HashMap::new();
    for (index, port) in raw.ports.iter().enumerate() {
        for address in &port.kernel_addresses {
            let value = address.value;
            // A link-local address means something on its link only.
            let scope = matches!(value, IpAddr::V6(v6) if v6.is_unicast_link_local());
            if let Some(first) = seen.insert((value, scope.then_some(index)), &address.spot) {
                let message = format!("{value} is taken by {}", first.refer());
                reader.error(&address.spot, message, "each address once");
            }
            if let Some(first) = own.get(&value)
                && !is_tunnel_endpoint(raw, value)
            {
                let message = format!("{value} is Sluice's own at {}", first.refer());
                let expected = "an address that Sluice does not use, or a tunnel endpoint's";
                reader.error(&address.spot, message, expected);
            }
            let nets = port.addresses.iter().map(|own| &own.value);
            if let Some(reason) = nets.filter_map(|net| not_a_host(net, value)).next() {
                let message = format!("{value} is {reason}");
                reader.error(&address.spot, message, "the address of a host");
            }
        }
    }
}

fn is_tunnel_endpoint(raw: &Raw, address: IpAddr) -> bool {
    raw.overlay
        .iter()
        .flat_map(|(vxlan, _)| &vxlan.addresses)
        .any(|endpoint| endpoint.value == address)
}

fn check_tunnel_endpoints(reader: &mut Reader<'_>, raw: &Raw) {
    let Some((vxlan, Ok(PortIndex(index)))) = &raw.overlay else { return };
    let Some(port) = raw.ports.get(*index) else { return };
    for endpoint in &vxlan.addresses {
        let value = endpoint.value;
        let held = port.addresses.iter().any(|address| address.value.addr() == value)
            || port.kernel_addresses.iter().any(|address| address.value == value);
        if !held {
            let own = port.addresses.iter().map(|address| address.value.addr());
            let kernel = port.kernel_addresses.iter().map(|address| address.value);
            let candidates: Vec<String> = own
                .chain(kernel)
                .filter(|address| address.is_ipv4() == value.is_ipv4())
                .map(|address| address.to_string())
                .collect();
            let expected = match &candidates[..] {
                [] => "an address or kernel address of `overlay.vxlan.port`".to_owned(),
                candidates => format!(
                    "an address or kernel address of `overlay.vxlan.port`: {}",
                    candidates.join(", ")
                ),
            };
            let message = format!("{value} is no address of the overlay's port");
            reader.error(&endpoint.spot, message, &*expected);
        }
    }
}

/// The metrics server has a kernel socket: frames to Sluice's addresses never reach it.
fn check_metrics(reader: &mut Reader<'_>, raw: &Raw, own: &Own<'_>) {
    let Ok(metrics) = &raw.metrics else { return };
    check_kernel_socket(reader, raw, own, metrics.listen.value.ip(), &metrics.listen.spot);
}

/// So have health checks.
fn check_health_checks(reader: &mut Reader<'_>, raw: &Raw, own: &Own<'_>) {
    let Ok(services) = &raw.services else { return };
    for address in services.health_check_addresses.iter().flatten() {
        check_kernel_socket(reader, raw, own, address.value, &address.spot);
    }
}

/// So has L7, if the kernel has its connections.
fn check_l7(reader: &mut Reader<'_>, raw: &Raw, own: &Own<'_>) {
    let of_kernel = raw.l7.iter().filter(|l7| l7.io == L7Io::Kernel);
    for address in of_kernel.flat_map(RawL7::addresses) {
        check_kernel_socket(reader, raw, own, address.value, &address.spot);
    }
}

fn check_kernel_socket(
    reader: &mut Reader<'_>,
    raw: &Raw,
    own: &Own<'_>,
    listen: IpAddr,
    spot: &Spot,
) {
    let kernel = raw.ports.iter().flat_map(|port| &port.kernel_addresses);
    let shared = kernel.into_iter().any(|address| address.value == listen);
    let pool = raw.snat.addresses.iter().find(|net| net.value.contains(&listen));
    let balancers = raw.load_balancer.iter().flat_map(RawLoadBalancer::ranges);
    let range = balancers.into_iter().find(|range| range.value.contains(listen));
    let owner = own.get(&listen).copied();
    let owner = owner.or(pool.map(|net| &net.spot)).or(range.map(|range| &range.spot));
    let mut vips = raw.l7.iter().flat_map(RawL7::vips);
    let vip = vips.find(|(address, _)| *address == listen).map(|(_, spot)| spot);
    let owner = owner.or(vip);
    if let Some(owner) = owner
        && !shared
    {
        let message = format!("{listen} is Sluice's own at {}", owner.refer());
        reader.error(spot, message, "an address of the kernel");
    }
}

/// A prefix that holds none of Sluice's addresses chooses nothing.
fn warn_node_ports(reader: &mut Reader<'_>, raw: &Raw, own: &Own<'_>) {
    let Ok(services) = &raw.services else { return };
    for net in services.node_port_addresses.iter().flatten() {
        if !own.keys().any(|address| net.value.contains(address)) {
            let message = format!("{} holds none of Sluice's addresses", net.value);
            let help = "NodePorts are served on addresses of `ports`; kernel addresses are not";
            reader.warn(&net.spot, message, help);
        }
    }
}
