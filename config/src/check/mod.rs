//! Checks across sections: what no section can judge alone.

mod addresses;

mod balancers;

mod l7;

mod prefixes;

use crate::document::Raw;
use crate::ports::PortIndex;
use crate::read::Reader;
use crate::snat::SnatMode;

/// Checks the sections against each other and reports what does not fit.
pub(crate) fn check(reader: &mut Reader<'_>, raw: &Raw) {
    crate::ports::check_unique(reader, &raw.ports);
    addresses::check(reader, raw);
    prefixes::check(reader, raw);
    balancers::check(reader, raw);
    l7::check(reader, raw);
    check_mtu(reader, raw);
    warn_missing_family(reader, raw);
}

fn check_mtu(reader: &mut Reader<'_>, raw: &Raw) {
    let prefixes = [&raw.snat.addresses, &raw.cluster.pod_cidrs, &raw.cluster.service_cidrs];
    let ipv6 = prefixes.into_iter().flatten().any(|net| net.value.addr().is_ipv6());
    if let Some((vxlan, Ok(PortIndex(port)))) = &raw.overlay
        && let Some(port) = raw.ports.get(*port)
    {
        vxlan.check_mtu(reader, port, ipv6);
    }
}

/// Warns if there are pods of a family but no address to translate their clients to.
fn warn_missing_family(reader: &mut Reader<'_>, raw: &Raw) {
    if raw.snat.mode != Ok(SnatMode::Snat) || raw.snat.addresses.is_empty() {
        return;
    }
    for (family, ipv4) in [("IPv4", true), ("IPv6", false)] {
        let pods = raw.cluster.pod_cidrs.iter().find(|net| net.value.addr().is_ipv4() == ipv4);
        let pool = raw.snat.addresses.iter().any(|net| net.value.addr().is_ipv4() == ipv4);
        if let (Some(pods), false) = (pods, pool) {
            let message = format!("{family} pods, but no {family} address in `snat.addresses`");
            let help = format!("add one, or no client reaches a Service by {family}");
            reader.warn(&pods.spot, message, &help);
        }
    }
}
