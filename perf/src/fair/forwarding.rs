use super::latency::Latencies;
use super::wires::Wires;
use crate::check;
use crate::cluster::Cluster;
use crate::flood::load::Schedule;
use crate::frames::Builder;
use crate::site::{self, Family, ROUTER_MAC, SERVICE_PORT, TARGET_PORT, UPLINK, Who, snat_number};
use crate::traffic::{Flow, Random};
use crate::tsc::{Rate, ticks};
use anyhow::{Context, Result, ensure};
use sluice_io::Frame;
use std::ops::Sub;

/// Flows of clients to the Service.
pub const FLOWS: usize = 4096;
/// Bytes of payload: the flow's number, the time of its arrival, filling.
const PAYLOAD_LEN: usize = 18;
/// Frames that are sent before the time is looked at again.
const AT_ONCE: usize = 32;
/// One frame in so many is taken apart by other code.
const SAMPLE: u64 = 1024;
/// Frames of a round that measures how fast they are taken.
const ROUND: usize = 4096;

/// Frames of forwarded flows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Due, and offered.
    pub offered: u64,
    /// Of those, found the receive ring full.
    pub ring_full: u64,
    /// Too late to be offered.
    pub missed: u64,
    /// Came to pods.
    pub came: u64,
}

impl Sub for Counts {
    type Output = Counts;

    fn sub(self, other: Counts) -> Counts {
        Counts {
            offered: self.offered - other.offered,
            ring_full: self.ring_full - other.ring_full,
            missed: self.missed - other.missed,
            came: self.came - other.came,
        }
    }
}

/// Clients' UDP through the gateway to pods: frames that carry the time at which they
/// came to the receive ring.
pub struct Forwarding {
    /// What it has counted.
    pub counts: Counts,
    /// From the receive ring to the transmit ring.
    pub latencies: Latencies,
    /// From the time at which frames are due until they are in the receive ring: the
    /// generator's own.
    pub late: Latencies,
    cluster: Cluster,
    rate: Rate,
    /// A frame of each flow without its time, one after the other.
    frames: Vec<u8>,
    frame_len: usize,
    /// What the UDP checksum of each is made of, the time left out.
    sums: Vec<u64>,
    /// In this order, again and again.
    order: Vec<u32>,
    random: Random,
    next: usize,
}

impl Forwarding {
    /// All flows of a cluster.
    pub fn new(cluster: Cluster, rate: Rate) -> Self {
        let family = cluster.family;
        let mut builder = Builder::default();
        let (mut frames, mut sums) = (Vec::new(), Vec::new());
        let mut frame_len = 0;
        for number in 0..FLOWS as u32 {
            let mut payload = [0x5a; PAYLOAD_LEN];
            payload[..4].copy_from_slice(&number.to_be_bytes());
            payload[4..12].fill(0);
            let src = Flow { number, ..Flow::default() }.client(family);
            let dst = (Who::Vip(0).addr(family), SERVICE_PORT);
            let frame = builder.plain_udp(family, UPLINK, ROUTER_MAC, src, dst, &payload);
            frame_len = frame.len();
            let checksum = u16::from_be_bytes([frame[udp(family) + 6], frame[udp(family) + 7]]);
            // What is summed without the time is the checksum's complement.
            sums.push(u64::from(!checksum));
            frames.extend_from_slice(frame);
        }
        let mut order: Vec<u32> = (0..FLOWS as u32).collect();
        let mut random = Random::new(1);
        random.shuffle(&mut order);
        Forwarding {
            counts: Counts::default(),
            latencies: Latencies::default(),
            late: Latencies::default(),
            cluster,
            rate,
            frames,
            frame_len,
            sums,
            order,
            random,
            next: 0,
        }
    }

    /// Sends what is due, a few frames at most; false when there is more. Segments of
    /// clients come in between, anywhere: a full ring makes no difference.
    ///
    /// # Errors
    /// When there is no frame left.
    #[inline]
    pub fn send(&mut self, wires: &mut Wires, schedule: &mut Schedule) -> Result<bool> {
        let now = ticks();
        schedule.catch_up(now);
        for place in 0..AT_ONCE {
            let due = schedule.next();
            if due > now as f64 {
                (0..wires.segments()).for_each(|_| wires.put_segment());
                return Ok(true);
            }
            while wires.segments() > self.random.below(AT_ONCE - place) {
                wires.put_segment();
            }
            schedule.advance();
            self.counts.offered += 1;
            if wires.is_uplink_full() {
                self.counts.ring_full += 1;
                continue;
            }
            self.late.record(self.rate.nanos(now - due as u64) as u64);
            let frame = self.write(wires, now)?;
            self.counts.ring_full += wires.put_uplink(frame);
        }
        Ok(false)
    }

