use super::counts::Counts;
use super::load::{Flood, Honest, Load, Schedule};
use super::people::{Connection, Kind, Pods, vip};
use super::ring::RingPeer;
use super::shape::Segment;
use super::shapes::{AllShapes, DATA_LEN, Step};
use crate::cluster::Cluster;
use crate::tsc::{Rate, ticks};
use anyhow::{Context, Result, anyhow, bail, ensure};
use sluice_io::{BURST, Frame, FrameCache};
use std::time::Duration;

/// Frames taken from each ring, and sent, before the time is looked at again.
const TURN: usize = 2 * BURST;

/// An established flow as its ends see it.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    /// The pod, and who talks to it.
    ends: Option<[(u128, u16); 2]>,
    /// The client's side is open.
    is_open: bool,
    sent: u32,
    /// Data segments that came to the pod, and acknowledgments that came back:
    /// the last one's number.
    came: u32,
    acked: u32,
}

/// Plays clients, attackers and pods around a worker, and checks every byte of
/// what the worker sends.
pub struct Generator {
    /// What it has counted.
    pub counts: Counts,
    /// The honest clients.
    pub honest: Honest,
    cluster: Cluster,
    shapes: AllShapes,
    pods: Pods,
    vip: (u128, u16),
    pods_answer: bool,
    uplink: RingPeer,
    overlay: RingPeer,
    cache: FrameCache,
    flood_next: u32,
    flows: Vec<Flow>,
    flow_next: usize,
    rate: Rate,
}

impl Generator {
    /// A generator at the far ends of the ports (by [`crate::site::CLUSTER`] and
    /// [`crate::site::UPLINK`]). `pods_answer`: also SYNs of the flood.
    pub fn new(
        cluster: Cluster,
        [overlay, uplink]: [RingPeer; 2],
        cache: FrameCache,
        established: u32,
        pods_answer: bool,
        rate: Rate,
    ) -> Self {
        Generator {
            counts: Counts::default(),
            honest: Honest::new(rate.ghz()),
            cluster,
            shapes: AllShapes::new(&cluster),
            pods: Pods::new(&cluster),
            vip: vip(cluster.family),
            pods_answer,
            uplink,
            overlay,
            cache,
            flood_next: 0,
            flows: vec![Flow::default(); established as usize],
            flow_next: 0,
            rate,
        }
    }

    /// Established flows whose handshake has not come to its end.
    pub fn unopened(&self) -> usize {
        self.flows.iter().filter(|flow| !flow.is_open).count()
    }

    /// Begins all established flows that are not open.
    ///
    /// # Errors
    /// When there is no frame left.
    pub fn open_flows(&mut self) -> Result<()> {
        for number in 0..self.flows.len() as u32 {
            if !self.flows[number as usize].is_open {
                self.send_syn(Connection { kind: Kind::Established, number })?;
            }
        }
        Ok(())
    }

    /// Offers a load for so long, and answers what comes; honest clients begin in
    /// the first `honest_for` of it.
    ///
    /// # Errors
    /// What is wrong with a frame that the worker has sent.
    pub fn run(&mut self, load: &Load, time: Duration, honest_for: Duration) -> Result<()> {
        let (mut now, ghz) = (ticks(), self.rate.ghz());
        let after = |time: Duration| now + self.rate.ticks(time.as_nanos() as f64);
        let (until, honest_until) = (after(time), after(honest_for));
        let flood = if let Flood::Rate(rate) = load.flood { rate } else { 0.0 };
        let data = load.established * self.flows.len() as f64;
        let mut flood = Schedule::new(now, ghz, flood, false);
        let mut data = Schedule::new(now, ghz, data, true);
        let mut honest = Schedule::new(now, ghz, load.honest, true);
        while now < until {
            self.receive(now)?;
            if let Flood::Full = load.flood {
                for _ in 0..self.uplink.to_port.slots().min(TURN) {
                    self.send_flood()?;
                }
            }
            // All of them: whoever could be late would find the ring emptied.
            for schedule in [&mut flood, &mut data, &mut honest] {
                schedule.catch_up(now);
            }
            for _ in 0..TURN {
                let first = flood.next().min(data.next()).min(honest.next());
                if first.min(self.honest.next()) > now as f64 {
                    break;
                }
                // In the order in which they are due: none is favored.
                if self.honest.next() <= first {
                    if let Some(number) = self.honest.again(now) {
                        self.send_syn(Connection { kind: Kind::Honest, number })?;
                    }
                } else if flood.next() == first {
                    flood.advance();
                    self.send_flood()?;
                } else if data.next() == first {
                    data.advance();
                    self.send_data()?;
                } else {
                    honest.advance();
                    if now < honest_until {
                        let number = self.honest.begin(now);
                        self.send_syn(Connection { kind: Kind::Honest, number })?;
                    }
                }
            }
            now = ticks();
        }
        self.counts.missed += flood.missed;
        Ok(())
    }

