/// What comes back.
mod arrivals;

pub(super) use arrivals::show;

use super::lines::Lines;
use super::outcome::{Outcome, Passed, Times};
use super::packet::{Ends, Kind, Stamp, Templates};
use super::people::{Chosen, People};
use super::profile::{Direction, FCS_LEN, Profile, Traffic, Verify};
use super::track::Track;
use crate::flood::load::Schedule;
use crate::site::{CLUSTER, Family, UPLINK};
use crate::tsc::{Rate, ticks};
use anyhow::{Context, Result, ensure};
use sluice_io::{BURST, Frame, RxBurst};
use std::time::Duration;

/// Places of new flows: one is used again after so many others.
const OPENINGS: u32 = 1 << 18;
/// Rounds in which flows are begun.
const OPEN_ROUNDS: usize = 20;
/// Requests that wait for their answers meanwhile.
const OPEN_WINDOW: u64 = 1024;
/// After so long without any, they are lost.
const OPEN_PATIENCE_NS: f64 = 50e6;
/// How long what is on its way is waited for.
const DRAIN_NS: f64 = 200e6;

/// The sides of a gateway, by where frames of the lab come from.
const AT_PODS: usize = 0;
const AT_CLIENTS: usize = 1;

/// Plays clients and pods of UDP flows, by a schedule that waits for nobody, and looks at
/// all that comes back.
pub struct Generator {
    lines: Lines,
    rate: Rate,
    people: People,
    family: Family,
    /// Of what its rate is.
    kind: Kind,
    direction: Direction,
    verify: Verify,
    new_flows: f64,
    templates: Vec<Templates>,
    /// Templates in the order of a turn of lengths.
    turn: Vec<u8>,
    turned: usize,
    /// By place: what the gateway has chosen.
    chosen: Vec<Option<Chosen>>,
    /// By place: its first answer has come.
    is_open: Vec<bool>,
    /// By side, then place: what has come.
    tracks: [Vec<Track>; 2],
    openings: [Vec<Track>; 2],
    /// New flows so far.
    opened: u64,
    run: u8,
    /// Packets of a run so far.
    count: u64,
    counts: Counts,
    one_way: Times,
    round_trip: Times,
    late: Times,
    /// Times are kept: it costs some nanoseconds each.
    timed: bool,
    burst: RxBurst,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: Passed,
    replies: Passed,
    /// Bytes that have come, of requests and of replies.
    bytes: [u64; 2],
    stale: u64,
    others: u64,
    moved: u64,
    looked_at: u64,
    seen: u64,
}

impl Generator {
    /// A generator of a profile at two lines.
    ///
    /// # Errors
    /// When frames are too short.
    pub fn new(profile: &Profile, lines: Lines, rate: Rate) -> Result<Self> {
        let family = profile.ip();
        let people = People::new(profile.cluster(), profile.clients, profile.flows);
        let mut sizes = profile.size.turn(family);
        let all = sizes.clone();
        sizes.sort_unstable();
        sizes.dedup();
        let place = |len: &usize| sizes.iter().position(|other| other == len);
        let turn = all.iter().filter_map(place).map(|at| at as u8).collect();
        let templates = sizes.iter().map(|len| Templates::new(family, len - FCS_LEN));
        let places = profile.flows as usize;
        let is_opening = profile.traffic == Traffic::Openings;
        let kind = match profile.direction {
            _ if is_opening => Kind::Opening,
            Direction::Replies => Kind::Reply,
            Direction::Requests | Direction::Both => Kind::Request,
        };
        let has_new = is_opening || profile.new_flows.0 > 0.0;
        let openings = if has_new { OPENINGS as usize } else { 0 };
        Ok(Generator {
            lines,
            rate,
            people,
            family,
            kind,
            direction: profile.direction,
            verify: profile.verify,
            new_flows: profile.new_flows.0,
            templates: templates.collect::<Result<_>>()?,
            turn,
            turned: 0,
            chosen: vec![None; places],
            is_open: vec![false; places],
            tracks: [vec![Track::default(); places], vec![Track::default(); places]],
            openings: [vec![Track::default(); openings], vec![Track::default(); openings]],
            opened: 0,
            run: 0,
            count: 0,
            counts: Counts::default(),
            one_way: Times::new()?,
            round_trip: Times::new()?,
            late: Times::new()?,
            timed: true,
            burst: RxBurst::new(),
        })
    }

