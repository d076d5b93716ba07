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
    use crossbeam_channel::{bounded, unbounded};
    use sluice_control::source::Batch;
    use sluice_control::{Clock, PortFacts, Source};
    use sluice_tables::mailbox::{ToWorker, WorkerEnd, mailbox};
    use std::convert::Infallible;
    use std::sync::{Condvar, Mutex};
    use std::time::{Duration, SystemTime};

    const CONFIG: &str = "
ports: [{name: a, device: eth1, addresses: [192.0.2.1/24]}]
snat: {addresses: [10.244.255.0/28]}
source: {manifests: {path: x}}
";

    /// What the clock does to control, and only to control.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Mode {
        Tells,
        Panics,
        Hangs,
    }

    #[derive(Debug)]
    struct FakeClock {
        now: Mutex<Duration>,
        mode: Mutex<Mode>,
        changed: Condvar,
    }

    impl FakeClock {
        fn set(&self, mode: Mode) {
            *self.mode.lock().unwrap() = mode;
            self.changed.notify_all();
        }
    }

    impl Clock for FakeClock {
        fn now(&self) -> Duration {
            if std::thread::current().name() == Some("control") {
                let mode = self.mode.lock().unwrap();
                let mode = self.changed.wait_while(mode, |mode| *mode == Mode::Hangs).unwrap();
                let mode = { *mode };
                assert_ne!(mode, Mode::Panics, "the clock is broken");
            }
            *self.now.lock().unwrap()
        }

        fn wall(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }
    }

    /// A source that has nothing to say.
    struct Silent;

    impl Source for Silent {
        fn describe(&self) -> String {
            "nothing".to_owned()
        }

        fn run(self: Box<Self>, _: &Sender<Batch>, stop: &Receiver<Infallible>) {
            let _ = stop.recv();
        }
    }

    struct Running {
        clock: Arc<FakeClock>,
        handle: ControlHandle,
        worker: WorkerEnd,
        events: Receiver<Event>,
        thread: JoinHandle<()>,
    }

    fn run() -> Running {
        let config = sluice_config::parse("test.yaml", CONFIG).unwrap().config;
        let clock = Arc::new(FakeClock {
            now: Mutex::default(),
            mode: Mutex::new(Mode::Tells),
            changed: Condvar::new(),
        });
        let (end, worker) = mailbox().unwrap();
        let facts = [PortFacts { mac: [2, 0, 0, 0, 0, 1], mtu: 1500 }];
        let control =
            Control::new(config, &facts, Box::new(Silent), vec![end], clock.clone()).unwrap();
        let (requests, taken) = bounded(4);
        let handle = ControlHandle::new(requests, &control);
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
        *clock.now.lock().unwrap() = STUCK_AFTER;
        let stuck = || handle.trouble().is_some_and(|trouble| trouble.contains("hangs"));
        while !stuck() {
            // It had looked at the new time before it hung.
            *clock.now.lock().unwrap() += STUCK_AFTER;
            std::thread::yield_now();
        }
        clock.set(Mode::Tells);
        assert!(is_alive(&handle) && handle.trouble().is_none());
        handle.ask(|reply| Request::Stop { reply }).unwrap();
        assert!(matches!(worker.receive(), Some(ToWorker::Stop)));
        thread.join().unwrap();
    }
}
