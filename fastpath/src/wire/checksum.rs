//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//! Sums are kept as ones' complement numbers in big-endian order.

use super::{be16, put16};

/// Sums bytes as 16-bit words, the last odd byte padded with zero, on top of
/// `sum`. The result is not folded.
#[inline]
pub fn sum(mut sum: u64, data: &[u8]) -> u64 {
    let mut words = data.chunks_exact(8);
    let mut carry = 0u64;
    for word in &mut words {
        let word = u64::from_be_bytes(word.try_into().unwrap_or([0; 8]));
        // Ones' complement addition of 64-bit words equals that of their
        // 16-bit parts; the carries are added back at the end.
        let (added, overflow) = sum.overflowing_add(word);
        sum = added;
        carry += u64::from(overflow);
    }
    // The rest in fixed steps: a copy of unknown length would be a call.
    let mut rest = words.remainder();
    if let Some((word, more)) = rest.split_first_chunk() {
        carry += u64::from(u32::from_be_bytes(*word));
        rest = more;
    }
    if let Some((word, more)) = rest.split_first_chunk() {
        carry += u64::from(u16::from_be_bytes(*word));
        rest = more;
    }
    if let [last] = rest {
        carry += u64::from(*last) << 8;
    }
    u64::from(fold(sum)) + carry
}

/// The folded sum of an IPv4 header without options.
#[inline]
pub fn sum_header(header: &[u8; 20]) -> u16 {
    // Ones' complement sums do not depend on the order of bytes: words are
    // added as the processor reads them.
    let (words, _) = header.as_chunks();
    let sum = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    u16::from_be(fold(sum))
}

/// Folds a sum to 16 bits.
#[inline]
pub fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

/// The checksum of bytes on top of a partial sum: the complement of the sum.
#[inline]
pub fn finish(partial: u64, data: &[u8]) -> u16 {
    !fold(sum(partial, data))
}

/// Sum of the pseudo header of TCP, UDP or ICMPv6 (RFC 9293 section 3.1,
/// RFC 8200 section 8.1) for addresses of either family.
#[inline]
pub fn pseudo(src: &[u8], dst: &[u8], protocol: u8, len: usize) -> u64 {
    sum(sum(u64::from(protocol) + len as u64, src), dst)
}

/// What turns a checksum over `old` into one over `new`, equally long and at
/// an even offset: the ones' complement difference.
#[inline]
pub fn delta(old: &[u8], new: &[u8]) -> u16 {
    fold(u64::from(!fold(sum(0, old))) + u64::from(fold(sum(0, new))))
}

/// Adds two differences.
#[inline]
pub fn add(a: u16, b: u16) -> u16 {
    let sum = u32::from(a) + u32::from(b);
    (sum + (sum >> 16)) as u16
}

/// Applies a difference to the checksum at offset `at` (RFC 1624, equation 3).
#[inline]
pub fn apply(data: &mut [u8], at: usize, delta: u16) {
    let updated = !add(!be16(data, at), delta);
    put16(data, at, updated);
}

/// [`apply`] to the checksum of a UDP header. None stays none (RFC 768); one
/// that comes out as 0 is sent as 0xffff, which is the same number.
#[inline]
pub fn apply_udp(header: &mut [u8], delta: u16) {
    let Some(field) = header.get(6..8) else { return };
    if field != [0, 0] {
        apply(header, 6, delta);
        if header[6..8] == [0, 0] {
            header[6..8].copy_from_slice(&[0xff, 0xff]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(data: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in data.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    fn bytes(seed: u32, len: usize) -> Vec<u8> {
        let mut x = seed;
        (0..len)
            .map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if x >> 28 == 0 { 0xff } else { (x >> 24) as u8 }
            })
            .collect()
    }

    #[test]
    fn agrees_with_the_definition() {
        for len in 0..200 {
            for seed in 0..20 {
                let data = bytes(seed, len);
                assert_eq!(finish(0, &data), naive(&data), "{data:?}");
            }
            assert_eq!(finish(0, &vec![0xff; len]), naive(&vec![0xff; len]));
        }
    }

    #[test]
    fn an_update_equals_a_new_sum() {
        for seed in 0..500 {
            let mut data = bytes(seed, 64);
            put16(&mut data, 10, 0);
            let checksum = naive(&data);
            put16(&mut data, 10, checksum);
            let old = data.clone();
            let new = bytes(seed + 1000, 8);
            data[20..28].copy_from_slice(&new);
            let difference = delta(&old[20..28], &new);
            apply(&mut data, 10, difference);
            let updated = be16(&data, 10);
            put16(&mut data, 10, 0);
            let fresh = naive(&data);
            // 0 and 0xffff are the same number in ones' complement.
            assert!(updated == fresh || updated ^ fresh == 0xffff, "{updated:x} {fresh:x}");
        }
    }
}
