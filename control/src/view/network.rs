use super::mac_text;
use crate::publish::WorkerNeighbor;
use serde::{Deserialize, Serialize};
use sluice_tables::{Family, PortId, RouteTarget, Tables, V4, V6, Vtep, VtepId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Neighbors, and whether these are all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighborsView {
    /// The neighbors, by port and address.
    pub neighbors: Vec<NeighborView>,
    /// False: there may be more; there was no room, or a worker did not answer
    /// in time.
    pub complete: bool,
}

/// One neighbor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighborView {
    /// The port it is on.
    pub port: String,
    /// Its address.
    pub address: String,
    /// Its MAC, once known.
    pub mac: Option<String>,
    /// `incomplete`, `reachable`, `stale`, `probe` or `failed`.
    pub state: String,
    /// Milliseconds since it was last confirmed; `None` while its MAC is not
    /// known.
    pub confirmed_ms: Option<u64>,
    /// Packets that wait for it, on all workers.
    pub waiting: u32,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteView {
    /// The destinations.
    pub prefix: String,
    /// `connected`, `via`, `tunnel` or `blackhole`.
    pub kind: String,
    /// The port, for `connected` and `via`.
    pub port: Option<String>,
    /// The next hop, for `via`.
    pub via: Option<String>,
    /// The node, for `tunnel`.
    pub node: Option<String>,
}

/// The tunnel to one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelView {
    /// Its number.
    pub id: u32,
    /// The node.
    pub node: String,
    /// Its addresses on the underlay.
    pub addresses: Vec<String>,
    /// The MACs of its VXLAN devices, over IPv4 and over IPv6; one if they are the same.
    pub mac: String,
    /// What is reached through it.
    pub prefixes: Vec<String>,
}

fn port_name(tables: &Tables, id: PortId) -> String {
    tables.port(id).map_or_else(|| id.0.to_string(), |port| port.name.clone())
}

/// All neighbors, once each: several workers know the same ones.
pub(crate) fn neighbors_view(
    tables: &Tables,
    neighbors: Vec<WorkerNeighbor>,
    complete: bool,
) -> NeighborsView {
    let mut merged: BTreeMap<(PortId, IpAddr), NeighborView> = BTreeMap::new();
    for (_, neighbor) in neighbors {
        let view = NeighborView {
            port: port_name(tables, neighbor.port),
            address: neighbor.addr.to_string(),
            mac: neighbor.mac.map(mac_text),
            state: neighbor.state.to_owned(),
            confirmed_ms: neighbor.mac.map(|_| neighbor.confirmed_ms),
            waiting: 0,
        };
        let entry = merged.entry((neighbor.port, neighbor.addr)).or_insert_with(|| view.clone());
        let waiting = entry.waiting.saturating_add(neighbor.waiting);
        // The freshest news counts.
        let is_better =
            (view.mac.is_some(), entry.confirmed_ms) > (entry.mac.is_some(), view.confirmed_ms);
        if is_better {
            *entry = view;
        }
        entry.waiting = waiting;
    }
    NeighborsView { neighbors: merged.into_values().collect(), complete }
}

/// All routes, IPv4 first, by prefix.
pub(crate) fn routes(tables: &Tables) -> Vec<RouteView> {
    let mut views = routes_of::<V4>(tables);
    views.extend(routes_of::<V6>(tables));
    views
}

fn routes_of<F: Family>(tables: &Tables) -> Vec<RouteView> {
    // Of equal prefixes the last one counts.
    let by_prefix: BTreeMap<_, _> =
        F::of(tables).all_routes().map(|(addr, len, target)| ((addr, len), target)).collect();
    let view = |((addr, len), target): ((F::Addr, u8), RouteTarget<F>)| {
        let mut view = RouteView {
            prefix: format!("{}/{len}", F::to_ip(addr)),
            kind: String::new(),
            port: None,
            via: None,
            node: None,
        };
        view.kind = match target {
            RouteTarget::Connected(port) => {
                view.port = Some(port_name(tables, port));
                "connected"
            }
            RouteTarget::Via(port, via) => {
                view.port = Some(port_name(tables, port));
                view.via = Some(F::to_ip(via).to_string());
                "via"
            }
            RouteTarget::Tunnel(vtep) => {
                view.node = tables.vtep(vtep).map(|vtep| vtep.name.to_string());
                "tunnel"
            }
            RouteTarget::Blackhole => "blackhole",
        }
        .to_owned();
        view
    };
    by_prefix.into_iter().map(view).collect()
}

/// All tunnels, by node.
pub(crate) fn tunnels(tables: &Tables) -> Vec<TunnelView> {
    let mut prefixes: BTreeMap<VtepId, Vec<String>> = BTreeMap::new();
    add_prefixes::<V4>(tables, &mut prefixes);
    add_prefixes::<V6>(tables, &mut prefixes);
    let mut views: Vec<TunnelView> = (0..)
        .zip(tables.vteps.iter())
        .filter_map(|(id, vtep)| {
            let vtep = vtep.as_ref()?;
            let v4 = vtep.v4.map(|addr| V4::to_ip(addr).to_string());
            let v6 = vtep.v6.map(|addr| V6::to_ip(addr).to_string());
            Some(TunnelView {
                id,
                node: vtep.name.to_string(),
                addresses: v4.into_iter().chain(v6).collect(),
                mac: macs(vtep),
                prefixes: prefixes.remove(&VtepId(id)).unwrap_or_default(),
            })
        })
        .collect();
    views.sort_by(|a, b| a.node.cmp(&b.node));
    views
}

/// The MACs of the devices that a node has.
fn macs(vtep: &Vtep) -> String {
    let v4 = vtep.v4.map(|_| mac_text(vtep.mac_v4));
    let v6 = vtep.v6.map(|_| mac_text(vtep.mac_v6)).filter(|v6| v4.as_ref() != Some(v6));
    v4.into_iter().chain(v6).collect::<Vec<_>>().join(" ")
}

fn add_prefixes<F: Family>(tables: &Tables, prefixes: &mut BTreeMap<VtepId, Vec<String>>) {
    let routes: BTreeSet<_> = F::of(tables)
        .all_routes()
        .filter_map(|(addr, len, target)| match target {
            RouteTarget::Tunnel(vtep) => Some((vtep, addr, len)),
            _ => None,
        })
        .collect();
    for (vtep, addr, len) in routes {
        prefixes.entry(vtep).or_default().push(format!("{}/{len}", F::to_ip(addr)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_tables::record::NeighborRecord;

    #[test]
    fn a_neighbor_is_confirmed_as_the_worker_that_heard_it_last_says() {
        let record = |host: u8, mac: Option<[u8; 6]>, confirmed_ms| NeighborRecord {
            port: PortId(0),
            addr: IpAddr::from([192, 0, 2, host]),
            mac,
            state: if mac.is_some() { "reachable" } else { "incomplete" },
            confirmed_ms,
            waiting: 1,
        };
        let mac = Some([2, 0, 0, 0, 0, 9]);
        let known = [
            (0, record(8, None, 10)),
            (0, record(9, None, 10)),
            (1, record(9, mac, 500)),
            (2, record(9, mac, 300)),
        ];
        let view = neighbors_view(&Tables::empty(1), known.to_vec(), true);
        let confirmed: Vec<_> = view.neighbors.iter().map(|one| one.confirmed_ms).collect();
        assert_eq!(confirmed, [None, Some(300)], "nobody has heard the first");
        assert_eq!(view.neighbors[1].waiting, 3, "on all workers");
    }
}
