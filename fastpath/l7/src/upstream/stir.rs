use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::thread::{self, ThreadId};

/// Wakes the task that drives a connection, unless that is held back. The library wakes it
/// also when the last of an answer is taken, whose end it has seen by then: that would be one
/// turn in five for nothing.
pub(super) struct Stir {
    task: Waker,
    home: ThreadId,
    is_held: AtomicBool,
    is_due: AtomicBool,
}

impl Stir {
    pub(super) fn new(task: &Waker) -> Arc<Self> {
        let home = thread::current().id();
        let (is_held, is_due) = Default::default();
        Arc::new(Stir { task: task.clone(), home, is_held, is_due })
    }

    /// Whether it wakes this one.
    pub(super) fn is_of(&self, task: &Waker) -> bool {
        self.task.will_wake(task)
    }

    /// Holds back who wakes it on this thread.
    pub(super) fn hold(&self) -> Hold<'_> {
        self.is_held.store(true, Ordering::Relaxed);
        Hold { stir: self, is_for_nothing: false }
    }
}

impl Wake for Stir {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_held.load(Ordering::Relaxed) && self.home == thread::current().id() {
            self.is_due.store(true, Ordering::Relaxed);
        } else {
            self.task.wake_by_ref();
        }
    }
}

/// As long as it is there, and then the task is woken if it would have been.
pub(super) struct Hold<'a> {
    stir: &'a Stir,
    is_for_nothing: bool,
}

impl Hold<'_> {
    /// Lets go of it; if that was for nothing the task is not woken.
    pub(super) fn end(mut self, is_for_nothing: bool) {
        self.is_for_nothing = is_for_nothing;
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.stir.is_held.store(false, Ordering::Relaxed);
        if self.stir.is_due.swap(false, Ordering::Relaxed) && !self.is_for_nothing {
            self.stir.task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn nobody_is_woken_for_nothing_and_everybody_else_is() {
        let count = Arc::new(Count::default());
        let stir = Stir::new(&count.clone().into());
        let waker = Waker::from(stir.clone());
        let woken = || count.0.load(Ordering::Relaxed);
        waker.wake_by_ref();
        assert_eq!(woken(), 1);
        for (is_for_nothing, woken_then) in [(true, 1), (false, 2)] {
            let hold = stir.hold();
            waker.wake_by_ref();
            hold.end(is_for_nothing);
            assert_eq!(woken(), woken_then);
        }
        stir.hold().end(false);
        assert_eq!(woken(), 2, "nobody has asked for it");
        // Whatever happens meanwhile.
        let hold = stir.hold();
        waker.wake_by_ref();
        drop(hold);
        assert_eq!(woken(), 3);
        waker.wake_by_ref();
        assert_eq!(woken(), 4);
    }

    #[test]
    fn other_threads_are_not_held_back() {
        let count = Arc::new(Count::default());
        let stir = Stir::new(&count.clone().into());
        let waker = Waker::from(stir.clone());
        let hold = stir.hold();
        thread::spawn(move || waker.wake()).join().unwrap();
        hold.end(true);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }
}
