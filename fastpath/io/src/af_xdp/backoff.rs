use std::time::Duration;

const STEP_MS_FIRST: u64 = 10;
const STEPS: u32 = 7;

/// Patience with a process that has just been killed: it keeps its devices and
/// queues for some tens of milliseconds. Waits in steps that double, for a
/// little over a second in all.
pub(super) struct Backoff {
    step: Duration,
    left: u32,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Backoff { step: Duration::from_millis(STEP_MS_FIRST), left: STEPS }
    }

    /// Waits one step; false, at once, when patience has run out.
    #[expect(clippy::disallowed_methods, reason = "before the workers start")]
    pub(super) fn wait(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        std::thread::sleep(self.step);
        self.step *= 2;
        self.left -= 1;
        true
    }
}
