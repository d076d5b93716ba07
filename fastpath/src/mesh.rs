use crate::affinity::Visit;
use crate::packet::Packet;
use crate::path_mtu::PathNews;
use crate::stages::link;
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use sluice_tables::mailbox::Waker;
use sluice_tables::{V4, V6};

/// News that wait for one worker from another. They have rings of their own: a
/// storm of ARP takes no room from packets.
const NEWS_LEN: usize = 256;
/// Visits of clients that wait for one worker from another.
const VISITS_LEN: usize = 1024;

/// A packet of a flow that the receiving worker owns.
#[derive(Debug)]
// Moved into the ring and out of it, never kept.
#[allow(clippy::large_enum_variant)]
pub enum Handed {
    /// IPv4.
    V4(Packet<V4>),
    /// IPv6.
    V6(Packet<V6>),
}

/// What one worker hears and all must know.
#[derive(Clone, Copy, Debug)]
pub enum News {
    /// Of a neighbor.
    Neighbor(link::News),
    /// Of the path to a node.
    Path(PathNews),
}

/// One worker's end of the rings to and from every other worker.
pub struct MeshEnd {
    to: Vec<Option<Producer<Handed>>>,
    from: Vec<Consumer<Handed>>,
    news_to: Vec<Option<Producer<News>>>,
    news_from: Vec<Consumer<News>>,
    visits_to: Vec<Option<Producer<Visit>>>,
    visits_from: Vec<Consumer<Visit>>,
    wakers: Vec<Option<Waker>>,
    /// Workers that got something since the last [`MeshEnd::wake`].
    rung: Vec<bool>,
}

/// Rings of `ring_len` packets between each two of the workers whose wakers
/// are given.
pub fn mesh(wakers: &[Waker], ring_len: usize) -> Vec<MeshEnd> {
    let workers = wakers.len();
    let mut ends: Vec<MeshEnd> = (0..workers)
        .map(|me| MeshEnd {
            to: (0..workers).map(|_| None).collect(),
            from: Vec::new(),
            news_to: (0..workers).map(|_| None).collect(),
            news_from: Vec::new(),
            visits_to: (0..workers).map(|_| None).collect(),
            visits_from: Vec::new(),
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
                let (producer, consumer) = RingBuffer::new(NEWS_LEN);
                ends[from].news_to[to] = Some(producer);
                ends[to].news_from.push(consumer);
                let (producer, consumer) = RingBuffer::new(VISITS_LEN);
                ends[from].visits_to[to] = Some(producer);
                ends[to].visits_from.push(consumer);
            }
        }
    }
    ends
}

impl MeshEnd {
    /// Queues a packet for a worker.
    ///
    /// # Errors
    /// The packet, when the ring is full or there is no such worker.
    #[inline]
    pub fn send(&mut self, worker: usize, packet: Handed) -> Result<(), Handed> {
        let Some(Some(ring)) = self.to.get_mut(worker) else { return Err(packet) };
        let pushed = ring.push(packet).map_err(|PushError::Full(packet)| packet);
        self.rung[worker] = true;
        pushed
    }

    /// Tells every other worker. Returns how many had no room.
    pub fn tell(&mut self, news: News) -> u64 {
        tell(&mut self.news_to, &mut self.rung, news)
    }

    /// Tells every other worker where a client went. Returns how many had no
    /// room.
    pub fn tell_of_visit(&mut self, visit: Visit) -> u64 {
        tell(&mut self.visits_to, &mut self.rung, visit)
    }

    /// The next visit that another worker tells of; `start` rotates who comes
    /// first.
    #[inline]
    pub fn hear_of_visit(&mut self, start: usize) -> Option<Visit> {
        hear(&mut self.visits_from, start)
    }

    /// The next news of any other worker; `start` rotates who comes first.
    #[inline]
    pub fn hear(&mut self, start: usize) -> Option<News> {
        hear(&mut self.news_from, start)
    }

