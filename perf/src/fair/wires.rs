use super::port::Stamp;
use super::segment::Segment;
use crate::flood::ring::RingPeer;
use crate::frames::{Builder, Tcp, Tunnel};
use crate::site::{self, Family, PORT_MACS, ROUTER_MAC};
use anyhow::{Context, Result, ensure};
use rtrb::Consumer;
use sluice_io::{Frame, FrameCache};

/// The far ends of the gateway's ports, and frames for them.
pub struct Wires {
    /// The family of everything.
    pub family: Family,
    /// Frames.
    pub cache: FrameCache,
    /// Segments of TCP that found a receive ring full.
    pub segments_lost: u64,
    pub uplink: RingPeer,
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
        let (segments_lost, stamp) = (0, (0, 0));
        Wires { family, cache, segments_lost, uplink, overlay, stamps, stamp, builder }
    }

    /// The next frame into the overlay, with the ticks at which it was sent.
    #[inline]
    pub fn from_overlay(&mut self) -> Option<(Frame, u64)> {
        if self.stamp.1 == 0 {
            self.stamp = self.stamps.pop().ok()?;
        }
        let frame = self.overlay.from_port.pop().ok()?;
        self.stamp.1 -= 1;
        Some((frame, self.stamp.0))
    }

    /// A client's segment.
    ///
    /// # Errors
    /// When there is no frame left.
    pub fn send_client(&mut self, tcp: &Tcp<'_>) -> Result<()> {
        let macs = [ROUTER_MAC, PORT_MACS[site::UPLINK]];
        let frame = self.builder.plain_tcp(self.family, macs, tcp);
        let frame = filled(&mut self.cache, frame)?;
        self.segments_lost += put(&mut self.uplink, &mut self.cache, frame);
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
    pub fn to_clients(
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

    /// Frees what is in the rings from the ports.
    pub fn close(&mut self) {
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
