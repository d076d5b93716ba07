//! SCTP's checksum (RFC 9260 appendix A): CRC32c over the packet from its
//! common header on, its own field taken as zero. It covers no addresses.

/// Where the field stands in the common header.
const AT: usize = 8;

/// The checksum of a packet as it stands on the wire: the remainder's low byte
/// comes first. `packet` holds at least the common header.
fn of(packet: &[u8]) -> [u8; 4] {
    let (ports_and_tag, rest) = packet.split_at(AT.min(packet.len()));
    let crc = crc32c::crc32c_append(crc32c::crc32c(ports_and_tag), &[0; 4]);
    crc32c::crc32c_append(crc, rest.get(4..).unwrap_or_default()).to_le_bytes()
}

/// True when a packet has the right checksum. False without a whole header.
pub fn is_right(packet: &[u8]) -> bool {
    packet.get(AT..AT + 4).is_some_and(|found| found == of(packet))
}

/// Fills the checksum in; nothing where the header is not whole.
pub fn fill(packet: &mut [u8]) {
    let sum = of(packet);
    if let Some(field) = packet.get_mut(AT..AT + 4) {
        field.copy_from_slice(&sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720 section B.4: the remainders of iSCSI's examples, which are CRC32c
    /// too, in the order of bytes on the wire.
    #[test]
    fn the_polynomial_is_that_of_rfc_3720() {
        let counting: Vec<u8> = (0..32).collect();
        let backwards: Vec<u8> = (0..32).rev().collect();
        for (data, wire) in [
            (&[0u8; 32][..], [0xaa, 0x36, 0x91, 0x8a]),
            (&[0xff; 32], [0x43, 0xab, 0xa8, 0x62]),
            (&counting, [0x4e, 0x79, 0xdd, 0x46]),
            (&backwards, [0x5c, 0xdb, 0x3f, 0x11]),
        ] {
            assert_eq!(crc32c::crc32c(data).to_le_bytes(), wire);
        }
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }

    /// The bitwise definition, over every length up to that of a large packet.
    #[test]
    fn the_field_counts_as_zero_and_holds_the_low_byte_first() {
        let bitwise = |data: &[u8]| {
            !data.iter().fold(u32::MAX, |crc, byte| {
                (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                    crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
                })
            })
        };
        for len in (12..200).chain([1400, 1500, 1774]) {
            let mut packet: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
            let mut zeroed = packet.clone();
            zeroed[8..12].fill(0);
            fill(&mut packet);
            assert_eq!(packet[8..12], bitwise(&zeroed).to_le_bytes(), "{len}");
            assert!(is_right(&packet));
            packet[len - 1] ^= 1;
            assert!(!is_right(&packet));
        }
    }

    #[test]
    fn a_header_that_is_not_whole_has_no_checksum() {
        for len in 0..12 {
            let mut packet = vec![0u8; len];
            fill(&mut packet);
            assert_eq!(packet, vec![0; len]);
            assert!(!is_right(&packet));
        }
    }
}
