//! DNS messages.

/// An answer by an alias, one with addresses of both families, and one with none.
pub(super) fn messages() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let header = |answers: u8| [0, 1, 0x81, 0x80, 0, 1, 0, answers, 0, 0, 0, 0];
    let question = b"\x03www\x07example\x03com\0\0\x01\0\x01";
    let alias = b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01b\xc0\x10";
    let of_alias = b"\xc0\x2d\0\x01\0\x01\0\0\0\x3c\0\x04\xcb\0\x71\x01";
    let v4 = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xcb\0\x71\x01";
    let v6 = b"\xc0\x0c\0\x1c\0\x01\0\0\0\x3c\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01";
    vec![
        ("dns", "alias", [&header(2)[..], question, alias, of_alias].concat()),
        ("dns", "addresses", [&header(2)[..], question, v4, v6].concat()),
        ("dns", "none", [&header(0)[..], question].concat()),
    ]
}
