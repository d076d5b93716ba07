use super::send;
use sluice_l7::guard::Limits;
use sluice_testkit::corpus::examples;

/// However the network cuts what a client sends, it is the same requests: what passed
/// before the end may differ by what was held back, nothing else.
#[test]
fn it_does_not_matter_how_requests_come_in_pieces() {
    for example in examples() {
        let whole = send(Limits::default(), [&example.bytes[..]]);
        let check = |pieces: &[&[u8]]| {
            let passed = send(Limits::default(), pieces.iter().copied());
            assert_eq!(passed.refused, whole.refused, "{}: {pieces:?}", example.name);
            assert_eq!(passed.heads, whole.heads, "{}: {pieces:?}", example.name);
            assert!(whole.bytes.starts_with(&passed.bytes), "{}: {pieces:?}", example.name);
            if whole.refused.is_none() {
                assert_eq!(passed.bytes, whole.bytes, "{}: {pieces:?}", example.name);
            }
        };
        check(&example.bytes.chunks(1).collect::<Vec<_>>());
        for at in 1..example.bytes.len() {
            check(&[&example.bytes[..at], &example.bytes[at..]]);
        }
    }
}
