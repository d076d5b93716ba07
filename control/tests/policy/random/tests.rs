use super::*;
use crate::object::Key;
use std::collections::BTreeSet;

#[test]
fn one_seed_is_one_cluster() {
    assert_eq!(steps(7), steps(7));
    assert_ne!(steps(7), steps(8));
}

#[test]
fn what_chance_makes_the_api_would_take() {
    for seed in 0..200 {
        for step in steps(seed) {
            if let Step::Put(object) = step {
                assert!(valid::is_valid(&object), "{seed}: {object}");
            }
        }
    }
}

#[test]
fn a_large_cluster_has_the_size_that_was_asked_for() {
    let objects = large(10, 250, 40, 1);
    assert!(objects.iter().all(valid::is_valid));
    let keys: BTreeSet<Key> = objects.iter().map(Key::of).collect();
    let count = |kind: &str| keys.iter().filter(|key| key.kind == kind).count();
    assert_eq!(
        [count("Namespace"), count("Node"), count("Pod"), count("NetworkPolicy")],
        [10, 3, 250, 40]
    );
}
