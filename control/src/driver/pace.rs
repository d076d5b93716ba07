use std::time::Duration;

/// Longest sleep while nothing is expected.
const IDLE: Duration = Duration::from_millis(100);

/// Turns without a sleep: some 50 us, in which a worker with a core of its own
/// answers.
const TURNS_AWAKE: u32 = 32;

/// Turns after those with the shortest sleep, for about a millisecond: a worker
/// that was asleep, or in a long turn of its own.
const TURNS_SHORT: u32 = 16;

/// Shortest and longest sleep while an answer of a worker is expected.
const BUSY: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(5));

/// How long control sleeps between two looks at its mailboxes: little while the
/// answer of a worker is near, hardly ever when nothing is expected.
#[derive(Debug, Default)]
pub(super) struct Pace {
    turns: u32,
}

impl Pace {
    /// Something was sent to the workers, or one has answered.
    pub(super) fn reset(&mut self) {
        self.turns = 0;
    }

    /// How long to sleep before the next look, if nothing else comes.
    /// `is_busy`: an answer is expected.
    pub(super) fn next(&mut self, is_busy: bool) -> Duration {
        if !is_busy {
            self.turns = 0;
            return IDLE;
        }
        let turns = self.turns;
        self.turns = turns.saturating_add(1);
        match turns.checked_sub(TURNS_AWAKE) {
            None => {
                // The worker may need this very core.
                std::thread::yield_now();
                Duration::ZERO
            }
            Some(0..TURNS_SHORT) => BUSY.0,
            Some(more) => {
                let doublings = (more - TURNS_SHORT + 1).min(16);
                (BUSY.0 * (1 << doublings)).min(BUSY.1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sleeps_longer_the_longer_nothing_comes() {
        let mut pace = Pace::default();
        assert_eq!(pace.next(false), IDLE);
        let waits: Vec<_> = (0..100).map(|_| pace.next(true)).collect();
        assert!(waits.is_sorted());
        assert_eq!(
            (waits[0], waits[TURNS_AWAKE as usize], waits[99]),
            (Duration::ZERO, BUSY.0, BUSY.1)
        );
        let soon: Duration = waits[..(TURNS_AWAKE + TURNS_SHORT) as usize].iter().sum();
        assert!(soon < Duration::from_millis(1), "{soon:?}");
        pace.reset();
        assert_eq!(pace.next(true), Duration::ZERO);
        assert_eq!(pace.next(false), IDLE);
    }
}
