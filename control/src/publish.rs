use crate::announce::{Telling, TellingCounts};
use crossbeam_channel::{Receiver, Sender, bounded};
use sluice_tables::Answer;
use sluice_tables::Observe;
use sluice_tables::Tables;
use sluice_tables::mailbox::{ControlEnd, FromWorker, ToWorker};
use sluice_tables::record::{Conflict, FlowRecord, NeighborRecord};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Questions to workers that take several messages.
pub mod dump;
/// How long something took, in buckets.
pub mod histogram;

mod answers;

pub use dump::{DumpId, Finished, FlowFilter};
pub use histogram::Histogram;

use dump::Dumps;

/// Claims of others to VIPs kept until [`Publisher::take_conflicts`].
const CONFLICTS_MAX: usize = 256;

/// How long [`Publisher::stop`] tries, in steps of a millisecond.
const STOP_STEPS: u32 = 1000;

/// Sends tables to all workers, and learns when they are live.
///
/// A worker whose mailbox is full gets the newest tables once there is room;
/// the ones between are skipped.
#[derive(Debug)]
pub struct Publisher {
    workers: Vec<Worker>,
    latest: Option<Arc<Tables>>,
    /// Versions that are not live everywhere, and when their cause was noticed.
    waiting: VecDeque<(u64, Duration)>,
    event_to_live: Histogram,
    published: u64,
    /// Messages that workers have sent.
    received: u64,
    dumps: Dumps,
    /// Tables that workers no longer use: a mailbox's worth of each at most.
    retired: Vec<Arc<Tables>>,
    telling: Telling,
    /// The worker that tells of VIPs now.
    teller: Option<usize>,
    conflicts: Vec<Conflict>,
    /// What is to be told of single packets, and how often that has changed.
    observe: (Arc<Observe>, u64),
    /// DNS answers that workers hold, until [`Publisher::take_answers`].
    answers: Vec<HeldAnswer>,
    /// Rung by workers that have told of answers.
    bell: (Sender<()>, Receiver<()>),
}

/// A DNS answer and the worker that holds it.
pub type HeldAnswer = (usize, Answer);

#[derive(Debug)]
struct Worker {
    end: ControlEnd,
    sent: u64,
    /// How many changes of what is told it knows.
    observes: u64,
    live: u64,
    is_gone: bool,
    is_told_to_stop: bool,
    /// It has what it tells of DNS answers with.
    has_buffers: bool,
    /// Answers that go on, and the buffers that it gets back with them.
    releases: VecDeque<(u64, Vec<u8>)>,
}

/// How far one worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The version that it was sent last.
    pub sent: u64,
    /// The version that all its packets see.
    pub live: u64,
    /// Its thread has ended.
    pub is_gone: bool,
}

impl Publisher {
    /// A publisher to the workers at the other ends.
    pub fn new(ends: Vec<ControlEnd>) -> Self {
        let worker = |end| Worker {
            end,
            sent: 0,
            observes: 0,
            live: 0,
            is_gone: false,
            is_told_to_stop: false,
            has_buffers: false,
            releases: VecDeque::new(),
        };
        let workers: Vec<_> = ends.into_iter().map(worker).collect();
        Publisher {
            dumps: Dumps::new(workers.len()),
            workers,
            latest: None,
            waiting: VecDeque::new(),
            event_to_live: Histogram::default(),
            published: 0,
            received: 0,
            retired: Vec::new(),
            telling: Telling::default(),
            teller: None,
            conflicts: Vec::new(),
            observe: (Arc::default(), 0),
            answers: Vec::new(),
            bell: bounded(1),
        }
    }

    /// Sends tables to all workers. `event_at` is when their cause was noticed.
    pub fn publish(&mut self, tables: Arc<Tables>, event_at: Duration) {
        self.waiting.push_back((tables.version, event_at));
        self.latest = Some(tables);
        self.published += 1;
        self.send();
    }

    /// Has all workers tell this of single packets, and nothing else.
    pub fn observe(&mut self, observe: Arc<Observe>) {
        self.observe = (observe, self.observe.1 + 1);
        self.send();
    }

    /// Has everybody on the link told of VIPs, once the version that begins to
    /// announce them is live.
    pub fn announce(&mut self, version: u64, vips: impl IntoIterator<Item = IpAddr>) {
        self.telling.begin(version, vips);
    }

    /// Claims of others to VIPs since the last call: a sample, if there were many.
    pub fn take_conflicts(&mut self) -> Vec<Conflict> {
        std::mem::take(&mut self.conflicts)
    }

