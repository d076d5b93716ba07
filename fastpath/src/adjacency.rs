use crate::wire::{be16, checksum, ethernet, ip::Ip, l4, put16, vxlan};
use hashbrown::HashMap;
use inner_sum::inner_sum;
use sluice_io::PortId;
use sluice_tables::{PortLocal, V6, Vtep, VtepId, Vxlan};

/// The sum of a packet in a tunnel, from its headers.
mod inner_sum;

/// Room for the longest header: tagged Ethernet, IPv6, UDP, VXLAN, Ethernet.
const HEADER_MAX: usize = 96;
const UDP_LEN: usize = 8;

/// What VXLAN adds to an IP packet over IPv4, the outer Ethernet header left
/// out: IPv4, UDP, VXLAN, inner Ethernet.
pub const OVERHEAD_V4: u16 = 50;
/// The same over IPv6.
pub const OVERHEAD_V6: u16 = 70;

/// First source port of encapsulated packets (RFC 7348 section 5: the dynamic
/// range).
const SOURCE_PORT_MIN: u16 = 49_152;

/// Number of a row of [`Adjacencies`]. Flow entries hold it.
pub type AdjacencyId = u32;

/// The way of packets that end here: no row.
pub const HERE: AdjacencyId = u32::MAX - 1;

/// What a row leads to; there is one row for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A neighbor, by number: plain Ethernet.
    Neighbor(u32),
    /// A node's tunnel, for inner packets of IPv4 (true) or IPv6.
    Tunnel(VtepId, bool),
}

/// How a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ethernet,
    VxlanV4,
    VxlanV6,
}

/// One way out: the header to put in front of an IP packet.
#[derive(Clone, Debug)]
pub struct Adjacency {
    header: [u8; HEADER_MAX],
    len: u8,
    /// Offset of the outer IP header in `header`.
    outer: u8,
    kind: Kind,
    /// The sum of what a checksum in the header covers and no packet changes:
    /// of the outer IPv4 header, or of the outer UDP over IPv6.
    sum: u16,
    /// The port it leaves by.
    pub port: PortId,
    /// Largest IP packet (inner, for a tunnel) that fits, in bytes.
    pub mtu: u16,
    /// What [`Adjacency::mtu`] is while no router says less.
    mtu_configured: u16,
    /// The neighbor whose MAC the header needs.
    pub neighbor: u32,
    /// The MAC is known.
    pub resolved: bool,
    /// Route epoch that the row was built in.
    pub epoch: u32,
    /// The group in epochs of policy of the addresses that it leads to
    /// ([`sluice_tables::policy_group`]).
    pub policy_group: u8,
    /// A packet took it since the neighbor was last looked at.
    pub used: bool,
}

impl Adjacency {
    /// The row of a neighbor on `port`.
    pub fn ethernet(port: &PortLocal, neighbor: u32, ethertype: u16, epoch: u32) -> Self {
        let mut row = Adjacency::empty(Kind::Ethernet, port, neighbor, epoch);
        let len = ethernet::emit(&mut row.header, [0; 6], port.mac, port.vlan, ethertype);
        row.len = len as u8;
        row.outer = len as u8;
        row.mtu = port.mtu;
        row.mtu_configured = row.mtu;
        row
    }

    /// The row of a node's tunnel over IPv4 or IPv6, whichever `from` and `to`
    /// are; its next hop is `neighbor` on `port`.
    pub fn vxlan<F: Ip>(
        port: &PortLocal,
        neighbor: u32,
        local: &Vxlan,
        vtep: &Vtep,
        (from, to): (F::Addr, F::Addr),
        inner_ethertype: u16,
        epoch: u32,
    ) -> Self {
        let kind = if F::IS_V4 { Kind::VxlanV4 } else { Kind::VxlanV6 };
        let mut row = Adjacency::empty(kind, port, neighbor, epoch);
        let mut at = ethernet::emit(&mut row.header, [0; 6], port.mac, port.vlan, F::ETHERTYPE);
        row.outer = at as u8;
        F::emit(&mut row.header[at..], from, to, l4::UDP, 64, 0, 0);
        if F::IS_V4 {
            // Length, type of service and checksum differ per packet.
            put16(&mut row.header, at + 2, 0);
            put16(&mut row.header, at + 10, 0);
        }
        at += F::HEADER_LEN;
        put16(&mut row.header, at + 2, local.udp_port);
        at += UDP_LEN;
        vxlan::emit(&mut row.header[at..], local.vni);
        at += vxlan::HEADER_LEN;
        let mac = if F::IS_V4 { vtep.mac_v4 } else { vtep.mac_v6 };
        at += ethernet::emit(&mut row.header[at..], mac, local.mac, None, inner_ethertype);
        let outer = usize::from(row.outer);
        let fixed = match kind {
            Kind::VxlanV6 => checksum::sum(u64::from(l4::UDP), &row.header[outer + 8..at]),
            _ => checksum::sum(0, &row.header[outer..outer + F::HEADER_LEN]),
        };
        row.sum = checksum::fold(fixed);
        row.len = at as u8;
        row.mtu = tunnel_mtu(port, local, F::IS_V4);
        row.mtu_configured = row.mtu;
        row
    }

    fn empty(kind: Kind, port: &PortLocal, neighbor: u32, epoch: u32) -> Self {
        Adjacency {
            header: [0; HEADER_MAX],
            len: 0,
            outer: 0,
            kind,
            sum: 0,
            port: port.id,
            mtu: 0,
            mtu_configured: 0,
            neighbor,
            resolved: false,
            epoch,
            policy_group: sluice_tables::policy_group(None),
            used: false,
        }
    }

    /// True for a tunnel.
    #[inline]
    pub fn is_tunnel(&self) -> bool {
        self.kind != Kind::Ethernet
    }

