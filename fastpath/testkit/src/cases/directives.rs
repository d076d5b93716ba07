//! The lines that set the gateway up, and change what it is told.

use std::net::{IpAddr, SocketAddr};

use sluice_fastpath::flow::State;
use sluice_tables::{BackendState, Balance, Carriage, NatMode};

use super::policy;
use super::step::{duration, number, port};
use crate::gateway::GatewayOptions;
use crate::gateway::topology::{Endpoint, Host, Node, Prefix, Rules, ServiceKey, Topology, Way};
use crate::packet::Mac;

/// How the gateway is made; fixed once it runs.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) gateway: GatewayOptions,
    /// Whether the hosts are known as neighbors at the start.
    pub(super) neighbors_known: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { gateway: GatewayOptions::default(), neighbors_known: true }
    }
}

/// Applies a line about how the gateway is made; false if the line is none.
///
/// # Errors
/// What was expected.
pub(super) fn option(words: &[&str], options: &mut Options) -> Result<bool, String> {
    let count = |text: &str| number(text).map(|n| n as usize);
    let gateway = &mut options.gateway;
    match words {
        ["workers", n] => gateway.workers = count(n)?,
        ["flows-max", n] => gateway.flows_max = count(n)?,
        ["affinities-max", n] => gateway.affinities_max = count(n)?,
        ["frames", n] => gateway.frames = count(n)?,
        ["tx-room", n] => gateway.tx_room = count(n)?,
        ["ring", n] => gateway.ring_len = count(n)?,
        ["seed", n] => gateway.seed = number(n)?,
        ["errors-per-second", n] => gateway.errors_per_second = count(n)? as u32,
        ["neighbors", "none"] => options.neighbors_known = false,
        ["neighbors", "reachable", time] => {
            gateway.neighbors.reachable_ns = duration(time)?.as_nanos() as u64;
        }
        ["neighbors", "max", n] => gateway.neighbors.neighbors_max = count(n)?,
        ["neighbors", "queue", n] => gateway.neighbors.queue_len = count(n)?,
        ["neighbors", "probes", n] => gateway.neighbors.probes_max = count(n)? as u8,
        ["limit", name, n] => {
            let limits = &mut gateway.limits;
            let limit = match *name {
                "per_source" => &mut limits.per_source,
                "per_source_half_open" => &mut limits.per_source_half_open,
                "per_service" => &mut limits.per_service,
                "per_service_half_open" => &mut limits.per_service_half_open,
                _ => return Err(format!("expected a key of `flows.limits`, found `{name}`")),
            };
            *limit = count(n)? as u32;
        }
        ["fragments", "max", n] => gateway.fragments.datagrams_max = count(n)?,
        ["fragments", "held", n] => gateway.fragments.held_max = count(n)?,
        ["fragments", "timeout", time] => {
            gateway.fragments.timeout_ns = duration(time)?.as_nanos() as u64;
        }
        ["timeout", name, time] => {
            let state = STATES.iter().find(|state| state.label() == *name);
            let labels: Vec<&str> = STATES.iter().map(|state| state.label()).collect();
            let unknown = || format!("expected one of {}, found `{name}`", labels.join(", "));
            let ms = duration(time)?.as_millis() as u32;
            gateway.timeouts.set(*state.ok_or_else(unknown)?, ms);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

const STATES: [State; 17] = [
    State::SynSent,
    State::SynRecv,
    State::Established,
    State::FinWait,
    State::CloseWait,
    State::LastAck,
    State::TimeWait,
    State::Close,
    State::SctpInit,
    State::SctpCookie,
    State::SctpEstablished,
    State::SctpShutdown,
    State::SctpClosed,
    State::UdpNew,
    State::UdpStream,
    State::Icmp,
    State::Generic,
];

/// Applies a line about the network or the cluster; false if the line is none.
///
/// # Errors
/// What was expected.
pub(super) fn topology(words: &[&str], topology: &mut Topology) -> Result<bool, String> {
    match words {
        ["service", key, "gone"] => {
            topology.services.remove(&service_key(key)?);
        }
        ["service", key, "->", endpoints @ ..] => {
            let key = service_key(key)?;
            if !topology.is_own(key.addr) {
                topology.vips.entry(key.addr).or_insert(false);
            }
            topology.services.insert(key, endpoint_list(endpoints)?);
        }
        ["vip", addr, "gone"] => {
            let addr = address(addr)?;
            topology.vips.remove(&addr);
            topology.services.retain(|key, _| key.addr != addr);
        }
        ["vip", addr, "withdrawn"] => {
            topology.vips.remove(&address(addr)?);
        }
        ["vip", addr] => {
            topology.vips.insert(address(addr)?, true);
        }
        ["affinity", key, time] => {
            let ms = if *time == "none" { None } else { Some(duration(time)?.as_millis() as u32) };
            rules_mut(key, topology)?.affinity_ms = ms;
        }
        ["sources", key, "everyone"] => rules_mut(key, topology)?.sources = None,
        ["sources", key, prefixes @ ..] => {
            let prefixes = prefixes.iter().map(|text| text.trim_end_matches(',').parse());
            rules_mut(key, topology)?.sources = Some(prefixes.collect::<Result<_, _>>()?);
        }
        ["policy", key, policy @ ("local" | "prefer-node" | "cluster")] => {
            let rules = rules_mut(key, topology)?;
            rules.is_local = *policy == "local";
            rules.prefers_node = *policy == "prefer-node";
        }
        ["pod", pod, direction @ ("ingress" | "egress"), rest @ ..] => {
            policy::set((address(pod)?, direction), rest, topology)?;
        }
        ["lapsed", "none"] => topology.lapsed.clear(),
        ["lapsed", addr, "as", other] => {
            topology.lapsed.insert(address(addr)?, address(other)?);
        }
        ["names", "wanted"] => topology.names_wanted = true,
        ["names", "unwanted"] => topology.names_wanted = false,
        ["dns-servers", "none"] => topology.dns_servers.clear(),
        ["dns-servers", prefixes @ ..] => {
            let prefixes = prefixes.iter().map(|text| policy::peer_of(text.trim_end_matches(',')));
            topology.dns_servers = prefixes.collect::<Result<_, _>>()?;
        }
        ["balance", key, how] => {
            rules_mut(key, topology)?.balance = match *how {
                "consistent" => Balance::Consistent,
                "least-connections" => Balance::LeastConnections,
                "random-of-two" => Balance::RandomOfTwo,
                other => {
                    let expected = "consistent, least-connections or random-of-two";
                    return Err(format!("expected {expected}, found `{other}`"));
                }
            };
        }
        ["near", zone, key, "->", endpoints @ ..] => {
            let near = endpoint_list(endpoints)?;
            rules_mut(key, topology)?.zones.insert((*zone).to_owned(), near);
        }
        ["zone", whose, zone] => {
            topology.zones.insert((*whose).to_owned(), (*zone).to_owned());
        }
        ["weight", of, n] => {
            topology.weights.insert(endpoint(of)?, number(n)? as u16);
        }
        ["backend", of, state] => set_backend(endpoint(of)?, state, topology)?,
        ["route", prefix, "gone"] => {
            topology.routes.remove(&prefix.parse()?);
        }
        ["route", prefix, way @ ..] => {
            topology.routes.insert(prefix.parse()?, parse_way(way)?);
        }
        ["node", name, "gone"] => {
            for slot in &mut topology.nodes {
                slot.take_if(|node| node.name == *name);
            }
        }
        ["node", name, addresses @ .., "mac", mac, mac_v6] => {
            add_node(name, addresses, [mac.parse()?, mac_v6.parse()?], topology)?;
        }
        ["node", name, addresses @ .., "mac", mac] => {
            add_node(name, addresses, [mac.parse()?; 2], topology)?;
        }
        ["neighbor", of, addr, mac] => {
            let host = Host { port: port(of)?, addr: address(addr)?, mac: mac.parse()? };
            topology.hosts.retain(|known| (known.port, known.addr) != (host.port, host.addr));
            topology.hosts.push(host);
        }
        ["snat", "mode", "preserve"] => topology.snat.mode = NatMode::Preserve,
        ["snat", "mode", "snat"] => topology.snat.mode = NatMode::Snat,
        ["snat", "pool", "nothing"] => topology.snat.addresses.clear(),
        ["snat", "pool", range] => topology.snat.addresses = addresses(range)?,
        ["snat", "ports", range] => {
            let (low, high) = range.split_once("..").unwrap_or((range, range));
            topology.snat.ports = (number(low)? as u16, number(high)? as u16);
        }
        ["mtu", "tunnel", n] => topology.vxlan.mtu = number(n)? as u16,
        ["mtu", of, n] => port_mut(of, topology)?.mtu = number(n)? as u16,
        ["vlan", of, "none"] => port_mut(of, topology)?.vlan = None,
        ["vlan", of, n] => port_mut(of, topology)?.vlan = Some(number(n)? as u16),
        ["announce", of, "on"] => port_mut(of, topology)?.announce_vips = true,
        ["announce", of, "off"] => port_mut(of, topology)?.announce_vips = false,
        ["address", of, prefix] => {
            let Prefix { addr, len } = prefix.parse()?;
            let port = port_mut(of, topology)?;
            match addr {
                IpAddr::V4(addr) => port.v4.push((addr.octets(), len)),
                IpAddr::V6(addr) => port.v6.push((addr.octets(), len)),
            }
        }
        ["kernel-address", of, addr] => {
            topology.kernel_addresses.push((port(of)?, address(addr)?));
        }
        ["vni", n] => topology.vxlan.vni = number(n)? as u32,
        ["vxlan-port", n] => topology.vxlan.udp_port = number(n)? as u16,
        ["tunnel-device", name, addr] => {
            topology.tunnel_devices.insert(address(addr)?, (*name).to_owned());
        }
        ["underlay", "each"] => topology.vxlan.carriage = Carriage::SameFamily,
        ["underlay", "ipv6"] => topology.vxlan.v4 = None,
        ["underlay", "ipv4"] => topology.vxlan.v6 = None,
        _ => return Ok(false),
    }
    Ok(true)
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("expected an address, found `{text}`"))
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let socket: SocketAddr =
        text.parse().map_err(|_| format!("expected ADDRESS:PORT, found `{text}`"))?;
    Ok((socket.ip(), socket.port()))
}

fn endpoint_list(words: &[&str]) -> Result<Vec<Endpoint>, String> {
    match words {
        ["nothing"] => Ok(Vec::new()),
        list => list.iter().map(|text| endpoint(text.trim_end_matches(','))).collect(),
    }
}

/// What a Service that there is asks for.
fn rules_mut<'a>(key: &str, topology: &'a mut Topology) -> Result<&'a mut Rules, String> {
    let key = service_key(key)?;
    if !topology.services.contains_key(&key) {
        return Err(format!("there is no service {}:{}", key.addr, key.l4_port));
    }
    Ok(topology.rules.entry(key).or_default())
}

