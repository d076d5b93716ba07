use super::*;
use crate::cluster::Protocol;
use crate::object::{Kind, Name};
use sluice_config::AddressRange;
use std::sync::Arc;

/// What must hold of any allocator, and how to break it.
mod random;
/// How long it takes with many.
mod scale;

pub(super) fn owner(name: &str) -> Key {
    Name::new("default", name).key(Kind::Service)
}

pub(super) fn pool(name: &str, ranges: &[(&str, &str)], auto_assign: bool) -> AddressPool {
    let range = |(first, last): &(&str, &str)| AddressRange {
        first: first.parse().expect("an address"),
        last: last.parse().expect("an address"),
    };
    AddressPool { name: name.to_owned(), ranges: ranges.iter().map(range).collect(), auto_assign }
}

/// Wants an IPv4 address for TCP port 80.
pub(super) fn wants(created: i64) -> Request {
    Request {
        created: Some(created),
        families: vec![Family::V4],
        needs_all: false,
        pool: None,
        addresses: Ok(Vec::new()),
        sharing: None,
        ports: BTreeSet::from([(80, Protocol::Tcp)]),
        current: Vec::new(),
    }
}

fn asks(created: i64, addr: &str) -> Request {
    Request { addresses: Ok(vec![ip(addr)]), ..wants(created) }
}

fn shares(created: i64, key: &str, port: u16) -> Request {
    let sharing = Some(Sharing { key: key.into(), backend: None });
    Request { sharing, ports: BTreeSet::from([(port, Protocol::Tcp)]), ..wants(created) }
}

fn dual(created: i64, needs_all: bool) -> Request {
    Request { families: vec![Family::V6, Family::V4], needs_all, ..wants(created) }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Two IPv4 addresses and a /64 by itself, two more on demand.
fn two() -> Allocator {
    Allocator::new(&[
        pool(
            "a",
            &[("192.0.2.1", "192.0.2.2"), ("2001:db8::", "2001:db8::ffff:ffff:ffff:ffff")],
            true,
        ),
        pool("b", &[("192.0.2.8", "192.0.2.9")], false),
    ])
}

fn set(allocator: &mut Allocator, name: &str, request: Request) {
    allocator.apply([(owner(name), Some(request))]);
}

fn has(allocator: &Allocator, name: &str) -> Vec<String> {
    let outcome = allocator.outcome(&owner(name)).expect("an owner");
    outcome.addresses.iter().map(IpAddr::to_string).collect()
}

fn reasons(allocator: &Allocator, name: &str) -> Vec<&'static str> {
    let outcome = allocator.outcome(&owner(name)).expect("an owner");
    outcome.refusals.iter().map(Refusal::reason).collect()
}

#[test]
fn the_oldest_of_a_batch_is_served_first_and_the_rest_waits() {
    let mut allocator = two();
    allocator.apply([
        (owner("young"), Some(wants(3))),
        (owner("old"), Some(wants(1))),
        (owner("middle"), Some(wants(2))),
    ]);
    assert_eq!(has(&allocator, "old"), ["192.0.2.1"]);
    assert_eq!(has(&allocator, "middle"), ["192.0.2.2"]);
    assert_eq!(reasons(&allocator, "young"), ["PoolExhausted"]);
    allocator.take_changed();
    allocator.apply([(owner("old"), None)]);
    assert_eq!(has(&allocator, "young"), ["192.0.2.1"]);
    assert_eq!(allocator.take_changed(), BTreeSet::from([owner("young")]));
}

#[test]
fn what_the_status_says_is_kept_over_age() {
    let mut allocator = two();
    let current = Request { current: vec![ip("192.0.2.1")], ..wants(9) };
    allocator.apply([(owner("old"), Some(wants(1))), (owner("young"), Some(current))]);
    assert_eq!(has(&allocator, "young"), ["192.0.2.1"]);
    assert_eq!(has(&allocator, "old"), ["192.0.2.2"]);
}

