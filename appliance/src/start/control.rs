use super::{Event, threads};
use crossbeam_channel::{Receiver, Sender};
use sluice_control::{Control, Request};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

/// Starts control on a thread of its own. When it fails, `is_up` turns false
/// and `events` is told, but the thread stays, to tell the workers to finish
/// when the time comes: they go on with the tables that they have.
///
/// # Errors
/// When the system has no thread left.
pub fn start(
    mut control: Control,
    requests: Receiver<Request>,
    is_up: Arc<AtomicBool>,
    events: Sender<Event>,
) -> std::io::Result<JoinHandle<()>> {
    Builder::new().name("control".to_owned()).spawn(move || {
        let never = AtomicBool::new(false);
        let ran = catch_unwind(AssertUnwindSafe(|| control.run(&never, &requests)));
        is_up.store(false, Ordering::Relaxed);
        let error = match ran {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => Some(format!("it has panicked: {}", threads::message(&*panic))),
        };
        let failed = error.is_some();
        // Nobody listens any more at the very end.
        let _ = events.send(Event::ControlEnded { error });
        if failed {
            control.wait_for_stop(&requests);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{ControlHandle, NoAnswer, STUCK_AFTER};
    use crate::testing::{self, FakeClock, Mode};
    use crossbeam_channel::unbounded;
    use sluice_tables::mailbox::{ToWorker, WorkerEnd, mailbox};
    use std::time::Duration;

    struct Running {
        clock: Arc<FakeClock>,
        handle: ControlHandle,
        worker: WorkerEnd,
        events: Receiver<Event>,
        thread: JoinHandle<()>,
    }

    fn run() -> Running {
        let clock = Arc::new(FakeClock::default());
        let (end, worker) = mailbox().unwrap();
        let (control, handle, taken) =
            testing::control(&testing::config(""), vec![end], clock.clone());
        let (sender, events) = unbounded();
        let thread = start(control, taken, handle.is_up.clone(), sender).unwrap();
        Running { clock, handle, worker, events, thread }
    }

    fn is_alive(handle: &ControlHandle) -> bool {
        handle.ask(|reply| Request::Versions { reply }).is_ok()
    }

    #[test]
    fn workers_outlive_control_that_panics_and_are_told_to_stop_in_the_end() {
        let Running { clock, handle, mut worker, events, thread } = run();
        assert!(is_alive(&handle) && handle.trouble().is_none());
        clock.set(Mode::Panics);
        let Event::ControlEnded { error: Some(error) } = events.recv().unwrap() else {
            panic!("another event")
        };
        assert!(error.contains("panicked: ") && error.contains("the clock is broken"), "{error}");
        assert!(handle.trouble().unwrap().contains("control has ended"));
        assert!(worker.receive().is_none(), "nobody told it to do anything");
        let asked = handle.ask(|reply| Request::Routes { reply });
        assert_eq!(asked, Err(NoAnswer::Ended));
        assert_eq!(handle.ask(|reply| Request::Stop { reply }), Ok(()));
        assert!(matches!(worker.receive(), Some(ToWorker::Stop)));
        thread.join().unwrap();
        let asked = handle.ask(|reply| Request::Routes { reply });
        assert_eq!(asked, Err(NoAnswer::Ended), "its thread has gone");
    }

    #[test]
    fn control_that_hangs_is_seen_by_its_heartbeat() {
        let Running { clock, handle, mut worker, thread, .. } = run();
        assert!(is_alive(&handle) && handle.trouble().is_none());
        clock.set(Mode::Hangs);
        // Its next look at the clock does not return, but it may answer before.
        let late = loop {
            let limit = Duration::from_millis(1);
            if let Err(error) = handle.ask_within(limit, |reply| Request::Routes { reply }) {
                break error;
            }
        };
        assert_eq!(late, NoAnswer::Late);
        clock.pass(STUCK_AFTER);
        let stuck = || handle.trouble().is_some_and(|trouble| trouble.contains("hangs"));
        while !stuck() {
            // It had looked at the new time before it hung.
            clock.pass(STUCK_AFTER);
            std::thread::yield_now();
        }
        clock.set(Mode::Tells);
        assert!(is_alive(&handle) && handle.trouble().is_none());
        handle.ask(|reply| Request::Stop { reply }).unwrap();
        assert!(matches!(worker.receive(), Some(ToWorker::Stop)));
        thread.join().unwrap();
    }
}
