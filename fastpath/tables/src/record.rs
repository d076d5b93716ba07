use crate::ids::{BackendId, PortId, RuleId, ServiceId};
use std::net::IpAddr;

/// One flow, as `sluice show flows` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// IP protocol number.
    pub protocol: u8,
    /// Who began it: address and port (ICMP: identifier).
    pub client: (IpAddr, u16),
    /// Whom the client addressed.
    pub destination: (IpAddr, u16),
    /// Who answers: the chosen backend, or the destination itself.
    pub server: (IpAddr, u16),
    /// Whom the server answers: the SNAT address, or the client itself.
    pub source: (IpAddr, u16),
    /// The Service, if any.
    pub service: ServiceId,
    /// The endpoint, if any.
    pub backend: BackendId,
    /// The rules of policies that let it pass, or that cut it: of those that select
    /// its client, and of those that select its server.
    pub rules: [RuleId; 2],
    /// The drop reason's label, if policies cut it.
    pub cut: Option<&'static str>,
    /// The tables have changed since it was judged: it is judged again with its next
    /// packet.
    pub is_stale: bool,
    /// Connection state, a short lower-case word; `cut` of one that policies cut.
    pub state: &'static str,
    /// Packets from and to the client (both saturate).
    pub packets: (u32, u32),
    /// Milliseconds since the last packet.
    pub idle_ms: u64,
    /// Milliseconds until it expires if no packet comes.
    pub expires_ms: u64,
}

/// One neighbor, as `sluice show neighbors` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighborRecord {
    /// The port it is on.
    pub port: PortId,
    /// Its address.
    pub addr: IpAddr,
    /// Its MAC, once known.
    pub mac: Option<[u8; 6]>,
    /// `incomplete`, `reachable`, `stale`, `probe` or `failed`
    /// (RFC 4861 section 7.3.2).
    pub state: &'static str,
    /// Milliseconds since it was last confirmed.
    pub confirmed_ms: u64,
    /// Packets that wait for it.
    pub waiting: u32,
}

/// A claim of somebody else to a VIP that the gateway announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The port by which it came.
    pub port: PortId,
    /// The VIP.
    pub vip: IpAddr,
    /// The MAC that claims it.
    pub mac: [u8; 6],
}
