/// Connections by their sequence numbers.
mod numbers;
/// What segments look like.
mod shapes;

use super::generator::show;
use super::lines::Lines;
use super::outcome::{Outcome, Passed, Times};
use super::packet;
use super::people::People;
use super::profile::{Close, Profile};
use crate::flood::load::Schedule;
use crate::flood::shape::Segment;
use crate::flood::shapes::Way;
use crate::site::{CLUSTER, UPLINK};
use crate::tsc::{Rate, ticks};
use anyhow::{Context, Result, bail, ensure};
use numbers::{isn, number, pod_isn};
use shapes::{Shapes, Step};
use sluice_io::{BURST, Frame, RxBurst};
use std::time::Duration;

/// Connections that may be under way.
const UNDER_WAY: usize = 1 << 20;
/// How long what is on its way is waited for.
const DRAIN_NS: f64 = 500e6;

/// How far a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Unknown,
    Opening,
    Open,
    Closed,
}

/// What is remembered of a connection, by the end of its number.
#[derive(Clone, Copy, Debug, Default)]
struct Connection {
    number: u32,
    state: State,
    due: u64,
}

/// Plays clients that connect at a rate, and pods that remember nothing.
pub struct Handshakes {
    lines: Lines,
    rate: Rate,
    people: People,
    close: Close,
    from_client: Shapes,
    to_client: Shapes,
    /// By node.
    from_pod: Vec<Shapes>,
    to_pod: Vec<Shapes>,
    connections: Vec<Connection>,
    /// Connections so far, of all runs.
    begun: u32,
    /// The first one of this run.
    first: u32,
    counts: Counts,
    round_trip: Times,
    late: Times,
    burst: RxBurst,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    begun: u64,
    opened: u64,
    closed: u64,
    segments: u64,
    duplicated: u64,
    others: u64,
    stale: u64,
}

impl Handshakes {
    /// Of a profile, at two lines.
    ///
    /// # Errors
    /// When there can be no histogram.
    pub fn new(profile: &Profile, lines: Lines, rate: Rate) -> Result<Self> {
        let (family, nodes) = (profile.ip(), profile.nodes);
        let of = |way: fn(u32) -> Way| (0..nodes).map(move |n| Shapes::new(family, way(n)));
        Ok(Handshakes {
            lines,
            rate,
            people: People::new(profile.cluster(), profile.clients, 0),
            close: profile.close,
            from_client: Shapes::new(family, Way::FromClient),
            to_client: Shapes::new(family, Way::ToClient),
            from_pod: of(Way::FromPod).collect(),
            to_pod: of(Way::ToPod).collect(),
            connections: vec![Connection::default(); UNDER_WAY],
            begun: 0,
            first: 0,
            counts: Counts::default(),
            round_trip: Times::new()?,
            late: Times::new()?,
            burst: RxBurst::new(),
        })
    }

    /// What the ports are.
    pub fn modes(&self) -> [String; 2] {
        self.lines.modes()
    }

    /// Begins so many connections a second (`None`: as many as go) for so long. Requests of
    /// the outcome are connections that were begun and came to their end, its round trip
    /// lasts from when a SYN was due until its SYN-ACK came.
    ///
    /// # Errors
    /// What is wrong with a segment.
    pub fn run(&mut self, rate: Option<f64>, time: Duration) -> Result<Outcome> {
        self.counts = Counts::default();
        self.lines.blocked = 0;
        self.first = self.begun;
        self.round_trip.clear();
        self.late.clear();
        let begun = ticks();
        let until = begun + self.rate.ticks(time.as_nanos() as f64);
        let schedule = |rate| Schedule::new(begun, self.rate.ghz(), rate, false);
        let mut schedule = rate.map(schedule);
        let mut now = begun;
        while now < until {
            self.receive(now)?;
            if let Some(schedule) = &mut schedule {
                schedule.catch_up(now);
            }
            self.offer(now, schedule.as_mut())?;
            self.lines.send();
            now = ticks();
        }
        let seconds = self.rate.nanos(now - begun) / 1e9;
        let (blocked, closed) = (self.lines.blocked, self.counts.closed);
        let end = ticks();
        while self.counts.closed < self.counts.begun && self.rate.nanos(ticks() - end) < DRAIN_NS {
            self.receive(ticks())?;
            self.lines.send();
        }
        let counts = self.counts;
        let passed = |came| Passed {
            sent: counts.begun,
            came,
            out_of_order: 0,
            duplicated: counts.duplicated,
        };
        Ok(Outcome {
            asked: rate,
            seconds,
            offered: counts.begun as f64 / seconds,
            achieved: closed as f64 / seconds,
            achieved_bits: 0.0,
            requests: passed(counts.closed),
            replies: Passed { duplicated: 0, ..passed(counts.opened) },
            missed: schedule.map_or(0, |schedule| schedule.missed),
            blocked,
            stale: counts.stale,
            others: counts.others,
            moved: 0,
            looked_at: counts.segments,
            one_way: None,
            round_trip: self.round_trip.spread(),
            late: self.late.spread(),
        })
    }

