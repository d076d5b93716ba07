//! CRC32c as SCTP uses it (RFC 9260 appendix A), bit by bit.
//!
//! Deliberately the plain definition: it judges the fast path and shares no code with it.

/// The Castagnoli polynomial, its bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The checksum field of `packet`, whose checksum field must hold zero, as the big-endian number
/// that it reads as: the remainder's low byte goes first.
pub(crate) fn sctp(packet: &[u8]) -> u32 {
    let mut remainder = u32::MAX;
    for byte in packet {
        remainder ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = remainder & 1;
            remainder >>= 1;
            if carry == 1 {
                remainder ^= POLYNOMIAL;
            }
        }
    }
    (!remainder).swap_bytes()
}

/// The wrong value that `badsum` stands for when `right` would be correct.
pub(crate) fn bad(right: u32) -> u32 {
    right ^ 0x5555_5555
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_rfc_3720() {
        let counting: Vec<u8> = (0..32).collect();
        for (data, wire) in
            [(&[0u8; 32][..], 0xaa36_918a), (&[0xff; 32], 0x43ab_a862), (&counting, 0x4e79_dd46)]
        {
            assert_eq!(sctp(data), wire);
        }
    }
}
