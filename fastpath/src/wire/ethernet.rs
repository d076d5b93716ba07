use super::be16;
use crate::reason::DropReason;

/// Bytes of an untagged header.
pub const HEADER_LEN: usize = 14;
/// Bytes of an IEEE 802.1Q tag.
pub const TAG_LEN: usize = 4;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of an IEEE 802.1Q tag.
pub const VLAN: u16 = 0x8100;

/// The broadcast MAC.
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// A parsed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Destination MAC.
    pub dst: [u8; 6],
    /// Source MAC.
    pub src: [u8; 6],
    /// VLAN of the outermost tag; 0 (a priority tag) counts as none.
    pub vlan: Option<u16>,
    /// What follows.
    pub ethertype: u16,
    /// Bytes of the header, with its tag.
    pub len: usize,
}

/// Parses a header with at most one tag.
///
/// # Errors
/// `Truncated`.
#[inline]
pub fn parse(data: &[u8]) -> Result<Ethernet, DropReason> {
    let Some(header) = data.first_chunk::<HEADER_LEN>() else {
        return Err(DropReason::Truncated);
    };
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
    let mut ethernet = Ethernet {
        dst: [d0, d1, d2, d3, d4, d5],
        src: [s0, s1, s2, s3, s4, s5],
        vlan: None,
        ethertype: u16::from_be_bytes([t0, t1]),
        len: HEADER_LEN,
    };
    if ethernet.ethertype == VLAN {
        if data.len() < HEADER_LEN + TAG_LEN {
            return Err(DropReason::Truncated);
        }
        let vlan = be16(data, HEADER_LEN) & 0x0fff;
        ethernet.vlan = (vlan != 0).then_some(vlan);
        ethernet.ethertype = be16(data, HEADER_LEN + 2);
        ethernet.len = HEADER_LEN + TAG_LEN;
    }
    Ok(ethernet)
}

/// True for group addresses, broadcast included.
#[inline]
pub fn is_multicast(mac: &[u8; 6]) -> bool {
    mac[0] & 1 != 0
}

/// Writes a header, tagged if `vlan` is given, to the front of `out`; returns
/// its length. `out` has room for [`HEADER_LEN`] + [`TAG_LEN`] bytes.
pub fn emit(
    out: &mut [u8],
    dst: [u8; 6],
    src: [u8; 6],
    vlan: Option<u16>,
    ethertype: u16,
) -> usize {
    out[..6].copy_from_slice(&dst);
    out[6..12].copy_from_slice(&src);
    match vlan {
        Some(vlan) => {
            out[12..14].copy_from_slice(&VLAN.to_be_bytes());
            out[14..16].copy_from_slice(&vlan.to_be_bytes());
            out[16..18].copy_from_slice(&ethertype.to_be_bytes());
            HEADER_LEN + TAG_LEN
        }
        None => {
            out[12..14].copy_from_slice(&ethertype.to_be_bytes());
            HEADER_LEN
        }
    }
}
