use super::view::{EventView, Line, Names};
use super::{Hub, Piece, Want};
use crate::line_log::{LineLog, LineLogOptions};
use crossbeam_channel::Receiver;
use seat::{Seat, counts_of, unix_ns};
use sluice_config::FlowLog as FlowLogConfig;
use sluice_fastpath::events::{Captured, EventReceiver, PacketEvent};
use sluice_fastpath::{Nanos, WorkerCounters};
use sluice_tables::observe::FILTERS_MAX;
use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tally::{Tally, say};

mod asking;
/// One who watches: what it is sent.
mod seat;
/// What was left out.
mod tally;
#[cfg(test)]
mod tests;

/// Between two looks at the rings, while anything is told: a worker's ring of events
/// lasts for 400,000 a second, that of packets for half as many.
const PAUSE: Duration = Duration::from_millis(20);
const CAPTURE_PAUSE: Duration = Duration::from_millis(5);

/// Events, and packets, of one worker that are taken at a time: a ring full. The
/// others and those who come are not kept waiting by one that never ends.
const TAKEN_MAX: usize = 8192;

/// How long the last lines may take at the end.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// What the observer is made of.
pub struct Setup {
    /// Where those who watch come.
    pub hub: Arc<Hub>,
    /// The workers' rings, and their counters.
    pub workers: Vec<(EventReceiver, Arc<WorkerCounters>)>,
    /// What numbers stand for.
    pub names: Names,
    /// The flow log, if there is one.
    pub flow_log: Option<FlowLogConfig>,
}

/// The thread that reads the workers' rings.
#[derive(Debug)]
pub struct Observer {
    hub: Arc<Hub>,
    thread: JoinHandle<()>,
}

impl Observer {
    /// Starts it.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(setup: Setup) -> std::io::Result<Self> {
        let hub = Arc::clone(&setup.hub);
        let observing = Observing::new(setup)?;
        let thread = std::thread::Builder::new()
            .name("observer".to_owned())
            .spawn(move || observing.run())?;
        Ok(Observer { hub, thread })
    }

    /// Writes what is in the rings, and ends it.
    pub fn stop(self) {
        self.hub.desk().is_stopping = true;
        self.hub.bell.notify_all();
        let deadline = Instant::now() + STOP_TIMEOUT;
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        if self.thread.is_finished() && self.thread.join().is_err() {
            tracing::error!("the observer has panicked");
        }
    }
}

struct Observing {
    hub: Arc<Hub>,
    workers: Vec<(EventReceiver, Arc<WorkerCounters>)>,
    names: Names,
    flow_log: Option<(FlowLogConfig, LineLog, Tally)>,
    seats: Vec<Seat>,
    /// Workers are to be told anew.
    is_changed: bool,
    /// Control is to say that it has passed on what the seats so far want.
    asked: Option<(Receiver<()>, Vec<u64>)>,
    is_observing: bool,
}

impl Observing {
    fn new(setup: Setup) -> std::io::Result<Self> {
        let is_changed = setup.flow_log.is_some();
        let mut observing = Observing {
            hub: setup.hub,
            workers: setup.workers,
            names: setup.names,
            flow_log: None,
            seats: Vec::new(),
            is_changed,
            asked: None,
            is_observing: false,
        };
        if let Some(config) = setup.flow_log {
            let options = LineLogOptions {
                name: "flow log",
                to: config.to.clone(),
                bytes_max: config.bytes_max,
            };
            let losses = Arc::clone(&observing.hub.losses.flow_log);
            let log = LineLog::start(&options, losses)?;
            observing.flow_log = Some((config, log, Tally::new(observing.log_counts())));
        }
        Ok(observing)
    }

    fn run(mut self) {
        loop {
            let is_stopping = self.visit_desk();
            self.ask();
            self.hear();
            self.drain();
            self.say_left_out();
            if is_stopping {
                let all: Vec<u64> = self.seats.iter().map(|seat| seat.id).collect();
                all.into_iter().for_each(|id| self.end(id));
                // Their ends see that nothing comes any more.
                self.hub.desk().watchers.clear();
                if let Some((_, log, _)) = self.flow_log {
                    log.finish();
                }
                return;
            }
        }
    }

