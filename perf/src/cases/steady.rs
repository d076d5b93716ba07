use super::{Case, Check, PACKETS, drive};
use crate::frames::Builder;
use crate::gateway::{Gateway, GatewayOptions};
use crate::site::{CLUSTER, UPLINK};
use crate::traffic::{Flow, Random, begin, owned};
use crate::tsc::ticks;
use anyhow::{Context, Result, ensure};
use sluice_io::BURST;
use std::time::Duration;

/// Simulated time between two turns.
const STEP: Duration = Duration::from_micros(10);

/// Which way the packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Half of them each way.
    Both,
    /// From the cluster: VXLAN off, rewritten, out by the uplink.
    FromCluster,
    /// From the uplink: rewritten, VXLAN on, out to a node.
    FromUplink,
}

impl Mix {
    /// Packets of a round that arrive on (the cluster's port, the uplink).
    fn split(self) -> (usize, usize) {
        match self {
            Mix::Both => (PACKETS / 2, PACKETS / 2),
            Mix::FromCluster => (PACKETS, 0),
            Mix::FromUplink => (0, PACKETS),
        }
    }
}

/// Which of two workers gets the packets; worker 1 owns their flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// There is one worker, and it owns them all.
    Alone,
    /// The owner gets them.
    Direct,
    /// The other one gets them, and hands every one over.
    Handed,
}

impl Feed {
    fn fed(self) -> usize {
        usize::from(self == Feed::Direct)
    }

    fn owner(self) -> usize {
        usize::from(self != Feed::Alone)
    }

    /// Workers in the order of their turns. A worker takes two bursts a turn
    /// from its ports and one from its rings, so the owner of handed packets
    /// has two turns to the other's one.
    fn turns(self) -> &'static [usize] {
        match self {
            Feed::Alone => &[0],
            Feed::Direct => &[1, 0, 0],
            Feed::Handed => &[0, 1, 1],
        }
    }
}

/// Tables that change while packets flow: one endpoint comes or goes, in one
/// Service after the other.
struct Changes {
    every: u64,
    since: u64,
    count: u32,
}

/// Established flows: every packet finds its entry.
pub struct Steady {
    gateway: Gateway,
    flows: Vec<Flow>,
    mix: Mix,
    feed: Feed,
    /// Where the next request and the next reply are taken from `flows`, which
    /// is shuffled.
    next: [usize; 2],
    /// What was put on the wires of a round, by port.
    loaded: [Vec<usize>; 2],
    changes: Option<Changes>,
    builder: Builder,
}

impl Steady {
    /// A gateway with `flows` established flows.
    ///
    /// # Errors
    /// When memory is short, or a packet is not treated right.
    pub fn new(options: &GatewayOptions, flows: usize, mix: Mix, feed: Feed) -> Result<Self> {
        let mut gateway = Gateway::start(options)?;
        let numbers = owned(&gateway, feed.owner(), flows);
        let mut flows = begin(&mut gateway, feed.owner(), &numbers)?;
        gateway.police()?;
        Random::new(flows.len() as u64).shuffle(&mut flows);
        let next = [0, flows.len() / 2];
        let mut steady = Steady {
            gateway,
            flows,
            mix,
            feed,
            next,
            loaded: Default::default(),
            changes: None,
            builder: Builder::default(),
        };
        if options.cluster.policies > 0 {
            // Every flow is judged again by what has come into force.
            for _ in 0..steady.flows.len().div_ceil(PACKETS / 2) {
                steady.round(Check::Sample)?;
            }
        }
        Ok(steady)
    }

    /// Changes the tables every so many ticks of working time.
    #[must_use]
    pub fn with_changes(mut self, every: u64) -> Self {
        self.changes = Some(Changes { every, since: 0, count: 0 });
        self
    }

    /// The gateway.
    pub fn gateway(&mut self) -> &mut Gateway {
        &mut self.gateway
    }

    /// Puts the packets of a round on the wires. Returns the bursts that the
    /// busier port has.
    ///
    /// # Errors
    /// When frames run out.
    pub fn load(&mut self) -> Result<usize> {
        let cluster = self.gateway.cluster;
        let (replies, requests) = self.mix.split();
        self.loaded.iter_mut().for_each(Vec::clear);
        for (port, count) in [(CLUSTER, replies), (UPLINK, requests)] {
            for _ in 0..count {
                let at = self.next[port];
                self.next[port] = (at + 1) % self.flows.len();
                let flow = self.flows[at];
                let bytes = match port {
                    CLUSTER => flow.reply(&cluster, &mut self.builder),
                    _ => flow.request(&cluster, &mut self.builder),
                };
                self.gateway.load(self.feed.fed(), port, bytes)?;
                self.loaded[port].push(at);
            }
        }
        Ok(replies.max(requests).div_ceil(BURST))
    }

    /// Takes back what was sent and looks at it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn unload(&mut self, check: Check) -> Result<()> {
        let cluster = self.gateway.cluster;
        let owner = self.feed.owner();
        for (arrived, leaves) in [(CLUSTER, UPLINK), (UPLINK, CLUSTER)] {
            let (loaded, flows) = (&self.loaded[arrived], &self.flows);
            let mut number = 0;
            let sent = self.gateway.collect(owner, leaves, |frame| {
                let at = *loaded.get(number).context("more packets than were sent")?;
                number += 1;
                match (check.wants(number - 1), leaves) {
                    (false, _) => Ok(()),
                    (true, UPLINK) => flows[at].check_reply(&cluster, frame),
                    (true, _) => flows[at].check_request(&cluster, frame),
                }
            })?;
            let drops = self.gateway.drops();
            ensure!(sent == loaded.len(), "{sent} of {} packets came out: {drops:?}", loaded.len());
        }
        self.gateway.check_counters()
    }

    fn change(&mut self, took: u64) -> Result<()> {
        let Some(changes) = &mut self.changes else { return Ok(()) };
        changes.since += took;
        if changes.since < changes.every {
            return Ok(());
        }
        changes.since = 0;
        changes.count += 1;
        let cluster = self.gateway.cluster;
        // Two changes a Service: its endpoint goes, and comes back. Services
        // whose flows share an epoch are far apart in this order.
        let service = (changes.count / 2) % cluster.services;
        cluster.change(&mut self.gateway.tables, service, changes.count % 2 == 1)?;
        self.gateway.publish()
    }
}

impl Case for Steady {
    fn round(&mut self, check: Check) -> Result<u64> {
        let bursts = self.load()?;
        let turns = self.feed.turns();
        let Gateway { seats, now, .. } = &mut self.gateway;
        let begin = ticks();
        drive(seats, turns, bursts, now, STEP);
        let took = ticks() - begin;
        self.unload(check)?;
        self.change(took)?;
        Ok(took)
    }
}
