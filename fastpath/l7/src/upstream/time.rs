use crate::net::Net;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

type Sleep = Pin<Box<dyn Future<Output = ()>>>;

/// What of a net tells the time.
pub(super) trait Clock {
    fn now_ns(&self) -> u64;

    fn sleep_until(&self, at_ns: u64) -> Sleep;
}

impl<N: Net> Clock for N {
    fn now_ns(&self) -> u64 {
        Net::now_ns(self)
    }

    fn sleep_until(&self, at_ns: u64) -> Sleep {
        Box::pin(Net::sleep_until(self, at_ns))
    }
}

/// A time that is waited for and may be put off, which costs nothing until the first has
/// come. It goes with its connection from one request to the next.
#[derive(Default)]
pub(super) struct Alarm(Option<(u64, Sleep)>);

impl Alarm {
    /// Ready at a time, which the task is woken at if it is not there yet.
    pub(super) fn poll(
        &mut self,
        clock: &dyn Clock,
        at_ns: u64,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            if clock.now_ns() >= at_ns {
                return Poll::Ready(());
            }
            let set = match &mut self.0 {
                Some(set) if set.0 <= at_ns => set,
                unset => unset.insert((at_ns, clock.sleep_until(at_ns))),
            };
            let is_the_one = set.0 == at_ns;
            match set.1.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => self.0 = None,
            }
            // It may be woken a little early.
            if is_the_one {
                return Poll::Ready(());
            }
        }
    }

    /// What a future comes to, if it does before a time.
    pub(super) async fn within<F: Future>(
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
pub(super) fn after(at_ns: u64, time: Duration) -> u64 {
    at_ns.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
