//! Workers whose loops do not turn any more. Packets of their queues are lost unseen, so
//! the gateway ends: what has started it starts it again, and others take its VIPs.

use std::time::Duration;

/// Between two looks.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Looks that see a loop where the first of them has seen it, until it is stuck. They are
/// counted, and not the time: a machine that was stopped as a whole goes on.
const LOOKS: u32 = 6;

/// What was seen of each worker's loop: its turns, and how many looks have seen as many.
#[derive(Debug)]
pub struct Watchdog {
    seen: Vec<(u64, u32)>,
}

impl Watchdog {
    /// Watches so many workers.
    pub fn new(workers: usize) -> Self {
        Watchdog { seen: vec![(0, 0); workers] }
    }

    /// Looks at the turns of each worker's loop; the first one that is stuck.
    pub fn look(&mut self, loops: impl Iterator<Item = u64>) -> Option<usize> {
        let mut stuck = None;
        for (id, (turns, (last, looks))) in loops.zip(&mut self.seen).enumerate() {
            if turns == *last {
                *looks += 1;
            } else {
                (*last, *looks) = (turns, 1);
            }
            if *looks >= LOOKS && stuck.is_none() {
                stuck = Some(id);
            }
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_six_looks_see_at_one_place_is_stuck() {
        let mut watchdog = Watchdog::new(2);
        for turn in 1..20 {
            assert_eq!(watchdog.look([turn, 2 * turn].into_iter()), None);
        }
        for _ in 0..4 {
            assert_eq!(watchdog.look([20, 38].into_iter()), None);
        }
        assert_eq!(watchdog.look([21, 38].into_iter()), Some(1));
        assert_eq!(watchdog.look([22, 39].into_iter()), None, "it has turned again");
    }
}