    /// The next frame, which comes to the ring now.
    fn write(&mut self, wires: &mut Wires, now: u64) -> Result<Frame> {
        let number = self.order[self.next] as usize;
        self.next = (self.next + 1) % FLOWS;
        let mut frame = wires.cache.alloc().context("no frame left")?;
        let filled = frame.fill(&self.frames[number * self.frame_len..][..self.frame_len]);
        ensure!(filled, "a frame is too short");
        let (data, udp) = (frame.data_mut(), udp(self.cluster.family));
        data[udp + 8 + 4..][..8].copy_from_slice(&now.to_be_bytes());
        let mut sum = self.sums[number] + (now >> 32) + (now & 0xffff_ffff);
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        let checksum = match !(sum as u16) {
            0 => 0xffff,
            checksum => checksum,
        };
        data[udp + 6..][..2].copy_from_slice(&checksum.to_be_bytes());
        Ok(frame)
    }

    /// Looks at a frame into the overlay; false if it is none of these flows'.
    ///
    /// # Errors
    /// What is wrong with it.
    #[inline]
    pub fn take(&mut self, frame: &Frame, sent: u64) -> Result<bool> {
        let family = self.cluster.family;
        let inner = 14 + family.header_len() + 8 + 8;
        let protocol = match family {
            Family::V4 => 14 + 9,
            Family::V6 => 14 + 6,
        };
        let data = frame.data();
        if data.get(inner + protocol) != Some(&17) {
            return Ok(false);
        }
        ensure!(data.len() == inner + self.frame_len, "{} bytes to a pod", data.len());
        let payload = inner + udp(family) + 8;
        let arrived = data[payload + 4..].first_chunk().map_or(0, |t| u64::from_be_bytes(*t));
        self.latencies.record(self.rate.nanos(sent.saturating_sub(arrived)) as u64);
        self.counts.came += 1;
        if self.counts.came.is_multiple_of(SAMPLE) {
            self.check(data)?;
        }
        Ok(true)
    }

    /// Takes a frame apart: it is that of a flow, on its way to one of the pods.
    fn check(&self, frame: &[u8]) -> Result<()> {
        let family = self.cluster.family;
        let outer = check::parse(frame, true).context("outer")?;
        let inner = check::parse(outer.payload.get(8..).context("no VXLAN")?, false)?;
        let backend = self.cluster.backend_of(0, inner.dst.0);
        let node = backend.map(|backend| self.cluster.backend(backend).0);
        let node = node.with_context(|| format!("{} is no endpoint", inner.dst.0))?;
        ensure!(outer.dst.0 == Who::Node(node).addr(family), "another node's tunnel");
        ensure!(inner.dst.1 == TARGET_PORT, "target port {}", inner.dst.1);
        ensure!(snat_number(family, inner.src.0).is_some(), "source {}", inner.src.0);
        ensure!(inner.dst_mac == site::vtep_mac(node), "inner destination MAC");
        let number = check::id(&inner).context("no number")?;
        ensure!(number < FLOWS as u32 && inner.payload[12..] == [0x5a; 6], "another payload");
        Ok(())
    }

    /// Frames a second of a round: so many at once, from the first in the receive ring to
    /// the last in the transmit ring.
    ///
    /// # Errors
    /// When one is lost or wrong.
    pub fn round(&mut self, wires: &mut Wires) -> Result<f64> {
        let mut ready = Vec::with_capacity(ROUND);
        for _ in 0..ROUND {
            ready.push(self.write(wires, ticks())?);
        }
        let (begun, mut last) = (ticks(), 0);
        let (mut came, patience) = (0, self.rate.ticks(1e9));
        self.counts.offered += ROUND as u64;
        for frame in ready {
            // A segment of a client's may be left in it.
            while wires.is_uplink_full() {
                ensure!(ticks() - begun < patience, "the ring does not get empty");
            }
            ensure!(wires.put_uplink(frame) == 0, "a frame is lost");
        }
        while came < ROUND {
            ensure!(ticks() - begun < patience, "{came} of {ROUND} frames came");
            while let Some((frame, sent)) = wires.next_for_pods() {
                if self.take(&frame, sent)? {
                    (came, last) = (came + 1, sent);
                }
                wires.cache.free(frame);
            }
        }
        Ok(ROUND as f64 / self.rate.nanos(last - begun) * 1e9)
    }
}

/// Where the UDP header of a frame without a tunnel is.
fn udp(family: Family) -> usize {
    14 + family.header_len()
}
