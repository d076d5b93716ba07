use crate::l7::L7;
use crate::metrics::baselines::Baselines;
use crate::observe::Hub;
use crate::reloads::Reloads;
use crate::start::threads::WorkerState;
use sluice_io::device::{OperState, link_of};
use sluice_io::{AfXdpHandle, AllMulticast, PortMode, Umem};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A worker whose loop has not turned for this long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// The running gateway, as metrics and the admin socket see it.
pub struct Gateway {
    /// Name of its node.
    pub node: String,
    /// When it started: the zero of all workers' clocks.
    pub started: Instant,
    /// Its ports, in the order of the configuration.
    pub ports: Vec<PortState>,
    /// Its workers.
    pub workers: Vec<Arc<WorkerState>>,
    /// The memory of all frames.
    pub umem: Umem,
    /// Most flows over all workers.
    pub flows_max: u32,
    /// What it has taken of the devices. Given back on the way out.
    attached: Mutex<Option<Attached>>,
    /// The way to ask control.
    pub control: crate::control::ControlHandle,
    /// Clients need a SNAT pool that its Node is yet to have.
    pub needs_pool: bool,
    /// Where the counters of Services begin.
    pub baselines: Baselines,
    /// What `/healthz` saw last.
    pub loops: LoopWatch,
    /// What became of the reloads.
    pub reloads: Reloads,
    /// Where those come who want to be told of single packets.
    pub hub: Arc<Hub>,
    /// L7, if requests end here.
    pub l7: Option<Arc<L7>>,
    draining: AtomicBool,
}

/// What a gateway takes of its devices: dropping it gives it back.
pub enum Attached {
    /// XDP programs, and all multicast frames, of every device.
    AfXdp {
        /// The programs.
        xdp: AfXdpHandle,
        /// Where they hear all multicast frames.
        _multicast: Vec<AllMulticast>,
    },
    /// The devices themselves.
    #[cfg(feature = "dpdk")]
    Dpdk {
        /// Keeps them running.
        handle: sluice_io::DpdkHandle,
    },
}

/// Who is asked about a port's link.
#[derive(Clone, Debug)]
pub enum Link {
    /// The kernel; with the device's number: a later one of the same name is not the
    /// port's.
    Kernel {
        /// The number.
        ifindex: u32,
    },
    /// A driver of DPDK's.
    #[cfg(feature = "dpdk")]
    Dpdk(sluice_io::DpdkLink),
}

/// One port, as it was opened.
#[derive(Clone, Debug)]
pub struct PortState {
    /// Its name in the configuration.
    pub name: String,
    /// Its device.
    pub device: String,
    /// Who is asked about its link.
    pub link: Link,
    /// Its MAC.
    pub mac: [u8; 6],
    /// MTU of IP packets, in bytes.
    pub mtu: u16,
    /// How each queue is attached, by worker.
    pub queues: Vec<PortMode>,
    /// Why the XDP program does not run in the driver.
    pub native_refused: Option<String>,
}

impl PortState {
    /// `up`, `gone`, or what else is said of the link. Asks the kernel or the driver.
    pub fn link(&self) -> String {
        let state = match &self.link {
            Link::Kernel { ifindex } => link_of(&self.device, *ifindex),
            #[cfg(feature = "dpdk")]
            Link::Dpdk(link) => link.state(),
        };
        match state {
            // Virtual devices that work often say nothing.
            OperState::Unknown => "up".to_owned(),
            OperState::NotPresent => "gone".to_owned(),
            state => state.to_string(),
        }
    }
}

/// What [`Gateway::new`] is made of.
pub struct Parts {
    /// See [`Gateway::node`].
    pub node: String,
    /// See [`Gateway::started`].
    pub started: Instant,
    /// See [`Gateway::ports`].
    pub ports: Vec<PortState>,
    /// See [`Gateway::workers`].
    pub workers: Vec<Arc<WorkerState>>,
    /// See [`Gateway::umem`].
    pub umem: Umem,
    /// See [`Gateway::flows_max`].
    pub flows_max: u32,
    /// The devices; `None` in tests that have none.
    pub attached: Option<Attached>,
    /// See [`Gateway::control`].
    pub control: crate::control::ControlHandle,
    /// See [`Gateway::needs_pool`].
    pub needs_pool: bool,
    /// See [`Gateway::l7`].
    pub l7: Option<Arc<L7>>,
}

impl Gateway {
    /// A gateway that runs.
    pub fn new(parts: Parts) -> Self {
        Gateway {
            node: parts.node,
            started: parts.started,
            ports: parts.ports,
            loops: LoopWatch::new(parts.workers.len()),
            workers: parts.workers,
            umem: parts.umem,
            flows_max: parts.flows_max,
            attached: Mutex::new(parts.attached),
            control: parts.control,
            needs_pool: parts.needs_pool,
            baselines: Baselines::default(),
            reloads: Reloads::default(),
            hub: Arc::default(),
            l7: parts.l7,
            draining: AtomicBool::new(false),
        }
    }

