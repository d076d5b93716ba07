use crate::net::Net;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Something that is over at a time.
pub(super) type Sleep = Pin<Box<dyn Future<Output = ()>>>;

/// The time, whatever tells it.
pub(super) trait Clock {
    /// [`Net::now_ns`].
    fn now_ns(&self) -> u64;

    /// [`Net::unix_ms`].
    fn unix_ms(&self) -> u64;

    /// [`Net::sleep_until`].
    fn sleep_until(&self, at_ns: u64) -> Sleep;
}

/// The clock of a net.
pub(super) fn of<N: Net>(net: &N) -> Rc<dyn Clock> {
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
/// before the first time has come.
pub(super) struct Alarm {
    clock: Rc<dyn Clock>,
    sleep: Option<(u64, Sleep)>,
}

impl Alarm {
    pub(super) fn new(clock: Rc<dyn Clock>) -> Self {
        Alarm { clock, sleep: None }
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// Ready at a time, which the task is woken at if it is not there yet.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, at_ns: u64) -> Poll<()> {
        loop {
            if self.clock.now_ns() >= at_ns {
                return Poll::Ready(());
            }
            let (_, sleep) = match &mut self.sleep {
                Some(set) if set.0 <= at_ns => set,
                unset => unset.insert((at_ns, self.clock.sleep_until(at_ns))),
            };
            match sleep.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => self.sleep = None,
            }
        }
    }
}
