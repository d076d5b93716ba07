use super::filter::is_icmp;
use super::pcapng;
use super::view::{EndView, Ends, EventView, LeftOut, Line, Names};
use super::{Hub, Losses, Piece, Want};
use crate::line_log::{LineLog, LineLogOptions};
use crossbeam_channel::{Receiver, TryRecvError, TrySendError, bounded};
use sluice_config::FlowLog as FlowLogConfig;
use sluice_control::Request;
use sluice_fastpath::events::{Captured, EventReceiver, Fate, Link, PacketEvent, SNAP_LEN_MAX};
use sluice_fastpath::packet::Ingress;
use sluice_fastpath::{Nanos, WorkerCounters};
use sluice_tables::observe::FILTERS_MAX;
use sluice_tables::{FlowTelling, Observe, RuleId};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;

/// Between two looks at the rings, while anything is told: a worker's ring of events
/// lasts for 400,000 a second, that of packets for half as many.
const PAUSE: Duration = Duration::from_millis(20);
const CAPTURE_PAUSE: Duration = Duration::from_millis(5);

/// Dropped packets, and audited ones, told of to each who follows, a second and worker.
const FOLLOWS_PER_SECOND: u32 = 1000;

/// Events, and packets, of one worker that are taken at a time: a ring full. The
/// others and those who come are not kept waiting by one that never ends.
const TAKEN_MAX: usize = 8192;

/// How often it is said that something is left out.
const SAY_EVERY: Duration = Duration::from_secs(1);

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

/// One who watches.
struct Seat {
    id: u64,
    /// Its place at the workers ([`Observe`]).
    place: usize,
    want: Want,
    left: Option<u64>,
    to: Sender<Piece>,
    /// Workers' time when it began; `None`: not yet.
    since: Option<Nanos>,
    tally: Tally,
    /// Numbers of the interfaces of a capture that are described.
    interfaces: HashMap<(Option<Ingress>, Link), u32>,
}

/// What was left out, and how much of it was said.
struct Tally {
    /// Counts of the workers when it was said last: beyond the limit, ring full.
    workers: [u64; 2],
    slow: u64,
    said: Instant,
}

impl Tally {
    fn new(workers: [u64; 2]) -> Self {
        Tally { workers, slow: 0, said: Instant::now() }
    }

    /// What there is to say, by the workers' counts of now.
    fn left_out(&self, workers: [u64; 2]) -> [u64; 3] {
        let [limit, ring] = [0, 1].map(|i| workers[i].saturating_sub(self.workers[i]));
        [limit, ring, self.slow]
    }

    fn was_said(&mut self, workers: [u64; 2]) {
        self.workers = workers;
        self.slow = 0;
    }
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

    /// What the workers are to tell now.
    fn wanted(&self) -> Observe {
        let mut observe = Observe { follows_per_second: FOLLOWS_PER_SECOND, ..Observe::default() };
        for seat in &self.seats {
            match &seat.want {
                Want::Drops(filter) => observe.follows[seat.place] = Some(filter.clone()),
                Want::Packets(capture) => observe.captures[seat.place] = Some(capture.clone()),
            }
        }
        let workers = self.workers.len().max(1) as u32;
        observe.flows = self.flow_log.as_ref().map(|(config, ..)| FlowTelling {
            sample: config.sample,
            per_second: config.per_second.div_ceil(workers),
        });
        observe
    }

    /// Has control tell the workers, if there is anything new to tell them.
    fn ask(&mut self) {
        if !self.is_changed || self.asked.is_some() {
            return;
        }
        let observe = self.wanted();
        let is_observing = observe.is_on();
        let (reply, said) = bounded(1);
        let request = Request::Observe { observe: Arc::new(observe), reply };
        match self.names.control.requests.try_send(request) {
            Ok(()) => {
                self.is_changed = false;
                self.is_observing = is_observing;
                let new = self.seats.iter().filter(|seat| seat.since.is_none());
                self.asked = Some((said, new.map(|seat| seat.id).collect()));
            }
            Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => self.fail(),
        }
    }

    /// Hears whether control has passed it on.
    fn hear(&mut self) {
        let Some((said, new)) = &self.asked else { return };
        match said.try_recv() {
            Ok(()) => {
                let (now, new) = (self.now(), new.clone());
                self.asked = None;
                for seat in self.seats.iter_mut().filter(|seat| new.contains(&seat.id)) {
                    let counts = counts_of(seat, &self.workers);
                    seat.begin(now, counts);
                }
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                self.asked = None;
                self.fail();
            }
        }
    }

