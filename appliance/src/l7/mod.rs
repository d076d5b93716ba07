//! L7 of the gateway: what its workers share, and what each of them serves with.

/// Lines of the access log.
mod access;
/// Questions to those who serve.
mod asking;
/// Requests on sockets of the kernel.
mod kernel;
/// From the configuration to options.
mod options;

use crate::line_log::{LineLog, LineLogOptions, LineLosses};
use access::Access;
use anyhow::Context;
use asking::Asking;
use kernel::{Kernel, PassOn};
use sluice_config::{Config, L7Io};
use sluice_fastpath::local::LocalService;
use sluice_l7::http::ProxyOptions;
use sluice_l7::serving::{Serving, ServingOptions};
use sluice_l7::stats::{Counting, Stats};
use sluice_l7::tls::{Handshakes, TlsCounters};
use sluice_l7::worker::{L7Service, L7Told};
use sluice_tables::mailbox::Waker;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// What all workers share, and what is told of each.
pub struct L7 {
    config: Config,
    serving: ServingOptions,
    handshakes: Handshakes,
    workers: Vec<OfWorker>,
    access_log: Mutex<Option<LineLog>>,
    /// The thread that serves on the kernel's sockets, if that is what serves.
    kernel: Mutex<Option<Kernel>>,
    /// Lines of the access log that were lost.
    pub losses: Arc<LineLosses>,
    /// The zero of the workers' clocks, and that in milliseconds since 1970.
    started: Instant,
    started_unix_ms: Arc<AtomicU64>,
    /// When what has begun is to be over, by the workers' clocks; 0: nobody has said so.
    ends_at_ns: Arc<AtomicU64>,
}

/// What is told of one worker.
#[derive(Default)]
struct OfWorker {
    stats: Arc<Stats>,
    told: OnceLock<Arc<Mutex<L7Told>>>,
    asking: OnceLock<Asking>,
}

impl L7 {
    /// Starts the helpers of handshakes, and the access log; `None`: requests do not end
    /// here. `started` is the zero of the workers' clocks.
    ///
    /// # Errors
    /// When the system has no thread left, or no random numbers.
    pub fn start(config: &Config, started: Instant) -> anyhow::Result<Option<Arc<L7>>> {
        let Some(l7) = &config.l7 else { return Ok(None) };
        let handshakes = Handshakes::start(options::tls(config));
        let losses: Arc<LineLosses> = Arc::default();
        let access_log = l7.access_log.as_ref().map(|log| {
            let options =
                LineLogOptions { name: "access log", to: log.to.clone(), bytes_max: log.bytes_max };
            LineLog::start(&options, Arc::clone(&losses)).context("cannot start the access log")
        });
        let l7 = L7 {
            config: config.clone(),
            serving: options::serving(config),
            handshakes: handshakes.context("cannot start the helpers of TLS")?,
            workers: (0..config.workers.count).map(|_| OfWorker::default()).collect(),
            access_log: Mutex::new(access_log.transpose()?),
            losses,
            started_unix_ms: Arc::new(AtomicU64::new(unix_ms_at(started, SystemTime::now()))),
            started,
            ends_at_ns: Arc::default(),
            kernel: Mutex::default(),
        };
        if is_of_kernel(config) {
            let kernel = Kernel::start(l7.kernel_setup()?)?;
            // It tells in the place of the first worker.
            let _ = l7.workers[0].told.set(Arc::clone(&kernel.told));
            let _ = l7.workers[0].asking.set(Asking { asks: kernel.asks.clone(), waker: None });
            *l7.kernel.lock().unwrap_or_else(PoisonError::into_inner) = Some(kernel);
        }
        Ok(Some(Arc::new(l7)))
    }

    fn kernel_setup(&self) -> anyhow::Result<kernel::Setup> {
        let options = options::worker(&self.config, 0, &self.started_unix_ms, &self.ends_at_ns)?;
        let (stats, lines) = (Arc::clone(&self.workers[0].stats), self.line_sender());
        Ok(kernel::Setup {
            addrs: options::kernel_addrs(&self.config),
            serving: self.serving.clone(),
            handshakes: self.handshakes.clone(),
            observer: Box::new(move || Access::new(Counting::new(stats), lines)),
            seed: seed(&options.secret),
        })
    }

