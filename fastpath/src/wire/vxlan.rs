//! VXLAN (RFC 7348 section 5).

use super::be32;
use crate::reason::DropReason;

/// Bytes of a header.
pub const HEADER_LEN: usize = 8;
/// The flags byte of a header with a valid VNI.
pub const FLAGS: u8 = 0x08;

/// Parses a header and returns its VNI.
///
/// # Errors
/// `Truncated`; `BadVxlan` when the VNI is not marked valid.
#[inline]
pub fn parse(data: &[u8]) -> Result<u32, DropReason> {
    if data.len() < HEADER_LEN {
        return Err(DropReason::Truncated);
    }
    if data[0] & FLAGS == 0 {
        return Err(DropReason::BadVxlan);
    }
    Ok(be32(data, 4) >> 8)
}

/// Writes a header to the front of `out`, which has room for it.
pub fn emit(out: &mut [u8], vni: u32) {
    out[..HEADER_LEN].copy_from_slice(&[FLAGS, 0, 0, 0, 0, 0, 0, 0]);
    out[4..8].copy_from_slice(&(vni << 8).to_be_bytes());
}