fn service_key(text: &str) -> Result<ServiceKey, String> {
    let expected = || format!("expected VIP:PORT/tcp, /udp or /sctp, found `{text}`");
    let (socket, protocol) = text.split_once('/').ok_or_else(expected)?;
    let protocol = protocol_of(protocol).ok_or_else(expected)?;
    let (addr, l4_port) = endpoint(socket).map_err(|_| expected())?;
    Ok(ServiceKey { addr, l4_port, protocol })
}

fn set_backend(endpoint: Endpoint, state: &str, topology: &mut Topology) -> Result<(), String> {
    let state = match state {
        "ready" => BackendState::Ready,
        "draining" => BackendState::Draining,
        "notready" => BackendState::NotReady,
        "gone" => BackendState::Gone,
        other => {
            return Err(format!("expected ready, draining, notready or gone, found `{other}`"));
        }
    };
    if !topology.services.values().any(|list| list.contains(&endpoint)) {
        return Err(format!("no service has {}:{}", endpoint.0, endpoint.1));
    }
    topology.states.remove(&endpoint);
    if state == BackendState::Gone {
        for list in topology.services.values_mut() {
            list.retain(|known| *known != endpoint);
        }
    } else if state != BackendState::Ready {
        topology.states.insert(endpoint, state);
    }
    Ok(())
}