#[test]
fn an_address_that_is_asked_for_is_given_refused_or_waited_for() {
    let mut allocator = two();
    set(&mut allocator, "a", asks(1, "192.0.2.9"));
    assert_eq!(has(&allocator, "a"), ["192.0.2.9"]);
    set(&mut allocator, "b", asks(2, "192.0.2.9"));
    assert_eq!(reasons(&allocator, "b"), ["AddressTaken"]);
    set(&mut allocator, "c", asks(3, "198.51.100.1"));
    assert_eq!(reasons(&allocator, "c"), ["AddressNotInPool"]);
    let elsewhere = Request { pool: Some("a".into()), ..asks(4, "192.0.2.8") };
    set(&mut allocator, "d", elsewhere);
    assert_eq!(reasons(&allocator, "d"), ["AddressNotInPool"]);
    set(&mut allocator, "e", asks(5, "2001:db8::1"));
    assert_eq!(
        (has(&allocator, "e"), reasons(&allocator, "e")),
        (vec!["192.0.2.1".to_owned()], vec!["FamilyNotWanted"])
    );
    set(&mut allocator, "a", wants(1));
    assert_eq!(has(&allocator, "a"), ["192.0.2.9"], "it keeps what it has");
    set(&mut allocator, "a", asks(1, "192.0.2.2"));
    assert_eq!(has(&allocator, "b"), ["192.0.2.9"]);
}

#[test]
fn a_request_that_cannot_be_served_any_more_keeps_what_it_had() {
    let mut allocator = two();
    set(&mut allocator, "a", wants(1));
    set(&mut allocator, "b", wants(2));
    let invalid = Request { addresses: Err("\"x\" is no address".to_owned()), ..wants(1) };
    set(&mut allocator, "a", invalid);
    assert_eq!(
        (has(&allocator, "a"), reasons(&allocator, "a")),
        (vec!["192.0.2.1".to_owned()], vec!["InvalidRequest"])
    );
    set(&mut allocator, "a", asks(1, "192.0.2.2"));
    assert_eq!(
        (has(&allocator, "a"), reasons(&allocator, "a")),
        (vec!["192.0.2.1".to_owned()], vec!["AddressTaken"])
    );
    set(&mut allocator, "a", Request { pool: Some("none".into()), ..wants(1) });
    assert_eq!(
        (has(&allocator, "a"), reasons(&allocator, "a")),
        (vec!["192.0.2.1".to_owned()], vec!["UnknownPool"])
    );
    set(&mut allocator, "a", Request { pool: Some("b".into()), ..wants(1) });
    assert_eq!(
        (has(&allocator, "a"), reasons(&allocator, "a")),
        (vec!["192.0.2.8".to_owned()], vec![])
    );
}

#[test]
fn a_dual_stack_owner_gets_both_or_what_there_is() {
    let mut allocator = two();
    set(&mut allocator, "a", dual(1, true));
    assert_eq!(has(&allocator, "a"), ["2001:db8::", "192.0.2.1"]);
    set(&mut allocator, "b", dual(2, true));
    set(&mut allocator, "c", dual(3, true));
    assert_eq!((has(&allocator, "c"), reasons(&allocator, "c")), (vec![], vec!["PoolExhausted"]));
    set(&mut allocator, "d", dual(4, false));
    assert_eq!(
        (has(&allocator, "d"), reasons(&allocator, "d")),
        (vec!["2001:db8::2".to_owned()], vec!["PoolExhausted"])
    );
    set(&mut allocator, "e", Request { pool: Some("b".into()), ..dual(5, false) });
    assert_eq!(
        (has(&allocator, "e"), reasons(&allocator, "e")),
        (vec!["192.0.2.8".to_owned()], vec!["FamilyMissing"])
    );
    allocator.apply([(owner("a"), None)]);
    assert_eq!(has(&allocator, "c"), ["2001:db8::", "192.0.2.1"]);
}