    /// Offers as much flood as the ring takes, for so long; returns how much that
    /// was.
    ///
    /// # Errors
    /// As [`Generator::run`].
    pub fn flood_for(&mut self, time: Duration) -> Result<u64> {
        let before = self.counts.offered[Kind::Flood as usize];
        let load = Load { flood: Flood::Full, ..Load::default() };
        self.run(&load, time, Duration::ZERO)?;
        Ok(self.counts.offered[Kind::Flood as usize] - before)
    }

    fn send_flood(&mut self) -> Result<()> {
        let number = self.flood_next & ((1 << 30) - 1);
        self.flood_next = self.flood_next.wrapping_add(1);
        self.send_syn(Connection { kind: Kind::Flood, number })
    }

    fn send_syn(&mut self, connection: Connection) -> Result<()> {
        let Some(mut frame) = self.frame(connection.kind)? else { return Ok(()) };
        let (src, dst) = (connection.client(self.cluster.family), self.vip);
        let segment = Segment { src, dst, seq: connection.client_isn(), ack: 0, id: 0 };
        self.shapes.from_client.open.write(&mut frame, &segment);
        self.send_uplink(frame)
    }

    /// The third packet of a handshake.
    fn send_ack(&mut self, connection: Connection) -> Result<()> {
        let Some(mut frame) = self.frame(connection.kind)? else { return Ok(()) };
        let (src, dst) = (connection.client(self.cluster.family), self.vip);
        let seq = connection.client_isn().wrapping_add(1);
        let ack = connection.server_isn().wrapping_add(1);
        let segment = Segment { src, dst, seq, ack, id: 0 };
        self.shapes.from_client.ack.write(&mut frame, &segment);
        self.send_uplink(frame)
    }

    /// The next data segment of the next established flow.
    fn send_data(&mut self) -> Result<()> {
        let number = self.flow_next;
        self.flow_next = (number + 1) % self.flows.len();
        self.flows[number].sent += 1;
        let part = self.flows[number].sent;
        self.counts.data += 1;
        let Some(mut frame) = self.frame(Kind::Established)? else { return Ok(()) };
        let connection = Connection { kind: Kind::Established, number: number as u32 };
        let segment = Segment {
            src: connection.client(self.cluster.family),
            dst: self.vip,
            seq: position(connection, part - 1),
            ack: connection.server_isn().wrapping_add(1),
            id: (number as u64) << 32 | u64::from(part),
        };
        self.shapes.from_client.data.write(&mut frame, &segment);
        self.send_uplink(frame)
    }

    /// Counts what is offered, and a frame for it; `None` when the ring is full.
    #[inline]
    fn frame(&mut self, kind: Kind) -> Result<Option<Frame>> {
        self.counts.offered[kind as usize] += 1;
        if self.uplink.to_port.is_full() {
            self.counts.ring_full[kind as usize] += 1;
            return Ok(None);
        }
        self.cache.alloc().map(Some).context("no frame left")
    }

    #[inline]
    fn send_uplink(&mut self, frame: Frame) -> Result<()> {
        // There is room: `frame` has looked, and nobody else sends.
        self.uplink.to_port.push(frame).map_err(|_| anyhow!("the ring has filled up by itself"))
    }

    /// Takes what the worker has sent.
    fn receive(&mut self, now: u64) -> Result<()> {
        for _ in 0..TURN {
            let Ok(frame) = self.overlay.from_port.pop() else { break };
            self.at_pod(frame)?;
        }
        for _ in 0..TURN {
            let Ok(frame) = self.uplink.from_port.pop() else { break };
            self.at_client(frame, now)?;
        }
        Ok(())
    }

    fn at_pod(&mut self, frame: Frame) -> Result<()> {
        let data = frame.data();
        // A node's MAC ends in its number.
        let node = data[2..].first_chunk().map_or(u32::MAX, |n| u32::from_be_bytes(*n));
        let shapes = self.shapes.to_pod.get(node as usize).context("sent to nobody's MAC")?;
        let (step, shape) =
            shapes.of(data).with_context(|| format!("no frame for a pod: {data:02x?}"))?;
        let segment =
            shape.read(data).map_err(|wrong| anyhow!("to a pod: {wrong}: {data:02x?}"))?;
        ensure!(self.pods.is_pod(node, segment.dst), "no pod of node {node}: {segment:x?}");
        ensure!(self.pods.is_snat(segment.src), "no SNAT address or port: {segment:x?}");
        let Segment { src, dst, seq, ack, id } = segment;
        let (kind, answer) = match step {
            Step::Open => {
                let connection = Connection::of_isn(seq);
                if connection.kind == Kind::Established {
                    self.check_ends(connection.number, [dst, src])?;
                }
                (connection.kind, Some((connection.server_isn(), seq.wrapping_add(1))))
            }
            Step::Ack => {
                let connection = Connection::of_isn(seq.wrapping_sub(1));
                ensure!(ack == connection.server_isn().wrapping_add(1), "acknowledges {ack:x}");
                ensure!(connection.kind != Kind::Flood, "nobody has opened {connection:?}");
                if connection.kind == Kind::Established {
                    self.check_ends(connection.number, [dst, src])?;
                }
                self.counts.opened += 1;
                (connection.kind, None)
            }
            Step::Data => {
                let (number, part) = ((id >> 32) as u32, id as u32);
                let connection = Connection { kind: Kind::Established, number };
                self.check_ends(number, [dst, src])?;
                let flow = &mut self.flows[number as usize];
                ensure!(flow.came < part && part <= flow.sent, "segment {part} of {flow:?}");
                flow.came = part;
                ensure!(seq == position(connection, part - 1), "segment {part} at {seq:x}");
                let server_next = connection.server_isn().wrapping_add(1);
                ensure!(ack == server_next, "segment {part} acknowledges {ack:x}");
                self.counts.data_to_pods += 1;
                (Kind::Established, Some((server_next, position(connection, part))))
            }
            Step::Reset => {
                let connection = Connection::of_isn(seq.wrapping_sub(1));
                ensure!(connection.kind == Kind::Flood, "{connection:?} was reset");
                self.counts.resets += 1;
                self.cache.free(frame);
                return Ok(());
            }
        };
        self.counts.to_pods[kind as usize] += 1;
        match answer {
            Some((seq, ack)) if self.pods_answer || kind != Kind::Flood => {
                let answer = Segment { src: dst, dst: src, seq, ack, id: 0 };
                self.answer(frame, node, step, &answer, kind);
            }
            _ => self.cache.free(frame),
        }
        Ok(())
    }

