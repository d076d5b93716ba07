//! L7 of the gateway: what its workers share, and what each of them serves with.

/// Lines of the access log.
mod access;
/// From the configuration to options.
mod options;

use crate::line_log::{LineLog, LineLogOptions, LineLosses};
use access::Access;
use anyhow::Context;
use sluice_config::{Config, L7Io};
use sluice_fastpath::local::LocalService;
use sluice_l7::serving::{Serving, ServingOptions};
use sluice_l7::stats::{Counting, Stats};
use sluice_l7::tls::{Handshakes, TlsCounters};
use sluice_l7::worker::{L7Service, L7Told};
use sluice_tables::mailbox::Waker;
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};

/// What all workers share, and what is told of each.
pub struct L7 {
    config: Config,
    serving: ServingOptions,
    handshakes: Handshakes,
    workers: Vec<OfWorker>,
    access_log: Mutex<Option<LineLog>>,
    /// Lines of the access log that were lost.
    pub losses: Arc<LineLosses>,
    /// The zero of the workers' clocks, in milliseconds since 1970.
    started_unix_ms: u64,
}

/// What is told of one worker.
#[derive(Default)]
struct OfWorker {
    stats: Arc<Stats>,
    told: OnceLock<Arc<Mutex<L7Told>>>,
}

impl L7 {
    /// Starts the helpers of handshakes, and the access log; `None`: requests do not end
    /// here. `started` is the zero of the workers' clocks.
    ///
    /// # Errors
    /// When the system has no thread left, or no random numbers.
    pub fn start(config: &Config, started: Instant) -> anyhow::Result<Option<Arc<L7>>> {
        let Some(l7) = config.l7.as_ref().filter(|l7| l7.io == L7Io::Worker) else {
            return Ok(None);
        };
        let handshakes = Handshakes::start(options::tls(config));
        let losses: Arc<LineLosses> = Arc::default();
        let access_log = l7.access_log.as_ref().map(|log| {
            let options =
                LineLogOptions { name: "access log", to: log.to.clone(), bytes_max: log.bytes_max };
            LineLog::start(&options, Arc::clone(&losses)).context("cannot start the access log")
        });
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let started = since_1970.unwrap_or_default().saturating_sub(started.elapsed());
        Ok(Some(Arc::new(L7 {
            config: config.clone(),
            serving: options::serving(config),
            handshakes: handshakes.context("cannot start the helpers of TLS")?,
            workers: (0..config.workers.count).map(|_| OfWorker::default()).collect(),
            access_log: Mutex::new(access_log.transpose()?),
            losses,
            started_unix_ms: u64::try_from(started.as_millis()).unwrap_or(u64::MAX),
        })))
    }

    /// What a worker serves with. To be called on the worker's thread.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn service(&self, worker: usize, waker: Waker) -> anyhow::Result<Box<dyn LocalService>> {
        let options = options::worker(&self.config, worker, self.started_unix_ms)?;
        let of_worker = self.workers.get(worker).context("there is no such worker")?;
        let counting = Counting::new(Arc::clone(&of_worker.stats));
        let observer = Rc::new(Access::new(counting, self.line_sender()));
        let seed = u64::from_ne_bytes(std::array::from_fn(|at| options.secret[at]));
        let mut failure = None;
        let (service, told) = L7Service::new(&options, waker, |net| {
            Serving::new(net, &self.serving, &self.handshakes, observer, seed)
                .map_err(|error| failure = Some(error))
                .ok()
        });
        if let Some(error) = failure {
            return Err(error).context("cannot set up TLS with endpoints");
        }
        // Each worker comes here once.
        let _ = of_worker.told.set(told);
        Ok(Box::new(service))
    }

    fn line_sender(&self) -> Option<access::Lines> {
        let log = self.access_log.lock().unwrap_or_else(PoisonError::into_inner);
        let format = self.config.l7.as_ref()?.access_log.as_ref()?.format;
        log.as_ref().map(|log| access::Lines { sender: log.sender(), format })
    }

    /// Has the access log's file opened again, by its name.
    pub fn reopen(&self) {
        let log = self.access_log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = &*log {
            log.reopen();
        }
    }

    /// Ends the helpers, and the access log with its last line. Workers are to have ended.
    pub fn stop(&self) {
        self.handshakes.stop();
        let log = self.access_log.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(log) = log {
            log.finish();
        }
    }

    /// What has become of handshakes.
    pub fn handshakes(&self) -> TlsCounters {
        self.handshakes.counters()
    }

    /// What is told of each worker: of its TCP and what it serves, and of requests.
    pub fn workers(&self) -> Vec<(L7Told, Arc<Stats>)> {
        let told = |worker: &OfWorker| {
            let told = worker.told.get();
            let told = told.map(|told| told.lock().unwrap_or_else(PoisonError::into_inner).clone());
            (told.unwrap_or_default(), Arc::clone(&worker.stats))
        };
        self.workers.iter().map(told).collect()
    }
}