    /// Control has ended: nobody can begin any more.
    fn fail(&mut self) {
        self.is_changed = false;
        let waiting: Vec<u64> =
            self.seats.iter().filter(|seat| seat.since.is_none()).map(|seat| seat.id).collect();
        self.hub.desk().watchers.retain(|watcher| !waiting.contains(&watcher.id));
        for seat in self.seats.iter().filter(|seat| waiting.contains(&seat.id)) {
            let reason = "control has ended: the workers cannot be asked".to_owned();
            let _ = seat.to.try_send(Piece::Failed(reason));
        }
        self.seats.retain(|seat| !waiting.contains(&seat.id));
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

/// What the workers have left out for one who watches: beyond the limit, ring full.
fn counts_of(seat: &Seat, workers: &[(EventReceiver, Arc<WorkerCounters>)]) -> [u64; 2] {
    workers.iter().fold([0, 0], |[limit, ring], (_, counters)| {
        let untold = match seat.want {
            Want::Drops(_) => &counters.events.follows[seat.place],
            Want::Packets(_) => &counters.events.captures[seat.place],
        };
        [limit + untold.limited.get(), ring + untold.lost.get()]
    })
}

/// The line that says what is left out, when it is time for one.
fn say(tally: &mut Tally, counts: [u64; 2]) -> Option<Vec<u8>> {
    let [beyond_limit, ring_full, slow_reader] = tally.left_out(counts);
    let left_out = beyond_limit + ring_full + slow_reader;
    if left_out == 0 || tally.said.elapsed() < SAY_EVERY {
        return None;
    }
    tally.said = Instant::now();
    let time = jiff::Timestamp::now();
    let line = LeftOut { time, left_out, beyond_limit, ring_full, slow_reader };
    Some(json(&Line::LeftOut(line)))
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

fn unix_ns(names: &Names, at: Nanos) -> u64 {
    u64::try_from(names.time(at).as_nanosecond()).unwrap_or(0)
}

impl Seat {
    fn begin(&mut self, now: Nanos, counts: [u64; 2]) {
        self.since = Some(now);
        self.tally = Tally::new(counts);
        let _ = self.to.try_send(Piece::Begun);
        if let Want::Packets(_) = self.want {
            let _ = self.to.try_send(Piece::Bytes(pcapng::section()));
        }
    }

    /// Sends a piece; one that finds no room is lost, and counted.
    fn send(&mut self, bytes: Vec<u8>, lost: &AtomicU64) -> bool {
        // The last room is for what is said at the end.
        if self.to.capacity() > 1 {
            // One that has gone leaves with the next look at the desk.
            return self.to.try_send(Piece::Bytes(bytes)).is_ok();
        }
        self.tally.slow += 1;
        Losses::add(lost, 1);
        false
    }

    /// Sends a packet, and its interface if it is the first one of it.
    fn send_packet(&mut self, names: &Names, worker: usize, packet: &Captured, lost: &AtomicU64) {
        let Want::Packets(capture) = &self.want else { return };
        let key = (packet.ingress, packet.link);
        let number = self.interfaces.len() as u32;
        let known = self.interfaces.get(&key).copied();
        let mut bytes = Vec::new();
        if known.is_none() {
            let from = packet.ingress.and_then(|ingress| names.ingress(ingress));
            let from = from.unwrap_or_else(|| "on the way out".to_owned());
            let what = match packet.link {
                Link::Ethernet => "frames as they came, or as they were to leave",
                Link::Ip => "IP packets, without what was around them",
            };
            bytes = pcapng::interface(&from, what, packet.link, capture.snap_len);
        }
        let comment = comment(names, worker, packet);
        let number = known.unwrap_or(number);
        let time = unix_ns(names, packet.at);
        bytes.extend(pcapng::packet(number, time, packet, capture.snap_len, &comment));
        if self.send(bytes, lost) {
            self.interfaces.insert(key, number);
            self.left = self.left.map(|left| left.saturating_sub(1));
        }
    }

    /// Ends a capture that has begun with how many packets are missing. What says so
    /// belongs to an interface.
    fn close_capture(&mut self, unix_ns: u64, lost: u64) {
        if self.since.is_none() {
            return;
        }
        let mut bytes = Vec::new();
        if self.interfaces.is_empty() {
            let what = "nothing was captured";
            bytes = pcapng::interface("none", what, Link::Ip, SNAP_LEN_MAX as u16);
        }
        bytes.extend(pcapng::statistics(0, unix_ns, lost));
        let _ = self.to.try_send(Piece::Bytes(bytes));
    }
}

/// What became of a packet, in words.
fn comment(names: &Names, worker: usize, packet: &Captured) -> String {
    let mut text = match packet.fate {
        Fate::Forwarded => "forwarded".to_owned(),
        Fate::Local => "for the gateway itself".to_owned(),
        Fate::Dropped(reason) => {
            format!("dropped: {}: {}", reason.label(), reason.help().trim_end_matches('.'))
        }
    };
    if let Some(leaves) = packet.leaves.filter(|leaves| Some(*leaves) != packet.came) {
        let Ends { source, destination } = names.ends(&leaves);
        let is_icmp = is_icmp(leaves.protocol);
        let end = |end: EndView| match is_icmp {
            true => end.address.to_string(),
            false => crate::cli::units::endpoint(&end.address.to_string(), end.port),
        };
        let is_denied = packet.fate.reason().is_some() && packet.came.is_some();
        let what = if is_denied { "between its real ends" } else { "leaves as" };
        text.push_str(&format!("; {what} {} > {}", end(source), end(destination)));
    }
    for (what, rule) in ["egress", "ingress"].into_iter().zip(packet.rules) {
        if rule != RuleId::NONE {
            let name = names.rule(rule).unwrap_or_default();
            text.push_str(&format!("; {what}: {name}"));
        }
    }
    format!("{text}; worker {worker}")
}

#[cfg(test)]
mod tests;