    /// A pod's answer, in the frame that has brought the question.
    fn answer(&mut self, mut frame: Frame, node: u32, to: Step, answer: &Segment, kind: Kind) {
        let shapes = &self.shapes.from_pod[node as usize];
        let shape = if to == Step::Open { &shapes.open } else { &shapes.ack };
        shape.write(&mut frame, answer);
        self.counts.answered[kind as usize] += 1;
        if let Err(rtrb::PushError::Full(frame)) = self.overlay.to_port.push(frame) {
            self.counts.answers_ring_full += 1;
            self.cache.free(frame);
        }
    }

    /// Checks that an established flow is where it has been since it began.
    fn check_ends(&mut self, number: u32, ends: [(u128, u16); 2]) -> Result<()> {
        let flow = self.flows.get_mut(number as usize);
        let flow = flow.with_context(|| format!("there is no flow {number}"))?;
        let was = *flow.ends.get_or_insert(ends);
        ensure!(was == ends, "flow {number} has moved from {was:x?} to {ends:x?}");
        Ok(())
    }

    fn at_client(&mut self, frame: Frame, now: u64) -> Result<()> {
        let data = frame.data();
        let found = self.shapes.to_client.of(data);
        let (step, shape) = found.with_context(|| format!("no frame for a client: {data:02x?}"))?;
        let segment =
            shape.read(data).map_err(|wrong| anyhow!("to a client: {wrong}: {data:02x?}"))?;
        self.cache.free(frame);
        ensure!(segment.src == self.vip, "not from the Service: {segment:x?}");
        let family = self.cluster.family;
        let connection = match step {
            Step::Open => Connection::of_isn(segment.ack.wrapping_sub(1)),
            Step::Ack => Connection::of_client(family, segment.dst)
                .with_context(|| format!("nobody's ACK: {segment:x?}"))?,
            Step::Data | Step::Reset => bail!("no pod has sent {step:?}: {segment:x?}"),
        };
        let Connection { kind, number } = connection;
        ensure!(connection.client(family) == segment.dst, "{connection:?} has {segment:x?}");
        self.counts.to_clients[kind as usize] += 1;
        let server_isn = connection.server_isn();
        if step == Step::Ack {
            ensure!(segment.seq == server_isn.wrapping_add(1), "{connection:?}: {segment:x?}");
            let flow = self.flows.get_mut(number as usize).context("nobody's ACK")?;
            let bytes = segment.ack.wrapping_sub(position(connection, 0));
            let part = bytes / DATA_LEN as u32;
            ensure!(bytes % DATA_LEN as u32 == 0, "{connection:?} acknowledges {bytes} bytes");
            ensure!(flow.acked < part && part <= flow.came, "{part} acknowledged of {flow:?}");
            flow.acked = part;
            self.counts.data_acked += 1;
            return Ok(());
        }
        ensure!(segment.seq == server_isn, "{connection:?}: SYN-ACK at {:x}", segment.seq);
        match kind {
            Kind::Flood => Ok(()),
            Kind::Honest => {
                let client = self.honest.clients.get_mut(number as usize);
                client.context("nobody's SYN-ACK")?.1.get_or_insert(now);
                self.send_ack(connection)
            }
            Kind::Established => {
                self.flows.get_mut(number as usize).context("nobody's SYN-ACK")?.is_open = true;
                self.send_ack(connection)
            }
        }
    }

    /// Frees every frame that it can get at.
    pub fn close(&mut self) {
        self.overlay.close(&mut self.cache);
        self.uplink.close(&mut self.cache);
    }
}

/// Sequence number of an established flow's client after so many segments.
fn position(connection: Connection, parts: u32) -> u32 {
    connection.client_isn().wrapping_add(1).wrapping_add(parts.wrapping_mul(DATA_LEN as u32))
}
