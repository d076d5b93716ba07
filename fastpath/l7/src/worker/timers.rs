//! Sleeps of tasks, on the wheel that connections' timers are on.

use crate::wheel::Wheel;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Timers of the tasks of one thread, which tell them the time, too.
#[derive(Default)]
pub(super) struct Timers {
    now_ns: Cell<u64>,
    inner: RefCell<Inner>,
}

struct Inner {
    wheel: Wheel,
    places: Vec<Option<Waiting>>,
    free: Vec<u32>,
}

struct Waiting {
    at_ns: u64,
    waker: Waker,
}

impl Default for Inner {
    fn default() -> Self {
        Inner { wheel: Wheel::new(0), places: Vec::new(), free: Vec::new() }
    }
}

impl Timers {
    /// The time.
    pub fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    /// Lets time go by: wakes `budget` of those whose time has come. True if there was one.
    pub fn advance(&self, now_ns: u64, budget: usize) -> bool {
        self.now_ns.set(now_ns);
        let mut inner = self.inner.borrow_mut();
        let Inner { wheel, places, .. } = &mut *inner;
        let mut woke = false;
        for _ in 0..budget {
            let Some(place) = wheel.pop(now_ns) else { break };
            let Some(waiting) = &places[place as usize] else { continue };
            if waiting.at_ns > now_ns {
                wheel.set(place, waiting.at_ns);
                continue;
            }
            waiting.waker.wake_by_ref();
            woke = true;
        }
        woke
    }

    /// When the next one is to be looked at.
    pub fn next_ns(&self) -> Option<u64> {
        self.inner.borrow().wheel.next_ns()
    }
}

/// Waits until a time.
pub(super) struct Sleep {
    timers: Rc<Timers>,
    at_ns: u64,
    place: Option<u32>,
}

impl Sleep {
    pub fn new(timers: Rc<Timers>, at_ns: u64) -> Self {
        Sleep { timers, at_ns, place: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.timers.now_ns() >= self.at_ns {
            return Poll::Ready(());
        }
        let (at_ns, place) = (self.at_ns, self.place);
        let mut inner = self.timers.inner.borrow_mut();
        let place = place.unwrap_or_else(|| {
            inner.free.pop().unwrap_or_else(|| {
                inner.places.push(None);
                inner.places.len() as u32 - 1
            })
        });
        match &mut inner.places[place as usize] {
            Some(known) if known.waker.will_wake(context.waker()) => {}
            known => {
                *known = Some(Waiting { at_ns, waker: context.waker().clone() });
                inner.wheel.set(place, at_ns);
            }
        }
        drop(inner);
        self.place = Some(place);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let mut inner = self.timers.inner.borrow_mut();
        inner.wheel.clear(place);
        inner.free.push(place);
        let waiting = inner.places[place as usize].take();
        drop(inner);
        // A waker may be the last that holds its task.
        drop(waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn sleepers_wake_at_their_times_and_not_when_they_are_gone() {
        let timers: Rc<Timers> = Rc::default();
        timers.advance(1_000, 10);
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut context = Context::from_waker(&waker);
        let woken = || count.0.load(Ordering::Relaxed);
        const MS: u64 = 1_000_000;
        let mut sleeps: Vec<_> =
            [5, 50, 500, 50].map(|at| Box::pin(Sleep::new(timers.clone(), at * MS))).into();
        for sleep in &mut sleeps {
            assert!(sleep.as_mut().poll(&mut context).is_pending());
        }
        assert!(timers.next_ns().is_some_and(|next| next <= 6 * MS));
        assert!(!timers.advance(4 * MS, 10));
        assert!(timers.advance(6 * MS, 10));
        assert_eq!(woken(), 1);
        assert!(sleeps[0].as_mut().poll(&mut context).is_ready());
        sleeps.remove(3);
        timers.advance(60 * MS, 10);
        assert_eq!(woken(), 2, "the one that was dropped is not woken");
        assert!(sleeps[1].as_mut().poll(&mut context).is_ready());
        assert!(sleeps[2].as_mut().poll(&mut context).is_pending());
        timers.advance(501 * MS, 10);
        assert!(sleeps[2].as_mut().poll(&mut context).is_ready());
        sleeps.clear();
        assert_eq!(timers.next_ns(), None);
        assert_eq!(timers.inner.borrow().free.len(), timers.inner.borrow().places.len());
    }

    #[test]
    fn a_time_that_is_over_is_not_waited_for() {
        let timers: Rc<Timers> = Rc::default();
        timers.advance(10, 1);
        let mut context = Context::from_waker(Waker::noop());
        assert!(Box::pin(Sleep::new(timers.clone(), 10)).as_mut().poll(&mut context).is_ready());
        assert!(timers.inner.borrow().places.is_empty());
    }
}