    /// Takes packets of other workers out of their rings, `max` at most; `start` rotates who
    /// comes first. Returns how many there were.
    #[inline]
    pub fn receive(&mut self, start: usize, max: usize, mut take: impl FnMut(Handed)) -> usize {
        let (count, mut received) = (self.from.len(), 0);
        for i in 0..count {
            let ring = &mut self.from[(start + i) % count];
            let waiting = ring.slots().min(max - received);
            let Ok(chunk) = ring.read_chunk(waiting) else { break };
            chunk.into_iter().for_each(&mut take);
            received += waiting;
        }
        received
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.from.iter().all(Consumer::is_empty)
            && self.news_from.iter().all(Consumer::is_empty)
            && self.visits_from.iter().all(Consumer::is_empty)
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

/// Queues a copy of a message for every other worker. Returns how many had no
/// room.
fn tell<T: Copy>(to: &mut [Option<Producer<T>>], rung: &mut [bool], message: T) -> u64 {
    let mut lost = 0;
    for (worker, ring) in to.iter_mut().enumerate() {
        let Some(ring) = ring else { continue };
        lost += u64::from(ring.push(message).is_err());
        rung[worker] = true;
    }
    lost
}

#[inline]
fn hear<T>(from: &mut [Consumer<T>], start: usize) -> Option<T> {
    let count = from.len();
    (0..count).find_map(|i| from[(start + i) % count].pop().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Key;
    use crate::packet::Ingress;
    use crate::wire::ip::IpHeader;
    use sluice_io::{FrameCache, PortId, Umem};
    use sluice_tables::mailbox::mailbox;

    #[test]
    fn news_of_a_loud_worker_do_not_drown_those_of_others() {
        let wakers: Vec<Waker> = (0..3).map(|_| mailbox().unwrap().0.waker()).collect();
        let mut ends = mesh(&wakers, 8);
        let of = |port| {
            News::Neighbor(link::News {
                port: PortId(port),
                addr: [10, 0, 0, 1].into(),
                mac: None,
                answers: true,
                overrides: false,
                adds: false,
            })
        };
        let lost: u64 = (0..NEWS_LEN + 10).map(|_| ends[0].tell(of(0))).sum();
        assert_eq!(lost, 20, "both rings are full but for these");
        assert_eq!(ends[1].tell(of(1)), 0);
        let heard = (0..4).filter_map(|turn| ends[2].hear(turn)).map(|news| match news {
            News::Neighbor(news) => news.port.0,
            News::Path(_) => unreachable!("nobody told of a path"),
        });
        assert_eq!(heard.collect::<Vec<_>>(), [0, 1, 0, 0]);
    }

    /// Each worker's in its order, no more than are wanted, and another worker's first each
    /// time; nothing is lost where the ring's end lies between.
    #[test]
    fn packets_are_taken_from_each_worker_in_turn() {
        let wakers: Vec<Waker> = (0..3).map(|_| mailbox().unwrap().0.waker()).collect();
        let mut ends = mesh(&wakers, 8);
        let umem = Umem::new(64).unwrap();
        let mut cache = FrameCache::new(&umem, 64);
        for _ in 0..3 {
            for from in 0..2u16 {
                for number in 0..5 {
                    let packet = Packet::<V4> {
                        key: Key { src_port: from, dst_port: number, ..Key::default() },
                        ip: IpHeader::default(),
                        ingress: Ingress::UNSEEN,
                        candidate: 0,
                        datagram: None,
                        hash: 0,
                        frame: cache.alloc().unwrap(),
                    };
                    assert!(ends[usize::from(from)].send(2, Handed::V4(packet)).is_ok());
                }
            }
            let mut take = |start, max| {
                let mut taken = Vec::new();
                let count = ends[2].receive(start, max, |handed| match handed {
                    Handed::V4(packet) => {
                        taken.push((packet.key.src_port, packet.key.dst_port));
                        cache.free(packet.frame);
                    }
                    Handed::V6(_) => unreachable!("nobody sent one"),
                });
                assert_eq!(count, taken.len());
                taken
            };
            assert_eq!(take(0, 2), [(0, 0), (0, 1)]);
            assert_eq!(take(1, 6), [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (0, 2)]);
            assert_eq!(take(1, 8), [(0, 3), (0, 4)]);
            assert_eq!(take(0, 8), []);
        }
    }
}
