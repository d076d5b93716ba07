//! Neighbor Discovery (RFC 4861): solicitations and advertisements.

use super::{checksum, put16};
use crate::reason::DropReason;

/// ICMPv6 type of a Neighbor Solicitation.
pub const SOLICITATION: u8 = 135;
/// ICMPv6 type of a Neighbor Advertisement.
pub const ADVERTISEMENT: u8 = 136;

const OPTION_SOURCE_MAC: u8 = 1;
const OPTION_TARGET_MAC: u8 = 2;

/// Bytes of a message with one MAC option.
pub const LEN: usize = 32;

/// A parsed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nd {
    /// A solicitation; otherwise an advertisement.
    pub solicitation: bool,
    /// The target address.
    pub target: [u8; 16],
    /// The MAC option that belongs to the type: source or target.
    pub mac: Option<[u8; 6]>,
    /// The solicited flag of an advertisement.
    pub solicited: bool,
    /// The override flag of an advertisement.
    pub overrides: bool,
}

/// Parses a message of `hop_limit` between `src` and `dst` by the rules of
/// sections 7.1.1 and 7.1.2. `None` for other ICMPv6 types.
///
/// # Errors
/// `BadNd`.
pub fn parse(
    data: &[u8],
    hop_limit: u8,
    src: &[u8; 16],
    dst: &[u8; 16],
) -> Result<Option<Nd>, DropReason> {
    let (Some(&icmp_type), Some(&code)) = (data.first(), data.get(1)) else { return Ok(None) };
    if icmp_type != SOLICITATION && icmp_type != ADVERTISEMENT {
        return Ok(None);
    }
    let solicitation = icmp_type == SOLICITATION;
    let (Some(header), true) = (data.first_chunk::<24>(), hop_limit == 255 && code == 0) else {
        return Err(DropReason::BadNd);
    };
    if checksum::finish(checksum::pseudo(src, dst, 58, data.len()), data) != 0 {
        return Err(DropReason::BadNd);
    }
    let mut target = [0; 16];
    target.copy_from_slice(&header[8..24]);
    let mac =
        find_mac(&data[24..], if solicitation { OPTION_SOURCE_MAC } else { OPTION_TARGET_MAC })?;
    let (solicited, overrides) = (header[4] & 0x40 != 0, header[4] & 0x20 != 0);
    let unspecified = *src == [0; 16];
    let multicast = dst[0] == 0xff;
    let bad = target[0] == 0xff
        || (solicitation && unspecified && (mac.is_some() || !multicast))
        || (!solicitation && multicast && solicited);
    if bad {
        return Err(DropReason::BadNd);
    }
    Ok(Some(Nd {
        solicitation,
        target,
        mac,
        solicited: !solicitation && solicited,
        overrides: !solicitation && overrides,
    }))
}

fn find_mac(mut options: &[u8], kind: u8) -> Result<Option<[u8; 6]>, DropReason> {
    let mut found = None;
    while !options.is_empty() {
        let len = match options.get(1) {
            Some(&len) if len > 0 && usize::from(len) * 8 <= options.len() => usize::from(len) * 8,
            _ => return Err(DropReason::BadNd),
        };
        if options[0] == kind && len == 8 {
            found = options[2..8].try_into().ok();
        }
        options = &options[len..];
    }
    Ok(found)
}

/// Writes a message with its MAC option to the front of `out`, which has room
/// for [`LEN`] bytes, the checksum for `src` and `dst` filled in.
pub fn emit(out: &mut [u8], nd: &Nd, mac: [u8; 6], src: &[u8; 16], dst: &[u8; 16]) {
    let message = &mut out[..LEN];
    message.fill(0);
    message[0] = if nd.solicitation { SOLICITATION } else { ADVERTISEMENT };
    message[4] = u8::from(nd.solicited) << 6 | u8::from(nd.overrides) << 5;
    message[8..24].copy_from_slice(&nd.target);
    message[24] = if nd.solicitation { OPTION_SOURCE_MAC } else { OPTION_TARGET_MAC };
    message[25] = 1;
    message[26..32].copy_from_slice(&mac);
    let checksum = checksum::finish(checksum::pseudo(src, dst, 58, LEN), message);
    put16(message, 2, checksum);
}

/// The solicited-node multicast address of an address (RFC 4291 section 2.7.1).
pub fn solicited_node(addr: &[u8; 16]) -> [u8; 16] {
    let mut group = [0; 16];
    group[..2].copy_from_slice(&[0xff, 0x02]);
    group[11] = 1;
    group[12] = 0xff;
    group[13..].copy_from_slice(&addr[13..]);
    group
}

/// The MAC of an IPv6 multicast address (RFC 2464 section 7).
pub fn multicast_mac(group: &[u8; 16]) -> [u8; 6] {
    [0x33, 0x33, group[12], group[13], group[14], group[15]]
}
