use super::Event;
use super::devices::Misfit;
use crate::l7::L7;
use core_affinity::CoreId;
use crossbeam_channel::Sender;
use sluice_config::Config;
use sluice_fastpath::events::EventSender;
use sluice_fastpath::idle::{Idle, IdleMode};
use sluice_fastpath::{MeshEnd, Nanos, Worker, WorkerCounters, WorkerOptions};
use sluice_io::{FrameCache, Port};
use sluice_tables::mailbox::WorkerEnd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

/// A worker, seen from outside.
#[derive(Debug)]
pub struct WorkerState {
    /// The core it is pinned to.
    pub core: Option<usize>,
    /// Its counters.
    pub counters: Arc<WorkerCounters>,
    up: AtomicBool,
}

impl WorkerState {
    /// A worker that is about to start.
    pub fn new(core: Option<usize>, counters: Arc<WorkerCounters>) -> Self {
        WorkerState { core, counters, up: AtomicBool::new(true) }
    }

    /// False once its thread has ended, for whatever reason.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }
}

/// What a worker's thread is given.
pub struct Seat {
    /// The worker's options.
    pub options: WorkerOptions,
    /// What it does when nothing comes.
    pub idle: IdleMode,
    /// Its queues.
    pub ports: Vec<Box<dyn Port>>,
    /// Its frames.
    pub cache: FrameCache,
    /// Its mailbox.
    pub mailbox: WorkerEnd,
    /// Its rings to the other workers.
    pub mesh: MeshEnd,
    /// Where it tells of single packets.
    pub events: EventSender,
    /// What the outside sees of it.
    pub state: Arc<WorkerState>,
    /// What it serves requests with, if any end here.
    pub l7: Option<Arc<L7>>,
}

impl Seat {
    /// Starts the worker on a thread of its own. `started` is the zero of the
    /// clock that all workers share. A panic ends this worker alone; either
    /// way `events` is told.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(self, started: Instant, events: Sender<Event>) -> std::io::Result<JoinHandle<()>> {
        let id = self.options.id;
        Builder::new().name(format!("worker-{id}")).spawn(move || {
            let state = Arc::clone(&self.state);
            let ended = catch_unwind(AssertUnwindSafe(|| self.run(started)));
            state.up.store(false, Ordering::Relaxed);
            let panic = ended.err().map(|payload| message(&*payload));
            // Nobody listens any more once the process is on its way out.
            let _ = events.send(Event::WorkerEnded { id, panic });
        })
    }

    fn run(self, started: Instant) {
        let id = self.options.id;
        if let Some(core) = self.state.core
            && !core_affinity::set_for_current(CoreId { id: core })
        {
            tracing::warn!(
                worker = id,
                core,
                "cannot pin the worker to its core; it runs anywhere"
            );
        }
        let counters = Arc::clone(&self.state.counters);
        // Made here, so that its memory is on the NUMA node of its core.
        let mut worker =
            Worker::new(self.options, self.ports, self.cache, self.mailbox, self.mesh, counters)
                .with_events(self.events);
        if let Some(l7) = self.l7 {
            match l7.service(id, worker.waker()) {
                Ok(Some(service)) => worker.set_l7(service),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(worker = id, "requests are not served: {error:#}");
                }
            }
        }
        let clock = || Nanos(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
        worker.run(clock, Idle::new(self.idle));
    }
}

/// What a panic said.
pub fn message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "?".to_owned())
}

/// The core of each worker: those configured, else the first that the process
/// may use, if there are enough.
///
/// # Errors
/// When a configured core is not among them.
pub fn cores(config: &Config) -> Result<Vec<Option<usize>>, Misfit> {
    let available: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    choose_cores(config.workers.count, config.workers.cores.as_deref(), &available)
}

fn choose_cores(
    workers: usize,
    configured: Option<&[usize]>,
    available: &[usize],
) -> Result<Vec<Option<usize>>, Misfit> {
    if let Some(cores) = configured {
        let unknown = cores.iter().enumerate().find(|(_, core)| !available.contains(core));
        if let Some((index, core)) = unknown {
            return Err(Misfit {
                path: format!("workers.cores[{index}]"),
                message: format!("core {core} is not one that this process may use"),
                expected: format!("out of {available:?}"),
                help: None,
            });
        }
        return Ok(cores.iter().copied().map(Some).collect());
    }
    if available.len() < workers {
        return Ok(vec![None; workers]);
    }
    Ok(available.iter().copied().take(workers).map(Some).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_those_configured_or_the_first() {
        assert_eq!(choose_cores(2, Some(&[3, 1]), &[0, 1, 3]).unwrap(), [Some(3), Some(1)]);
        assert_eq!(choose_cores(2, None, &[4, 6, 8]).unwrap(), [Some(4), Some(6)]);
        assert_eq!(choose_cores(2, None, &[4]).unwrap(), [None, None]);
        let misfit = choose_cores(2, Some(&[1, 9]), &[0, 1]).unwrap_err();
        assert_eq!(misfit.path, "workers.cores[1]");
        assert!(misfit.message.contains("core 9"), "{misfit:?}");
        assert_eq!(misfit.expected, "out of [0, 1]");
    }
}
