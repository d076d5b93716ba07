//! ARP (RFC 826) for IPv4 over Ethernet.

use super::be16;
use crate::reason::DropReason;

/// Bytes of a packet.
pub const LEN: usize = 28;

/// A parsed packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// A request; otherwise a reply.
    pub request: bool,
    /// Sender's MAC.
    pub sender_mac: [u8; 6],
    /// Sender's address.
    pub sender: [u8; 4],
    /// Target's MAC; meaningless in a request.
    pub target_mac: [u8; 6],
    /// Target's address.
    pub target: [u8; 4],
}

/// Parses a packet.
///
/// # Errors
/// `Truncated`; `BadArp` for other hardware, protocols or operations.
pub fn parse(data: &[u8]) -> Result<Arp, DropReason> {
    let Some(packet) = data.first_chunk::<LEN>() else { return Err(DropReason::Truncated) };
    let operation = be16(packet, 6);
    if packet[..6] != [0, 1, 8, 0, 6, 4] || !(1..=2).contains(&operation) {
        return Err(DropReason::BadArp);
    }
    Ok(Arp {
        request: operation == 1,
        sender_mac: field(packet, 8),
        sender: field(packet, 14),
        target_mac: field(packet, 18),
        target: field(packet, 24),
    })
}

/// Writes a packet to the front of `out`, which has room for [`LEN`] bytes.
pub fn emit(out: &mut [u8], arp: &Arp) {
    out[..6].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
    out[6..8].copy_from_slice(&[0, if arp.request { 1 } else { 2 }]);
    out[8..14].copy_from_slice(&arp.sender_mac);
    out[14..18].copy_from_slice(&arp.sender);
    out[18..24].copy_from_slice(&arp.target_mac);
    out[24..28].copy_from_slice(&arp.target);
}

fn field<const N: usize>(packet: &[u8; LEN], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&packet[at..at + N]);
    field
}
