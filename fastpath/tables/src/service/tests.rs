use super::*;
use crate::family::{V4, V6};

fn set(n: usize) -> BackendSet<V4> {
    BackendSet::new((0..n).map(backend).collect())
}

fn backend(i: usize) -> BackendRef<V4> {
    BackendRef { id: BackendId(i as u32), addr: [10, 1, (i >> 8) as u8, i as u8], l4_port: 8080 }
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
fn losing_a_backend_moves_its_own_flows_and_few_others() {
    for n in [2, 10, 16, 50, 1000] {
        let before = set(n);
        let after = BackendSet::<V4>::new((1..n).map(backend).collect());
        let mut moved = 0;
        for hash in hashes() {
            let old = before.choose(hash).unwrap().id;
            if old != BackendId(0) && after.choose(hash).unwrap().id != old {
                moved += 1;
            }
        }
        let limit = if n <= RENDEZVOUS_MAX { 0 } else { 3_000 };
        assert!(moved <= limit, "{n} backends: {moved} flows of others moved");
    }
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
        (0..10).map(|i| BackendRef { id: BackendId(i), addr: [i as u8; 16], l4_port: 1 }).collect(),
    );
    assert!(v6.memory_bytes() <= 2048);
}