    /// Takes what the workers have sent, and sends what has waited for room.
    /// What workers have retired waits for [`Publisher::free`]. Returns dumps
    /// that are done.
    pub fn pump(&mut self, now: Duration) -> Vec<Finished> {
        for (index, worker) in self.workers.iter_mut().enumerate() {
            worker.is_gone = worker.end.is_abandoned();
            while let Some(message) = worker.end.receive() {
                self.received += 1;
                match message {
                    FromWorker::Live { version } => worker.live = worker.live.max(version),
                    FromWorker::Retired(tables) => self.retired.push(tables),
                    FromWorker::Unobserved(observe) => drop(observe),
                    FromWorker::Answer(answer) => self.answers.push((index, answer)),
                    FromWorker::Flows { next, buffer } => self.dumps.flows(index, next, buffer),
                    FromWorker::Neighbors { buffer } => self.dumps.neighbors(index, buffer),
                    FromWorker::Announced { .. } if self.teller == Some(index) => {
                        self.teller = None;
                        self.telling.returned();
                    }
                    FromWorker::Announced { .. } => {}
                    FromWorker::Conflict(conflict) if self.conflicts.len() < CONFLICTS_MAX => {
                        self.conflicts.push(conflict);
                    }
                    FromWorker::Conflict(_) => {}
                }
            }
        }
        self.send();
        let live = self.live();
        while let Some(&(version, event_at)) = self.waiting.front().filter(|w| w.0 <= live) {
            self.waiting.pop_front();
            tracing::debug!(version, "tables are live on every worker");
            self.event_to_live.record(now.saturating_sub(event_at));
        }
        self.tell(now, live);
        for (index, worker) in self.workers.iter_mut().enumerate() {
            self.dumps.ask(index, worker.is_gone, |message| worker.end.send(message));
        }
        self.dumps.finished(now)
    }

    /// Whether there are tables that nobody uses any more.
    pub fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Frees the tables that workers have retired.
    pub fn free(&mut self) {
        self.retired.clear();
    }

    /// Sends the next list of VIPs to tell of to a worker that runs.
    fn tell(&mut self, now: Duration, live: u64) {
        if self.teller.is_some_and(|teller| self.workers[teller].is_gone) {
            self.teller = None;
            self.telling.returned();
        }
        let Some(teller) = self.workers.iter().position(|worker| !worker.is_gone) else { return };
        let end = &mut self.workers[teller].end;
        if end.has_room()
            && let Some(vips) = self.telling.next(now, live)
        {
            match end.send(ToWorker::Announce { vips }) {
                Ok(()) => self.teller = Some(teller),
                Err(_) => self.telling.returned(),
            }
        }
    }

    fn send(&mut self) {
        let (observe, changes) = &self.observe;
        for worker in &mut self.workers {
            let is_behind = worker.observes < *changes && !worker.is_gone;
            if is_behind && worker.end.send(ToWorker::Observe(observe.clone())).is_ok() {
                worker.observes = *changes;
            }
        }
        let Some(latest) = &self.latest else { return };
        if latest.names_wanted {
            self.workers.iter_mut().for_each(|worker| worker.hand_buffers(&self.bell.0));
        }
        for worker in &mut self.workers {
            let is_behind = worker.sent < latest.version && !worker.is_gone;
            if is_behind && worker.end.send(ToWorker::Tables(latest.clone())).is_ok() {
                worker.sent = latest.version;
            }
        }
        self.workers.iter_mut().for_each(Worker::send_releases);
    }

    /// The version that every worker has reached.
    pub fn live(&self) -> u64 {
        let live = self.workers.iter().filter(|worker| !worker.is_gone).map(|worker| worker.live);
        live.min().unwrap_or_else(|| self.latest.as_ref().map_or(0, |tables| tables.version))
    }

    /// True while something is expected from a worker.
    pub fn is_busy(&self) -> bool {
        let is_behind = |worker: &Worker| !worker.is_gone && worker.observes < self.observe.1;
        !self.waiting.is_empty()
            || self.dumps.is_busy()
            || self.teller.is_some()
            || self.workers.iter().any(is_behind)
            || self.workers.iter().any(|worker| !worker.releases.is_empty())
    }

    /// How long nothing is to be sent at least; `None`: until something comes.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        self.telling.wait(now)
    }

    /// What has become of tellings of VIPs.
    pub fn telling(&self) -> TellingCounts {
        self.telling.counts()
    }

    /// How far each worker is.
    pub fn progress(&self) -> Vec<Progress> {
        let progress = |w: &Worker| Progress { sent: w.sent, live: w.live, is_gone: w.is_gone };
        self.workers.iter().map(progress).collect()
    }

    /// Publications so far.
    pub fn published(&self) -> u64 {
        self.published
    }

    /// Messages that workers have sent so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Time from the notice of an event until every worker had it.
    pub fn event_to_live(&self) -> &Histogram {
        &self.event_to_live
    }

    /// Asks all workers for flows: at most `limit` that pass the filter.
    pub fn dump_flows(&mut self, filter: FlowFilter, limit: usize, deadline: Duration) -> DumpId {
        self.dumps.start_flows(filter, limit, deadline)
    }

    /// Asks all workers for neighbors: at most `limit` of each.
    pub fn dump_neighbors(&mut self, limit: usize, deadline: Duration) -> DumpId {
        self.dumps.start_neighbors(limit, deadline)
    }

    /// Tells all workers to finish; what they answer is dropped. Gives up on one
    /// that does not take its messages for a second.
    pub fn stop(&mut self) {
        for _ in 0..STOP_STEPS {
            for worker in &mut self.workers {
                worker.is_gone = worker.end.is_abandoned();
                // A worker whose answers find no room takes no message.
                while worker.end.receive().is_some() {}
                if !worker.is_told_to_stop && !worker.is_gone {
                    worker.is_told_to_stop = worker.end.send(ToWorker::Stop).is_ok();
                }
            }
            if self.workers.iter().all(|worker| worker.is_told_to_stop || worker.is_gone) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        tracing::warn!("a worker does not take its messages; it is not told to stop");
    }
}

/// A flow and the worker that has it.
pub type WorkerFlow = (usize, FlowRecord);

/// A neighbor and the worker that told of it.
pub type WorkerNeighbor = (usize, NeighborRecord);

#[cfg(test)]
mod tests;