    /// Sets the next hop's MAC; the row is then complete.
    pub fn resolve(&mut self, mac: [u8; 6]) {
        self.header[..6].copy_from_slice(&mac);
        self.resolved = true;
    }

    /// Takes the word of routers on the underlay for the largest outer packet on
    /// a tunnel's path; `None` when there is none (any more).
    pub fn set_path_mtu(&mut self, path: Option<u16>) {
        let over_v4 = self.kind == Kind::VxlanV4;
        let inner_v4 = be16(&self.header, usize::from(self.len) - 2) == ethernet::IPV4;
        self.mtu = limited_mtu(self.mtu_configured, path, over_v4, inner_v4);
    }

    /// Puts the header in front of an IP packet of type of service `tos`, whose
    /// flow has the hash `entropy`. False, and no change, when the headroom is
    /// too small.
    #[inline]
    #[must_use]
    pub fn encapsulate(&self, frame: &mut sluice_io::Frame, tos: u8, entropy: u64) -> bool {
        let inner_len = frame.len();
        match self.kind {
            Kind::Ethernet => self.push(frame),
            Kind::VxlanV4 => {
                if !self.push(frame) {
                    return false;
                }
                let outer = usize::from(self.outer);
                let len = (inner_len + usize::from(OVERHEAD_V4)) as u16;
                let data = &mut frame.data_mut()[outer..];
                let Some(header) = data.first_chunk_mut::<28>() else { return false };
                header[1] = tos;
                put16(header, 2, len);
                let sum = u64::from(self.sum) + u64::from(tos) + u64::from(len);
                put16(header, 10, !checksum::fold(sum));
                put16(header, 20, source_port(entropy));
                put16(header, 24, len - 20);
                true
            }
            Kind::VxlanV6 => {
                // Linux drops UDP over IPv6 without a checksum (RFC 8200
                // section 8.1): it is computed from headers alone.
                let payload = inner_sum(frame.data());
                if !self.push(frame) {
                    return false;
                }
                let outer = usize::from(self.outer);
                let udp_len = (inner_len + usize::from(OVERHEAD_V6) - 40) as u16;
                let port = source_port(entropy);
                let data = &mut frame.data_mut()[outer..];
                let Some(header) = data.first_chunk_mut::<70>() else { return false };
                V6::set_tos(header, tos);
                put16(header, 4, udp_len);
                put16(header, 40, port);
                put16(header, 44, udp_len);
                // The length counts twice: in the pseudo header and in UDP's.
                let sum = u64::from(self.sum) + u64::from(port) + 2 * u64::from(udp_len);
                let checksum = !checksum::fold(sum + u64::from(payload));
                put16(header, 46, if checksum == 0 { 0xffff } else { checksum });
                true
            }
        }
    }

    #[inline]
    fn push(&self, frame: &mut sluice_io::Frame) -> bool {
        let len = usize::from(self.len);
        let Some(room) = frame.push_head(len) else { return false };
        // The two usual lengths as constants: straight vector moves.
        match len {
            14 => room.copy_from_slice(&self.header[..14]),
            64 => room.copy_from_slice(&self.header[..64]),
            _ => room.copy_from_slice(&self.header[..len]),
        }
        true
    }
}

/// Largest inner IP packet of a tunnel by `port`, over IPv4 or IPv6.
pub fn tunnel_mtu(port: &PortLocal, local: &Vxlan, over_v4: bool) -> u16 {
    let overhead = if over_v4 { OVERHEAD_V4 } else { OVERHEAD_V6 };
    local.mtu.min(port.mtu.saturating_sub(overhead))
}

/// Largest inner IP packet of a tunnel that is configured for one of
/// `configured` bytes, when its path carries outer packets of `path` bytes. No
/// router makes it less than what every host must cope with: 576 bytes over IPv4
/// (RFC 791 section 3.1), 1280 over IPv6 (RFC 8200 section 5).
pub fn limited_mtu(configured: u16, path: Option<u16>, over_v4: bool, inner_v4: bool) -> u16 {
    let Some(path) = path else { return configured };
    let overhead = if over_v4 { OVERHEAD_V4 } else { OVERHEAD_V6 };
    let least = if inner_v4 { 576 } else { 1280 };
    configured.min(path.saturating_sub(overhead).max(least))
}

/// The source port that spreads flows over links and queues.
#[inline]
fn source_port(entropy: u64) -> u16 {
    SOURCE_PORT_MIN | (entropy >> 32) as u16 & 0x3fff
}

/// The rows of one worker.
#[derive(Debug, Default)]
pub struct Adjacencies {
    rows: Vec<Adjacency>,
    by_target: HashMap<Target, AdjacencyId>,
}

impl Adjacencies {
    /// The row of a target.
    pub fn find(&self, target: Target) -> Option<AdjacencyId> {
        self.by_target.get(&target).copied()
    }

    /// Sets the row of a target. There are as many rows as neighbors and
    /// tunnels, and both are bounded.
    pub fn put(&mut self, target: Target, row: Adjacency) -> AdjacencyId {
        let next = self.rows.len() as AdjacencyId;
        let id = *self.by_target.entry(target).or_insert(next);
        if id == next {
            self.rows.push(row);
        } else {
            self.rows[id as usize] = row;
        }
        id
    }

    /// A row. Numbers come from [`Adjacencies::put`].
    #[inline]
    pub fn row(&self, id: AdjacencyId) -> Option<&Adjacency> {
        self.rows.get(id as usize)
    }

    /// A row, to be changed.
    #[inline]
    pub fn row_mut(&mut self, id: AdjacencyId) -> Option<&mut Adjacency> {
        self.rows.get_mut(id as usize)
    }
}
