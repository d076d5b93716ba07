use super::tag::VLAN_BITS;
use std::net::IpAddr;

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const VLAN: u16 = 0x8100;
const IPV6: u16 = 0x86dd;
/// LACP, OAM: IEEE 802.3 annex 57A.
const SLOW: u16 = 0x8809;
const EAPOL: u16 = 0x888e;
const QINQ: u16 = 0x88a8;
const LLDP: u16 = 0x88cc;

const ICMP: u8 = 1;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Why a frame is the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// It is for one of its addresses.
    KernelAddress,
    /// ARP about one of them.
    Arp,
    /// A neighbor solicitation or advertisement of its own.
    Nd,
    /// Router discovery, a redirect, LLDP, LACP or EAPOL.
    Control,
}

/// Decides, for every frame that a port receives, whether it is Sluice's or the kernel's, as
/// the XDP program of ports on AF_XDP does (`xdp/sluice_xdp.c`, which tells why).
#[derive(Clone, Debug)]
pub struct Steering {
    /// Few, and so looked through one by one.
    v4: Vec<[u8; 4]>,
    v6: Vec<[u8; 16]>,
    /// Tunnel endpoints of Sluice's, which take VXLAN even where the kernel has the address
    /// too.
    vteps_v4: Vec<[u8; 4]>,
    vteps_v6: Vec<[u8; 16]>,
    vxlan_udp_port: u16,
    /// The tag of the port, whose VLAN alone the kernel's device of it is in.
    vlan: Option<u16>,
}

impl Steering {
    /// Of a port with these addresses of the kernel's, and these tunnel endpoints.
    pub fn new(kernel: &[IpAddr], vteps: &[IpAddr], vxlan_udp_port: u16) -> Self {
        let v4 = |addresses: &[IpAddr]| -> Vec<[u8; 4]> {
            let of = |address: &IpAddr| match address {
                IpAddr::V4(address) => Some(address.octets()),
                IpAddr::V6(_) => None,
            };
            addresses.iter().filter_map(of).collect()
        };
        let v6 = |addresses: &[IpAddr]| -> Vec<[u8; 16]> {
            let of = |address: &IpAddr| match address {
                IpAddr::V4(_) => None,
                IpAddr::V6(address) => Some(address.octets()),
            };
            addresses.iter().filter_map(of).collect()
        };
        let (vteps_v4, vteps_v6) = (v4(vteps), v6(vteps));
        let (v4, v6) = (v4(kernel), v6(kernel));
        Steering { v4, v6, vteps_v4, vteps_v6, vxlan_udp_port, vlan: None }
    }

    /// The same for a port that all frames carry a tag at.
    pub fn tagged(self, vlan: Option<u16>) -> Self {
        Steering { vlan, ..self }
    }

    /// Why the kernel gets a frame; `None`: it is Sluice's, as those are that are too short
    /// to be judged.
    pub fn judge(&self, frame: &[u8]) -> Option<Passed> {
        let mut ethertype = be16(frame, 12)?;
        let mut at = 14;
        if let Some(vlan) = self.vlan {
            let is_its = ethertype == VLAN && be16(frame, at)? & VLAN_BITS == vlan;
            // What the ends of a link tell each other has no tag, whatever else has.
            if !is_its && !matches!(ethertype, LLDP | SLOW | EAPOL) {
                return None;
            }
        }
        for _ in 0..2 {
            if ethertype != VLAN && ethertype != QINQ {
                break;
            }
            let Some(inner) = be16(frame, at + 2) else { break };
            ethertype = inner;
            at += 4;
        }
        let packet = frame.get(at..)?;
        match ethertype {
            IPV4 => self.judge_ipv4(packet),
            IPV6 => self.judge_ipv6(packet, frame[0] & 1 == 1),
            ARP => self.judge_arp(packet),
            LLDP | SLOW | EAPOL => Some(Passed::Control),
            _ => None,
        }
    }

