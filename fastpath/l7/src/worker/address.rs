//! The gateway's end of connections that it opens itself.

use sluice_tables::{Family, FamilyTables, RouteTarget, Tables, V4, V6};
use std::net::{IpAddr, SocketAddr};

/// Ports that are looked at until one brings its answers to a worker: of 64 workers, four
/// in 256 are its own.
const PORTS_TRIED: u32 = 256;

/// An address and port of the SNAT pool whose answers come to `worker`; a random one (RFC
/// 6056 section 3.3.1). The flow that begins with it sees to it that no other has it.
pub(super) fn local_end(
    tables: &Tables,
    worker: usize,
    to: IpAddr,
    random: &mut fastrand::Rng,
) -> Option<SocketAddr> {
    match to {
        IpAddr::V4(_) => of_pool(tables, &tables.v4, worker, random),
        IpAddr::V6(_) => of_pool(tables, &tables.v6, worker, random),
    }
}

fn of_pool<F: Family>(
    tables: &Tables,
    family: &FamilyTables<F>,
    worker: usize,
    random: &mut fastrand::Rng,
) -> Option<SocketAddr> {
    let pool = &family.snat;
    let addr = *pool.addresses.get(random.usize(..pool.addresses.len().max(1)))?;
    let ports = u32::from(pool.port_max.checked_sub(pool.port_min)?) + 1;
    let offset = random.u32(..ports);
    let port = (0..PORTS_TRIED)
        .map(|step| pool.port_min + ((offset + step) % ports) as u16)
        .find(|port| tables.owners.of_l4_port(*port) == worker)?;
    Some(SocketAddr::new(F::to_ip(addr), port))
}

/// The largest IP packet that the way to an address is configured for, in bytes.
pub(super) fn path_mtu(tables: &Tables, to: IpAddr) -> Option<u16> {
    match to {
        IpAddr::V4(_) => mtu_of(tables, &tables.v4, V4::from_ip(to)?),
        IpAddr::V6(_) => mtu_of(tables, &tables.v6, V6::from_ip(to)?),
    }
}

fn mtu_of<F: Family>(tables: &Tables, family: &FamilyTables<F>, to: F::Addr) -> Option<u16> {
    match family.route(&to)? {
        RouteTarget::Connected(port) | RouteTarget::Via(port, _) => {
            tables.port(port).map(|port| port.mtu)
        }
        RouteTarget::Tunnel(_) => tables.local.vxlan.as_ref().map(|vxlan| vxlan.mtu),
        RouteTarget::Blackhole => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_tables::{OwnerMap, SnatPool};
    use std::sync::Arc;

    #[test]
    fn the_end_is_of_the_pool_and_its_answers_come_to_the_worker() {
        let mut tables = Tables::empty(3);
        tables.owners = OwnerMap::even(3).with_seed(7);
        let v4 = SnatPool {
            addresses: vec![[10, 0, 0, 1], [10, 0, 0, 2]],
            port_min: 2_000,
            port_max: 2_299,
            ..SnatPool::default()
        };
        tables.v4.snat = Arc::new(v4);
        let mut random = fastrand::Rng::with_seed(1);
        let to: IpAddr = "10.1.0.7".parse().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for worker in 0..3 {
            for _ in 0..200 {
                let end = local_end(&tables, worker, to, &mut random).unwrap();
                assert_eq!(tables.owners.of_l4_port(end.port()), worker);
                assert!((2_000..2_300).contains(&end.port()));
                seen.insert(end.ip());
            }
        }
        assert_eq!(seen.len(), 2);
        assert_eq!(local_end(&tables, 0, "2001:db8::7".parse().unwrap(), &mut random), None);
    }
}