    /// What the ports are.
    pub fn modes(&self) -> [String; 2] {
        self.lines.modes()
    }

    /// Has every flow begin: a request and its answer, all of them looked at.
    ///
    /// # Errors
    /// When flows stay without, or a frame is wrong.
    pub fn open(&mut self) -> Result<()> {
        for _ in 0..OPEN_ROUNDS {
            self.begin_run();
            let missing: Vec<u32> =
                (0..self.people.flows()).filter(|place| !self.is_open[*place as usize]).collect();
            if missing.is_empty() {
                return Ok(());
            }
            self.open_round(&missing)?;
        }
        let left = self.is_open.iter().filter(|open| !**open).count();
        let counts = &self.counts;
        ensure!(
            left == 0,
            "{left} of {} flows have no answer; {} requests were sent in the last round, {} came \
             to nodes, {} answers to clients",
            self.is_open.len(),
            counts.requests.sent,
            counts.requests.came,
            counts.replies.came
        );
        Ok(())
    }

    fn open_round(&mut self, missing: &[u32]) -> Result<()> {
        let mut rest = missing.iter();
        let (mut waiting, mut news) = (0u64, ticks());
        while !rest.as_slice().is_empty() || waiting > 0 {
            let now = ticks();
            let before = self.counts.replies.came;
            self.receive(now, true)?;
            let came = self.counts.replies.came - before;
            if came > 0 {
                news = now;
            }
            waiting = waiting.saturating_sub(came);
            if self.rate.nanos(now - news) > OPEN_PATIENCE_NS {
                (waiting, news) = (0, now);
            }
            while waiting < OPEN_WINDOW
                && let Some(&place) = rest.as_slice().first()
                && let Some(frame) = self.lines.frame(UPLINK)
            {
                rest.next();
                let number = self.people.number(place).context("no such flow")?;
                let stamp = Stamp { run: self.run, kind: Kind::Request, place, seq: 0, due: now };
                self.send_request(frame, number, &stamp)?;
                waiting += 1;
            }
            self.lines.send();
        }
        Ok(())
    }

    fn begin_run(&mut self) {
        self.run = self.run.wrapping_add(1);
        self.count = 0;
        self.counts = Counts::default();
        self.lines.blocked = 0;
        self.tracks.iter_mut().for_each(|tracks| tracks.fill(Track::default()));
        for (slot, track) in self.openings[AT_PODS].iter_mut().enumerate() {
            let turns = self.opened / u64::from(OPENINGS);
            let is_used = (slot as u64) < self.opened % u64::from(OPENINGS);
            *track = Track::from(turns as u32 + u32::from(is_used));
        }
        let [pods, clients] = &mut self.openings;
        clients.copy_from_slice(pods);
        for times in [&mut self.one_way, &mut self.round_trip, &mut self.late] {
            times.clear();
        }
    }

    /// Offers so many frames a second (`None`: as many as go) for so long; `timed`: how long
    /// each takes is noted.
    ///
    /// # Errors
    /// What is wrong with a frame.
    pub fn run(&mut self, rate: Option<f64>, time: Duration, timed: bool) -> Result<Outcome> {
        self.begin_run();
        self.timed = timed;
        let (begun, ghz) = (ticks(), self.rate.ghz());
        let until = begun + self.rate.ticks(time.as_nanos() as f64);
        let mut schedule = rate.map(|rate| Schedule::new(begun, ghz, rate, false));
        let mut openings = Schedule::new(begun, ghz, self.new_flows, false);
        let mut now = begun;
        while now < until {
            self.receive(now, false)?;
            if let Some(schedule) = &mut schedule {
                schedule.catch_up(now);
            }
            self.offer(now, self.kind, schedule.as_mut())?;
            openings.catch_up(now);
            self.offer(now, Kind::Opening, Some(&mut openings))?;
            self.lines.send();
            now = ticks();
        }
        let seconds = self.rate.nanos(now - begun) / 1e9;
        let blocked = self.lines.blocked;
        self.drain()?;
        let missed = schedule.map_or(0, |schedule| schedule.missed) + openings.missed;
        Ok(self.outcome(rate, seconds, missed, blocked))
    }

    fn drain(&mut self) -> Result<()> {
        let begun = ticks();
        let is_complete =
            |counts: &Counts| counts.requests.lost() == 0 && counts.replies.lost() == 0;
        while !is_complete(&self.counts) {
            let now = ticks();
            if self.rate.nanos(now - begun) > DRAIN_NS {
                break;
            }
            self.receive(now, false)?;
            self.lines.send();
        }
        Ok(())
    }

