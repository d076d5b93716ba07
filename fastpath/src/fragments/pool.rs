use super::order::NONE;
use crate::packet::Packet;
use crate::wire::ip::Ip;
use sluice_tables::hash::endpoint;

/// Sources are counted by hash in so many classes.
const CLASSES: usize = 256;

/// Fragments of one datagram that wait, in the order in which they came: the
/// first and the last place of them in a [`Pool`].
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    first: u16,
    last: u16,
    len: u16,
}

impl Chain {
    /// Nothing waits.
    pub const EMPTY: Chain = Chain { first: NONE, last: NONE, len: 0 };
}

/// Fragments that wait for the first of their datagram. Bounded over all, for
/// each datagram (a quarter: the 45 of 64 KiB over Ethernet, unless it is set
/// smaller) and for each class of sources (half).
pub struct Pool<F: Ip> {
    places: Vec<Place<F>>,
    free: u16,
    len: usize,
    held_max: usize,
    by_class: Box<[u16]>,
    seed: u64,
}

struct Place<F: Ip> {
    packet: Option<Packet<F>>,
    next: u16,
}

/// Why a fragment may not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many as may wait in all: others may give way.
    Full,
    /// Its datagram or its source has its share.
    Share,
}

impl<F: Ip> Pool<F> {
    /// Room for `held_max` fragments. Classes of sources are keyed by `seed`.
    pub fn new(held_max: usize, seed: u64) -> Self {
        let held_max = held_max.min(usize::from(NONE));
        Pool {
            places: Vec::with_capacity(held_max),
            free: NONE,
            len: 0,
            held_max,
            by_class: vec![0; CLASSES].into(),
            seed,
        }
    }

    /// Fragments that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether another fragment of a datagram and source may wait.
    pub fn admits(&self, chain: &Chain, src: &F::Addr) -> Result<(), Refused> {
        let share = |part: usize| (self.held_max / part).max(1);
        let of_class = usize::from(self.by_class[self.class(src)]);
        if usize::from(chain.len) >= share(4) || of_class >= share(2) {
            return Err(Refused::Share);
        }
        if self.len >= self.held_max { Err(Refused::Full) } else { Ok(()) }
    }

    /// Makes a fragment wait that was admitted.
    pub fn push(&mut self, chain: &mut Chain, packet: Packet<F>) {
        let class = self.class(&packet.key.src);
        self.by_class[class] += 1;
        self.len += 1;
        let place = match self.places.get_mut(usize::from(self.free)) {
            Some(place) => {
                let next = std::mem::replace(&mut place.next, NONE);
                place.packet = Some(packet);
                std::mem::replace(&mut self.free, next)
            }
            None => {
                self.places.push(Place { packet: Some(packet), next: NONE });
                (self.places.len() - 1) as u16
            }
        };
        match self.places.get_mut(usize::from(chain.last)) {
            Some(last) => last.next = place,
            None => chain.first = place,
        }
        chain.last = place;
        chain.len += 1;
    }

    /// Takes the fragment of a chain that has waited longest.
    pub fn pop(&mut self, chain: &mut Chain) -> Option<Packet<F>> {
        let number = chain.first;
        let place = self.places.get_mut(usize::from(number))?;
        let packet = place.packet.take()?;
        chain.first = std::mem::replace(&mut place.next, self.free);
        self.free = number;
        chain.len -= 1;
        if chain.len == 0 {
            *chain = Chain::EMPTY;
        }
        let class = self.class(&packet.key.src);
        self.by_class[class] -= 1;
        self.len -= 1;
        Some(packet)
    }

    fn class(&self, src: &F::Addr) -> usize {
        endpoint(self.seed, src.as_ref(), 0) as usize % CLASSES
    }
}