    /// Waits for a while, or until something is wanted; takes who has come and who
    /// has gone. True when it is to end.
    fn visit_desk(&mut self) -> bool {
        let hub = Arc::clone(&self.hub);
        let mut desk = hub.desk();
        let is_waiting = |desk: &super::Desk| {
            !desk.is_changed
                && !desk.is_stopping
                && !desk.is_to_reopen
                && !desk.watchers.iter().any(|watcher| watcher.is_ending)
        };
        let is_quiet = self.asked.is_none() && !self.is_changed && !self.is_observing;
        if is_quiet {
            let waited = hub.bell.wait_while(desk, |desk| is_waiting(desk));
            desk = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        } else if is_waiting(&desk) {
            let captures = self.seats.iter().any(|seat| matches!(seat.want, Want::Packets(_)));
            let pause = if captures { CAPTURE_PAUSE } else { PAUSE };
            let waited = hub.bell.wait_timeout(desk, pause);
            desk = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        self.is_changed |= std::mem::take(&mut desk.is_changed);
        if std::mem::take(&mut desk.is_to_reopen)
            && let Some((_, log, _)) = &self.flow_log
        {
            log.reopen();
        }
        let is_stopping = desk.is_stopping;
        self.seats.retain(|seat| desk.watchers.iter().any(|watcher| watcher.id == seat.id));
        for watcher in &desk.watchers {
            if !self.seats.iter().any(|seat| seat.id == watcher.id) {
                let is_free = |place: &usize| self.seats.iter().all(|seat| seat.place != *place);
                // There are as many places as may watch.
                let Some(place) = (0..FILTERS_MAX).find(is_free) else { continue };
                self.seats.push(Seat {
                    id: watcher.id,
                    place,
                    want: watcher.want.clone(),
                    left: watcher.count,
                    to: watcher.to.clone(),
                    since: None,
                    tally: Tally::new([0, 0]),
                    interfaces: HashMap::new(),
                });
            }
        }
        let ending: Vec<u64> =
            desk.watchers.iter().filter(|of| of.is_ending).map(|of| of.id).collect();
        drop(desk);
        if !ending.is_empty() {
            self.drain();
            ending.into_iter().for_each(|id| self.end(id));
        }
        is_stopping
    }

    /// Ends a watcher: nothing comes after what it was sent.
    fn end(&mut self, id: u64) {
        if let Some(at) = self.seats.iter().position(|seat| seat.id == id) {
            let mut seat = self.seats.remove(at);
            if let Want::Packets(_) = seat.want {
                let [limit, ring, slow] = seat.tally.left_out(counts_of(&seat, &self.workers));
                seat.close_capture(unix_ns(&self.names, self.now()), limit + ring + slow);
            }
        }
        self.hub.desk().watchers.retain(|watcher| watcher.id != id);
        self.is_changed = true;
    }

    fn now(&self) -> Nanos {
        let now = self.names.started.elapsed().as_nanos();
        Nanos(u64::try_from(now).unwrap_or(u64::MAX))
    }

    /// Takes what is in the rings, and sends it to whom it concerns.
    fn drain(&mut self) {
        for worker in 0..self.workers.len() {
            for _ in 0..TAKEN_MAX {
                let Ok(event) = self.workers[worker].0.events.pop() else { break };
                self.event(worker, &event);
            }
            for _ in 0..TAKEN_MAX {
                let Ok(packet) = self.workers[worker].0.captured.pop() else { break };
                self.packet(worker, &packet);
            }
        }
        let full: Vec<u64> =
            self.seats.iter().filter(|seat| seat.left == Some(0)).map(|seat| seat.id).collect();
        full.into_iter().for_each(|id| self.end(id));
    }

    fn event(&mut self, worker: usize, event: &PacketEvent) {
        let reason = event.kind.reason().map(|reason| reason as u8);
        let tuples = [event.came.as_ref(), event.leaves.as_ref()];
        let mut line: Option<Vec<u8>> = None;
        let names = &self.names;
        let mut text = || line.get_or_insert_with(|| line_of(names.event(worker, event))).clone();
        if event.to.flow_log
            && let Some((_, log, _)) = &self.flow_log
        {
            log.line(text());
        }
        for seat in &mut self.seats {
            if let Want::Drops(filter) = &seat.want
                && event.to.followers.contains(seat.place)
                && seat.since.is_some_and(|since| event.at >= since)
                && filter.matches(reason, tuples)
            {
                seat.send(text(), &self.hub.losses.followers);
            }
        }
    }

    fn packet(&mut self, worker: usize, packet: &Captured) {
        let reason = packet.fate.reason().map(|reason| reason as u8);
        let tuples = [packet.came.as_ref(), packet.leaves.as_ref()];
        for seat in &mut self.seats {
            let Want::Packets(capture) = &seat.want else { continue };
            let wants = packet.to.contains(seat.place)
                && seat.since.is_some_and(|since| packet.at >= since)
                && seat.left != Some(0)
                && (reason.is_some() || !capture.drops_only)
                && capture.filter.matches(reason, tuples);
            if wants {
                seat.send_packet(&self.names, worker, packet, &self.hub.losses.captures);
            }
        }
    }

    /// Says once a second how much is left out.
    fn say_left_out(&mut self) {
        for seat in &mut self.seats {
            let counts = counts_of(seat, &self.workers);
            let is_begun = seat.since.is_some() && matches!(seat.want, Want::Drops(_));
            if let Some(line) = is_begun.then(|| say(&mut seat.tally, counts)).flatten()
                && seat.to.try_send(Piece::Bytes(line)).is_ok()
            {
                seat.tally.was_said(counts);
            }
        }
        let counts = self.log_counts();
        if let Some((_, log, tally)) = &mut self.flow_log
            && let Some(line) = say(tally, counts)
        {
            log.line(line);
            tally.was_said(counts);
        }
    }

    fn log_counts(&self) -> [u64; 2] {
        self.workers.iter().fold([0, 0], |[limit, ring], (_, counters)| {
            let events = &counters.events;
            [limit + events.flow_log.limited.get(), ring + events.flow_log.lost.get()]
        })
    }
}

fn line_of(event: EventView) -> Vec<u8> {
    json(&Line::Event(Box::new(event)))
}

fn json(line: &Line) -> Vec<u8> {
    // Cannot fail: no map with odd keys, no number that is none.
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text
}
