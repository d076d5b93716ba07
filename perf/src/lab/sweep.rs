use super::memory::{self, Worked};
use super::outcome::Outcome;
use super::profile::{Close, Direction, Pace, Profile, Size, Traffic, Version};
use super::report::{Method, RateChart, RatePoint, RateSeries, Report, WaitChart, WaitPoint};
use super::search::{Maximum, Trial, maximum};
use crate::tsc::Rate;
use anyhow::{Context, Result};
use clap::ValueEnum;
use std::time::Duration;

/// Nodes, which have room for the pods of 100,000 Services.
const NODES: u32 = 256;
const FLOWS: [u32; 4] = [1, 1 << 10, 1 << 16, 1 << 20];
const SERVICES: [u32; 4] = [1, 1_000, 10_000, 100_000];
/// Flows to those: each has some.
const SERVICES_FLOWS: u32 = 1 << 18;
const SIZES: [u16; 7] = [64, 128, 256, 512, 1024, 1280, 1518];
const DEVICE_SIZES: [u16; 4] = [64, 256, 594, 1518];
const LOADS: [f64; 7] = [10.0, 25.0, 50.0, 75.0, 85.0, 90.0, 95.0];

/// What is swept over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sweep {
    /// The highest rate against the number of flows.
    Flows,
    /// The highest rate against the number of Services.
    Services,
    /// The highest rate against the length of frames.
    Sizes,
    /// New UDP flows and TCP connections.
    Setups,
    /// How long frames take against the load.
    Latency,
}

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Cores of worker and generator; anywhere, if `None`.
    pub cpus: Option<[usize; 2]>,
    /// How long each trial is.
    pub trial: Duration,
    /// The share that may be lost at the highest rate.
    pub loss_max: f64,
}

/// Something that frames can be offered to.
pub trait Bench {
    /// Offers a profile at rates that `f` chooses.
    ///
    /// # Errors
    /// What is wrong with a frame, and what `f` returns.
    fn with<T>(
        &mut self,
        profile: &Profile,
        f: &mut dyn FnMut(&mut Run<'_>) -> Result<T>,
    ) -> Result<T>;
}

/// Runs a trial: a rate, how long, whether times are noted.
pub type Run<'a> = dyn FnMut(Option<f64>, Duration, bool) -> Result<Trial<Option<Worked>>> + 'a;

/// The shipped worker in memory.
pub struct InMemory {
    /// Cores of worker and generator.
    pub cpus: Option<[usize; 2]>,
    /// The clock's.
    pub rate: Rate,
}

impl Bench for InMemory {
    fn with<T>(
        &mut self,
        profile: &Profile,
        f: &mut dyn FnMut(&mut Run<'_>) -> Result<T>,
    ) -> Result<T> {
        memory::with_worker(
            profile,
            self.cpus,
            self.rate,
            |port| Box::new(port),
            |session| {
                f(&mut |rate, time, timed| {
                    let Trial { outcome, more } = session.run(rate, time, timed)?;
                    Ok(Trial { outcome, more: Some(more) })
                })
            },
        )
    }
}

/// Sweeps in memory; `say` hears of each point as it is done.
///
/// # Errors
/// What is wrong with a frame.
pub fn in_memory(
    options: &Options,
    sweeps: &[Sweep],
    rate: Rate,
    say: &mut dyn FnMut(&str),
) -> Result<Report> {
    let mut bench = InMemory { cpus: options.cpus, rate };
    let method = Method::new(rate, "memory", options.trial, options.loss_max);
    let mut sweeper = Sweeper { bench: &mut bench, options, method, say };
    let mut report = Report::default();
    for sweep in sweeps {
        match sweep {
            Sweep::Flows => report.rates.push(sweeper.flows()?),
            Sweep::Services => report.rates.push(sweeper.services()?),
            Sweep::Sizes => report.rates.push(sweeper.sizes("sizes", &base(), &SIZES)?),
            Sweep::Setups => report.rates.push(sweeper.setups()?),
            Sweep::Latency => report.waits.push(sweeper.latency("latency", &base(), &LOADS)?),
        }
    }
    Ok(report)
}

/// Sweeps on devices, over what needs no other cluster than a profile has: lengths of frames
/// and loads.
///
/// # Errors
/// What is wrong with a frame.
pub fn on_devices<B: Bench>(
    bench: &mut B,
    options: &Options,
    base: &Profile,
    ports: &str,
    rate: Rate,
    say: &mut dyn FnMut(&str),
) -> Result<Report> {
    let method = Method::new(rate, ports, options.trial, options.loss_max);
    let mut sweeper = Sweeper { bench, options, method, say };
    let sizes = sweeper.sizes("devices-sizes", base, &DEVICE_SIZES)?;
    let latency = sweeper.latency("devices-latency", base, &LOADS)?;
    Ok(Report { rates: vec![sizes], waits: vec![latency] })
}

/// What profiles of sweeps have in common.
fn base() -> Profile {
    Profile { nodes: NODES, flows: 1 << 16, ..Profile::default() }
}

/// Sweeps over a bench.
pub struct Sweeper<'a, B> {
    /// What is measured.
    pub bench: &'a mut B,
    /// How.
    pub options: &'a Options,
    /// The same, for reports.
    pub method: Method,
    /// Hears of each point as it is done.
    pub say: &'a mut dyn FnMut(&str),
}

impl<B: Bench> Sweeper<'_, B> {
    fn chart(&self, name: &str, title: &str, x: Option<&str>, x_log: bool) -> RateChart {
        RateChart {
            name: name.to_owned(),
            title: title.to_owned(),
            x: x.map(str::to_owned),
            x_log,
            method: self.method.clone(),
            series: Vec::new(),
        }
    }

