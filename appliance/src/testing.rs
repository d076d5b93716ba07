//! A gateway without devices, for unit tests.

use crate::control::{ControlHandle, REQUESTS_MAX};
use crate::gateway::{Gateway, Parts};
use crate::l7::L7;
use crate::start::threads::WorkerState;
use crossbeam_channel::{Receiver, Sender, bounded};
use sluice_config::Config;
use sluice_control::source::Batch;
use sluice_control::{Clock, Control, PortFacts, Request, Source};
use sluice_fastpath::WorkerCounters;
use sluice_io::device::OperState;
use sluice_io::{Device, Umem};
use sluice_tables::mailbox::ControlEnd;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// The least that is a configuration, and `more`.
pub fn config(more: &str) -> Config {
    let text = format!(
        "
ports: [{{name: a, device: eth1, addresses: [192.0.2.1/24]}}]
snat: {{addresses: [10.244.255.0/28]}}
source: {{manifests: {{path: x}}}}
{more}"
    );
    sluice_config::parse("test.yaml", &text).unwrap().config
}

/// The device of [`config`]'s port, good for everything.
pub fn device() -> Device {
    Device {
        name: "eth1".to_owned(),
        ifindex: 2,
        mac: Some([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        admin_up: true,
        oper_state: OperState::Up,
        rx_queues: 1,
        tx_queues: 1,
        channels: None,
        rings: None,
        hashes_udp4_ports: None,
        hashes_udp6_ports: None,
        driver: None,
        features: BTreeSet::new(),
        numa_node: None,
        xdp: None,
        has_default_route: false,
    }
}

/// A clock that stands still unless it is told to go on.
#[derive(Debug, Default)]
pub struct FakeClock {
    now: Mutex<Duration>,
    mode: Mutex<Mode>,
    changed: Condvar,
}

/// What a clock does to the thread of control, and to no other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Mode {
    /// It tells the time.
    #[default]
    Tells,
    /// Whoever looks at it panics.
    Panics,
    /// Whoever looks at it is stuck until it does something else.
    Hangs,
}

impl FakeClock {
    /// What it does from now on.
    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
        self.changed.notify_all();
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Duration {
        if std::thread::current().name() == Some("control") {
            let mode = self.mode.lock().unwrap();
            let mode = *self.changed.wait_while(mode, |mode| *mode == Mode::Hangs).unwrap();
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

/// Control of no cluster, not running, the way to ask it, and what was asked.
pub fn control(
    config: &Config,
    ends: Vec<ControlEnd>,
    clock: Arc<dyn Clock>,
) -> (Control, ControlHandle, Receiver<Request>) {
    let facts = [PortFacts { mac: [2, 0, 0, 0, 0, 1], mtu: 1500 }];
    let control = Control::new(config.clone(), &facts, Box::new(Silent), ends, clock).unwrap();
    let (requests, taken) = bounded(REQUESTS_MAX);
    let handle = ControlHandle::new(requests, &control);
    (control, handle, taken)
}

/// A gateway without devices whose workers are not running.
pub fn gateway(config: &Config, control: ControlHandle) -> Arc<Gateway> {
    let worker = || Arc::new(WorkerState::new(None, Arc::new(WorkerCounters::new(1, 4))));
    Arc::new(Gateway::new(Parts {
        node: "test".to_owned(),
        started: Instant::now(),
        ports: Vec::new(),
        workers: (0..config.workers.count).map(|_| worker()).collect(),
        umem: Umem::new(1024).unwrap(),
        flows_max: config.flows.max,
        attached: None,
        control,
        needs_pool: config.snat.from_node.is_some(),
        l7: L7::start(config, Instant::now()).unwrap(),
    }))
}
