use super::order::{NONE, Order};
use super::pool::{Pool, Refused};
use super::{Chain, Coverage, Fit, FragmentOptions};
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::time::Nanos;
use crate::wire::ip::{Ip, Piece};
use crate::wire::l4::Kind;
use sluice_tables::hash::endpoint;
use std::time::Duration;

/// Datagrams that share a bucket.
const WAYS: usize = 8;

/// What tells a datagram's fragments from those of others: over IPv4 source,
/// destination, protocol and identification (RFC 791 section 3.2), over IPv6 all
/// but the protocol, which stays 0 (RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatagramKey<F: Ip> {
    /// Source address.
    pub src: F::Addr,
    /// Destination address.
    pub dst: F::Addr,
    /// Identification.
    pub id: u32,
    /// Protocol, over IPv4.
    pub protocol: u8,
}

impl<F: Ip> DatagramKey<F> {
    /// The datagram of a fragment.
    pub fn of(packet: &Packet<F>, piece: &Piece) -> Self {
        let protocol = if F::IS_V4 { piece.protocol } else { 0 };
        DatagramKey { src: packet.key.src, dst: packet.key.dst, id: piece.id, protocol }
    }

    /// What the key's number is made of, beside the addresses.
    pub fn halves(&self) -> (u16, u16) {
        (self.id as u16, (self.id >> 16) as u16 ^ u16::from(self.protocol))
    }

    fn hash(&self, seed: u64) -> u64 {
        let (low, high) = self.halves();
        endpoint(endpoint(seed, self.src.as_ref(), low), self.dst.as_ref(), high)
    }
}

/// What a first fragment tells of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Source port, or an echo's identifier.
    pub src_port: u16,
    /// Destination port, or an echo's identifier.
    pub dst_port: u16,
    /// The transport protocol.
    pub protocol: u8,
    /// What it is.
    pub kind: Kind,
}

/// Where a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its first fragment has not come.
    Waiting,
    /// Its first fragment has told what the others need.
    Known(Told),
    /// All of it is dropped, for this reason.
    Condemned(DropReason),
}

/// One family's datagrams of which not everything has come, in buckets. Memory is
/// touched as datagrams come; it is bounded by the table's capacity.
pub struct FragmentTable<F: Ip> {
    slots: Box<[Slot<F>]>,
    /// Records of what has come, which slots take and give back.
    coverage: Vec<Coverage>,
    free: Vec<u16>,
    /// All that are in use.
    order: Order,
    /// Those whose first fragment has not come.
    waiting: Order,
    pool: Pool<F>,
    seed: u64,
    timeout: Duration,
}

#[derive(Clone, Copy)]
struct Slot<F: Ip> {
    in_use: bool,
    key: DatagramKey<F>,
    born: Nanos,
    state: State,
    /// Its record of what has come.
    coverage: u16,
    /// The identification that its fragments get where their source is replaced.
    new_id: u32,
    chain: Chain,
}

impl<F: Ip> FragmentTable<F> {
    /// An empty table; the number of datagrams is rounded up to a whole number
    /// of buckets.
    pub fn new(options: &FragmentOptions, seed: u64) -> Self {
        let buckets = options.datagrams_max.div_ceil(WAYS).clamp(1, usize::from(NONE) / WAYS);
        let slot = Slot {
            in_use: false,
            key: DatagramKey::default(),
            born: Nanos::default(),
            state: State::Waiting,
            coverage: 0,
            new_id: 0,
            chain: Chain::EMPTY,
        };
        FragmentTable {
            slots: vec![slot; buckets * WAYS].into(),
            coverage: Vec::with_capacity(buckets * WAYS),
            free: Vec::with_capacity(buckets * WAYS),
            order: Order::new(buckets * WAYS),
            waiting: Order::new(buckets * WAYS),
            pool: Pool::new(options.held_max, seed),
            seed,
            timeout: Duration::from_nanos(options.timeout_ns),
        }
    }

    /// Fragments that wait.
    pub fn held(&self) -> usize {
        self.pool.len()
    }

    fn bucket(&self, key: &DatagramKey<F>) -> std::ops::Range<usize> {
        let buckets = self.slots.len() / WAYS;
        let first = (key.hash(self.seed) >> 16) as usize % buckets * WAYS;
        first..first + WAYS
    }

    /// The slot of a datagram.
    pub fn find(&self, key: &DatagramKey<F>) -> Option<u16> {
        let mut bucket = self.bucket(key);
        let is_it = |&slot: &usize| self.slots[slot].in_use && self.slots[slot].key == *key;
        bucket.find(is_it).map(|slot| slot as u16)
    }

