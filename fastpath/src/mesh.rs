use crate::packet::Packet;
use crate::stages::link::News;
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use sluice_tables::mailbox::Waker;
use sluice_tables::{V4, V6};

/// What one worker tells another.
#[derive(Debug)]
pub enum Handed {
    /// A packet of a flow that the receiver owns.
    V4(Packet<V4>),
    /// The same for IPv6.
    V6(Packet<V6>),
    /// A neighbor's MAC, learned once for all.
    Neighbor(News),
}

/// One worker's end of the rings to and from every other worker.
pub struct MeshEnd {
    to: Vec<Option<Producer<Handed>>>,
    from: Vec<Consumer<Handed>>,
    wakers: Vec<Option<Waker>>,
    /// Workers that got something since the last [`MeshEnd::wake`].
    rung: Vec<bool>,
}

/// Rings of `ring_len` messages between each two of the workers whose wakers
/// are given.
pub fn mesh(wakers: &[Waker], ring_len: usize) -> Vec<MeshEnd> {
    let workers = wakers.len();
    let mut ends: Vec<MeshEnd> = (0..workers)
        .map(|me| MeshEnd {
            to: (0..workers).map(|_| None).collect(),
            from: Vec::new(),
            wakers: wakers
                .iter()
                .enumerate()
                .map(|(other, waker)| (other != me).then(|| waker.clone()))
                .collect(),
            rung: vec![false; workers],
        })
        .collect();
    for from in 0..workers {
        for to in 0..workers {
            if from != to {
                let (producer, consumer) = RingBuffer::new(ring_len);
                ends[from].to[to] = Some(producer);
                ends[to].from.push(consumer);
            }
        }
    }
    ends
}

impl MeshEnd {
    /// Queues a message for a worker.
    ///
    /// # Errors
    /// The message, when the ring is full or there is no such worker.
    #[inline]
    pub fn send(&mut self, worker: usize, message: Handed) -> Result<(), Handed> {
        let Some(Some(ring)) = self.to.get_mut(worker) else { return Err(message) };
        let pushed = ring.push(message).map_err(|PushError::Full(message)| message);
        self.rung[worker] = true;
        pushed
    }

    /// The next message of any other worker; `start` rotates who comes first.
    #[inline]
    pub fn receive(&mut self, start: usize) -> Option<Handed> {
        let count = self.from.len();
        (0..count).find_map(|i| self.from[(start + i) % count].pop().ok())
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.from.iter().all(Consumer::is_empty)
    }

    /// Workers of the mesh, this one included.
    pub fn workers(&self) -> usize {
        self.to.len()
    }

    /// Wakes the workers that got something.
    #[inline]
    pub fn wake(&mut self) {
        for (worker, rung) in self.rung.iter_mut().enumerate() {
            if std::mem::take(rung)
                && let Some(Some(waker)) = self.wakers.get(worker)
            {
                waker.wake();
            }
        }
    }
}
