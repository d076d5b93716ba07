/// ARP for IPv4 over Ethernet.
pub mod arp;
/// The Internet checksum, whole and incremental.
pub mod checksum;
/// The checksum of SCTP.
pub mod crc32c;
/// Ethernet II and IEEE 802.1Q.
pub mod ethernet;
/// What stages need of an IP header, for both families.
pub mod ip;
/// IPv4 headers.
mod ipv4;
/// IPv6 headers and their extensions.
mod ipv6;
/// TCP, UDP, SCTP and ICMP: what identifies a flow.
pub mod l4;
/// Neighbor Discovery messages.
pub mod nd;
/// SCTP: what its chunks say of an association.
pub mod sctp;
/// TCP headers: sequence numbers and options.
pub mod tcp;
/// VXLAN headers.
pub mod vxlan;

/// Reads a big-endian 16-bit number; 0 beyond the end.
#[inline]
pub(crate) fn be16(data: &[u8], at: usize) -> u16 {
    match data.get(at..at + 2) {
        Some(&[a, b]) => u16::from_be_bytes([a, b]),
        _ => 0,
    }
}

/// Reads a big-endian 32-bit number; 0 beyond the end.
#[inline]
pub(crate) fn be32(data: &[u8], at: usize) -> u32 {
    match data.get(at..at + 4) {
        Some(&[a, b, c, d]) => u32::from_be_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// Writes a big-endian 16-bit number; nothing beyond the end.
#[inline]
pub(crate) fn put16(data: &mut [u8], at: usize, value: u16) {
    if let Some(field) = data.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}
