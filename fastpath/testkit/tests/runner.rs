//! The runner of golden cases against cases that are wrong on purpose: what it says of them.

use std::path::Path;

use sluice_testkit::cases::{Report, run_text};

const SERVICE: &str = "service 10.96.0.10:80/tcp -> 10.244.1.7:8080";
const SYN: &str = "send p0: ip 198.51.100.7 > 10.96.0.10 / tcp 40000 > 80 S";
const ARRIVES: &str = "expect p1 via node1: ip 10.244.255.1 > 10.244.1.7 ttl 63 / tcp * > 8080 S";
const COUNTED: &str = "counters: rx 1, tx 1, flows 1, flows_created 1, snat_ports 1";

fn run(lines: &[&str]) -> Report {
    run_text(Path::new("a.case"), &format!("# A case.\n{}\n", lines.join("\n")), "")
}

/// Line and message of the only failure.
fn failure(lines: &[&str]) -> (usize, String) {
    let report = run(lines);
    assert_eq!((report.passed, report.failures.len()), (0, 1), "{:?}", report.failures);
    (report.failures[0].line, report.failures[0].message.clone())
}

#[test]
fn a_right_case_passes_in_every_family_that_it_is_told_for() {
    assert_eq!(run(&[SERVICE, SYN, ARRIVES, COUNTED]).passed, 1);
    assert_eq!(run(&["both families", SERVICE, SYN, ARRIVES, COUNTED]).passed, 2);
}

#[test]
fn failures_name_file_line_case_and_family() {
    let report = run(&["both families", SERVICE, SYN, "expect nothing"]);
    let texts: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
    assert!(
        texts[0].starts_with("a.case:5: in \"A case (IPv4)\"\n    no line expects: p1@0: eth ")
    );
    assert!(
        texts[1].starts_with("a.case:5: in \"A case (IPv6)\"\n    no line expects: p1@0: eth ")
    );
}

#[test]
fn a_packet_that_differs_is_shown_beside_the_pattern() {
    let wrong = "expect p1 via node1: ip 10.244.255.1 > 10.244.1.8 ttl 63 / tcp * > 8080 S";
    let (line, message) = failure(&[SERVICE, SYN, wrong, COUNTED]);
    assert_eq!(line, 4);
    assert!(message.starts_with("expected: ip 10.10.0.1 > 10.10.0.11 / udp 49152..65535 > 4789"));
    assert!(message.contains("\nactual:   ip 10.10.0.1 > 10.10.0.11 df / udp "));
    assert!(message.contains("\ndiffers:  ip dst: expected 10.244.1.8, is 10.244.1.7\n"));
    assert!(
        message.ends_with(
            "counted by the last step: rx 1, tx 1, flows 1, flows_created 1, snat_ports 1"
        )
    );
}

#[test]
fn a_packet_that_does_not_come_is_missed() {
    let no_route = ["route 0.0.0.0/0 gone", "send p0: ip 192.0.2.10 > 203.0.113.7 / icmp type 13"];
    let (line, message) = failure(&[no_route[0], no_route[1], "expect p1: ip / icmp type 13"]);
    assert_eq!(line, 4);
    assert_eq!(
        message,
        "expected: ip / icmp type 13\nbut nothing left p1\n\
         counted by the last step: rx 1, tx 1, originated 1, drop.no_route 1"
    );
}

#[test]
fn a_packet_that_no_line_expects_fails_the_next_line() {
    for next in ["advance 1s", COUNTED, "vip 10.96.0.11\nsend p0: ip / cut 0"] {
        let (_, message) = failure(&[SERVICE, SYN, next]);
        assert!(message.starts_with("no line expects: p1@0: "), "{message}");
    }
    let (_, message) = failure(&[SERVICE, SYN]);
    assert!(message.starts_with("no line expects: p1@0: "), "{message}");
}

