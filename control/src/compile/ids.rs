use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

/// When numbers are given and freed.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time.
    pub now: Duration,
    /// The version of the tables that every worker has reached.
    pub live: u64,
    /// The version that is being made.
    pub version: u64,
}

/// Numbers for keys: dense, stable while the key exists. A freed number goes to
/// another key only after a quarantine, and only when every worker has tables
/// without it. The same key gets its number back.
#[derive(Debug)]
pub struct Ids<K> {
    slots: Vec<Slot<K>>,
    by_key: HashMap<K, u32>,
    /// Freed numbers, oldest first; an entry whose slot says otherwise is void.
    freed: VecDeque<(u32, Freed)>,
    quarantined: usize,
    quarantine: Duration,
}

#[derive(Debug)]
struct Slot<K> {
    key: K,
    freed: Option<Freed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Freed {
    at: Duration,
    /// The first version without it.
    version: u64,
}

/// A table of numbers whose quarantine can be set.
pub(super) trait Quarantined {
    fn set_quarantine(&mut self, quarantine: Duration);
}

impl<K> Quarantined for Ids<K> {
    fn set_quarantine(&mut self, quarantine: Duration) {
        self.quarantine = quarantine;
    }
}

impl<K: Clone + Eq + Hash> Ids<K> {
    /// No numbers yet.
    pub fn new(quarantine: Duration) -> Self {
        Ids {
            slots: Vec::new(),
            by_key: HashMap::new(),
            freed: VecDeque::new(),
            quarantined: 0,
            quarantine,
        }
    }

    /// The number of a key, a new one if it has none.
    pub fn give(&mut self, key: &K, at: Moment) -> u32 {
        self.give_below(u32::MAX, key, at).expect("fewer keys than 2^32")
    }

    /// The number of a key below `end`; `None` if it has none and none is free.
    pub fn give_below(&mut self, end: u32, key: &K, at: Moment) -> Option<u32> {
        if let Some(&id) = self.by_key.get(key) {
            if self.slots[id as usize].freed.take().is_some() {
                self.quarantined -= 1;
            }
            return Some(id);
        }
        let slot = Slot { key: key.clone(), freed: None };
        let id = match self.reusable(at) {
            Some(id) => {
                let old = std::mem::replace(&mut self.slots[id as usize], slot);
                self.by_key.remove(&old.key);
                self.quarantined -= 1;
                id
            }
            None if self.slots.len() >= end as usize => return None,
            None => {
                self.slots.push(slot);
                self.slots.len() as u32 - 1
            }
        };
        self.by_key.insert(key.clone(), id);
        Some(id)
    }

    /// Puts a number into quarantine.
    pub fn free(&mut self, id: u32, at: Moment) {
        let Some(slot) = self.slots.get_mut(id as usize).filter(|slot| slot.freed.is_none()) else {
            return;
        };
        let freed = Freed { at: at.now, version: at.version };
        slot.freed = Some(freed);
        self.freed.push_back((id, freed));
        self.quarantined += 1;
    }

    /// Takes the oldest freed number out of quarantine, if it may leave.
    fn reusable(&mut self, at: Moment) -> Option<u32> {
        loop {
            let &(id, freed) = self.freed.front()?;
            let is_valid = self.slots[id as usize].freed == Some(freed);
            let is_due = at.now.saturating_sub(freed.at) >= self.quarantine;
            if is_valid && !(is_due && at.live >= freed.version) {
                return None;
            }
            self.freed.pop_front();
            if is_valid {
                return Some(id);
            }
        }
    }

    /// The key of a number, in quarantine or not.
    pub fn key(&self, id: u32) -> Option<&K> {
        self.slots.get(id as usize).map(|slot| &slot.key)
    }

    /// The key of a number in use.
    pub fn used(&self, id: u32) -> Option<&K> {
        let slot = self.slots.get(id as usize).filter(|slot| slot.freed.is_none());
        slot.map(|slot| &slot.key)
    }

    /// The numbers in use and their keys.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &K)> {
        let used = self.slots.iter().enumerate().filter(|(_, slot)| slot.freed.is_none());
        used.map(|(id, slot)| (id as u32, &slot.key))
    }

    /// Numbers in quarantine.
    pub fn quarantined(&self) -> usize {
        self.quarantined
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, live: u64, version: u64) -> Moment {
        Moment { now: Duration::from_secs(seconds), live, version }
    }

    #[test]
    fn a_number_rests_until_time_and_workers_have_gone_on() {
        let mut ids = Ids::new(Duration::from_secs(300));
        assert_eq!(ids.give(&"a", at(0, 0, 1)), 0);
        assert_eq!(ids.give(&"b", at(0, 0, 1)), 1);
        ids.free(0, at(10, 1, 2));
        assert_eq!((ids.quarantined(), ids.key(0)), (1, Some(&"a")));
        assert_eq!((ids.used(0), ids.used(1), ids.used(2)), (None, Some(&"b"), None));
        assert_eq!(ids.give(&"c", at(309, 2, 3)), 2, "too early");
        assert_eq!(ids.give(&"d", at(310, 1, 4)), 3, "a worker still has it");
        assert_eq!(ids.give(&"e", at(310, 2, 5)), 0);
        assert_eq!((ids.quarantined(), ids.key(0)), (0, Some(&"e")));
        assert_eq!(ids.iter().map(|(id, _)| id).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn where_numbers_end_only_old_ones_are_given() {
        let mut ids = Ids::new(Duration::from_secs(300));
        assert_eq!(ids.give_below(1, &"a", at(0, 0, 1)), Some(0));
        assert_eq!(ids.give_below(1, &"b", at(0, 0, 1)), None);
        assert_eq!(ids.give_below(1, &"a", at(0, 0, 1)), Some(0));
        ids.free(0, at(1, 1, 2));
        assert_eq!(ids.give_below(1, &"b", at(300, 2, 3)), None, "too early");
        assert_eq!(ids.give_below(1, &"b", at(301, 2, 3)), Some(0));
    }

    #[test]
    fn the_same_key_gets_its_number_back() {
        let mut ids = Ids::new(Duration::from_secs(300));
        ids.give(&"a", at(0, 0, 1));
        ids.free(0, at(1, 1, 2));
        assert_eq!(ids.give(&"a", at(2, 2, 3)), 0);
        ids.free(0, at(200, 3, 4));
        // The first entry of the queue is void, the second too young.
        assert_eq!(ids.give(&"b", at(400, 9, 5)), 1);
        assert_eq!(ids.give(&"c", at(500, 9, 6)), 0);
        assert_eq!(ids.quarantined(), 0);
    }
}
