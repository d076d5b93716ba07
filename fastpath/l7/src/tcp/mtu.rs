use std::net::IpAddr;

/// The largest IP packet that is sent, in bytes.
const MTU_MAX: u16 = 9_216;

/// An MTU that may be used towards an address: none is smaller than what every host
/// takes whole (RFC 791, RFC 8200 section 5), whatever an ICMP error says.
pub(super) fn clamp(mtu: u16, remote: &IpAddr) -> u16 {
    mtu.clamp(if remote.is_ipv4() { 576 } else { 1_280 }, MTU_MAX)
}