#[test]
fn an_address_is_shared_by_one_key_one_backend_and_different_ports() {
    let mut allocator = two();
    set(&mut allocator, "http", shares(1, "web", 80));
    set(&mut allocator, "https", shares(2, "web", 443));
    assert_eq!(
        (has(&allocator, "http"), has(&allocator, "https")),
        (vec!["192.0.2.1".to_owned()], vec!["192.0.2.1".to_owned()])
    );
    set(&mut allocator, "again", shares(3, "web", 80));
    assert_eq!(has(&allocator, "again"), ["192.0.2.2"]);
    let local = Some(Sharing { key: "web".into(), backend: Some("app=x".into()) });
    set(&mut allocator, "local", Request { sharing: local, ..shares(4, "web", 8080) });
    assert_eq!(reasons(&allocator, "local"), ["PoolExhausted"]);
    set(
        &mut allocator,
        "asks",
        Request { sharing: shares(5, "web", 1).sharing, ..asks(5, "192.0.2.1") },
    );
    assert_eq!(reasons(&allocator, "asks"), ["AddressTaken"]);
    let refusal = allocator.outcome(&owner("asks")).map(|outcome| outcome.refusals[0].to_string());
    assert_eq!(
        refusal.as_deref(),
        Some("192.0.2.1 is shared with Service default/http, which has port 80/TCP")
    );
    let used = |allocator: &Allocator| allocator.usage().iter().map(|pool| pool.used).sum::<u64>();
    assert_eq!(used(&allocator), 2);
    // A tenant that shares no longer leaves; the others stay.
    set(&mut allocator, "https", wants(2));
    assert_eq!(
        (has(&allocator, "http"), reasons(&allocator, "https")),
        (vec!["192.0.2.1".to_owned()], vec!["PoolExhausted"])
    );
    // The port is free again for who waits for it.
    allocator.apply([(owner("http"), None)]);
    assert_eq!(has(&allocator, "https"), ["192.0.2.1"]);
}

#[test]
fn other_pools_move_only_whom_they_must() {
    let mut allocator = two();
    for (name, created) in [("a", 1), ("b", 2), ("c", 3)] {
        set(&mut allocator, name, wants(created));
    }
    allocator.take_changed();
    let pools = [
        pool("new", &[("192.0.2.1", "192.0.2.1"), ("198.51.100.1", "198.51.100.9")], true),
        pool("a", &[("192.0.2.2", "192.0.2.2")], false),
    ];
    allocator.set_pools(&pools);
    assert_eq!(
        (has(&allocator, "a"), has(&allocator, "b")),
        (vec!["192.0.2.1".to_owned()], vec!["192.0.2.2".to_owned()])
    );
    assert_eq!(has(&allocator, "c"), ["198.51.100.1"]);
    assert_eq!(allocator.take_changed(), BTreeSet::from([owner("c")]));
    allocator.set_pools(&pools[..1]);
    assert_eq!(has(&allocator, "b"), ["198.51.100.2"]);
}

#[test]
fn a_status_that_another_gateway_wrote_is_followed() {
    let mut allocator = two();
    set(&mut allocator, "a", wants(1));
    set(&mut allocator, "a", Request { current: vec![ip("192.0.2.2")], ..wants(1) });
    assert_eq!(has(&allocator, "a"), ["192.0.2.2"]);
    // An echo of what it had before it asked for another is not.
    set(&mut allocator, "a", Request { current: vec![ip("192.0.2.2")], ..asks(1, "192.0.2.1") });
    assert_eq!(has(&allocator, "a"), ["192.0.2.1"]);
    set(&mut allocator, "b", Request { current: vec![ip("192.0.2.1")], ..wants(2) });
    assert_eq!(has(&allocator, "b"), ["192.0.2.2"]);
}

#[test]
fn a_pool_of_every_address_is_counted_without_overflow() {
    let all = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let mut allocator = Allocator::new(&[pool("all", &[("::", all)], true)]);
    set(&mut allocator, "a", Request { families: vec![Family::V6], ..wants(1) });
    let usage = allocator.usage();
    assert_eq!((usage[0].used, usage[0].free), (1, u128::MAX - 1));
    let pool: Arc<str> = "all".into();
    assert_eq!(usage[0].pool, pool);
}
