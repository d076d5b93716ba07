//! The protocols. Each file has one shape: the layer's schema, how to build its bytes around
//! those of the layers inside, how to decode it.

/// Ethernet and VLAN tags.
pub(crate) mod eth;

/// ARP.
pub(crate) mod arp;

/// IPv4.
pub(crate) mod ip;

/// IPv6 and its extension headers.
pub(crate) mod ip6;

/// TCP.
pub(crate) mod tcp;

/// UDP.
pub(crate) mod udp;

/// SCTP.
pub(crate) mod sctp;

/// VXLAN.
pub(crate) mod vxlan;

/// ICMP for IPv4.
pub(crate) mod icmp;

/// ICMPv6 but for neighbor discovery.
pub(crate) mod icmp6;

/// Neighbor discovery.
pub(crate) mod nd;

/// Payload, unknown bytes, padding, truncation.
pub(crate) mod data;

use super::schema::Kind;

/// IP protocol numbers, also used as IPv6 next headers (IANA protocol numbers).
pub(crate) mod protocol {
    pub(crate) const HOP_BY_HOP: u8 = 0;
    pub(crate) const ICMP: u8 = 1;
    pub(crate) const IP: u8 = 4;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const IP6: u8 = 41;
    pub(crate) const ROUTING: u8 = 43;
    pub(crate) const FRAGMENT: u8 = 44;
    pub(crate) const ICMP6: u8 = 58;
    pub(crate) const NOTHING: u8 = 59;
    pub(crate) const DST_OPTIONS: u8 = 60;
    pub(crate) const SCTP: u8 = 132;
    /// For experiments (RFC 3692): what payload right after an IP header is called.
    pub(crate) const EXPERIMENT: u8 = 253;
}

/// EtherTypes.
pub(crate) mod ether_type {
    pub(crate) const IP: u16 = 0x0800;
    pub(crate) const ARP: u16 = 0x0806;
    pub(crate) const VLAN: u16 = 0x8100;
    pub(crate) const IP6: u16 = 0x86dd;
    /// For experiments (IEEE 802): what payload right after Ethernet is called.
    pub(crate) const EXPERIMENT: u16 = 0x88b5;
}

/// The EtherType that announces `next`.
pub(crate) fn ether_type_of(next: Option<Kind>) -> u16 {
    match next {
        Some(Kind::Vlan) => ether_type::VLAN,
        Some(Kind::ArpRequest | Kind::ArpReply) => ether_type::ARP,
        Some(Kind::Ip) => ether_type::IP,
        Some(Kind::Ip6) => ether_type::IP6,
        _ => ether_type::EXPERIMENT,
    }
}

/// The protocol or next-header number that announces `next`.
pub(crate) fn protocol_of(next: Option<Kind>) -> u8 {
    match next {
        None => protocol::NOTHING,
        Some(Kind::Tcp) => protocol::TCP,
        Some(Kind::Udp) => protocol::UDP,
        Some(Kind::Sctp) => protocol::SCTP,
        Some(Kind::Ip) => protocol::IP,
        Some(Kind::Ip6) => protocol::IP6,
        Some(Kind::HopByHop) => protocol::HOP_BY_HOP,
        Some(Kind::DstOptions) => protocol::DST_OPTIONS,
        Some(Kind::Routing) => protocol::ROUTING,
        Some(Kind::Frag6) => protocol::FRAGMENT,
        Some(
            Kind::IcmpEcho
            | Kind::IcmpReply
            | Kind::IcmpUnreachable
            | Kind::IcmpTimeExceeded
            | Kind::IcmpOther,
        ) => protocol::ICMP,
        Some(
            Kind::Icmp6Echo
            | Kind::Icmp6Reply
            | Kind::Icmp6Unreachable
            | Kind::Icmp6PacketTooBig
            | Kind::Icmp6TimeExceeded
            | Kind::Icmp6Other
            | Kind::NdSolicit
            | Kind::NdAdvert,
        ) => protocol::ICMP6,
        Some(_) => protocol::EXPERIMENT,
    }
}

/// Big-endian 16 bits of `bytes` at `at`, zero beyond the end.
pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(at..at + 2) {
        Some(pair) => u16::from_be_bytes([pair[0], pair[1]]),
        None => 0,
    }
}

/// Big-endian 32 bits of `bytes` at `at`, zero beyond the end.
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from(be16(bytes, at)) << 16 | u32::from(be16(bytes, at + 2))
}
