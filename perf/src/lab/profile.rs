/// What the fields of a profile can be.
mod values;

pub use values::{
    Close, Count, Direction, FCS_LEN, Pace, Size, Traffic, Verify, Version, size_min,
};

use super::packet::{STAMP_LEN, tunnel_len};
use super::people::{CLIENTS_MAX, flows_max, pods_max};
use crate::cluster::{self, Cluster};
use crate::limits::{check_rate, check_seconds};
use crate::site::Family;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use values::text;

/// Bytes of a frame's preamble and gap on a wire.
const GAP_LEN: usize = 20;
/// What is taken for as many as go, where it must be known how many that are.
const RATE_UNKNOWN: f64 = 1e7;
/// Flows of which the generator remembers what has come, at most: some 50 bytes each.
const FLOWS_MAX: u32 = 1 << 24;

/// What is offered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// The family of everything.
    pub family: Version,
    /// What traffic is made of.
    pub traffic: Traffic,
    /// Who sends.
    pub direction: Direction,
    /// Flows, in an order that is none in the gateway's tables.
    pub flows: u32,
    /// Addresses of clients.
    pub clients: u32,
    /// Services.
    pub services: u32,
    /// Endpoints of each.
    pub backends: u32,
    /// Nodes.
    pub nodes: u32,
    /// Lengths of frames.
    #[serde(deserialize_with = "text")]
    pub size: Size,
    /// How much.
    #[serde(deserialize_with = "text")]
    pub rate: Pace,
    /// New UDP flows a second, besides, of one packet (and its answer) each.
    #[serde(deserialize_with = "text")]
    pub new_flows: Count,
    /// How connections end.
    pub close: Close,
    /// How much is looked at whole.
    pub verify: Verify,
    /// Seconds to run.
    pub seconds: f64,
}

impl Default for Profile {
    fn default() -> Self {
        Profile {
            family: Version::V4,
            traffic: Traffic::Udp,
            direction: Direction::Requests,
            flows: 1024,
            clients: CLIENTS_MAX,
            services: 1,
            backends: 10,
            nodes: 1,
            size: Size::Fixed(64),
            rate: Pace::Max,
            new_flows: Count(0.0),
            close: Close::Fin,
            verify: Verify::Sampled,
            seconds: 5.0,
        }
    }
}

/// What bounds a profile from outside.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of the longest frame of the ports.
    pub frame_len_max: usize,
    /// MTUs by port.
    pub mtus: [usize; 2],
    /// Bits a second of the clients' line, if that is known.
    pub line_bits: Option<f64>,
    /// Flows that the gateway may have.
    pub flows_max: usize,
}