    /// What a worker serves with, if anything. To be called on the worker's thread.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn service(
        &self,
        worker: usize,
        waker: Waker,
    ) -> anyhow::Result<Option<Box<dyn LocalService>>> {
        if is_of_kernel(&self.config) {
            let kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
            let kernel = kernel.as_ref().filter(|_| worker == 0);
            let pass_on = kernel.map(|kernel| PassOn(Arc::clone(&kernel.tables)));
            return Ok(pass_on.map(|pass_on| Box::new(pass_on) as Box<dyn LocalService>));
        }
        let options =
            options::worker(&self.config, worker, &self.started_unix_ms, &self.ends_at_ns)?;
        let of_worker = self.workers.get(worker).context("there is no such worker")?;
        let counting = Counting::new(Arc::clone(&of_worker.stats));
        let observer = Rc::new(Access::new(counting, self.line_sender()));
        let seed = seed(&options.secret);
        let mut failure = None;
        let woken = waker.clone();
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
        let _ = of_worker.asking.set(Asking { asks: service.asks(), waker: Some(woken) });
        Ok(Some(Box::new(service)))
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

    /// Tells workers the time of day, as the system's clock has it now: they read none. To be
    /// called every second.
    pub fn follow_clock(&self) {
        self.follow(SystemTime::now());
    }

    fn follow(&self, now: SystemTime) {
        let unix_ms = unix_ms_at(self.started, now);
        // What reading two clocks takes is no time that has passed.
        if unix_ms.abs_diff(self.started_unix_ms.load(Ordering::Relaxed)) > 1 {
            self.started_unix_ms.store(unix_ms, Ordering::Relaxed);
        }
    }

    /// Ends what there is in order, in a time; those who come up to then are served.
    pub fn drain(&self, wait: Duration) {
        if let Some(kernel) = &mut *self.kernel.lock().unwrap_or_else(PoisonError::into_inner) {
            kernel.drain(wait);
        }
        let until = self.started.elapsed().saturating_add(wait).as_nanos();
        self.ends_at_ns.store(u64::try_from(until).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }

    /// Ends the helpers, and the access log with its last line. Workers are to have ended.
    pub fn stop(&self) {
        let kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(kernel) = kernel {
            kernel.stop();
        }
        self.handshakes.stop();
        let log = self.access_log.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(log) = log {
            log.finish();
        }
    }

    /// What clients may do.
    pub fn proxy_options(&self) -> &ProxyOptions {
        &self.serving.proxy
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

/// What clients may do.
pub fn proxy_options(config: &Config) -> ProxyOptions {
    options::serving(config).proxy
}

/// Whether requests come over sockets of the kernel.
fn is_of_kernel(config: &Config) -> bool {
    config.l7.as_ref().is_some_and(|l7| l7.io == L7Io::Kernel)
}

/// Milliseconds from 1970 to `started`, if it is `now`.
fn unix_ms_at(started: Instant, now: SystemTime) -> u64 {
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let unix = since_1970.saturating_sub(started.elapsed());
    u64::try_from(unix.as_millis()).unwrap_or(u64::MAX)
}

fn seed(secret: &[u8; 16]) -> u64 {
    u64::from_ne_bytes(std::array::from_fn(|at| secret[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_follows_the_clock_both_ways() {
        let text = include_str!("../../../config/examples/ingress.yaml");
        let mut config = sluice_config::parse("ingress.yaml", text).unwrap().config;
        config.l7.as_mut().unwrap().access_log = None;
        let started = Instant::now();
        let l7 = L7::start(&config, started).unwrap().unwrap();
        let unix_ms = || l7.started_unix_ms.load(Ordering::Relaxed);
        let first = unix_ms();
        l7.follow(SystemTime::now());
        assert!(unix_ms().abs_diff(first) < 60_000);
        for hours in [2, 1, 3] {
            let at = Duration::from_secs(hours * 3600);
            l7.follow(SystemTime::UNIX_EPOCH + at + started.elapsed());
            assert!(unix_ms().abs_diff(hours * 3_600_000) < 60_000, "{}", unix_ms());
        }
        l7.stop();
    }
}