pub(super) fn protocol_of(text: &str) -> Option<u8> {
    match text {
        "tcp" => Some(6),
        "udp" => Some(17),
        "sctp" => Some(132),
        _ => None,
    }
}

fn parse_way(words: &[&str]) -> Result<Way, String> {
    match words {
        ["blackhole"] => Ok(Way::Blackhole),
        ["port", of] => Ok(Way::Connected(port(of)?)),
        ["via", next_hop, "port", of] => Ok(Way::Via(port(of)?, address(next_hop)?)),
        _ => Err("expected `via ADDRESS port pN`, `port pN`, `blackhole` or `gone`".to_owned()),
    }
}

/// `node NAME UNDERLAY... pods PREFIX... mac MAC [MAC of the device over IPv6]`
fn add_node(
    name: &str,
    words: &[&str],
    [overlay_mac, overlay_mac_v6]: [Mac; 2],
    topology: &mut Topology,
) -> Result<(), String> {
    let (name, pods) = (name.to_owned(), Vec::new());
    let mut node = Node { name, v4: None, v6: None, overlay_mac, overlay_mac_v6, pods };
    let pods = words.iter().position(|word| *word == "pods").unwrap_or(words.len());
    for word in &words[..pods] {
        match address(word)? {
            IpAddr::V4(addr) => node.v4 = Some(addr),
            IpAddr::V6(addr) => node.v6 = Some(addr),
        }
    }
    for word in words.iter().skip(pods + 1) {
        node.pods.push(word.parse()?);
    }
    let known = topology
        .nodes
        .iter_mut()
        .find(|slot| slot.as_ref().is_some_and(|known| known.name == node.name));
    match known {
        Some(slot) => *slot = Some(node),
        None => topology.nodes.push(Some(node)),
    }
    Ok(())
}

/// `ADDRESS` or `FIRST..LAST`.
fn addresses(range: &str) -> Result<Vec<IpAddr>, String> {
    let Some((first, last)) = range.split_once("..") else { return Ok(vec![address(range)?]) };
    let bits = |addr: IpAddr| match addr {
        IpAddr::V4(addr) => u128::from(addr.to_bits()),
        IpAddr::V6(addr) => addr.to_bits(),
    };
    let (first, last) = (address(first)?, address(last)?);
    let of_family = |bits: u128| match first {
        IpAddr::V4(_) => IpAddr::V4((bits as u32).into()),
        IpAddr::V6(_) => IpAddr::V6(bits.into()),
    };
    let (low, high) = (bits(first), bits(last));
    if first.is_ipv4() != last.is_ipv4() || low > high || high - low > 0xffff {
        return Err(format!("expected FIRST..LAST of at most 65536 addresses, found `{range}`"));
    }
    Ok((low..=high).map(of_family).collect())
}

fn port_mut<'a>(
    text: &str,
    topology: &'a mut Topology,
) -> Result<&'a mut sluice_tables::PortLocal, String> {
    let number = port(text)?;
    topology.ports.get_mut(number).ok_or_else(|| format!("there is no port {text}"))
}