    fn judge_arp(&self, packet: &[u8]) -> Option<Passed> {
        let is_ipv4 = be16(packet, 2)? == IPV4 && packet.get(4..6)? == [6, 4];
        let target = packet.get(24..28)?;
        (is_ipv4 && self.v4.iter().any(|address| address == target)).then_some(Passed::Arp)
    }

    fn judge_ipv4(&self, packet: &[u8]) -> Option<Passed> {
        let header: &[u8; 20] = packet.first_chunk()?;
        let destination = &header[16..20];
        if !self.v4.iter().any(|address| address == destination) {
            return None;
        }
        let header_len = usize::from(header[0] & 0x0f) * 4;
        // A fragment does not name its port, or only the first one does: all of a datagram
        // goes the same way.
        let is_whole = be16(header, 6)? & 0x3fff == 0;
        let is_vtep = self.vteps_v4.iter().any(|address| address == destination);
        if is_whole && is_vtep && header_len >= 20 {
            let transport = packet.get(header_len..).unwrap_or_default();
            let is_ours = match header[9] {
                UDP => self.is_vxlan(transport),
                ICMP => self.is_vxlan_too_big_v4(transport),
                _ => false,
            };
            if is_ours {
                return None;
            }
        }
        Some(Passed::KernelAddress)
    }

    fn judge_ipv6(&self, packet: &[u8], is_group: bool) -> Option<Passed> {
        let header: &[u8; 40] = packet.first_chunk()?;
        let message = &packet[40..];
        let (next_header, destination) = (header[6], &header[24..40]);
        let nd = message.first().copied().filter(|_| next_header == ICMPV6);
        match nd {
            // Router Solicitation and Advertisement, Redirect.
            Some(133 | 134 | 137) => return Some(Passed::Control),
            // Neighbor Solicitation to a group: its target says whom it is for.
            Some(135) if message.get(8..24).is_some_and(|target| self.is_kernel_v6(target)) => {
                return Some(Passed::Nd);
            }
            _ => {}
        }
        if !self.is_kernel_v6(destination) || (is_group && is_link_local(destination)) {
            return None;
        }
        let is_vtep = self.vteps_v6.iter().any(|address| address == destination);
        let is_ours = is_vtep
            && match next_header {
                UDP => self.is_vxlan(message),
                ICMPV6 => self.is_vxlan_too_big_v6(message),
                _ => false,
            };
        match nd {
            _ if is_ours => None,
            Some(136) => Some(Passed::Nd),
            _ => Some(Passed::KernelAddress),
        }
    }

    /// Where the kernel has any address, it speaks from its link-local one too.
    fn is_kernel_v6(&self, address: &[u8]) -> bool {
        if is_link_local(address) {
            return !(self.v4.is_empty() && self.v6.is_empty());
        }
        self.v6.iter().any(|kernel| kernel == address)
    }

    fn is_vxlan(&self, udp: &[u8]) -> bool {
        udp.len() >= 8 && be16(udp, 2) == Some(self.vxlan_udp_port)
    }

    /// Fragmentation Needed (RFC 1191) that quotes VXLAN.
    fn is_vxlan_too_big_v4(&self, icmp: &[u8]) -> bool {
        let Some(quoted) = icmp.get(8..) else { return false };
        let Some(header) = quoted.first_chunk::<20>() else { return false };
        let header_len = usize::from(header[0] & 0x0f) * 4;
        icmp[..2] == [3, 4]
            && header[9] == UDP
            && header_len >= 20
            && quoted.get(header_len..).is_some_and(|udp| self.is_vxlan(udp))
    }

    /// Packet Too Big (RFC 8201) that quotes VXLAN.
    fn is_vxlan_too_big_v6(&self, icmp: &[u8]) -> bool {
        let Some(quoted) = icmp.get(8..) else { return false };
        let Some(header) = quoted.first_chunk::<40>() else { return false };
        icmp[0] == 2 && header[6] == UDP && self.is_vxlan(&quoted[40..])
    }
}

fn is_link_local(address: &[u8]) -> bool {
    matches!(address, [0xfe, second, ..] if second & 0xc0 == 0x80)
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}
