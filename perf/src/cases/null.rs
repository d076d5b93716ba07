use super::{Case, Check, PACKETS};
use crate::cluster::Cluster;
use crate::frames::Builder;
use crate::port::{PreparedPeer, PreparedPort};
use crate::site::{CLUSTER, UPLINK};
use crate::traffic::Flow;
use crate::tsc::ticks;
use anyhow::{Context, Result, ensure};
use arrayvec::ArrayVec;
use sluice_io::{BURST, Frame, FrameCache, Port, RxBurst, Umem};

/// What is done with a frame instead of the journey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Nothing: what the prepared port costs.
    Nothing,
    /// The MACs change places: layer 2 forwarding.
    Macs,
}

/// The loop of a worker without its journey.
pub struct Null {
    touch: Touch,
    ports: [Box<dyn Port>; 2],
    peers: [PreparedPeer; 2],
    frames: Vec<Frame>,
    cache: FrameCache,
    flow: Flow,
    cluster: Cluster,
    builder: Builder,
}

impl Null {
    /// The same frames as of one flow of a small cluster.
    ///
    /// # Errors
    /// When memory is short.
    pub fn new(cluster: Cluster, touch: Touch) -> Result<Self> {
        let umem = Umem::new(PACKETS)?;
        let mut cache = FrameCache::new(&umem, PACKETS);
        let frames: Vec<Frame> = (0..PACKETS).map_while(|_| cache.alloc()).collect();
        ensure!(frames.len() == PACKETS, "the UMEM has too few frames");
        let (a, peer_a) = PreparedPort::new(CLUSTER, PACKETS);
        let (b, peer_b) = PreparedPort::new(UPLINK, PACKETS);
        Ok(Null {
            touch,
            ports: [Box::new(a), Box::new(b)],
            peers: [peer_a, peer_b],
            frames,
            cache,
            flow: Flow { snat_port: 2000, ..Flow::default() },
            cluster,
            builder: Builder::default(),
        })
    }

    fn forward(&mut self, burst: &mut RxBurst, from: usize) {
        self.ports[from].rx(&mut self.cache, burst);
        let mut out: ArrayVec<Frame, BURST> = ArrayVec::new();
        if self.touch == Touch::Macs {
            burst.iter().for_each(Frame::prefetch);
        }
        for mut frame in burst.drain(..) {
            if self.touch == Touch::Macs
                && let Some(macs) = frame.data_mut().first_chunk_mut::<12>()
            {
                let (dst, src) = macs.split_at_mut(6);
                dst.swap_with_slice(src);
            }
            out.push(frame);
        }
        self.ports[1 - from].tx(&mut self.cache, &mut out);
    }
}

impl Case for Null {
    fn round(&mut self, _check: Check) -> Result<u64> {
        for number in 0..PACKETS {
            let mut frame = self.frames.pop().context("no frame left")?;
            let port = number % 2;
            let bytes = match port {
                CLUSTER => self.flow.reply(&self.cluster, &mut self.builder),
                _ => self.flow.request(&self.cluster, &mut self.builder),
            };
            ensure!(frame.fill(bytes), "a frame does not fit");
            self.peers[port].load(frame);
        }
        let mut burst = RxBurst::new();
        let begin = ticks();
        for _ in 0..PACKETS / 2 / BURST {
            for from in [CLUSTER, UPLINK] {
                self.forward(&mut burst, from);
            }
            for port in &mut self.ports {
                port.flush(&mut self.cache);
            }
        }
        let took = ticks() - begin;
        for peer in &self.peers {
            peer.take_sent(&mut self.frames);
        }
        ensure!(self.frames.len() == PACKETS, "{} frames came back", self.frames.len());
        Ok(took)
    }
}

impl Drop for Null {
    fn drop(&mut self) {
        for frame in self.frames.drain(..) {
            self.cache.free(frame);
        }
    }
}
