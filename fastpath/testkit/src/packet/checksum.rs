//! The Internet checksum (RFC 1071), computed over whole packets.
//!
//! Deliberately the plain definition, with nothing incremental: it judges the fast path, which
//! updates checksums by RFC 1624, and shares no code with it.

use std::net::IpAddr;

/// Source and destination of the enclosing IP header, for the pseudo-header.
pub(crate) type Ends = Option<(IpAddr, IpAddr)>;

/// The value for the checksum field of `bytes`, whose checksum field must hold zero.
pub(crate) fn internet(bytes: &[u8]) -> u16 {
    !fold(add(0, bytes))
}

/// The checksum of a TCP, UDP or ICMPv6 message with the pseudo-header of RFC 9293 section 3.1
/// or RFC 8200 section 8.1. `message` holds zero in its checksum field; `length` is the length
/// that the pseudo-header names.
pub(crate) fn transport(ends: Ends, protocol: u8, length: usize, message: &[u8]) -> u16 {
    let mut sum = 0;
    match ends {
        Some((IpAddr::V4(src), IpAddr::V4(dst))) => {
            sum = add(sum, &src.octets());
            sum = add(sum, &dst.octets());
        }
        Some((IpAddr::V6(src), IpAddr::V6(dst))) => {
            sum = add(sum, &src.octets());
            sum = add(sum, &dst.octets());
        }
        _ => {}
    }
    if ends.is_some() {
        sum = add(sum, &(length as u32).to_be_bytes());
        sum += u64::from(protocol);
    }
    !fold(add(sum, message))
}

/// The wrong value that `badsum` stands for when `right` would be correct: never zero, which
/// means "no checksum" in UDP.
pub(crate) fn bad(right: u16) -> u16 {
    match right ^ 0x5555 {
        0 => 0xaaaa,
        wrong => wrong,
    }
}

fn add(mut sum: u64, bytes: &[u8]) -> u64 {
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u64::from(u16::from_be_bytes([pair[0], low]));
    }
    sum
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_of_rfc_1071() {
        assert_eq!(internet(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    #[test]
    fn an_odd_byte_counts_as_the_high_half() {
        assert_eq!(internet(&[0x12]), !0x1200);
    }

    #[test]
    fn bad_is_never_right_nor_zero() {
        for right in 0..=u16::MAX {
            assert_ne!(bad(right), 0);
            assert_ne!(bad(right), right);
        }
    }
}