    fn outcome(&self, rate: Option<f64>, seconds: f64, missed: u64, blocked: u64) -> Outcome {
        let Counts { requests, replies, bytes, stale, others, moved, looked_at, .. } = self.counts;
        let (sent, came, bytes) = match self.direction {
            Direction::Replies => (replies.sent, replies.came, bytes[1]),
            Direction::Requests => (requests.sent, requests.came, bytes[0]),
            // As many as have their answers.
            Direction::Both => (requests.sent, replies.came, bytes[1]),
        };
        Outcome {
            asked: rate.map(|rate| rate + self.new_flows),
            seconds,
            offered: sent as f64 / seconds,
            achieved: came as f64 / seconds,
            achieved_bits: bytes as f64 * 8.0 / seconds,
            requests,
            replies,
            missed,
            blocked,
            stale,
            others,
            moved,
            looked_at,
            one_way: self.one_way.spread(),
            round_trip: self.round_trip.spread(),
            late: self.late.spread(),
        }
    }

    /// Sends what is due, a burst at most.
    #[inline]
    fn offer(&mut self, now: u64, kind: Kind, mut schedule: Option<&mut Schedule>) -> Result<()> {
        let line = if kind == Kind::Reply { CLUSTER } else { UPLINK };
        for _ in 0..BURST {
            let due = schedule.as_ref().map_or(now as f64, |schedule| schedule.next());
            if due > now as f64 {
                break;
            }
            let Some(frame) = self.lines.frame(line) else { break };
            if let Some(schedule) = &mut schedule {
                schedule.advance();
            }
            if self.timed {
                self.late.record((now as f64 - due) / self.rate.ghz());
            }
            let (count, places) = match kind {
                Kind::Opening => (&mut self.opened, u64::from(OPENINGS)),
                _ => (&mut self.count, u64::from(self.people.flows())),
            };
            let (place, seq) = ((*count % places) as u32, (*count / places) as u32);
            *count += 1;
            let stamp = Stamp { run: self.run, kind, place, seq, due: due as u64 };
            let number = self.number(&stamp).context("no such flow")?;
            match kind {
                Kind::Reply => self.send_reply(frame, number, &stamp)?,
                _ => self.send_request(frame, number, &stamp)?,
            }
        }
        Ok(())
    }

    /// The number of a stamp's flow.
    #[inline]
    fn number(&self, stamp: &Stamp) -> Option<u32> {
        match stamp.kind {
            Kind::Opening | Kind::OpeningAnswer => {
                let new = u64::from(stamp.seq) * u64::from(OPENINGS) + u64::from(stamp.place);
                let number = u64::from(self.people.flows()) + new;
                u32::try_from(number).ok().filter(|_| stamp.place < OPENINGS)
            }
            _ => self.people.number(stamp.place),
        }
    }

    #[inline]
    fn next_templates(&mut self) -> usize {
        self.turned = if self.turned + 1 < self.turn.len() { self.turned + 1 } else { 0 };
        self.turn[self.turned].into()
    }

    #[inline]
    fn send_request(&mut self, mut frame: Frame, number: u32, stamp: &Stamp) -> Result<()> {
        let at = self.next_templates();
        let ends = Ends { src: self.people.client(number), dst: self.people.vip(number) };
        let fits = self.templates[at].from_client.write(&mut frame, &ends, stamp, 0);
        ensure!(fits, "a frame does not fit");
        self.counts.requests.sent += 1;
        self.lines.queue(UPLINK, frame);
        Ok(())
    }

    #[inline]
    fn send_reply(&mut self, mut frame: Frame, number: u32, stamp: &Stamp) -> Result<()> {
        let at = self.next_templates();
        let chosen = self.chosen[stamp.place as usize];
        let chosen = chosen.with_context(|| format!("flow {number} has not begun"))?;
        let (pod, node, snat) = self.people.pod(&chosen);
        let ends = Ends { src: pod, dst: snat };
        let fits = self.templates[at].from_pod.write(&mut frame, &ends, stamp, node);
        ensure!(fits, "a frame does not fit");
        self.counts.replies.sent += 1;
        self.lines.queue(CLUSTER, frame);
        Ok(())
    }

    /// Frees every frame that it can get at.
    pub fn close(&mut self) {
        self.lines.close();
    }
}
