//! Looks at bytes eight at a time: heads are long, and most of their bytes are nothing
//! special.

use crate::chars;

/// 1 in each byte of a word, and the highest bit of each.
const ONES: u64 = u64::MAX / 255;
const HIGH: u64 = ONES << 7;

/// The same byte eight times.
fn all(byte: u8) -> u64 {
    ONES * u64::from(byte)
}

/// The highest bit of each byte that is 0, and perhaps of some above it.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGH
}

/// Where a byte is first of which `marks` sets the highest bit in a word, and perhaps in
/// bytes above it; `is_one` says the same of a single byte.
fn find(bytes: &[u8], marks: impl Fn(u64) -> u64, is_one: impl Fn(u8) -> bool) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let marks = marks(u64::from_le_bytes(*word));
        if marks != 0 {
            return Some(number * 8 + marks.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|byte| is_one(*byte))?;
    Some(words.len() * 8 + at)
}

/// The first line feed.
pub(super) fn line_feed(bytes: &[u8]) -> Option<usize> {
    find(bytes, |word| zeros(word ^ all(b'\n')), |byte| byte == b'\n')
}

/// The first carriage return or line feed.
pub(super) fn line_break(bytes: &[u8]) -> Option<usize> {
    let marks = |word: u64| zeros(word ^ all(b'\r')) | zeros(word ^ all(b'\n'));
    find(bytes, marks, |byte| matches!(byte, b'\r' | b'\n'))
}

/// Whether all bytes may be in a header's value.
pub(super) fn is_value(bytes: &[u8]) -> bool {
    let marks = |word: u64| {
        let controls = word.wrapping_sub(all(b' ')) & !word & HIGH;
        controls | zeros(word ^ all(0x7f))
    };
    let mut rest = bytes;
    while let Some(at) = find(rest, marks, |byte| !chars::is_value(byte)) {
        // One of them may be a tab.
        if !chars::is_value(rest[at]) {
            return false;
        }
        rest = &rest[at + 1..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_if_bytes_were_looked_at_one_by_one() {
        let mut random = fastrand::Rng::with_seed(9);
        let special = b"\r\n\t\0\x1f\x20\x7f\x80\x8a\x8d\x0b\x0c\x0e\xff\x09\x21\x7e";
        for _ in 0..20_000 {
            let mut bytes = vec![b'a'; random.usize(..40)];
            for _ in 0..random.usize(..4) {
                if let Some(byte) = random.choice(&mut bytes) {
                    *byte = special[random.usize(..special.len())];
                }
            }
            let first = |is: &[u8]| bytes.iter().position(|byte| is.contains(byte));
            assert_eq!(line_feed(&bytes), first(b"\n"), "{bytes:?}");
            assert_eq!(line_break(&bytes), first(b"\r\n"), "{bytes:?}");
            let is_right = bytes.iter().all(|byte| chars::is_value(*byte));
            assert_eq!(is_value(&bytes), is_right, "{bytes:?}");
        }
    }
}
