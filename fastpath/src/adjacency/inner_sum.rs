use crate::wire::{be16, be32, checksum, l4};

/// The ones' complement sum of an IP packet, from its headers where its
/// transport checksum vouches for the rest: a segment with its pseudo header
/// sums to 0xffff, and so does an IPv4 header; both are zero. Packets whose
/// checksum does not cover everything are summed whole.
#[inline]
pub(super) fn inner_sum(packet: &[u8]) -> u16 {
    quick_sum(packet).unwrap_or_else(|| whole_sum(packet))
}

#[cold]
fn whole_sum(packet: &[u8]) -> u16 {
    checksum::fold(checksum::sum(0, packet))
}

/// [`inner_sum`] of a packet without options, extensions or fragments.
#[inline]
fn quick_sum(packet: &[u8]) -> Option<u16> {
    let header = packet.first_chunk::<20>()?;
    match header[0] {
        0x45 => {
            let segment = &packet[20..];
            let whole = be16(header, 6) & 0x3fff == 0;
            let len = usize::from(be16(header, 2));
            if !whole || len != packet.len() || !is_covered(header[9], segment) {
                return None;
            }
            let pseudo = u64::from(be32(header, 12)) + u64::from(be32(header, 16));
            Some(!checksum::fold(pseudo + u64::from(header[9]) + segment.len() as u64))
        }
        0x60..=0x6f => {
            let segment = packet.get(40..)?;
            let len = usize::from(be16(header, 4));
            if len != segment.len() || !is_covered(header[6], segment) {
                return None;
            }
            // The addresses are in the header and in the pseudo header.
            let rest = u64::from(be32(header, 0)) + u64::from(be32(header, 4));
            let pseudo = checksum::fold(u64::from(header[6]) + segment.len() as u64);
            Some(checksum::fold(rest + u64::from(!pseudo)))
        }
        _ => None,
    }
}

/// Whether a segment's checksum covers all of it: UDP may end before the packet
/// does, or carry no checksum, and of the rest not every protocol has one.
#[inline]
fn is_covered(protocol: u8, segment: &[u8]) -> bool {
    match protocol {
        l4::TCP => segment.len() >= 20,
        l4::UDP => {
            usize::from(be16(segment, 4)) == segment.len()
                && segment.len() >= 8
                && be16(segment, 6) != 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ip::Ip, put16};
    use sluice_tables::{V4, V6};

    /// A packet of `len` payload bytes, its checksums right.
    fn packet<F: Ip>(src: F::Addr, dst: F::Addr, protocol: u8, len: usize) -> Vec<u8> {
        let (l4_len, at) = if protocol == l4::UDP { (8, 6) } else { (20, 16) };
        let start = F::HEADER_LEN;
        let mut packet = vec![0u8; start + l4_len + len];
        F::emit(&mut packet, src, dst, protocol, 64, 0x2c, l4_len + len);
        for (i, byte) in packet[start..].iter_mut().enumerate() {
            *byte = (i * 37 + 11) as u8;
        }
        if protocol == l4::UDP {
            put16(&mut packet, start + 4, (8 + len) as u16);
        }
        put16(&mut packet, start + at, 0);
        let pseudo = checksum::pseudo(src.as_ref(), dst.as_ref(), protocol, l4_len + len);
        let checksum = checksum::finish(pseudo, &packet[start..]);
        put16(&mut packet, start + at, checksum);
        packet
    }

    #[test]
    fn a_sum_from_headers_equals_the_whole_sum() {
        for protocol in [l4::UDP, l4::TCP] {
            for len in [0usize, 1, 7, 64, 1000] {
                for packet in [
                    packet::<V4>([10, 1, 2, 3], [192, 168, 254, 1], protocol, len),
                    packet::<V6>([0x20; 16], [0xfd; 16], protocol, len),
                ] {
                    let (whole, quick) = (whole_sum(&packet), quick_sum(&packet).unwrap());
                    assert!(quick == whole || quick ^ whole == 0xffff, "{quick:x} {whole:x}");
                }
            }
        }
    }

    #[test]
    fn what_no_checksum_covers_is_summed_whole() {
        let mut no_checksum = packet::<V4>([10, 1, 2, 3], [10, 1, 2, 4], l4::UDP, 9);
        put16(&mut no_checksum, 26, 0);
        let mut fragment = packet::<V4>([10, 1, 2, 3], [10, 1, 2, 4], l4::TCP, 9);
        put16(&mut fragment, 6, 0x2000);
        let mut short_udp = packet::<V6>([0x20; 16], [0xfd; 16], l4::UDP, 9);
        put16(&mut short_udp, 44, 12);
        let icmp = packet::<V4>([10, 1, 2, 3], [10, 1, 2, 4], 1, 9);
        for packet in [no_checksum, fragment, short_udp, icmp] {
            assert_eq!(quick_sum(&packet), None);
            assert_eq!(inner_sum(&packet), checksum::fold(checksum::sum(0, &packet)));
        }
    }
}
