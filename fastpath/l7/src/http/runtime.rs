//! What the HTTP library asks of whoever runs it.

use crate::clock::{Clock, Sleep as Until};
use crate::net::Net;
use hyper::rt::{Executor, Sleep, Timer};
use send_wrapper::SendWrapper;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Runs the library's tasks on a net.
#[derive(Clone)]
pub(super) struct Tasks<N>(pub(super) N);

impl<N: Net, T: Future<Output = ()> + 'static> Executor<T> for Tasks<N> {
    fn execute(&self, task: T) {
        self.0.spawn(task);
    }
}

/// The time as the library wants it: without a clock being read.
#[derive(Clone)]
pub(super) struct Timing(SendWrapper<Rc<Base>>);

struct Base {
    clock: Rc<dyn Clock>,
    /// Any instant, and the time that it stands for.
    instant: Instant,
    at_ns: u64,
}

impl Timing {
    #[expect(clippy::disallowed_methods, reason = "there is no other way to any instant")]
    pub(super) fn new(clock: Rc<dyn Clock>) -> Self {
        let at_ns = clock.now_ns();
        Timing(SendWrapper::new(Rc::new(Base { clock, instant: Instant::now(), at_ns })))
    }
}

impl Timer for Timing {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let after = deadline.saturating_duration_since(self.0.instant);
        let at_ns = self.0.at_ns.saturating_add(super::options::ns(after));
        Box::pin(Waiting(SendWrapper::new(self.0.clock.sleep_until(at_ns))))
    }

    fn now(&self) -> Instant {
        let passed = self.0.clock.now_ns().saturating_sub(self.0.at_ns);
        self.0.instant + Duration::from_nanos(passed)
    }
}

struct Waiting(SendWrapper<Until>);

impl Sleep for Waiting {}

impl Future for Waiting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}
