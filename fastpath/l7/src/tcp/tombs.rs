//! Connections in TIME-WAIT (RFC 9293 section 3.6.1): what is needed to answer late
//! segments and to know a new connection from an old duplicate.

use super::key::{Key, KeyedHash};
use super::options::Stamps;
use hashbrown::HashMap;
use std::collections::VecDeque;

/// What is left of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tomb {
    /// The next sequence number that would be sent (SND.NXT).
    pub snd_nxt: u32,
    /// The next one expected (RCV.NXT), after the peer's FIN.
    pub rcv_nxt: u32,
    /// The last timestamps, where there are any.
    pub stamps: Option<Stamps>,
    pub until_ns: u64,
}

/// All of them, as many as there may be.
pub(super) struct Tombs {
    tombs: HashMap<Key, Tomb, KeyedHash>,
    /// In the order of their ends. Holds more than `tombs` where connections were
    /// recycled: its length is what is bounded.
    order: VecDeque<(Key, u64)>,
    max: usize,
}

/// Ended tombs that are removed at a time.
const SWEEP: usize = 16;

impl Tombs {
    pub fn new(max: usize, hash: KeyedHash) -> Self {
        Tombs {
            tombs: HashMap::with_capacity_and_hasher(max, hash),
            order: VecDeque::with_capacity(max),
            max,
        }
    }

    pub fn len(&self) -> usize {
        self.tombs.len()
    }

    pub fn get(&self, key: &Key, now_ns: u64) -> Option<Tomb> {
        if self.tombs.is_empty() {
            return None;
        }
        self.tombs.get(key).filter(|tomb| now_ns < tomb.until_ns).copied()
    }

    /// Adds one, which ends after all others; says how many gave way to it.
    pub fn add(&mut self, key: Key, tomb: Tomb) -> u64 {
        let mut gave_way = 0;
        while self.order.len() >= self.max.max(1) {
            gave_way += u64::from(self.remove_first());
        }
        if self.max > 0 {
            self.tombs.insert(key, tomb);
            self.order.push_back((key, tomb.until_ns));
        }
        gave_way
    }

    pub fn remove(&mut self, key: &Key) {
        self.tombs.remove(key);
    }

    /// Removes some whose time is over.
    pub fn sweep(&mut self, now_ns: u64) {
        for _ in 0..SWEEP {
            match self.order.front() {
                Some((_, until_ns)) if *until_ns <= now_ns => self.remove_first(),
                _ => break,
            };
        }
    }

    /// Removes the first in order; false if it had been recycled.
    fn remove_first(&mut self) -> bool {
        let Some((key, until_ns)) = self.order.pop_front() else { return false };
        let is_it = self.tombs.get(&key).is_some_and(|tomb| tomb.until_ns == until_ns);
        if is_it {
            self.tombs.remove(&key);
        }
        is_it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(port: u16) -> Key {
        Key {
            local: [10, 0, 0, 1].into(),
            remote: [10, 0, 0, 2].into(),
            local_port: 80,
            remote_port: port,
        }
    }

    fn tomb(until_ns: u64) -> Tomb {
        Tomb { snd_nxt: 1, rcv_nxt: 2, stamps: None, until_ns }
    }

    #[test]
    fn the_oldest_gives_way_and_the_old_are_swept() {
        let mut tombs = Tombs::new(2, KeyedHash([1, 2]));
        assert_eq!(tombs.add(key(1), tomb(10)), 0);
        assert_eq!(tombs.add(key(2), tomb(11)), 0);
        assert_eq!(tombs.add(key(3), tomb(12)), 1);
        assert_eq!(tombs.get(&key(1), 0), None);
        assert_eq!(tombs.get(&key(2), 10), Some(tomb(11)));
        assert_eq!(tombs.get(&key(2), 11), None, "its time is over");
        tombs.sweep(11);
        assert_eq!(tombs.len(), 1);
    }

    #[test]
    fn one_that_was_recycled_is_not_mistaken_for_the_next_of_its_key() {
        let mut tombs = Tombs::new(2, KeyedHash([1, 2]));
        tombs.add(key(1), tomb(10));
        tombs.remove(&key(1));
        tombs.add(key(1), tomb(20));
        tombs.sweep(15);
        assert_eq!(tombs.get(&key(1), 15), Some(tomb(20)));
        assert_eq!(tombs.add(key(2), tomb(30)), 0);
    }

    #[test]
    fn none_where_none_are_wanted() {
        let mut tombs = Tombs::new(0, KeyedHash([1, 2]));
        assert_eq!(tombs.add(key(1), tomb(10)), 0);
        assert_eq!(tombs.len(), 0);
    }
}