#[test]
fn counts_must_be_written_all_and_last() {
    let (line, message) = failure(&[SERVICE, SYN, ARRIVES]);
    assert_eq!(line, 4);
    assert_eq!(message, format!("the case ends without a `counters` line; it would be\n{COUNTED}"));
    let (line, message) = failure(&[SERVICE, SYN, ARRIVES, "counters: rx 1, tx 2"]);
    assert_eq!(line, 5);
    assert!(message.starts_with("tx: expected 2, is 1\n"), "{message}");
    let (_, message) = failure(&[SERVICE, SYN, ARRIVES, COUNTED, SYN, ARRIVES]);
    assert!(message.starts_with("the case ends without a `counters` line"), "{message}");
}

#[test]
fn the_sending_worker_and_the_macs_are_checked() {
    let elsewhere = ARRIVES.replace("p1 via", "p1@0 via");
    let (_, message) = failure(&["workers 2", SERVICE, SYN, &elsewhere]);
    assert_eq!(message, "the packet left p1@1");
    // The harness believes that the client has another MAC than the one the gateway learns.
    let moved = "send p0: arp 192.0.2.10 is-at 02:..:77 to 192.0.2.1 02:..:a0";
    let packet = "send p1: ip 10.10.0.11 > 192.0.2.10 / udp 1 > 2";
    let (_, message) = failure(&[moved, packet, "expect p0: ip / udp"]);
    assert!(message.contains("differs:  eth dst: expected 02:..:10, is 02:..:77"), "{message}");
}

#[test]
fn what_cannot_be_read_is_explained() {
    for (line, expected) in [
        ("sevrice 10.96.0.10:80/tcp -> x", "expected a step or a directive, found `sevrice"),
        ("service 10.96.0.10:80 -> 10.0.0.1:80", "expected VIP:PORT/tcp, /udp or /sctp"),
        ("backend 10.0.0.1:80 ready", "no service has 10.0.0.1:80"),
        ("route 10.0.0.0 blackhole", "expected a prefix such as 10.0.0.0/24, found `10.0.0.0`"),
        ("snat pool 10.0.0.9..10.0.0.1", "expected FIRST..LAST"),
        ("mtu p7 1400", "there is no port p7"),
        ("timeout sleepy 5s", "expected one of syn_sent, "),
        ("send p0: ip 10.0.0.1 > x / udp 1 > 2", "column 15: expected an IPv4 address, found `x`"),
        ("send p7: ip 10.0.0.1 > 10.0.0.2", "there is no port p7"),
        ("send p0@7: ip 10.0.0.1 > 10.0.0.2", "there is no port p0@7"),
        ("send p1 via node9: ip 10.0.0.1 > 10.0.0.2", "there is no node `node9`"),
        ("counters: packets 1", "there is no counter `packets`; expected rx, tx,"),
        ("at 1s\nat 500ms", "it is 1s already"),
        ("advance 1s\nworkers 2", "`workers 2` must stand before the first step"),
        ("vip 10.0.0.1", "the case does nothing: it has no step"),
    ] {
        let (_, message) = failure(&[line]);
        assert!(message.contains(expected), "{line}: {message}");
    }
}

#[test]
fn a_story_without_counterpart_in_ipv6_says_so() {
    let report = run(&["both families", "vip 8.8.8.8", "run", "counters:"]);
    assert_eq!((report.passed, report.failures.len()), (1, 1));
    assert_eq!(report.failures[0].message, "8.8.8.8 has no IPv6 counterpart");
}

#[test]
fn repeated_lines_count_and_bind() {
    let send = "queue p0 each $sport 1..9: ip 192.0.2.10 > 10.10.0.11 / udp $sport > 7";
    let expect = "expect p1 each $sport 1..9: ip 192.0.2.10 > 10.10.0.11 / udp $sport > 7";
    let counted = "counters: rx 9, tx $n, flows $n, flows_created 9";
    assert_eq!(run(&[send, "run", expect, counted]).passed, 1);
    let (_, message) = failure(&[send, "run", "expect p1 each $sport 2..9: ip / udp $sport > 7"]);
    assert!(message.contains("udp sport: expected 2 ($sport), is 1, packet 1"), "{message}");
    let (_, message) = failure(&[send, "run", "expect p1 x10: ip / udp"]);
    assert!(message.contains("but nothing left p1, packet 10"), "{message}");
}
