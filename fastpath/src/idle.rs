use crate::core::PortSlot;
use crate::time::Nanos;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sluice_tables::mailbox::Waker;

/// Ports that a sleeping worker can listen to.
const PORTS_MAX: usize = 32;

/// What a worker does when nothing comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleMode {
    /// Polls on: lowest latency, a core of its own.
    BusyPoll,
    /// Polls on for `spin_ns`, then sleeps until a packet or a message comes,
    /// at most `sleep_ns_max`.
    Adaptive {
        /// Nanoseconds of polling without work before it sleeps.
        spin_ns: u64,
        /// Longest sleep, in nanoseconds: timers run late by as much.
        sleep_ns_max: u64,
    },
}

/// The state of a worker's idling.
#[derive(Clone, Debug)]
pub struct Idle {
    mode: IdleMode,
    busy_at: Nanos,
}

impl Idle {
    /// Begins busy.
    pub fn new(mode: IdleMode) -> Self {
        Idle { mode, busy_at: Nanos::default() }
    }

    /// Notes a turn of the loop; true when it is time to sleep.
    #[inline]
    pub fn turn(&mut self, busy: bool, now: Nanos) -> bool {
        match self.mode {
            IdleMode::BusyPoll => {
                if !busy {
                    std::hint::spin_loop();
                }
                false
            }
            _ if busy => {
                self.busy_at = now;
                false
            }
            IdleMode::Adaptive { spin_ns, .. } => {
                let sleep = now.since(self.busy_at) >= spin_ns;
                if !sleep {
                    std::thread::yield_now();
                }
                sleep
            }
        }
    }

    /// Sleeps until a port can be read, the waker rings, or the time is up; `due_ns`: at
    /// most until something has to be done. False, at once, when a port cannot wake
    /// anybody.
    pub(crate) fn sleep(&self, ports: &[PortSlot], waker: &Waker, due_ns: Option<u64>) -> bool {
        let IdleMode::Adaptive { sleep_ns_max, .. } = self.mode else { return false };
        let sleep_ns_max = due_ns.map_or(sleep_ns_max, |due_ns| due_ns.min(sleep_ns_max));
        let waker = waker.fd();
        let port_fds: arrayvec::ArrayVec<_, PORTS_MAX> =
            ports.iter().filter_map(|slot| slot.port.wait_fd()).take(PORTS_MAX).collect();
        if port_fds.len() != ports.len() {
            std::thread::yield_now();
            return false;
        }
        let mut fds = arrayvec::ArrayVec::<PollFd<'_>, { PORTS_MAX + 1 }>::new();
        fds.push(PollFd::new(&waker, PollFlags::IN));
        for fd in &port_fds {
            fds.push(PollFd::new(fd, PollFlags::IN));
        }
        let timeout = Timespec {
            tv_sec: (sleep_ns_max / Nanos::SECOND) as i64,
            tv_nsec: (sleep_ns_max % Nanos::SECOND) as i64,
        };
        poll(&mut fds, Some(&timeout)).is_ok()
    }
}
