use super::generator::Generator;
use super::handshakes::Handshakes;
use super::lines::Lines;
use super::outcome::Outcome;
use super::profile::{Bounds, Profile, Traffic};
use super::search::Trial;
use crate::cpu;
use crate::flood::ring::RingPort;
use crate::flood::subject::Subject;
use crate::site::{CLUSTER, UPLINK};
use crate::tsc::Rate;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sluice_fastpath::{DropReason, WorkerCounters};
use sluice_io::Port;
use sluice_tables::Tables;
use std::sync::Arc;
use std::time::Duration;

/// MTU of the underlay: frames of 1,518 bytes fit the tunnel over either family.
const UNDERLAY_MTU: u16 = 1600;
const LINK_MTU: u16 = 1500;
/// Flows that a worker may own at least.
const FLOWS_MIN: usize = 1 << 20;
/// The same where flows begin at a high rate: none of them expires in so short a time.
const FLOWS_NEW: usize = 1 << 22;
/// Flows that it may own at most.
const FLOWS_MAX: usize = 1 << 25;

/// Who plays clients and pods.
pub enum Player {
    /// UDP.
    Udp(Box<Generator>),
    /// TCP.
    Tcp(Box<Handshakes>),
}

impl Player {
    /// Of a profile, at two lines.
    ///
    /// # Errors
    /// When the profile's frames cannot be made.
    pub fn new(profile: &Profile, lines: Lines, rate: Rate) -> Result<Self> {
        Ok(match profile.traffic {
            Traffic::Udp | Traffic::Openings => {
                Player::Udp(Box::new(Generator::new(profile, lines, rate)?))
            }
            Traffic::Handshakes => Player::Tcp(Box::new(Handshakes::new(profile, lines, rate)?)),
        })
    }

    /// Has every flow begin that goes on.
    ///
    /// # Errors
    /// When one does not, or a frame is wrong.
    pub fn open(&mut self) -> Result<()> {
        match self {
            Player::Udp(generator) => generator.open(),
            Player::Tcp(_) => Ok(()),
        }
    }

    /// Offers so much for so long; see [`Generator::run`], [`Handshakes::run`].
    ///
    /// # Errors
    /// What is wrong with a frame.
    pub fn run(&mut self, rate: Option<f64>, time: Duration, timed: bool) -> Result<Outcome> {
        match self {
            Player::Udp(generator) => generator.run(rate, time, timed),
            Player::Tcp(handshakes) => handshakes.run(rate, time),
        }
    }

    /// What the ports are.
    pub fn modes(&self) -> [String; 2] {
        match self {
            Player::Udp(generator) => generator.modes(),
            Player::Tcp(handshakes) => handshakes.modes(),
        }
    }

    /// Frees every frame that it can get at.
    pub fn close(&mut self) {
        match self {
            Player::Udp(generator) => generator.close(),
            Player::Tcp(handshakes) => handshakes.close(),
        }
    }
}

/// What a run was to the worker.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Worked {
    /// The share of its time in which it had something to do.
    pub busy: f64,
    /// Nanoseconds of that for each frame that it has received.
    pub ns_per_frame: f64,
    /// What it has dropped, by reason.
    pub drops: Vec<(String, u64)>,
}

/// A worker in memory, and the generator at its ports.
pub struct Session<'a> {
    player: Player,
    counters: &'a WorkerCounters,
}

impl Session<'_> {
    /// Offers so much for so long.
    ///
    /// # Errors
    /// What is wrong with a frame.
    pub fn run(&mut self, rate: Option<f64>, time: Duration, timed: bool) -> Result<Trial<Worked>> {
        let received = |counters: &WorkerCounters| -> u64 {
            counters.ports.iter().map(|port| port.rx_packets.get()).sum()
        };
        let counters = self.counters;
        let drops = || DropReason::ALL.iter().map(|&reason| counters.dropped(reason));
        let (busy, frames) = (counters.busy_ns.get(), received(counters));
        let before: Vec<u64> = drops().collect();
        let outcome = self.player.run(rate, time, timed)?;
        let busy = (counters.busy_ns.get() - busy) as f64;
        let frames = received(counters) - frames;
        let drops = drops().zip(before).zip(DropReason::ALL);
        let dropped =
            drops.map(|((now, before), reason)| (reason.label().to_owned(), now - before));
        let more = Worked {
            busy: busy / 1e9 / outcome.seconds,
            ns_per_frame: busy / frames.max(1) as f64,
            drops: dropped.filter(|(_, count)| *count > 0).collect(),
        };
        Ok(Trial { outcome, more })
    }
}

/// Flows that the worker of a profile may own.
fn flows_max(profile: &Profile) -> usize {
    let least = if profile.traffic == Traffic::Openings { FLOWS_NEW } else { FLOWS_MIN };
    (2 * profile.flows as usize).next_power_of_two().max(least)
}

/// What bounds profiles in memory.
pub fn bounds() -> Bounds {
    Bounds {
        frame_len_max: sluice_io::CHUNK_LEN - sluice_io::HEADROOM,
        mtus: [UNDERLAY_MTU.into(), LINK_MTU.into()],
        line_bits: None,
        flows_max: FLOWS_MAX,
    }
}

/// The tables of a profile's cluster; room for long frames is for UDP, whose tables say
/// nothing of segments.
fn tables(profile: &Profile) -> Result<Tables> {
    let mut tables = profile.cluster().tables(1)?;
    let local = Arc::make_mut(&mut tables.local);
    local.ports[CLUSTER].mtu = UNDERLAY_MTU;
    let vxlan = local.vxlan.as_mut().context("no overlay")?;
    vxlan.mtu = LINK_MTU;
    Ok(tables)
}

/// Starts the shipped worker (on the first of two cores, the generator on the second) and
/// has every flow begin; `wrap` may put the generator's ports, by [`CLUSTER`] and [`UPLINK`],
/// into others.
///
/// # Errors
/// What cannot be, what is wrong with a frame, and what `f` returns.
pub fn with_worker<T>(
    profile: &Profile,
    cpus: Option<[usize; 2]>,
    rate: Rate,
    mut wrap: impl FnMut(RingPort) -> Box<dyn Port>,
    f: impl FnOnce(&mut Session<'_>) -> Result<T>,
) -> Result<T> {
    profile.check(&bounds())?;
    if let Some([_, generator]) = cpus {
        cpu::pin(generator)?;
    }
    let (cluster, tables) = (profile.cluster(), tables(profile)?);
    let flows_max = flows_max(profile);
    let (subject, [overlay, uplink], cache) =
        Subject::with_ports(cluster, tables, flows_max, true, |port| Box::new(port))?;
    let ports = [wrap(overlay.into_port(CLUSTER)), wrap(uplink.into_port(UPLINK))];
    let player = Player::new(profile, Lines::new(ports, cache), rate)?;
    subject.with_worker(cpus.map(|[worker, _]| worker), move |counters| {
        // The player goes inside, and its frames with it: they are counted then.
        let mut session = Session { player, counters };
        let outcome = session.player.open().and_then(|()| f(&mut session));
        session.player.close();
        outcome
    })
}
