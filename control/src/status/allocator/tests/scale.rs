use super::{Allocator, owner, pool, wants};
use crate::object::Key;
use crate::status::allocator::{Family, Request};
use std::time::Instant;

const OWNERS: usize = 10_000;

/// Prints times, and asserts only what does not depend on them:
/// `cargo test -p sluice-control --release scale -- --nocapture`.
#[test]
fn ten_thousand_owners() {
    let pools = [
        pool("small", &[("10.0.0.0", "10.0.31.255")], true),
        pool("large", &[("2001:db8::", "2001:db8::ffff:ffff:ffff:ffff")], true),
    ];
    let request = |i: usize| -> (Key, Option<Request>) {
        let families = vec![Family::V4, Family::V6];
        (owner(&format!("s{i:05}")), Some(Request { families, ..wants((i % 97) as i64) }))
    };
    let mut allocator = Allocator::new(&pools);
    let started = Instant::now();
    allocator.apply((0..OWNERS).map(request));
    let first = started.elapsed();
    assert_eq!(allocator.usage()[0].free, 0);

    let mut restarted = Allocator::new(&pools);
    let with_status = |i: usize| {
        let (owner, request) = request(i);
        let current = allocator.outcome(&owner).map(|outcome| outcome.addresses.clone());
        (owner, request.map(|request| Request { current: current.unwrap_or_default(), ..request }))
    };
    let batch: Vec<_> = (0..OWNERS).rev().map(with_status).collect();
    let started = Instant::now();
    restarted.apply(batch);
    let again = started.elapsed();
    assert!((0..OWNERS).all(|i| {
        let owner = request(i).0;
        restarted.outcome(&owner) == allocator.outcome(&owner)
    }));

    let started = Instant::now();
    for i in 0..OWNERS {
        let (owner, request) = request(i);
        restarted.apply([(owner.clone(), None)]);
        restarted.apply([(owner, request)]);
    }
    let changes = started.elapsed() / (2 * OWNERS as u32);
    println!("first {first:?}, restart {again:?}, one change {changes:?} on average");
}
