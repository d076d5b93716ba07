use super::port::Stamp;
use super::segment::Segment;
use crate::flood::ring::RingPeer;
use crate::flood::shape::number;
use crate::frames::{Builder, Tcp, Tunnel};
use crate::site::{self, Family, PORT_MACS, ROUTER_MAC};
use anyhow::{Context, Result, ensure};
use rtrb::Consumer;
use sluice_io::{Frame, FrameCache};
use std::collections::VecDeque;

/// Clients are this far away, some farther than others: what they say next does not come
/// just when the gateway has done something.
const LANES: usize = 16;
const NEAREST_NS: u64 = 50_000;
const LANE_NS: u64 = 20_000;

/// The far ends of the gateway's ports, and frames for them.
pub struct Wires {
    /// The family of everything.
    pub family: Family,
    /// Frames.
    pub cache: FrameCache,
    /// Segments of TCP that found a receive ring full.
    pub segments_lost: u64,
    uplink: RingPeer,
    /// Segments of clients on their way, with the time of their arrival, by distance, and
    /// those that are there.
    lanes: [VecDeque<(u64, Frame)>; LANES],
    segments: VecDeque<Frame>,
    now_ns: u64,
    overlay: RingPeer,
    stamps: Consumer<Stamp>,
    /// The stamp of the next frames from the overlay's port, and how many they are.
    stamp: Stamp,
    builder: Builder,
}

impl Wires {
    /// Of the ports by [`site::CLUSTER`] and [`site::UPLINK`], the first of which notes
    /// when it sends.
    pub fn new(
        family: Family,
        [overlay, uplink]: [RingPeer; 2],
        stamps: Consumer<Stamp>,
        cache: FrameCache,
    ) -> Self {
        let builder = Builder::default();
        Wires {
            family,
            cache,
            segments_lost: 0,
            uplink,
            lanes: Default::default(),
            segments: VecDeque::new(),
            now_ns: 0,
            overlay,
            stamps,
            stamp: (0, 0),
            builder,
        }
    }

    /// Tells the time.
    pub fn at(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        for lane in &mut self.lanes {
            while let Some((_, frame)) = lane.pop_front_if(|(due_ns, _)| *due_ns <= now_ns) {
                self.segments.push_back(frame);
            }
        }
    }

    /// Puts a frame into the uplink's receive ring; 1 if that is full.
    #[inline]
    pub fn put_uplink(&mut self, frame: Frame) -> u64 {
        put(&mut self.uplink, &mut self.cache, frame)
    }

    /// Whether the uplink's receive ring is full.
    #[inline]
    pub fn is_uplink_full(&self) -> bool {
        self.uplink.to_port.is_full()
    }

    /// Segments of clients that have come to the uplink.
    #[inline]
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// The next one of them comes into the ring.
    pub fn put_segment(&mut self) {
        if let Some(frame) = self.segments.pop_front() {
            self.segments_lost += self.put_uplink(frame);
        }
    }

    /// The next frame into the overlay, with the ticks at which it was sent.
    #[inline]
    pub fn next_for_pods(&mut self) -> Option<(Frame, u64)> {
        if self.stamp.1 == 0 {
            self.stamp = self.stamps.pop().ok()?;
        }
        let frame = self.overlay.from_port.pop().ok()?;
        self.stamp.1 -= 1;
        Some((frame, self.stamp.0))
    }

    /// A client's segment, which is on its way for a while.
    ///
    /// # Errors
    /// When there is no frame left.
    pub fn send_client(&mut self, tcp: &Tcp<'_>) -> Result<()> {
        let macs = [ROUTER_MAC, PORT_MACS[site::UPLINK]];
        let frame = self.builder.plain_tcp(self.family, macs, tcp);
        let frame = filled(&mut self.cache, frame)?;
        let lane = (number(tcp.src.0) as usize).wrapping_add(usize::from(tcp.src.1)) % LANES;
        self.lanes[lane].push_back((self.now_ns + NEAREST_NS + lane as u64 * LANE_NS, frame));
        Ok(())
    }

    /// A segment of a pod on a node.
    ///
    /// # Errors
    /// When there is no frame left.
    pub fn send_pod(&mut self, node: u32, tcp: &Tcp<'_>) -> Result<()> {
        let tunnel = Tunnel::from_node(self.family, node);
        let frame = self.builder.tunneled_tcp(self.family, &tunnel, tcp);
        let frame = filled(&mut self.cache, frame)?;
        self.segments_lost += put(&mut self.overlay, &mut self.cache, frame);
        Ok(())
    }

    /// Takes what the gateway sends to clients, up to so many frames.
    ///
    /// # Errors
    /// What is wrong with one, and what `each` returns.
    pub fn take_for_clients(
        &mut self,
        frames_max: usize,
        mut each: impl FnMut(&mut Self, &Segment<'_>) -> Result<()>,
    ) -> Result<usize> {
        for taken in 0..frames_max {
            let Ok(frame) = self.uplink.from_port.pop() else { return Ok(taken) };
            let segment = Segment::read(frame.data()).context("to a client")?;
            each(self, &segment)?;
            self.cache.free(frame);
        }
        Ok(frames_max)
    }

    /// Frees what is left.
    pub fn close(&mut self) {
        let under_way = self.lanes.iter_mut().flat_map(|lane| lane.drain(..));
        let frames = self.segments.drain(..).chain(under_way.map(|(_, frame)| frame));
        frames.for_each(|frame| self.cache.free(frame));
        self.uplink.close(&mut self.cache);
        self.overlay.close(&mut self.cache);
    }
}

fn filled(cache: &mut FrameCache, bytes: &[u8]) -> Result<Frame> {
    let mut frame = cache.alloc().context("no frame left")?;
    ensure!(frame.fill(bytes), "a frame of {} bytes does not fit", bytes.len());
    Ok(frame)
}

/// Puts a frame into a receive ring; 1 if that is full.
fn put(peer: &mut RingPeer, cache: &mut FrameCache, frame: Frame) -> u64 {
    match peer.to_port.push(frame) {
        Ok(()) => 0,
        Err(rtrb::PushError::Full(frame)) => {
            cache.free(frame);
            1
        }
    }
}