    fn offer(&mut self, now: u64, mut schedule: Option<&mut Schedule>) -> Result<()> {
        for _ in 0..BURST {
            let due = schedule.as_ref().map_or(now as f64, |schedule| schedule.next());
            if due > now as f64 {
                break;
            }
            let Some(frame) = self.lines.frame(UPLINK) else { break };
            if let Some(schedule) = &mut schedule {
                schedule.advance();
            }
            self.late.record((now as f64 - due) / self.rate.ghz());
            let number = self.begun;
            self.begun = self.begun.wrapping_add(1);
            self.counts.begun += 1;
            let connection = Connection { number, state: State::Opening, due: due as u64 };
            self.connections[number as usize % UNDER_WAY] = connection;
            self.send_client(frame, number, Step::Syn);
        }
        Ok(())
    }

    /// A segment of a client: SYN, the ACK of a SYN-ACK, FIN or RST after it.
    fn send_client(&mut self, mut frame: Frame, number: u32, step: Step) {
        let (isn, pod) = (isn(number), pod_isn(number));
        let (seq, ack) = match step {
            Step::Syn => (isn, 0),
            Step::Rst => (isn.wrapping_add(1), 0),
            _ => (isn.wrapping_add(1), pod.wrapping_add(1)),
        };
        let (src, dst) = (self.people.client(number), self.people.vip(number));
        let segment = Segment { src, dst, seq, ack, id: 0 };
        self.from_client.of(step).write(&mut frame, &segment);
        self.lines.queue(UPLINK, frame);
    }

    fn receive(&mut self, now: u64) -> Result<()> {
        let mut burst = std::mem::take(&mut self.burst);
        self.lines.receive(CLUSTER, &mut burst);
        for frame in burst.drain(..) {
            self.at_pod(frame)?;
        }
        self.lines.receive(UPLINK, &mut burst);
        for frame in burst.drain(..) {
            self.at_client(frame, now)?;
        }
        self.burst = burst;
        Ok(())
    }

    /// A pod answers a SYN with a SYN-ACK, a FIN with its own, and remembers nothing.
    fn at_pod(&mut self, mut frame: Frame) -> Result<()> {
        if packet::is_other(frame.data()) {
            self.counts.others += 1;
            self.lines.free(frame);
            return Ok(());
        }
        self.counts.segments += 1;
        let read = self.read_at_pod(frame.data());
        let answer = match read {
            Ok(answer) => answer,
            Err(error) => {
                let shown = show(frame.data(), "to a node");
                self.lines.free(frame);
                return Err(error.context(shown));
            }
        };
        match answer {
            Some((node, step, segment)) => {
                self.from_pod[node].of(step).write(&mut frame, &segment);
                self.lines.queue(CLUSTER, frame);
            }
            None => self.lines.free(frame),
        }
        Ok(())
    }

    fn read_at_pod(&mut self, data: &[u8]) -> Result<Option<(usize, Step, Segment)>> {
        // A node's MAC ends in its number.
        let node = data[2..].first_chunk().map_or(u32::MAX, |n| u32::from_be_bytes(*n));
        let shapes = self.to_pod.get(node as usize).context("nobody's MAC")?;
        let (step, segment) = shapes.read(data)?;
        // Bytes of the client's sequence before the segment, and of the pod's that it
        // acknowledges: an ACK is that of the SYN-ACK or that of the pod's FIN.
        let last = || pod_isn(number(segment.seq.wrapping_sub(2))).wrapping_add(2);
        let (before, acked) = match step {
            Step::Syn => (0, None),
            Step::Rst => (1, None),
            Step::Ack if segment.ack == last() => (2, Some(2)),
            _ => (1, Some(1)),
        };
        let number = number(segment.seq.wrapping_sub(before));
        self.people.chosen(number, node, segment.src, segment.dst)?;
        let pod = pod_isn(number);
        let expected = acked.map_or(0, |acked| pod.wrapping_add(acked));
        ensure!(segment.ack == expected, "connection {number}: {step:?} has {segment:x?}");
        if !self.is_of_this_run(number) {
            self.counts.stale += 1;
            return Ok(None);
        }
        let answer = |step, seq| {
            let ack = segment.seq.wrapping_add(1);
            let segment = Segment { src: segment.dst, dst: segment.src, seq, ack, id: 0 };
            Some((node as usize, step, segment))
        };
        Ok(match step {
            Step::Syn => answer(Step::SynAck, pod),
            Step::Fin => answer(Step::Fin, pod.wrapping_add(1)),
            Step::Rst => {
                self.end(number);
                None
            }
            // The last one of all.
            Step::Ack if before == 2 => {
                self.end(number);
                None
            }
            Step::Ack | Step::SynAck => None,
        })
    }

