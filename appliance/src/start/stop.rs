use super::{Event, Outcome, Running, election};
use crate::control::NoAnswer;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use signal_hook::consts::SIGHUP;
use sluice_config::Backend;
use sluice_control::Request;
use sluice_io::Device;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long it may take to give the VIPs up to other gateways, on the way out in
/// order and otherwise.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(1000);
const FAILED_LEAVE_TIMEOUT: Duration = Duration::from_millis(200);

/// How long control may take to tell the workers to finish.
const TELL_TIMEOUT: Duration = Duration::from_millis(1000);

/// How long workers and control may take to finish, that included.
const FINISH_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long before the end connections are cut: what tells the other side is sent by then.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How long the kernel may take to let go of the devices.
const DETACH_TIMEOUT: Duration = Duration::from_millis(400);

/// Between two looks at the devices.
const DETACH_STEP: Duration = Duration::from_millis(10);

impl Running {
    /// Is not ready any more, but forwards as before, so that whoever sends
    /// traffic here can go elsewhere first. Ends with the configured time, at
    /// a second signal, or when a worker is lost.
    pub(super) fn drain(&self, events: &Receiver<Event>) -> Outcome {
        self.gateway.drain();
        let wait = self.config.drain.wait;
        let deadline = Instant::now() + wait;
        if let Some(l7) = &self.gateway.l7 {
            l7.drain(wait.saturating_sub(LAST_WORDS));
        }
        tracing::info!(seconds = wait.as_secs(), "draining; a second signal stops at once");
        // Others announce the VIPs from now on; what still comes is served.
        election::leave(self.elector.as_ref(), LEAVE_TIMEOUT);
        loop {
            match events.recv_deadline(deadline) {
                Ok(Event::Signal(SIGHUP)) => {
                    tracing::warn!("the configuration is not read again on the way out");
                }
                Ok(Event::Signal(_)) => return Outcome::Asked,
                Ok(event) => {
                    if let Some(outcome) = self.lost(&event) {
                        return outcome;
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Outcome::Asked,
                Err(RecvTimeoutError::Disconnected) => return Outcome::Failed,
            }
        }
    }

    /// Stops in order: not ready; workers send what they have and close their
    /// ports; XDP programs go; sockets close. A thread that does not finish in
    /// time is left behind.
    pub(super) fn stop(self, outcome: Outcome, events: &Receiver<Event>) -> ExitCode {
        let Running { config, gateway, workers, control, servers, elector, observer, .. } = self;
        gateway.drain();
        // Done long ago, unless something has failed.
        election::leave(elector.as_ref(), FAILED_LEAVE_TIMEOUT);
        let deadline = Instant::now() + FINISH_TIMEOUT;
        let tell = || gateway.control.ask_within(TELL_TIMEOUT, |reply| Request::Stop { reply });
        // Control that fails over it tells them when it is asked once more.
        let told = match tell() {
            Err(NoAnswer::Ended) => tell(),
            told => told,
        };
        if let Err(error) = told
            && outcome == Outcome::Asked
        {
            tracing::warn!(%error, "workers are not told to stop");
        }
        while !(workers.iter().all(|worker| worker.is_finished()) && control.is_finished()) {
            let left = deadline.saturating_duration_since(Instant::now());
            match events.recv_timeout(left) {
                Ok(Event::WorkerEnded { id, panic: Some(panic) }) => {
                    tracing::error!(worker = id, panic, "a worker has panicked");
                }
                Ok(_) => std::thread::yield_now(),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        let late = workers.iter().filter(|worker| !worker.is_finished()).count();
        if late > 0 {
            tracing::error!(workers = late, "workers have not finished in time");
        }
        observer.stop();
        if let Some(l7) = &gateway.l7 {
            l7.stop();
        }
        gateway.detach();
        if config.io.backend == Backend::AfXdp {
            wait_until_detached(config.ports.iter().map(|port| port.device.as_str()));
        }
        servers.stop();
        let failed = outcome == Outcome::Failed || late > 0;
        tracing::info!("stopped");
        if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// The kernel lets go of a device some time after it was told.
fn wait_until_detached<'a>(devices: impl Iterator<Item = &'a str>) {
    let deadline = Instant::now() + DETACH_TIMEOUT;
    for device in devices {
        while Device::inspect(device).is_ok_and(|device| device.xdp.is_some()) {
            if Instant::now() >= deadline {
                tracing::warn!(device, "the kernel has not detached the XDP program yet");
                return;
            }
            std::thread::sleep(DETACH_STEP);
        }
    }
}
