use super::*;
use crate::admin::Question;
use crate::admin::answer::answer;
use crate::admin::server::Socket;
use crate::testing::{self, FakeClock, Mode};
use arrayvec::ArrayVec;
use serde_json::Value;
use sluice_io::{BURST, Frame, MemoryPort, PortId, PortInfo, PortStats, RxBurst};
use std::os::fd::BorrowedFd;

/// A port on whose far end nobody is.
fn port(worker: usize) -> Box<dyn Port> {
    Box::new(MemoryPort::new(PortId(0), "a", worker as u32, 64).0)
}

/// What a port does to its worker.
enum Fault {
    /// Takes it down.
    Panics,
    /// Keeps it until the other end has gone.
    Hangs(Receiver<()>),
}

/// A port with a fault.
struct Broken(Box<dyn Port>, Fault);

impl Port for Broken {
    fn info(&self) -> &PortInfo {
        self.0.info()
    }

    fn rx(&mut self, _: &mut FrameCache, _: &mut RxBurst) -> usize {
        match &self.1 {
            Fault::Panics => panic!("the port is broken"),
            Fault::Hangs(end) => end.recv().map_or(0, |()| 0),
        }
    }

    fn tx(&mut self, cache: &mut FrameCache, frames: &mut ArrayVec<Frame, BURST>) {
        self.0.tx(cache, frames);
    }

    fn flush(&mut self, cache: &mut FrameCache) {
        self.0.flush(cache);
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn stats(&self) -> PortStats {
        self.0.stats()
    }

    fn close(&mut self, cache: &mut FrameCache) {
        self.0.close(cache);
    }
}

/// A gateway of two workers with a port each, running.
struct World {
    running: Running,
    clock: Arc<FakeClock>,
    sender: Sender<Event>,
    events: Receiver<Event>,
    _folder: tempfile::TempDir,
}

fn world(ports: [Box<dyn Port>; 2], look_interval: Duration) -> World {
    let config = testing::config("workers: {count: 2}\nflows: {max: 2048}\ndrain: {wait_s: 0}");
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FakeClock::default());
    let (ends, mailboxes) = mailboxes(2).unwrap();
    let (control, handle, taken) = testing::control(&config, ends, clock.clone());
    let is_up = Arc::clone(&handle.is_up);
    let gateway = testing::gateway(&config, handle);
    let (sender, events) = unbounded();
    let control = control::start(control, taken, is_up, sender.clone()).unwrap();
    let listener = metrics::http::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let socket = Socket::bind(&folder.path().join("sock")).unwrap();
    let servers = Servers::start(listener, socket, Vec::new(), Arc::clone(&gateway)).unwrap();
    let ports = ports.into_iter().map(|port| vec![port]).collect();
    let (ends, receivers) = with_rings(mailboxes);
    let observer = start_observer(&config, &gateway, receivers).unwrap();
    let workers = start_workers(&config, &gateway, ports, ends, &sender).unwrap();
    let elector = None;
    let running =
        Running { config, gateway, workers, control, servers, elector, observer, look_interval };
    World { running, clock, sender, events, _folder: folder }
}

fn assert_code(code: ExitCode, expected: ExitCode) {
    assert_eq!(format!("{code:?}"), format!("{expected:?}"));
}

#[test]
fn a_worker_that_panics_ends_the_others_in_order_and_the_process_with_failure() {
    let World { running, events, .. } =
        world([port(0), Box::new(Broken(port(1), Fault::Panics))], LOOK_INTERVAL);
    let gateway = Arc::clone(&running.gateway);
    let outcome = running.wait(Path::new("test.yaml"), &events);
    assert_eq!(outcome, Outcome::Failed);
    assert!(gateway.workers[0].is_up(), "a panic takes nothing else down");
    assert_eq!(gateway.unhealthy(), ["worker 1 is down"]);
    assert!(gateway.not_ready().contains(&"worker 1 is down".to_owned()));
    assert_code(running.stop(outcome, &events), ExitCode::FAILURE);
    assert!(!gateway.workers[0].is_up(), "it was told to finish");
}

#[test]
fn a_worker_that_hangs_ends_the_process_with_failure_and_does_not_keep_it() {
    let (keeps, kept) = bounded(0);
    let ports: [Box<dyn Port>; 2] = [port(0), Box::new(Broken(port(1), Fault::Hangs(kept)))];
    let World { running, events, .. } = world(ports, Duration::from_millis(20));
    let gateway = Arc::clone(&running.gateway);
    let outcome = running.wait(Path::new("test.yaml"), &events);
    assert_eq!(outcome, Outcome::Failed);
    assert!(gateway.workers.iter().all(|worker| worker.is_up()));
    assert_code(running.stop(outcome, &events), ExitCode::FAILURE);
    assert!(!gateway.workers[0].is_up(), "it was told to finish");
    assert!(gateway.workers[1].is_up(), "it was left behind");
    drop(keeps);
}

#[test]
fn a_gateway_whose_control_has_panicked_goes_on_and_ends_in_order() {
    let World { running, clock, sender, events, .. } = world([port(0), port(1)], LOOK_INTERVAL);
    let gateway = Arc::clone(&running.gateway);
    assert!(gateway.unhealthy().is_empty());
    clock.set(Mode::Panics);
    while gateway.control.trouble().is_none() {
        std::thread::yield_now();
    }
    let trouble = gateway.control.trouble().unwrap();
    assert!(gateway.not_ready().contains(&trouble));
    assert_eq!(gateway.unhealthy(), [trouble]);
    assert!(gateway.workers.iter().all(|worker| worker.is_up()));
    let status = answer(&gateway, Question::Status).unwrap();
    assert_eq!((&status["control"], &status["state"]), (&Value::Null, &"not ready".into()));
    assert!(status["problems"].to_string().contains("control has ended"), "{status}");
    sender.send(Event::Signal(signal_hook::consts::SIGTERM)).unwrap();
    let outcome = running.wait(Path::new("test.yaml"), &events);
    assert_eq!(outcome, Outcome::Asked);
    assert_code(running.stop(outcome, &events), ExitCode::SUCCESS);
    assert!(!gateway.workers.iter().any(|worker| worker.is_up()));
}