    fn is_of_this_run(&self, number: u32) -> bool {
        number.wrapping_sub(self.first) < self.begun.wrapping_sub(self.first)
    }

    fn connection(&mut self, number: u32) -> Option<&mut Connection> {
        let connection = &mut self.connections[number as usize % UNDER_WAY];
        (connection.number == number && connection.state != State::Unknown).then_some(connection)
    }

    fn end(&mut self, number: u32) {
        let Some(connection) = self.connection(number) else { return };
        match connection.state {
            State::Closed => self.counts.duplicated += 1,
            _ => {
                connection.state = State::Closed;
                self.counts.closed += 1;
            }
        }
    }

    fn at_client(&mut self, mut frame: Frame, now: u64) -> Result<()> {
        if packet::is_other(frame.data()) {
            self.counts.others += 1;
            self.lines.free(frame);
            return Ok(());
        }
        self.counts.segments += 1;
        match self.read_at_client(frame.data()) {
            Ok(Some((number, Step::SynAck))) => self.opened(frame, number, now),
            // The pod's FIN: its acknowledgment is the last segment.
            Ok(Some((number, _))) => {
                let segment = Segment {
                    src: self.people.client(number),
                    dst: self.people.vip(number),
                    seq: isn(number).wrapping_add(2),
                    ack: pod_isn(number).wrapping_add(2),
                    id: 0,
                };
                self.from_client.ack.write(&mut frame, &segment);
                self.lines.queue(UPLINK, frame);
                Ok(())
            }
            Ok(None) => {
                self.lines.free(frame);
                Ok(())
            }
            Err(error) => {
                let shown = show(frame.data(), "to a client");
                self.lines.free(frame);
                Err(error.context(shown))
            }
        }
    }

    fn read_at_client(&mut self, data: &[u8]) -> Result<Option<(u32, Step)>> {
        let (step, segment) = self.to_client.read(data)?;
        let (back, seq) = match step {
            Step::SynAck => (1, 0),
            Step::Fin => (2, 1),
            _ => bail!("no pod has sent {step:?}: {segment:x?}"),
        };
        let number = number(segment.ack.wrapping_sub(back));
        let expected = (self.people.vip(number), self.people.client(number));
        ensure!((segment.src, segment.dst) == expected, "connection {number}: {segment:x?}");
        let is_right = segment.seq == pod_isn(number).wrapping_add(seq);
        ensure!(is_right, "connection {number}: {step:?} at {:x}", segment.seq);
        if !self.is_of_this_run(number) {
            self.counts.stale += 1;
            return Ok(None);
        }
        Ok(Some((number, step)))
    }

    /// The SYN-ACK has come: the client acknowledges it, and closes at once.
    fn opened(&mut self, frame: Frame, number: u32, now: u64) -> Result<()> {
        let Some(connection) = self.connection(number) else {
            self.lines.free(frame);
            return Ok(());
        };
        if connection.state != State::Opening {
            self.counts.duplicated += 1;
            self.lines.free(frame);
            return Ok(());
        }
        connection.state = State::Open;
        let due = connection.due;
        self.round_trip.record(self.rate.nanos(now.saturating_sub(due)));
        self.counts.opened += 1;
        self.send_client(frame, number, Step::Ack);
        let step = if self.close == Close::Fin { Step::Fin } else { Step::Rst };
        if let Some(frame) = self.lines.spare() {
            self.send_client(frame, number, step);
        }
        Ok(())
    }

    /// Frees every frame that it can get at.
    pub fn close(&mut self) {
        self.lines.close();
    }
}
