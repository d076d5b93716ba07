use crate::check;
use crate::frames::Builder;
use crate::site::{self, CLUSTER, Family, UPLINK, Who};
use anyhow::Result;
use arrayvec::ArrayVec;
use rustix::event::{EventfdFlags, eventfd};
use sluice_io::{BURST, Frame, FrameCache, Port, PortId, PortInfo, PortMode, PortStats, RxBurst};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Frames that a port hands over at once: half a burst, so that there is time
/// for other things.
const AT_ONCE: usize = BURST / 2;
/// One frame in so many is looked at.
const SAMPLE: u64 = 1024;
/// How often all nodes and the router say that they are there.
const GREETING: Duration = Duration::from_secs(1);

/// What comes out of the gateway.
#[derive(Debug, Default)]
pub struct Seen {
    /// Clients send: set once there are tables, and never before.
    pub is_open: AtomicBool,
    /// Frames that were sent, by port.
    pub sent: [AtomicU64; 2],
    /// Frames into the overlay that are not as they should be, of those that
    /// were looked at.
    pub wrong: AtomicU64,
}

/// A port whose wire is the worker's own core: frames are made as they are
/// received, and freed as they are sent.
pub struct TrafficPort {
    info: PortInfo,
    nodes: u32,
    /// Requests of clients, as they come again and again.
    requests: Vec<Vec<u8>>,
    next: usize,
    /// Greetings that are still to be said.
    greetings: Vec<Vec<u8>>,
    greeted: Instant,
    seen: Arc<Seen>,
    /// Never readable: a worker that sleeps looks at its ports in time.
    silence: OwnedFd,
}

impl TrafficPort {
    /// The port of clients: `flows` flows of both families, which send one
    /// packet after the other, as fast as the worker takes them.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn uplink(flows: u32, services: u32, seen: Arc<Seen>) -> Result<Self> {
        let mut builder = Builder::default();
        let requests = (0..flows).map(|number| {
            let family = if number.is_multiple_of(2) { Family::V4 } else { Family::V6 };
            let service = number.wrapping_mul(31) % services;
            let udp = crate::frames::Udp {
                src: (Who::Client(number / 2).addr(family), 1024 + (number % 7) as u16),
                dst: (Who::Vip(service).addr(family), site::SERVICE_PORT),
                id: number,
            };
            builder.plain(family, UPLINK, site::ROUTER_MAC, &udp).to_vec()
        });
        let requests = requests.collect();
        Self::new(UPLINK, 0, requests, seen)
    }

    /// The port of the nodes.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn cluster(nodes: u32, seen: Arc<Seen>) -> Result<Self> {
        Self::new(CLUSTER, nodes, Vec::new(), seen)
    }

    fn new(id: usize, nodes: u32, requests: Vec<Vec<u8>>, seen: Arc<Seen>) -> Result<Self> {
        let info = PortInfo {
            id: PortId(id as u8),
            name: format!("port{id}"),
            queue: 0,
            mode: PortMode::Memory,
            frame_len_max: sluice_io::CHUNK_LEN - sluice_io::HEADROOM,
        };
        let silence = eventfd(0, EventfdFlags::CLOEXEC)?;
        let (next, greetings, greeted) = (0, Vec::new(), Instant::now());
        Ok(TrafficPort { info, nodes, requests, next, greetings, greeted, seen, silence })
    }

    fn greet(&mut self) {
        self.greeted = Instant::now();
        let mut builder = Builder::default();
        let mut hello = |family, port, who, mac| builder.hello(family, port, mac, who).to_vec();
        if usize::from(self.info.id.0) == UPLINK {
            let hello = |family| hello(family, UPLINK, Who::Router, site::ROUTER_MAC);
            self.greetings = [Family::V4, Family::V6].map(hello).to_vec();
        } else {
            // The tunnels are over IPv4.
            let node = |node| hello(Family::V4, CLUSTER, Who::Node(node), site::node_mac(node));
            self.greetings = (0..self.nodes).map(node).collect();
        }
    }

    /// Whether a frame into the overlay is whole and goes to a pod of the node
    /// whose tunnel it goes through.
    fn is_right(&self, frame: &[u8]) -> bool {
        // The length tells the family: nothing else of it differs.
        let family = if frame.len() < 14 + 36 + 14 + 48 { Family::V4 } else { Family::V6 };
        let Ok((node, inner)) = check::open_tunnel_over(Family::V4, family, frame, self.nodes)
        else {
            return false;
        };
        let first = Who::Pod(node, 0);
        let pods = ipnet_of(first, family);
        pods.is_some_and(|pods| pods == ipnet_start(inner.dst.0, first.prefix_len(family)))
    }
}

fn ipnet_of(who: Who, family: Family) -> Option<u128> {
    Some(ipnet_start(who.addr(family), who.prefix_len(family)))
}

/// The first bits of an address.
fn ipnet_start(addr: std::net::IpAddr, len: u8) -> u128 {
    match addr {
        std::net::IpAddr::V4(addr) => u128::from(addr.to_bits() >> (32 - len)),
        std::net::IpAddr::V6(addr) => addr.to_bits() >> (128 - len),
    }
}

impl Port for TrafficPort {
    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn rx(&mut self, cache: &mut FrameCache, burst: &mut RxBurst) -> usize {
        if !self.seen.is_open.load(Ordering::Relaxed) {
            return 0;
        }
        // Not at each turn: the clock is no part of what is measured.
        if self.greetings.is_empty() && self.greeted.elapsed() >= GREETING {
            self.greet();
        }
        let room = burst.remaining_capacity().min(AT_ONCE);
        let mut received = 0;
        while received < room {
            let Some(mut frame) = cache.alloc() else { break };
            let filled = match self.greetings.pop() {
                Some(greeting) => frame.fill(&greeting),
                None if self.requests.is_empty() => {
                    cache.free(frame);
                    break;
                }
                None => {
                    self.next = (self.next + 1) % self.requests.len();
                    frame.fill(&self.requests[self.next])
                }
            };
            if !filled {
                cache.free(frame);
                break;
            }
            burst.push(frame);
            received += 1;
        }
        received
    }

    fn tx(&mut self, cache: &mut FrameCache, frames: &mut ArrayVec<Frame, BURST>) {
        let port = usize::from(self.info.id.0);
        let before = self.seen.sent[port].load(Ordering::Relaxed);
        for (number, frame) in frames.drain(..).enumerate() {
            // Questions for neighbors are 42 bytes.
            let is_tunneled = port == CLUSTER && frame.len() > 14 + 36 + 14;
            let is_looked_at = (before + number as u64).is_multiple_of(SAMPLE);
            if is_tunneled && is_looked_at && !self.is_right(frame.data()) {
                self.seen.wrong.fetch_add(1, Ordering::Relaxed);
            }
            self.seen.sent[port].fetch_add(1, Ordering::Relaxed);
            cache.free(frame);
        }
    }

    fn flush(&mut self, _cache: &mut FrameCache) {}

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.silence.as_fd())
    }

    fn stats(&self) -> PortStats {
        PortStats::default()
    }

    fn close(&mut self, _cache: &mut FrameCache) {}
}