    /// Says that it has been told to stop: it is not ready from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// True on the way out.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Why the gateway is not as it should be; empty when it is. Beside what keeps
    /// traffic away, the API server: all gateways may lose it at once, and
    /// traffic goes on.
    pub fn not_ready(&self) -> Vec<String> {
        let mut reasons = self.not_serving();
        let away = self.control.source.as_ref().and_then(|source| source.away());
        if let Some((time, error)) = away {
            let seconds = time.as_secs();
            reasons.push(format!("the API server has been away for {seconds} s: {error}"));
        }
        reasons
    }

    /// Why traffic should not be sent here; empty when it should. Asks the
    /// kernel for the state of each port's link.
    pub fn not_serving(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.is_draining() {
            reasons.push("draining: it has been told to stop".to_owned());
        }
        for (id, worker) in self.workers.iter().enumerate() {
            if !worker.is_up() {
                reasons.push(format!("worker {id} is down"));
            } else if worker.counters.tables_version.get() == 0 {
                reasons.push(format!("worker {id} has no tables yet"));
            } else if self.needs_pool
                && worker.counters.snat_capacity.iter().all(|capacity| capacity.get() == 0)
            {
                reasons.push(format!("worker {id} has no SNAT pool: the Node has no range yet"));
            }
        }
        for port in &self.ports {
            let link = port.link();
            if link != "up" {
                reasons.push(format!("port {}: device {} is {link}", port.name, port.device));
            }
        }
        reasons.extend(self.stuck());
        reasons.extend(self.control.trouble());
        reasons
    }

    fn stuck(&self) -> Vec<String> {
        let loops = self.workers.iter().map(|worker| worker.counters.loops.get());
        let stuck = self.loops.stuck(loops, Instant::now());
        stuck.into_iter().map(|id| format!("worker {id} is stuck")).collect()
    }

    /// Workers that are down, or whose loops do not turn; control likewise.
    pub fn unhealthy(&self) -> Vec<String> {
        let down = self.workers.iter().enumerate().filter(|(_, worker)| !worker.is_up());
        down.map(|(id, _)| format!("worker {id} is down"))
            .chain(self.stuck())
            .chain(self.control.trouble())
            .collect()
    }

    /// Runs with the attached XDP programs, while there are any.
    pub fn with_xdp<T>(&self, f: impl FnOnce(&AfXdpHandle) -> T) -> Option<T> {
        let attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        match attached.as_ref()? {
            Attached::AfXdp { xdp, .. } => Some(f(xdp)),
            #[cfg(feature = "dpdk")]
            Attached::Dpdk { .. } => None,
        }
    }

    /// Runs with the devices of DPDK's, while there are any.
    #[cfg(feature = "dpdk")]
    pub fn with_dpdk<T>(&self, f: impl FnOnce(&sluice_io::DpdkHandle) -> T) -> Option<T> {
        let attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        match attached.as_ref()? {
            Attached::AfXdp { .. } => None,
            Attached::Dpdk { handle } => Some(f(handle)),
        }
    }

    /// Gives the devices back.
    pub fn detach(&self) {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Notices loops that do not turn, by looking at their counters now and then.
#[derive(Debug)]
pub struct LoopWatch {
    seen: Mutex<Vec<(u64, Option<Instant>)>>,
}

impl LoopWatch {
    /// Watches so many workers.
    pub fn new(workers: usize) -> Self {
        LoopWatch { seen: Mutex::new(vec![(0, None); workers]) }
    }

    /// The workers whose counter, now `loops`, has not moved for
    /// [`STUCK_AFTER`].
    pub fn stuck(&self, loops: impl Iterator<Item = u64>, now: Instant) -> Vec<usize> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stuck = Vec::new();
        for (id, (count, (last, since))) in loops.zip(seen.iter_mut()).enumerate() {
            match *since {
                Some(since) if count == *last => {
                    if now.saturating_duration_since(since) >= STUCK_AFTER {
                        stuck.push(id);
                    }
                }
                _ => {
                    *last = count;
                    *since = Some(now);
                }
            }
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_stuck_when_two_looks_far_apart_see_the_same_count() {
        let watch = LoopWatch::new(2);
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        assert!(watch.stuck([0, 7].into_iter(), at(0)).is_empty());
        assert!(watch.stuck([0, 8].into_iter(), at(4)).is_empty());
        assert_eq!(watch.stuck([0, 8].into_iter(), at(6)), [0]);
        assert_eq!(watch.stuck([1, 8].into_iter(), at(9)), [1]);
        assert!(watch.stuck([1, 9].into_iter(), at(10)).is_empty());
    }
}
