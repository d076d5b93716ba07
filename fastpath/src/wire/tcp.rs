use super::{be16, be32, put16};

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;
/// Option: maximum segment size, 4 bytes.
pub const OPTION_MSS: u8 = 2;
/// Option: window scale, 3 bytes (RFC 7323 section 2.2).
const OPTION_WINDOW_SCALE: u8 = 3;
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
/// Largest window scale (RFC 7323 section 2.3).
pub const WINDOW_SCALE_MAX: u8 = 14;

/// The sequence number of a segment.
pub fn sequence(segment: &[u8]) -> u32 {
    be32(segment, 4)
}

/// The sequence number behind a segment's data: its FIN's.
pub fn end(segment: &[u8]) -> u32 {
    let header_len = segment.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
    sequence(segment).wrapping_add(segment.len().saturating_sub(header_len) as u32)
}

/// The acknowledgment number of a segment.
#[inline]
pub fn acknowledgment(segment: &[u8]) -> u32 {
    be32(segment, 8)
}

/// The window scale that a SYN or SYN-ACK offers, at most [`WINDOW_SCALE_MAX`].
pub fn window_scale(segment: &[u8]) -> Option<u8> {
    let at = option(segment, OPTION_WINDOW_SCALE, 3)?;
    segment.get(at + 2).map(|&scale| scale.min(WINDOW_SCALE_MAX))
}

/// Where a segment's first option of a kind and length begins; `None` behind
/// options that are broken.
pub fn option(segment: &[u8], kind: u8, option_len: usize) -> Option<usize> {
    let header_len = segment.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
    let header = segment.get(..header_len)?;
    let mut at = HEADER_LEN;
    while at < header_len {
        let len = match header[at] {
            OPTION_END => return None,
            OPTION_NOP => 1,
            _ => usize::from(*header.get(at + 1)?),
        };
        if len == 0 || at + len > header_len {
            return None;
        }
        if header[at] == kind && len == option_len {
            return Some(at);
        }
        at += len;
    }
    None
}

/// Lowers the MSS option of a segment and mends its checksum.
pub fn lower_mss(segment: &mut [u8], mss_max: u16) {
    let Some(at) = option(segment, OPTION_MSS, 4) else { return };
    let old = be16(segment, at + 2);
    if old > mss_max {
        put16(segment, at + 2, mss_max);
        // At an odd offset the bytes of the sum change places.
        let swap = |value: u16| if at % 2 == 0 { value } else { value.swap_bytes() };
        let (old, new) = (swap(old).to_be_bytes(), swap(mss_max).to_be_bytes());
        super::checksum::apply(segment, 16, super::checksum::delta(&old, &new));
    }
}

#[cfg(test)]
mod tests {
    use super::super::checksum;
    use super::*;

    fn segment(options: &[u8]) -> Vec<u8> {
        let mut segment = vec![0u8; HEADER_LEN];
        segment.extend_from_slice(options);
        segment[12] = (segment.len() as u8 / 4) << 4;
        let checksum = checksum::finish(0, &segment);
        put16(&mut segment, 16, checksum);
        segment
    }

    #[test]
    fn only_a_larger_mss_is_lowered_and_the_sum_stays_right() {
        for (options, at) in
            [(&[2, 4, 5, 180, 0, 0, 0, 0][..], 22), (&[1, 2, 4, 5, 180, 1, 1, 0], 23)]
        {
            let mut data = segment(options);
            lower_mss(&mut data, 1410);
            assert_eq!(be16(&data, at), 1410);
            assert_eq!(checksum::finish(0, &data), 0);
            lower_mss(&mut data, 1460);
            assert_eq!(be16(&data, at), 1410);
        }
    }

    #[test]
    fn broken_options_are_left_alone() {
        for options in [[2u8, 0, 0, 0], [8, 40, 0, 0], [1, 1, 1, 2], [2, 3, 5, 180]] {
            let before = segment(&options);
            let mut data = before.clone();
            lower_mss(&mut data, 100);
            assert_eq!(data, before);
            assert_eq!(window_scale(&data), None);
        }
    }

    #[test]
    fn a_window_scale_is_found_behind_others_and_has_a_bound() {
        let scale = |options: &[u8]| window_scale(&segment(options));
        assert_eq!(scale(&[2, 4, 5, 180, 1, 3, 3, 7]), Some(7));
        assert_eq!(scale(&[3, 3, 200, 0]), Some(14));
        assert_eq!(scale(&[0, 3, 3, 7]), None);
        assert_eq!(scale(&[]), None);
    }
}
