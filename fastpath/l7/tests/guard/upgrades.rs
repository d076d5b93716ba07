use sluice_l7::guard::{Guard, Limits, Step};

const UPGRADE: &[u8] =
    b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A connection whose client has asked for another protocol.
fn asked() -> Guard {
    let mut guard = Guard::new(Limits::default());
    let Ok(Step::Head(head)) = guard.step(UPGRADE) else { panic!("no head") };
    assert!(head.upgrades && head.len == UPGRADE.len());
    guard
}

#[test]
fn what_comes_after_an_upgrade_waits_for_the_answer() {
    let next = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut guard = asked();
    assert_eq!(guard.step(next), Ok(Step::Wait));
    guard.answered_upgrade(false);
    assert!(matches!(guard.step(next), Ok(Step::Head(_))));
    let mut guard = asked();
    guard.answered_upgrade(true);
    assert_eq!(guard.step(b"\x81\x05\n\n"), Ok(Step::Bytes(4)));
    guard.answered_upgrade(false);
    assert_eq!(guard.step(b"\n"), Ok(Step::Bytes(1)), "nothing leads back");
}

#[test]
fn nobody_switches_behind_a_body_or_in_an_old_version() {
    for (line, version) in [("Content-Length: 3\r\n", "1.1"), ("", "1.0")] {
        let request = format!("POST / HTTP/{version}\r\nHost: a\r\nUpgrade: x\r\n{line}\r\nabc");
        let mut guard = Guard::new(Limits::default());
        let Ok(Step::Head(head)) = guard.step(request.as_bytes()) else { panic!("no head") };
        guard.answered_upgrade(true);
        let after = guard.step(&request.as_bytes()[head.len..]);
        let expected = if line.is_empty() { Step::End } else { Step::Bytes(3) };
        assert_eq!(after, Ok(expected));
        guard.answered_upgrade(true);
        assert!(matches!(guard.step(b"\n"), Err(_) | Ok(Step::End)));
    }
}

#[test]
fn nothing_passes_behind_the_last_request() {
    for (head, body) in [
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", ""),
        ("GET / HTTP/1.0\r\n\r\n", ""),
        ("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\n", "x"),
    ] {
        let mut guard = Guard::new(Limits::default());
        assert!(matches!(guard.step(head.as_bytes()), Ok(Step::Head(head)) if head.is_last));
        if !body.is_empty() {
            assert_eq!(guard.step(body.as_bytes()), Ok(Step::Bytes(body.len())));
        }
        assert_eq!(guard.step(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Step::End));
        assert!(guard.is_between());
    }
}
