use crate::answer::{Answer, AnswerBuffers};
use crate::observe::Observe;
use crate::record::{Conflict, FlowRecord, NeighborRecord};
use crate::tables::Tables;
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Messages that fit into a mailbox, each way.
const DEPTH: usize = 64;

/// From control to a worker.
#[derive(Debug)]
pub enum ToWorker {
    /// Use these tables from the next burst on.
    Tables(Arc<Tables>),
    /// Report flows from slot `cursor` on, into `buffer`, up to its capacity.
    DumpFlows {
        /// 0, or what the last answer returned as `next`.
        cursor: u64,
        /// Empty; its capacity bounds the answer. Sent back filled.
        buffer: Vec<FlowRecord>,
    },
    /// Report neighbors into `buffer`, up to its capacity.
    DumpNeighbors {
        /// Empty; its capacity bounds the answer. Sent back filled.
        buffer: Vec<NeighborRecord>,
    },
    /// Tell everybody on the ports' links that these VIPs are here, each unless
    /// it is no longer announced by then. One list at a time: the next one when
    /// this has come back.
    Announce {
        /// The VIPs. Sent back when they are told.
        vips: Vec<IpAddr>,
    },
    /// Tell this of single packets from now on, and nothing else.
    Observe(Arc<Observe>),
    /// Hold DNS answers, and tell of them in these. Sent once, before the first
    /// tables that want names.
    Answers(AnswerBuffers),
    /// What was to be learned from a held answer is live on every worker: it
    /// goes on.
    Release {
        /// [`Answer::id`].
        id: u64,
        /// [`Answer::message`], to be used again.
        buffer: Vec<u8>,
    },
    /// Finish: send what is queued, give frames back, return from the loop.
    Stop,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").field("version", &self.version).finish_non_exhaustive()
    }
}

/// From a worker to control.
#[derive(Debug)]
pub enum FromWorker {
    /// Every packet from now on sees this version.
    Live {
        /// [`Tables::version`].
        version: u64,
    },
    /// Tables that the worker no longer uses, to be freed here.
    Retired(Arc<Tables>),
    /// Flows, and where to go on (`None`: that was all).
    Flows {
        /// Cursor of the next request.
        next: Option<u64>,
        /// The flows.
        buffer: Vec<FlowRecord>,
    },
    /// Neighbors.
    Neighbors {
        /// The neighbors.
        buffer: Vec<NeighborRecord>,
    },
    /// Everybody has been told of these VIPs.
    Announced {
        /// What [`ToWorker::Announce`] brought.
        vips: Vec<IpAddr>,
    },
    /// A DNS answer that is held until [`ToWorker::Release`].
    Answer(Answer),
    /// What [`ToWorker::Observe`] has replaced, to be freed here.
    Unobserved(Arc<Observe>),
    /// Somebody else claims a VIP that is announced here. Not every claim is
    /// told: the worker's counters have all of them.
    Conflict(Conflict),
}

/// Wakes a worker that sleeps.
#[derive(Debug, Clone)]
pub struct Waker {
    shared: Arc<WakeShared>,
}

#[derive(Debug)]
struct WakeShared {
    fd: OwnedFd,
    sleeping: AtomicBool,
}

impl Waker {
    fn new() -> std::io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Waker { shared: Arc::new(WakeShared { fd, sleeping: AtomicBool::new(false) }) })
    }

    /// Wakes the worker if it sleeps; makes a system call only then.
    pub fn wake(&self) {
        // Pairs with the fence in `prepare_sleep`: either this sees `sleeping`,
        // or the worker sees the message that was sent before.
        std::sync::atomic::fence(Ordering::SeqCst);
        if self.shared.sleeping.load(Ordering::Relaxed) {
            let _ = rustix::io::write(&self.shared.fd, &1u64.to_ne_bytes());
        }
    }

    /// For the worker: says that it is about to sleep. Look at every queue once
    /// more after this, before sleeping.
    pub fn prepare_sleep(&self) {
        self.shared.sleeping.store(true, Ordering::Relaxed);
        std::sync::atomic::fence(Ordering::SeqCst);
    }

    /// For the worker: says that it is awake, and clears the descriptor.
    pub fn awake(&self) {
        self.shared.sleeping.store(false, Ordering::Relaxed);
        let _ = rustix::io::read(&self.shared.fd, &mut [0u8; 8]);
    }

    /// The descriptor that becomes readable on a wake-up.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.shared.fd.as_fd()
    }
}

/// Control's end.
#[derive(Debug)]
pub struct ControlEnd {
    to: Producer<ToWorker>,
    from: Consumer<FromWorker>,
    waker: Waker,
}

/// The worker's end.
#[derive(Debug)]
pub struct WorkerEnd {
    to: Consumer<ToWorker>,
    from: Producer<FromWorker>,
    waker: Waker,
}

/// Makes a mailbox: two bounded queues and a waker.
///
/// # Errors
/// When the process has no file descriptor left.
pub fn mailbox() -> std::io::Result<(ControlEnd, WorkerEnd)> {
    let waker = Waker::new()?;
    let (to_tx, to_rx) = RingBuffer::new(DEPTH);
    let (from_tx, from_rx) = RingBuffer::new(DEPTH);
    Ok((
        ControlEnd { to: to_tx, from: from_rx, waker: waker.clone() },
        WorkerEnd { to: to_rx, from: from_tx, waker },
    ))
}

impl ControlEnd {
    /// Sends a message and wakes the worker.
    ///
    /// # Errors
    /// The message itself, when the queue is full: the worker is behind.
    pub fn send(&mut self, message: ToWorker) -> Result<(), ToWorker> {
        let sent = self.to.push(message).map_err(|PushError::Full(message)| message);
        self.waker.wake();
        sent
    }

    /// Whether a message would fit.
    pub fn has_room(&self) -> bool {
        !self.to.is_full()
    }

    /// The next message of the worker.
    pub fn receive(&mut self) -> Option<FromWorker> {
        self.from.pop().ok()
    }

    /// True when the worker's end is gone: its thread has ended.
    pub fn is_abandoned(&self) -> bool {
        self.to.is_abandoned()
    }

    /// The worker's waker, for other threads that queue work for it.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

impl WorkerEnd {
    /// The next message of control, if the answer to it would fit: a message
    /// needs room for two answers.
    #[inline]
    pub fn receive(&mut self) -> Option<ToWorker> {
        if !self.has_mail() {
            return None;
        }
        self.to.pop().ok()
    }

    /// True when [`WorkerEnd::receive`] has something to return.
    #[inline]
    pub fn has_mail(&self) -> bool {
        !self.to.is_empty() && self.from.slots() >= 2
    }

    /// Messages that there is room for.
    pub fn room(&self) -> usize {
        self.from.slots()
    }

    /// Sends a message. There is room after [`WorkerEnd::receive`].
    ///
    /// # Errors
    /// The message itself, when the queue is full.
    pub fn send(&mut self, message: FromWorker) -> Result<(), FromWorker> {
        self.from.push(message).map_err(|PushError::Full(message)| message)
    }

    /// The waker that control and the other workers ring.
    pub fn waker(&self) -> &Waker {
        &self.waker
    }
}
