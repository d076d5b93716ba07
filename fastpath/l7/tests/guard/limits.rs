use super::send;
use sluice_l7::guard::Limits;
use sluice_l7::{HeadLimits, L7Reason};

const LIMITS: Limits = Limits {
    head: HeadLimits { bytes: 400, target_bytes: 100, headers: 8 },
    body_bytes: Some(1000),
};

fn refused(text: &str) -> Option<L7Reason> {
    let whole = send(LIMITS, [text.as_bytes()]);
    let dripped = send(LIMITS, text.as_bytes().chunks(1));
    assert_eq!(whole.refused, dripped.refused, "{text}");
    whole.refused
}

/// A head of so many bytes.
fn head(len: usize) -> String {
    let (before, after) = ("GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n");
    format!("{before}{}{after}", "x".repeat(len - before.len() - after.len()))
}

#[test]
fn a_head_may_be_as_long_as_configured() {
    assert_eq!(refused(&head(400)), None);
    assert_eq!(refused(&head(401)), Some(L7Reason::HeadTooLarge));
    // One that never ends.
    assert_eq!(refused(&"G".repeat(400)), Some(L7Reason::HeadTooLarge));
    assert_eq!(refused(&"G".repeat(399)), None);
}

#[test]
fn a_target_may_be_as_long_as_configured() {
    let line = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(len - 1));
    assert_eq!(refused(&line(100)), None);
    assert_eq!(refused(&line(101)), Some(L7Reason::TargetTooLong));
}

#[test]
fn there_may_be_as_many_headers_as_configured() {
    let of =
        |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: x\r\n".repeat(count - 1));
    assert_eq!(refused(&of(8)), None);
    assert_eq!(refused(&of(9)), Some(L7Reason::TooManyHeaders));
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
    let with = |count: usize| format!("{chunked}{}\r\n", "X: x\r\n".repeat(count));
    assert_eq!(refused(&with(8)), None);
    assert_eq!(refused(&with(9)), Some(L7Reason::TooManyHeaders));
    assert_eq!(refused(&format!("{chunked}X: {}", "x".repeat(400))), Some(L7Reason::HeadTooLarge));
}

#[test]
fn a_body_may_be_as_long_as_configured() {
    let length = |len: usize| {
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{}", "x".repeat(len))
    };
    // Each request by itself.
    assert_eq!(refused(&length(1000).repeat(3)), None);
    assert_eq!(refused(&length(1001)), Some(L7Reason::BodyTooLarge));
    let chunks = |count: usize| {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{}0\r\n\r\n", format!("64\r\n{}\r\n", "x".repeat(100)).repeat(count))
    };
    assert_eq!(refused(&chunks(10).repeat(2)), None);
    assert_eq!(refused(&chunks(11)), Some(L7Reason::BodyTooLarge));
}

#[test]
fn extensions_of_chunks_may_not_be_what_a_body_is_made_of() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let line = |len: usize| format!("1;{}\r\nx\r\n", "x".repeat(len - 4));
    assert_eq!(refused(&format!("{head}{}0\r\n\r\n", line(1024))), None);
    assert_eq!(refused(&format!("{head}{}", line(1025))), Some(L7Reason::BadChunk));
    assert_eq!(refused(&format!("{head}{}0\r\n\r\n", line(1024).repeat(16))), None);
    assert_eq!(refused(&format!("{head}{}", line(1024).repeat(17))), Some(L7Reason::BadChunk));
}
