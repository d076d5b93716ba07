//! The time as what is above a net asks for it, whatever net it is.

use crate::net::Net;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Something that is over at a time.
pub(crate) type Sleep = Pin<Box<dyn Future<Output = ()>>>;

/// The time, whatever tells it.
pub(crate) trait Clock {
    /// [`Net::now_ns`].
    fn now_ns(&self) -> u64;

    /// [`Net::unix_ms`].
    fn unix_ms(&self) -> u64;

    /// [`Net::sleep_until`].
    fn sleep_until(&self, at_ns: u64) -> Sleep;
}

/// The clock of a net.
pub(crate) fn of<N: Net>(net: &N) -> Rc<dyn Clock> {
    Rc::new(Of(net.clone()))
}

struct Of<N>(N);

impl<N: Net> Clock for Of<N> {
    fn now_ns(&self) -> u64 {
        self.0.now_ns()
    }

    fn unix_ms(&self) -> u64 {
        self.0.unix_ms()
    }

    fn sleep_until(&self, at_ns: u64) -> Sleep {
        Box::pin(self.0.sleep_until(at_ns))
    }
}

/// Wakes a task at a time which may be put off as often as one likes: that costs nothing
/// before the first time has come. It may go from one task to another.
#[derive(Default)]
pub(crate) struct Alarm(Option<(u64, Sleep)>);

impl Alarm {
    /// Ready at a time, which the task is woken at if it is not there yet.
    pub(crate) fn poll(
        &mut self,
        clock: &dyn Clock,
        at_ns: u64,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            if clock.now_ns() >= at_ns {
                return Poll::Ready(());
            }
            let (_, sleep) = match &mut self.0 {
                Some(set) if set.0 <= at_ns => set,
                unset => unset.insert((at_ns, clock.sleep_until(at_ns))),
            };
            match sleep.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => self.0 = None,
            }
        }
    }

    /// What a future comes to, if it does before a time.
    pub(crate) async fn within<F: Future>(
        &mut self,
        clock: &dyn Clock,
        at_ns: u64,
        future: F,
    ) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll(clock, at_ns, context).map(|()| None),
        })
        .await
    }
}

/// So long after a time.
pub(crate) fn after(at_ns: u64, time: Duration) -> u64 {
    at_ns.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