    fn flows(&mut self) -> Result<RateChart> {
        let title = "Highest rate against flows, frames of the shortest length";
        let mut chart = self.chart("flows", title, Some("flows"), true);
        for family in [Version::V4, Version::V6] {
            for direction in [Direction::Requests, Direction::Replies] {
                let cases = FLOWS.map(|flows| {
                    let profile = Profile { family, direction, flows, ..shortest(family) };
                    (f64::from(flows), grouped(flows), profile)
                });
                chart.series.push(self.series(&name(family, direction), &cases)?);
            }
        }
        Ok(chart)
    }

    fn services(&mut self) -> Result<RateChart> {
        let title = "Highest rate against Services of 10 endpoints, 262,144 flows";
        let mut chart = self.chart("services", title, Some("Services"), true);
        for family in [Version::V4, Version::V6] {
            let cases = SERVICES.map(|services| {
                let profile = Profile { services, flows: SERVICES_FLOWS, ..shortest(family) };
                (f64::from(services), grouped(services), profile)
            });
            chart.series.push(self.series(&name(family, Direction::Requests), &cases)?);
        }
        Ok(chart)
    }

    /// Lengths of frames, and IMIX, of a profile.
    ///
    /// # Errors
    /// What is wrong with a frame.
    pub fn sizes(&mut self, file: &str, base: &Profile, sizes: &[u16]) -> Result<RateChart> {
        let title = format!("Highest rate against length of frames, {} flows", grouped(base.flows));
        let mut chart = self.chart(file, &title, Some("bytes of a frame"), false);
        for direction in [Direction::Requests, Direction::Replies] {
            let of = |size| Profile { direction, size, ..base.clone() };
            let cases: Vec<_> = sizes
                .iter()
                .map(|&size| (f64::from(size), size.to_string(), of(Size::Fixed(size))))
                .collect();
            let name = name(base.family, direction);
            chart.series.push(self.series(&name, &cases)?);
            let mix = (Size::Imix.mean(base.ip()), "IMIX".to_owned(), of(Size::Imix));
            chart.series.push(self.series(&format!("{name}, IMIX"), &[mix])?);
        }
        Ok(chart)
    }

    fn setups(&mut self) -> Result<RateChart> {
        let title = "Flows and connections that begin, a second";
        let mut chart = self.chart("setups", title, None, false);
        for family in [Version::V4, Version::V6] {
            let base = Profile { family, flows: 1, ..shortest(family) };
            let openings = |direction| Profile {
                traffic: Traffic::Openings,
                seconds: 1.0,
                direction,
                ..base.clone()
            };
            let handshakes =
                |close| Profile { traffic: Traffic::Handshakes, close, ..base.clone() };
            let cases = [
                ("UDP, first packet", openings(Direction::Requests)),
                ("UDP, first packet and its answer", openings(Direction::Both)),
                ("TCP, opened and closed by FIN", handshakes(Close::Fin)),
                ("TCP, opened and reset", handshakes(Close::Rst)),
            ];
            let cases = cases.map(|(label, profile)| (0.0, label.to_owned(), profile));
            chart.series.push(self.series(Profile { family, ..base }.ip().label(), &cases)?);
        }
        Ok(chart)
    }

