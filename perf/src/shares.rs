//! How backends share connections, and which move when the backends change.

use sluice_tables::{BackendId, BackendRef, BackendSet, Family, V4};

/// Weight of every backend but one that changes.
const WEIGHT: u16 = 10;

/// What is found with a number of backends; shares of all connections.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    /// Backends.
    pub backends: usize,
    /// The standard deviation of a backend's share, as a part of the fair one.
    pub deviation: f64,
    /// The smallest and the largest share, by the fair one.
    pub extremes: [f64; 2],
    /// For each change in [`CHANGES`]: the share of connections that moved.
    pub moved: [f64; CHANGES.len()],
    /// Of these, the share that neither left nor joined the backend that changed,
    /// of all connections.
    pub beyond: [f64; CHANGES.len()],
}

/// What is done to one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It goes.
    Remove,
    /// It comes.
    Add,
    /// Its weight doubles.
    Heavier,
    /// Its weight halves.
    Lighter,
}

/// Every change.
pub const CHANGES: [Change; 4] = [Change::Remove, Change::Add, Change::Heavier, Change::Lighter];

/// Measures with `backends` backends, over `hashes` connections whose hashes are
/// spread evenly. `seed` makes their addresses.
pub fn measure(backends: u32, hashes: u32, seed: u32) -> Shares {
    let all: Vec<u32> = (0..backends).collect();
    let before = choices(&set(&all, &[], seed), hashes);
    let mut counts = vec![0u32; backends as usize];
    before.iter().for_each(|&id| counts[id as usize] += 1);
    let fair = f64::from(hashes) / f64::from(backends);
    let parts = || counts.iter().map(|&count| f64::from(count) / fair);
    let variance = parts().map(|part| (part - 1.0).powi(2)).sum::<f64>() / f64::from(backends);
    // Any one may change; which does not matter, since addresses are random.
    let changed = backends / 2;
    let (mut moved, mut beyond) = ([0.0; CHANGES.len()], [0.0; CHANGES.len()]);
    for (i, change) in CHANGES.into_iter().enumerate() {
        let (after, changed) = match change {
            Change::Remove => {
                let rest: Vec<u32> = all.iter().copied().filter(|&id| id != changed).collect();
                (set(&rest, &[], seed), changed)
            }
            Change::Add => {
                let more: Vec<u32> = (0..=backends).collect();
                (set(&more, &[], seed), backends)
            }
            Change::Heavier => (set(&all, &[(changed, WEIGHT * 2)], seed), changed),
            Change::Lighter => (set(&all, &[(changed, WEIGHT / 2)], seed), changed),
        };
        let (mut all_moved, mut others) = (0, 0);
        for (&old, new) in before.iter().zip(choices(&after, hashes)) {
            all_moved += u32::from(old != new);
            others += u32::from(old != new && old != changed && new != changed);
        }
        moved[i] = f64::from(all_moved) / f64::from(hashes);
        beyond[i] = f64::from(others) / f64::from(hashes);
    }
    Shares {
        backends: backends as usize,
        deviation: variance.sqrt(),
        extremes: [parts().fold(f64::INFINITY, f64::min), parts().fold(0.0, f64::max)],
        moved,
        beyond,
    }
}

/// Backends by number, some with another weight.
fn set(ids: &[u32], weights: &[(u32, u16)], seed: u32) -> BackendSet<V4> {
    let backend = |&id: &u32| {
        let weight = weights.iter().find(|(of, _)| *of == id).map_or(WEIGHT, |(_, weight)| *weight);
        // Pods of nodes, a /24 each.
        let addr: <V4 as Family>::Addr = (10 << 24 | seed << 14 | id).to_be_bytes();
        BackendRef { id: BackendId(id), addr, l4_port: 8080, weight }
    };
    BackendSet::new(ids.iter().map(backend).collect())
}

/// The backend that each connection goes to.
fn choices(set: &BackendSet<V4>, hashes: u32) -> Vec<u32> {
    // The choice looks at the hash's high half.
    let step = u64::MAX / u64::from(hashes);
    let hashes = (0..u64::from(hashes)).map(|i| i * step + step / 2);
    hashes.map(|hash| set.choose(hash).map_or(u32::MAX, |backend| backend.id.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_moves_the_share_of_one_backend_and_no_other() {
        for backends in [10, 17] {
            let Shares { moved, beyond, extremes, .. } = measure(backends, 100_000, 1);
            assert_eq!(beyond, [0.0; CHANGES.len()], "{backends}");
            let fair = 1.0 / f64::from(backends);
            for (change, moved) in CHANGES.into_iter().zip(moved) {
                let share = match change {
                    Change::Remove => fair,
                    Change::Add => 1.0 / f64::from(backends + 1),
                    Change::Heavier => 2.0 / f64::from(backends + 1) - fair,
                    Change::Lighter => fair - 1.0 / f64::from(2 * backends - 1),
                };
                assert!((moved / share - 1.0).abs() < 0.1, "{backends} {change:?}: {moved}");
            }
            assert!(extremes[0] > 0.9 && extremes[1] < 1.1, "{backends}: {extremes:?}");
        }
    }
}
