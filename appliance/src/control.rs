use crossbeam_channel::{Sender, bounded};
use sluice_control::{Request, ServiceNames};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long control may take to take a question and to answer it: workers may
/// take 5 seconds for a dump.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

/// Questions that wait until they are taken.
pub const REQUESTS_MAX: usize = 64;

/// The way to ask control, from any thread.
#[derive(Clone, Debug)]
pub struct ControlHandle {
    /// Where requests go.
    pub requests: Sender<Request>,
    /// The names of Services.
    pub names: ServiceNames,
}

/// Control has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoAnswer {
    /// Its thread has ended.
    #[error("control has ended")]
    Ended,
    /// It is too busy.
    #[error("control has not answered in time")]
    Late,
}

impl ControlHandle {
    /// Asks, and waits for the answer: blocks for seconds at worst.
    ///
    /// # Errors
    /// When control has ended or is too busy.
    pub fn ask<T>(&self, request: impl FnOnce(Sender<T>) -> Request) -> Result<T, NoAnswer> {
        self.ask_within(ANSWER_TIMEOUT, request)
    }

    /// Asks, and waits no longer than `limit` for the answer.
    ///
    /// # Errors
    /// As [`ControlHandle::ask`].
    pub fn ask_within<T>(
        &self,
        limit: Duration,
        request: impl FnOnce(Sender<T>) -> Request,
    ) -> Result<T, NoAnswer> {
        use crossbeam_channel::{RecvTimeoutError, SendTimeoutError};
        let deadline = Instant::now() + limit;
        let (reply, answer) = bounded(1);
        self.requests.send_deadline(request(reply), deadline).map_err(|error| match error {
            SendTimeoutError::Timeout(_) => NoAnswer::Late,
            SendTimeoutError::Disconnected(_) => NoAnswer::Ended,
        })?;
        answer.recv_deadline(deadline).map_err(|error| match error {
            RecvTimeoutError::Timeout => NoAnswer::Late,
            RecvTimeoutError::Disconnected => NoAnswer::Ended,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_that_has_ended_is_told_from_one_that_answers() {
        let (requests, taken) = bounded(1);
        let handle = ControlHandle { requests, names: ServiceNames::default() };
        let control = std::thread::spawn(move || {
            let Ok(Request::Routes { reply }) = taken.recv() else { panic!("no request") };
            reply.send(Vec::new()).unwrap();
        });
        assert_eq!(handle.ask(|reply| Request::Routes { reply }), Ok(Vec::new()));
        control.join().unwrap();
        assert_eq!(handle.ask(|reply| Request::Routes { reply }), Err(NoAnswer::Ended));
    }
}