    fn series(&mut self, name: &str, cases: &[(f64, String, Profile)]) -> Result<RateSeries> {
        let mut points = Vec::new();
        for (x, label, profile) in cases {
            let found = self.find(profile, false);
            let found = found.with_context(|| format!("{name}, {label}"))?;
            let point = point(*x, label, &found);
            let said = format!(
                "{:<9} {name:<22} {label:>8}  {}/s, {}",
                self.method.ports,
                super::outcome::millions(point.per_second),
                point.limit.label()
            );
            (self.say)(&said);
            points.push(point);
        }
        Ok(RateSeries { name: name.to_owned(), points })
    }

    fn find(&mut self, profile: &Profile, timed: bool) -> Result<Maximum<Option<Worked>>> {
        let Options { trial, loss_max, .. } = *self.options;
        self.bench.with(profile, &mut |run| {
            // The first one warms caches up.
            run(None, trial / 2, timed)?;
            let found = maximum(loss_max, |rate| run(rate, trial, timed))?;
            found.with_context(|| {
                format!("each rate loses more than {}% of its frames", 100.0 * loss_max)
            })
        })
    }

    /// How long round trips of a profile take at shares of the highest rate.
    ///
    /// # Errors
    /// What is wrong with a frame.
    pub fn latency(&mut self, name: &str, base: &Profile, loads: &[f64]) -> Result<WaitChart> {
        let profile = Profile { direction: Direction::Both, ..base.clone() };
        let Options { trial, loss_max, .. } = *self.options;
        let time = 4 * trial;
        let say = &mut *self.say;
        let (per_second, points) = self.bench.with(&profile, &mut |run| {
            run(None, trial / 2, true)?;
            let found = maximum(loss_max, |rate| run(rate, trial, true))?;
            let found = found.context("there is no rate without loss")?;
            let most = found.trial.outcome.achieved;
            let mut points = Vec::new();
            for &load_percent in loads {
                let asked = most * load_percent / 100.0;
                let outcome = run(Some(asked), time, true)?.outcome;
                let (spread, late) = (outcome.round_trip, outcome.late);
                let spread = spread.context("nothing came back")?;
                say(&format!("{name} at {load_percent}%: {}", spread.text()));
                points.push(WaitPoint {
                    load_percent,
                    asked,
                    offered: outcome.offered,
                    sent: outcome.requests.sent + outcome.replies.sent,
                    lost: outcome.lost(),
                    spread,
                    late: late.context("nothing was sent")?,
                });
            }
            Ok((most, points))
        })?;
        Ok(WaitChart {
            name: name.to_owned(),
            title: format!(
                "Round trips against load, {} flows, {} bytes; 100% is {} a second",
                grouped(base.flows),
                base.size,
                super::outcome::millions(per_second)
            ),
            method: Method { trial_seconds: time.as_secs_f64(), ..self.method.clone() },
            per_second,
            points,
        })
    }
}

fn shortest(family: Version) -> Profile {
    let size = Size::Fixed(super::profile::size_min(family.into()) as u16);
    Profile { family, size, rate: Pace::Max, ..base() }
}

fn name(family: Version, direction: Direction) -> String {
    let family = crate::site::Family::from(family).label();
    let direction = match direction {
        Direction::Requests => "to pods",
        Direction::Replies => "from pods",
        Direction::Both => "both ways",
    };
    format!("{family}, {direction}")
}

fn point(x: f64, label: &str, found: &Maximum<Option<Worked>>) -> RatePoint {
    let outcome: &Outcome = &found.trial.outcome;
    let worked = found.trial.more.as_ref();
    RatePoint {
        x,
        label: label.to_owned(),
        per_second: outcome.achieved,
        bits: outcome.achieved_bits,
        sent: outcome.requests.sent + outcome.replies.sent,
        lost: outcome.lost(),
        limit: found.limit,
        busy: worked.map(|worked| worked.busy),
        ns_per_frame: worked.map(|worked| worked.ns_per_frame),
        tries: found.tries,
    }
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