    /// The slot that a new datagram has to have; another datagram may be in it,
    /// the oldest of the bucket, which must be closed before.
    pub fn place(&self, key: &DatagramKey<F>) -> (u16, bool) {
        let (mut oldest, mut born) = (0, Nanos(u64::MAX));
        for slot in self.bucket(key) {
            let there = &self.slots[slot];
            if !there.in_use {
                return (slot as u16, false);
            }
            if there.born < born {
                (oldest, born) = (slot as u16, there.born);
            }
        }
        (oldest, true)
    }

    /// Puts a datagram into a free slot.
    pub fn open(&mut self, slot: u16, key: DatagramKey<F>, new_id: u32, now: Nanos) {
        let coverage = match self.free.pop() {
            Some(coverage) => {
                self.coverage[usize::from(coverage)] = Coverage::new();
                coverage
            }
            None => {
                self.coverage.push(Coverage::new());
                (self.coverage.len() - 1) as u16
            }
        };
        self.slots[usize::from(slot)] = Slot {
            in_use: true,
            key,
            born: now,
            state: State::Waiting,
            coverage,
            new_id,
            chain: Chain::EMPTY,
        };
        self.order.push(slot);
        self.waiting.push(slot);
    }

    /// Ends a datagram. What waits of it is the caller's.
    #[must_use]
    pub fn close(&mut self, slot: u16) -> Chain {
        let chain = self.leave_waiting(slot);
        let there = &mut self.slots[usize::from(slot)];
        there.in_use = false;
        self.free.push(there.coverage);
        self.order.remove(slot);
        chain
    }

    /// Drops what comes of a datagram from now on. What waits of it is the
    /// caller's.
    #[must_use]
    pub fn condemn(&mut self, slot: u16, reason: DropReason) -> Chain {
        let chain = self.leave_waiting(slot);
        self.slots[usize::from(slot)].state = State::Condemned(reason);
        chain
    }

    /// Notes what a datagram's first fragment tells. What waits for that is the
    /// caller's.
    #[must_use]
    pub fn tell(&mut self, slot: u16, told: Told) -> Chain {
        let chain = self.leave_waiting(slot);
        self.slots[usize::from(slot)].state = State::Known(told);
        chain
    }

    fn leave_waiting(&mut self, slot: u16) -> Chain {
        let there = &mut self.slots[usize::from(slot)];
        if there.state == State::Waiting {
            self.waiting.remove(slot);
        }
        std::mem::replace(&mut there.chain, Chain::EMPTY)
    }

    /// Where a datagram is.
    pub fn state(&self, slot: u16) -> State {
        self.slots[usize::from(slot)].state
    }

    /// The identification that a datagram gets where its source is replaced.
    pub fn new_id(&self, slot: u16) -> u32 {
        self.slots[usize::from(slot)].new_id
    }

    /// Notes what a fragment covers.
    pub fn cover(&mut self, slot: u16, piece: &Piece) -> Fit {
        self.coverage[usize::from(self.slots[usize::from(slot)].coverage)].add(piece)
    }

    /// True once everything of a datagram has come.
    pub fn is_complete(&self, slot: u16) -> bool {
        self.coverage[usize::from(self.slots[usize::from(slot)].coverage)].is_complete()
    }

    /// True when a datagram's time is over.
    pub fn is_over(&self, slot: u16, now: Nanos) -> bool {
        now >= self.slots[usize::from(slot)].born + self.timeout
    }

    /// The datagram that was begun first.
    pub fn oldest(&self) -> Option<u16> {
        self.order.oldest()
    }

    /// The datagram that has waited longest for its first fragment.
    pub fn longest_waiting(&self) -> Option<u16> {
        self.waiting.oldest()
    }

    /// Whether a fragment may wait for the first of its datagram.
    ///
    /// # Errors
    /// Why it may not.
    pub fn admits(&self, slot: u16) -> Result<(), Refused> {
        let there = &self.slots[usize::from(slot)];
        self.pool.admits(&there.chain, &there.key.src)
    }

    /// Makes a fragment wait that was admitted.
    pub fn hold(&mut self, slot: u16, packet: Packet<F>) {
        self.pool.push(&mut self.slots[usize::from(slot)].chain, packet);
    }

    /// Takes the next of fragments that have waited.
    pub fn release(&mut self, chain: &mut Chain) -> Option<Packet<F>> {
        self.pool.pop(chain)
    }
}
