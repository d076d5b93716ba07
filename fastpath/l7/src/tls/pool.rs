use super::counters::{Counts, add};
use super::turn::Turn;
use super::{TlsConfig, TlsRefusal};
use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded, select};
use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::oneshot;

type Work = Box<dyn FnOnce() -> Turn + Send>;

struct Job {
    work: Work,
    reply: oneshot::Sender<Result<Turn, TlsRefusal>>,
}

/// Threads that work at handshakes, and the queues before them.
pub(super) struct Pool {
    /// First turns. What does not fit is shed.
    first: Sender<Job>,
    /// Turns of handshakes under way, which go first. There are never more than those.
    later: Sender<Job>,
    under_way: Arc<AtomicUsize>,
    under_way_max: usize,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    /// Nothing is sent: helpers end when it is dropped.
    stop: Sender<Infallible>,
    helpers: Vec<JoinHandle<()>>,
}

/// A handshake that is counted among those under way.
pub(super) struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Pool {
    pub fn start(config: &TlsConfig, counts: &Arc<Counts>) -> io::Result<Self> {
        let (first, first_jobs) = bounded(config.queue_max.max(1));
        let (later, later_jobs) = bounded(config.under_way_max.max(1));
        let (stop, stopped) = bounded(0);
        let mut threads = Threads { stop, helpers: Vec::new() };
        for n in 0..config.helpers.max(1) {
            let helper = Helper {
                first: first_jobs.clone(),
                later: later_jobs.clone(),
                stopped: stopped.clone(),
                counts: Arc::clone(counts),
            };
            let thread = std::thread::Builder::new().name(format!("sluice-tls-{n}"));
            match thread.spawn(move || helper.run()) {
                Ok(thread) => threads.helpers.push(thread),
                Err(error) => {
                    threads.stop();
                    return Err(error);
                }
            }
        }
        Ok(Pool {
            first,
            later,
            under_way: Arc::default(),
            under_way_max: config.under_way_max,
            threads: Mutex::new(Some(threads)),
        })
    }

    /// Counts a handshake among those under way, if there may be one more.
    pub fn enter(&self) -> Result<UnderWay, TlsRefusal> {
        let entered = UnderWay(Arc::clone(&self.under_way));
        match self.under_way.fetch_add(1, Relaxed) < self.under_way_max {
            true => Ok(entered),
            false => Err(TlsRefusal::Shed),
        }
    }

    /// Has the first turn of a handshake done.
    pub async fn begin(
        &self,
        _under_way: &UnderWay,
        work: impl FnOnce() -> Turn + Send + 'static,
    ) -> Result<Turn, TlsRefusal> {
        submit(&self.first, Box::new(work)).await
    }

    /// Has another turn of a handshake done.
    pub async fn go_on(
        &self,
        _under_way: &UnderWay,
        work: impl FnOnce() -> Turn + Send + 'static,
    ) -> Result<Turn, TlsRefusal> {
        submit(&self.later, Box::new(work)).await
    }

    /// Ends the helpers, each after what it is at. What waits in the queues is refused.
    pub fn stop(&self) {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(threads) = threads {
            threads.stop();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Threads {
    fn stop(self) {
        drop(self.stop);
        for helper in self.helpers {
            // A helper catches what its work panics with.
            let _ = helper.join();
        }
    }
}

async fn submit(queue: &Sender<Job>, work: Work) -> Result<Turn, TlsRefusal> {
    let (reply, turn) = oneshot::channel();
    queue.try_send(Job { work, reply }).map_err(|error| match error {
        TrySendError::Full(_) => TlsRefusal::Shed,
        TrySendError::Disconnected(_) => TlsRefusal::Stopping,
    })?;
    // Without an answer the job is gone with the helpers.
    turn.await.unwrap_or(Err(TlsRefusal::Stopping))
}

struct Helper {
    first: Receiver<Job>,
    later: Receiver<Job>,
    stopped: Receiver<Infallible>,
    counts: Arc<Counts>,
}

impl Helper {
    fn run(self) {
        while let Some(job) = self.next() {
            if job.reply.is_closed() {
                add(&self.counts.abandoned, 1);
                continue;
            }
            self.work(job);
        }
    }

    /// The next job; `None` when the helpers are stopped.
    fn next(&self) -> Option<Job> {
        if self.stopped.try_recv() == Err(TryRecvError::Disconnected) {
            return None;
        }
        if let Ok(job) = self.later.try_recv() {
            return Some(job);
        }
        select! {
            recv(self.later) -> job => job.ok(),
            recv(self.first) -> job => job.ok(),
            recv(self.stopped) -> _ => None,
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a helper is no worker: it may read the clock")]
    fn work(&self, job: Job) {
        let begun = Instant::now();
        let turn = catch_unwind(AssertUnwindSafe(job.work));
        let took = begun.elapsed().as_nanos();
        add(&self.counts.helper_ns, u64::try_from(took).unwrap_or(u64::MAX));
        let turn = turn.map_err(|_| {
            add(&self.counts.panics, 1);
            TlsRefusal::Internal
        });
        // Nobody waits for it any more, perhaps.
        let _ = job.reply.send(turn);
    }
}
