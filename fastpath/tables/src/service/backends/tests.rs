use super::*;
use crate::family::{V4, V6};
use crate::ids::BackendId;

fn set(n: usize) -> BackendSet<V4> {
    BackendSet::new((0..n).map(backend).collect())
}

fn backend(i: usize) -> BackendRef<V4> {
    BackendRef {
        id: BackendId(i as u32),
        addr: [10, 1, (i >> 8) as u8, i as u8],
        l4_port: 8080,
        weight: 1,
    }
}

fn hashes() -> impl Iterator<Item = u64> {
    (0..100_000u32).map(|i| hash::connection(&i.to_be_bytes(), 40_000, &[10, 96, 0, 1], 80, 6))
}

#[test]
fn no_backend_is_no_choice() {
    assert!(set(0).choose(7).is_none());
}

#[test]
fn every_backend_gets_its_share() {
    for n in [1, 2, 10, 16, 17, 100, 1000] {
        let set = set(n);
        let mut counts = vec![0usize; n];
        for hash in hashes() {
            counts[set.choose(hash).unwrap().id.0 as usize] += 1;
        }
        let fair = 100_000 / n;
        // Five standard deviations of a fair draw, and 2% for the table itself.
        let slack = (fair as f64).sqrt() * 5.0 + fair as f64 * 0.02;
        for count in counts {
            assert!((count as f64 - fair as f64).abs() < slack, "{n} backends: {count} of {fair}");
        }
    }
}

#[test]
fn a_change_of_one_backend_moves_its_own_flows_alone() {
    for n in [2, 10, 16, 17, 50, 1000, 1001] {
        let before = set(n);
        let after = BackendSet::<V4>::new((1..n).map(backend).collect());
        for hash in hashes() {
            let old = before.choose(hash).unwrap().id;
            let new = after.choose(hash).unwrap().id;
            assert!(old == BackendId(0) || new == old, "{n} backends: {old:?} to {new:?}");
        }
    }
}

/// `n` backends, the first of them with another weight.
fn weighted(n: usize, weight: u16) -> BackendSet<V4> {
    let weigh = |i| BackendRef { weight: if i == 0 { weight } else { 10 }, ..backend(i) };
    BackendSet::new((0..n).map(weigh).collect())
}

#[test]
fn shares_are_in_proportion_to_weights() {
    for (n, weight) in [(2, 30), (10, 1), (10, 100), (17, 5), (100, 100), (1000, 1000)] {
        let set = weighted(n, weight);
        let first = hashes().filter(|hash| set.choose(*hash).unwrap().id == BackendId(0)).count();
        let fair = 100_000.0 * f64::from(weight) / (f64::from(weight) + (n - 1) as f64 * 10.0);
        let off = (first as f64 - fair).abs();
        assert!(off < fair.sqrt() * 5.0 + fair * 0.03, "{n}, {weight}: {first} of {fair}");
    }
}

#[test]
fn another_weight_moves_flows_of_that_backend_alone() {
    for n in [10, 16, 17, 100] {
        // From equal weights to one that is heavier: flows move to it.
        for (before, after, gains) in [(10, 20, true), (20, 10, false), (20, 40, true)] {
            let (before, after) = (weighted(n, before), weighted(n, after));
            for hash in hashes() {
                let (old, new) = (before.choose(hash).unwrap().id, after.choose(hash).unwrap().id);
                let moves = if gains { new } else { old };
                assert!(old == new || moves == BackendId(0), "{n}: {old:?} to {new:?}");
            }
        }
    }
}

#[test]
fn what_is_in_rotation_is_found() {
    let set = set(20);
    assert_eq!(set.find(&backend(7).addr, 8080), Some(&backend(7)));
    assert_eq!(set.find(&backend(7).addr, 8081), None);
    assert_eq!(set.find(&backend(20).addr, 8080), None);
}

#[test]
fn order_and_ids_do_not_matter() {
    let forward = set(40);
    let backward = BackendSet::<V4>::new(
        (0..40).rev().map(|i| BackendRef { id: BackendId(99), ..backend(i) }).collect(),
    );
    for hash in hashes().take(1000) {
        assert_eq!(forward.choose(hash).unwrap().addr, backward.choose(hash).unwrap().addr);
    }
}

#[test]
fn ten_backends_fit_in_two_kibibytes() {
    assert!(set(10).memory_bytes() <= 2048);
    let v6 = BackendSet::<V6>::new(
        (0..10)
            .map(|i| BackendRef { id: BackendId(i), addr: [i as u8; 16], l4_port: 1, weight: 1 })
            .collect(),
    );
    assert!(v6.memory_bytes() <= 2048);
}
