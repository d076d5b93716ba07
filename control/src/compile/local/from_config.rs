//! From the configuration to what the tables have of it.

use super::{PortFacts, SetupError, StaticHalf};
use hashbrown::HashMap;
use ipnet::IpNet;
use sluice_config::{Config, SnatMode, VXLAN_OVERHEAD_V4};
use sluice_tables::{
    Carriage, Family, LocalAddress, NatMode, PortId, PortLocal, RouteTarget, SnatPool, V4, V6,
    Vxlan,
};
use std::net::IpAddr;
use std::sync::Arc;

/// Sluice's own addresses on ports that serve node ports.
pub(super) fn node_ports(config: &Config, v4: &StaticHalf<V4>, v6: &StaticHalf<V6>) -> Vec<IpAddr> {
    let is_port = |own: &LocalAddress| matches!(own, LocalAddress::Port(_));
    let v4 = v4.own.iter().filter(|(_, own)| is_port(own)).map(|(addr, _)| V4::to_ip(*addr));
    let v6 = v6.own.iter().filter(|(_, own)| is_port(own)).map(|(addr, _)| V6::to_ip(*addr));
    let told = config.services.node_port_addresses.as_deref();
    let is_told = |addr: &IpAddr| told.is_none_or(|told| told.iter().any(|net| net.contains(addr)));
    let mut addresses: Vec<IpAddr> = v4.chain(v6).filter(is_told).collect();
    addresses.sort_unstable();
    addresses
}

pub(super) fn subnets(config: &Config) -> Vec<(IpNet, PortId)> {
    let ports = config.ports.iter().enumerate();
    let subnets = ports.flat_map(|(index, port)| {
        port.addresses.iter().map(move |net| (net.trunc(), port_id(index)))
    });
    subnets.collect()
}

fn port_id(index: usize) -> PortId {
    PortId(u8::try_from(index).unwrap_or(u8::MAX))
}

pub(super) fn ports(config: &Config, facts: &[PortFacts]) -> Vec<PortLocal> {
    let port = |(index, (port, facts)): (usize, (&sluice_config::Port, &PortFacts))| PortLocal {
        id: port_id(index),
        name: port.name.to_string(),
        mac: facts.mac,
        mtu: port.mtu.unwrap_or(facts.mtu),
        vlan: port.vlan,
        announce_vips: port.announce_vips,
        v4: addresses::<V4>(&port.addresses),
        v6: addresses::<V6>(&port.addresses),
    };
    config.ports.iter().zip(facts).enumerate().map(port).collect()
}

fn addresses<F: Family>(nets: &[IpNet]) -> Vec<(F::Addr, u8)> {
    nets.iter().filter_map(|net| Some((F::from_ip(net.addr())?, net.prefix_len()))).collect()
}

pub(super) fn vxlan(config: &Config, facts: &[PortFacts]) -> Result<Option<Vxlan>, SetupError> {
    let Some(overlay) = &config.overlay else { return Ok(None) };
    let vxlan = &overlay.vxlan;
    let port = config.port(vxlan.port);
    let underlay_mtu = port.mtu.or_else(|| facts.get(vxlan.port.0).map(|f| f.mtu)).unwrap_or(0);
    let mtu = vxlan.inner_mtu(underlay_mtu, config.uses_ipv6()).map_err(|error| {
        SetupError::Mtu { port: port.name.to_string(), mtu: underlay_mtu, error }
    })?;
    let (carriage, mtu) = match (vxlan.is_of_same_family(), vxlan.mtu) {
        (false, _) => (Carriage::Any, mtu),
        // Only what is IPv6 has the longer header: a tunnel is told its port's MTU as well.
        (true, None) if vxlan.addresses.v4.is_some() => {
            (Carriage::SameFamily, underlay_mtu.saturating_sub(VXLAN_OVERHEAD_V4))
        }
        (true, _) => (Carriage::SameFamily, mtu),
    };
    Ok(Some(Vxlan {
        port: port_id(vxlan.port.0),
        vni: vxlan.vni,
        udp_port: vxlan.udp_port,
        mac: vxlan.mac.0,
        mtu,
        carriage,
        v4: vxlan.addresses.v4.map(|ip| ip.octets()),
        v6: vxlan.addresses.v6.map(|ip| ip.octets()),
    }))
}

pub(super) fn half<F: Family>(
    config: &Config,
    pool: impl Iterator<Item = F::Addr>,
) -> StaticHalf<F> {
    let pool: Vec<F::Addr> = pool.collect();
    let mut own: HashMap<F::Addr, LocalAddress> = HashMap::new();
    own.extend(pool.iter().map(|addr| (*addr, LocalAddress::Snat)));
    if let Some(overlay) = &config.overlay {
        let port = LocalAddress::Port(port_id(overlay.vxlan.port.0));
        own.extend(overlay.vxlan.addresses.iter().filter_map(F::from_ip).map(|addr| (addr, port)));
    }
    for (index, port) in config.ports.iter().enumerate() {
        let id = port_id(index);
        let ours = port.addresses.iter().filter_map(|net| F::from_ip(net.addr()));
        own.extend(ours.map(|addr| (addr, LocalAddress::Port(id))));
        // Last: of an address that both use, the kernel answers for all but the
        // tunnel, which the port keeps apart.
        let kernel = port.kernel_addresses.iter().copied().filter_map(F::from_ip);
        own.extend(kernel.map(|addr| (addr, LocalAddress::Kernel(id))));
    }
    let mode = match config.snat.mode {
        SnatMode::Snat => NatMode::Snat,
        SnatMode::Preserve => NatMode::Preserve,
    };
    let ports = config.snat.ports;
    let snat = SnatPool { mode, addresses: pool, port_min: ports.min, port_max: ports.max };
    StaticHalf {
        own: Arc::new(own),
        snat: Arc::new(snat),
        blackholes: blackholes::<F>(config),
        routes: routes(config),
    }
}

pub(in crate::compile) fn prefix<F: Family>(net: &IpNet) -> Option<(F::Addr, u8)> {
    Some((F::from_ip(net.network())?, net.prefix_len()))
}

/// Addresses of Services and pods that nobody has must not follow the default
/// route. Without an overlay, pods are reached by routes, so theirs are left.
fn blackholes<F: Family>(config: &Config) -> Vec<(F::Addr, u8)> {
    let pods = config.cluster.pod_cidrs.iter().filter(|_| config.overlay.is_some());
    pods.chain(&config.cluster.service_cidrs).filter_map(prefix::<F>).collect()
}

fn routes<F: Family>(config: &Config) -> Vec<(F::Addr, u8, RouteTarget<F>)> {
    let connected = config.ports.iter().enumerate().flat_map(|(index, port)| {
        let target = RouteTarget::Connected(port_id(index));
        let prefixes = port.addresses.iter().filter_map(prefix::<F>);
        prefixes.map(move |(addr, len)| (addr, len, target))
    });
    let told = config.routes.iter().filter_map(|route| {
        let (addr, len) = prefix::<F>(&route.to)?;
        let port = port_id(route.port.0);
        let target = match route.via {
            Some(via) => RouteTarget::Via(port, F::from_ip(via)?),
            None => RouteTarget::Connected(port),
        };
        Some((addr, len, target))
    });
    connected.chain(told).collect()
}
