//! Small fixed workloads for the instruction guard: the main paths, one by one.

use crate::cases::churn::Churn;
use crate::cases::fixed::{Fate, Fixed};
use crate::cases::steady::{Feed, Mix, Steady};
use crate::cases::{Case, PACKETS};
use crate::cluster::Cluster;
use crate::fair::requests::Requests;
use crate::frames::{Builder, Udp};
use crate::gateway::GatewayOptions;
use crate::site::{self, CLUSTER, Family, TARGET_PORT, UPLINK, Who};
use anyhow::{Result, bail};
use sluice_fastpath::DropReason;

/// Flows of the workloads whose flows are established.
const FLOWS: usize = 256;
/// Connections of the workloads of requests.
const CLIENTS: usize = 64;
/// Neighbors that ask, and destinations that are routed to.
const HOSTS: u32 = 64;

/// The workloads' names, and what they are.
pub const ALL: [(&str, &str); 13] = [
    ("v4-decap-hit", "IPv4 reply of a pod: out of VXLAN, known flow, out by the uplink"),
    ("v4-encap-hit", "IPv4 request of a client: known flow, into VXLAN"),
    ("v6-decap-hit", "the same as v4-decap-hit in IPv6"),
    ("v6-encap-hit", "the same as v4-encap-hit in IPv6"),
    ("v4-new-flow", "first IPv4 packets of a flow both ways, and its expiry; per flow"),
    ("v6-new-flow", "the same in IPv6"),
    ("routed-hit", "known IPv4 flow that is routed, not translated"),
    ("arp", "ARP request for an address of the gateway, answered"),
    ("nd", "Neighbor Solicitation for an address of the gateway, answered"),
    ("truncated", "frame cut off inside its IPv4 header, dropped"),
    ("handoff", "v4 requests and replies through the worker that does not own them"),
    ("v4-request", "HTTP/1.1 over IPv4: a KiB on a kept connection, from a pod; per request"),
    ("v6-request", "the same in IPv6"),
];

/// Where counting begins: callgrind forgets what came before it.
#[inline(never)]
pub fn begin() {
    std::hint::black_box(());
}

/// Makes a workload by its name.
///
/// # Errors
/// When there is none of that name, or it cannot be set up.
pub fn make(name: &str) -> Result<Box<dyn Case>> {
    let (v4, v6) = (Family::V4, Family::V6);
    Ok(match name {
        "v4-decap-hit" => steady(v4, Mix::FromCluster, Feed::Alone)?,
        "v4-encap-hit" => steady(v4, Mix::FromUplink, Feed::Alone)?,
        "v6-decap-hit" => steady(v6, Mix::FromCluster, Feed::Alone)?,
        "v6-encap-hit" => steady(v6, Mix::FromUplink, Feed::Alone)?,
        "v4-new-flow" => Box::new(Churn::new(&options(v4, 1, 1 << 15))?),
        "v6-new-flow" => Box::new(Churn::new(&options(v6, 1, 1 << 15))?),
        "handoff" => steady(v4, Mix::Both, Feed::Handed)?,
        "v4-request" => Box::new(Requests::new(v4, CLIENTS)?),
        "v6-request" => Box::new(Requests::new(v6, CLIENTS)?),
        "routed-hit" => fixed(v4, UPLINK, HOSTS, Fate::Leaves(CLUSTER), |builder, host| {
            let src = (Who::Client(host).addr(v4), 1024);
            let udp = Udp { src, dst: (Who::Node(host).addr(v4), TARGET_PORT), id: host };
            builder.plain(v4, UPLINK, site::ROUTER_MAC, &udp).to_vec()
        })?,
        "arp" => fixed(v4, CLUSTER, HOSTS, Fate::Leaves(CLUSTER), |builder, host| {
            builder.question(v4, CLUSTER, site::node_mac(host), Who::Node(host)).to_vec()
        })?,
        "nd" => fixed(v6, CLUSTER, HOSTS, Fate::Leaves(CLUSTER), |builder, host| {
            builder.question(v6, CLUSTER, site::node_mac(host), Who::Node(host)).to_vec()
        })?,
        "truncated" => {
            let fate = Fate::Dropped(DropReason::Truncated);
            fixed(v4, UPLINK, HOSTS, fate, |builder, host| {
                let src = (Who::Client(host).addr(v4), 1024);
                let udp = Udp { src, dst: (Who::Vip(0).addr(v4), 53), id: host };
                builder.plain(v4, UPLINK, site::ROUTER_MAC, &udp)[..30].to_vec()
            })?
        }
        _ => bail!("there is no workload {name}"),
    })
}

fn options(family: Family, workers: usize, flows_max: usize) -> GatewayOptions {
    GatewayOptions {
        cluster: Cluster::new(family, 16),
        workers,
        flows_max,
        frames: PACKETS,
        udp_timeout_ms: 86_400_000,
    }
}

fn steady(family: Family, mix: Mix, feed: Feed) -> Result<Box<dyn Case>> {
    let workers = if feed == Feed::Alone { 1 } else { 2 };
    let options = options(family, workers, 4 * FLOWS);
    Ok(Box::new(Steady::new(&options, FLOWS, mix, feed)?))
}

fn fixed(
    family: Family,
    port: usize,
    count: u32,
    fate: Fate,
    frame: impl Fn(&mut Builder, u32) -> Vec<u8>,
) -> Result<Box<dyn Case>> {
    let mut builder = Builder::default();
    let frames = (0..count).map(|host| frame(&mut builder, host)).collect();
    Ok(Box::new(Fixed::new(&options(family, 1, 4 * FLOWS), port, frames, fate)?))
}
