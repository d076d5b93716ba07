//! Which characters may be where.

/// What a byte may be a part of.
const CLASSES: [u8; 256] = classes();

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const TARGET: u8 = 4;
const HOST: u8 = 8;

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let c = byte as u8;
        let mut class = 0;
        if c.is_ascii_alphanumeric() || is_one_of(c, b"!#$%&'*+-.^_`|~") {
            class |= TOKEN;
        }
        if c == b'\t' || (c >= b' ' && c != 0x7f) {
            class |= VALUE;
        }
        if c.is_ascii_alphanumeric() || is_one_of(c, b"-._~%!$&'()*+,;=:@/?[]|{}^`\\") {
            class |= TARGET;
        }
        if c.is_ascii_alphanumeric() || is_one_of(c, b"-._~!$&'()*+,;=") {
            class |= HOST;
        }
        classes[byte] = class;
        byte += 1;
    }
    classes
}

const fn is_one_of(c: u8, all: &[u8]) -> bool {
    let mut at = 0;
    while at < all.len() {
        if all[at] == c {
            return true;
        }
        at += 1;
    }
    false
}

/// A part of a method or a header's name (RFC 9110 section 5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & TOKEN != 0
}

/// A part of a header's value (RFC 9110 section 5.5): visible characters, spaces, tabs,
/// and what is no ASCII.
pub(crate) fn is_value(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & VALUE != 0
}

/// A part of a path or query: those of RFC 3986, and those that browsers send as they
/// are (URL standard). No space, no `#`, no quotation mark, nothing that is no ASCII.
pub(crate) fn is_target(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & TARGET != 0
}

/// A part of a registered name (RFC 3986 section 3.2.2), but for what has a percent sign:
/// there are no such names, and libraries disagree about them.
pub(crate) fn is_host(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & HOST != 0
}