impl Profile {
    /// The profile of a file.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(text: &str) -> Result<Self> {
        serde_saphyr::from_str(text).context("the profile")
    }

    /// The family.
    pub fn ip(&self) -> Family {
        self.family.into()
    }

    /// The cluster that it needs.
    pub fn cluster(&self) -> Cluster {
        let protocol = match self.traffic {
            Traffic::Udp | Traffic::Openings => cluster::UDP,
            Traffic::Handshakes => cluster::TCP,
        };
        let Profile { services, backends, nodes, .. } = *self;
        Cluster { backends, nodes, protocol, ..Cluster::new(self.ip(), services) }
    }

    /// Frames (or connections) a second; `None` for as many as go.
    pub fn packets(&self) -> Option<f64> {
        match self.rate {
            Pace::Max => None,
            Pace::Packets(rate) => Some(rate),
            Pace::Bits(rate) => Some(rate / 8.0 / self.size.mean(self.ip())),
        }
    }

    /// Refuses what cannot be.
    ///
    /// # Errors
    /// What cannot, and what could.
    pub fn check(&self, bounds: &Bounds) -> Result<()> {
        self.check_cluster()?;
        self.check_flows(bounds)?;
        let seconds = self.seconds;
        check_seconds(seconds).map_err(|expected| anyhow!("seconds: {seconds}; {expected}"))?;
        match self.traffic {
            Traffic::Udp => {}
            Traffic::Openings => ensure!(
                self.new_flows.0 == 0.0 && self.direction != Direction::Replies,
                "openings: the rate counts new flows, which clients begin"
            ),
            Traffic::Handshakes => ensure!(
                self.new_flows.0 == 0.0 && self.direction == Direction::Requests,
                "handshakes: direction and new_flows are for UDP; each connection goes both ways"
            ),
        }
        ensure!(
            self.traffic == Traffic::Udp || !matches!(self.rate, Pace::Bits(_)),
            "rate: of {:?}, not of bits",
            self.traffic
        );
        if self.traffic != Traffic::Handshakes {
            self.check_sizes(bounds)?;
        }
        self.check_rate(bounds)
    }

    fn check_cluster(&self) -> Result<()> {
        let Profile { services, backends, nodes, .. } = *self;
        ensure!(services > 0 && backends > 0 && nodes > 0, "no Services, endpoints or nodes");
        ensure!(nodes <= 2048, "nodes: {nodes} of 2,048");
        ensure!(services <= 1 << 18, "services: {services} of {}", 1 << 18);
        let endpoints = u64::from(services) * u64::from(backends);
        let room = u64::from(pods_max(self.ip())) * u64::from(nodes);
        ensure!(
            endpoints <= room && endpoints <= 1 << 24,
            "{services} Services of {backends} endpoints: {nodes} nodes have room for {room} pods"
        );
        Ok(())
    }

    fn check_flows(&self, bounds: &Bounds) -> Result<()> {
        let Profile { flows, clients, .. } = *self;
        ensure!((1..=CLIENTS_MAX).contains(&clients), "clients: {clients} of 1 to {CLIENTS_MAX}");
        ensure!(flows > 0, "flows: 0, and something must be sent");
        let there_are = flows_max(clients);
        let openings = match self.traffic {
            Traffic::Openings => self.packets().unwrap_or(RATE_UNKNOWN),
            Traffic::Udp | Traffic::Handshakes => self.new_flows.0,
        };
        let new = openings * self.seconds;
        ensure!(
            f64::from(flows) + new <= there_are as f64,
            "flows: {flows} and {new:.0} new ones are more than the {there_are} that {clients} \
             client addresses have ports for"
        );
        ensure!(flows <= FLOWS_MAX, "flows: {flows}; the generator remembers {FLOWS_MAX}");
        ensure!(
            flows as usize <= bounds.flows_max,
            "flows: {flows} of {} that the gateway may have",
            bounds.flows_max
        );
        Ok(())
    }

    fn check_sizes(&self, bounds: &Bounds) -> Result<()> {
        let family = self.ip();
        let min = size_min(family);
        for size in self.size.turn(family) {
            ensure!(
                size >= min,
                "size: {size} bytes; headers, {STAMP_LEN} bytes of stamp and the check sequence \
                 have {min}"
            );
            let [plain, tunneled] = [size - FCS_LEN, size - FCS_LEN + tunnel_len(family)];
            let [cluster, uplink] = bounds.mtus.map(|mtu| mtu + 14);
            ensure!(
                plain <= uplink && tunneled <= cluster,
                "size: {size} bytes; an MTU of {} on the clients' side has {}, one of {} on the \
                 nodes' side {}, the tunnel's {} taken off",
                bounds.mtus[1],
                uplink + FCS_LEN,
                bounds.mtus[0],
                (cluster + FCS_LEN).saturating_sub(tunnel_len(family)),
                tunnel_len(family)
            );
            let max = bounds.frame_len_max;
            ensure!(
                tunneled <= max,
                "size: {size} bytes; a chunk has {max}, of which the tunnel takes {}",
                tunnel_len(family)
            );
        }
        Ok(())
    }

    fn check_rate(&self, bounds: &Bounds) -> Result<()> {
        let Some(rate) = self.packets() else { return Ok(()) };
        let all = rate + self.new_flows.0;
        check_rate(all).map_err(|expected| anyhow!("rate: {all:.0} a second; {expected}"))?;
        ensure!(rate * self.seconds >= 1.0, "rate: not one in {} seconds", self.seconds);
        let Some(line) = bounds.line_bits else { return Ok(()) };
        let bits = all * 8.0 * (self.size.mean(self.ip()) + GAP_LEN as f64);
        if bits > line {
            bail!("rate: {all:.0} frames a second are {bits:.0} bits of a line of {line:.0}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
