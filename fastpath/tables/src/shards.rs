use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

const WAYS: usize = 32;
/// Words of a shard's filter: with the pointer to what is in the shard, a cache line.
const FILTER_WORDS: usize = 7;
/// Shards of a [`ShardMap`].
pub const SHARDS: usize = WAYS * WAYS;

/// A hash map in [`SHARDS`] shards. A clone shares everything; a change clones
/// the one shard that it touches (and two arrays of 32 above it), and
/// not even that when nobody else holds them. That a key is not there is told by these
/// arrays themselves, in seven of eight cases where there are 100,000.
pub struct ShardMap<K, V> {
    groups: Arc<[Arc<Group<K, V>>; WAYS]>,
    len: usize,
}

struct Group<K, V> {
    shards: [Shard<K, V>; WAYS],
}

#[repr(align(64))]
struct Shard<K, V> {
    table: Arc<HashTable<(K, V)>>,
    /// Two bits of a word are set for each key (Bloom, 1970).
    filter: [u64; FILTER_WORDS],
}

impl<K, V> Clone for Shard<K, V> {
    fn clone(&self) -> Self {
        Shard { table: self.table.clone(), filter: self.filter }
    }
}

impl<K, V> Default for Shard<K, V> {
    fn default() -> Self {
        Shard { table: Arc::new(HashTable::new()), filter: [0; FILTER_WORDS] }
    }
}

impl<K: Hash, V> Shard<K, V> {
    /// Whether a key of this hash may be here.
    #[inline]
    fn may_have(&self, hash: u64) -> bool {
        let (word, bits) = place_in_filter(hash);
        self.filter[word] & bits == bits
    }

    fn note(&mut self, hash: u64) {
        let (word, bits) = place_in_filter(hash);
        self.filter[word] |= bits;
    }

    /// Forgets the keys that are gone.
    fn refilter(&mut self) {
        self.filter = [0; FILTER_WORDS];
        let table = Arc::clone(&self.table);
        table.iter().for_each(|(key, _)| self.note(hash_of(key)));
    }
}

impl<K, V> Clone for Group<K, V> {
    fn clone(&self) -> Self {
        Group { shards: self.shards.clone() }
    }
}

impl<K, V> Clone for ShardMap<K, V> {
    fn clone(&self) -> Self {
        ShardMap { groups: self.groups.clone(), len: self.len }
    }
}

impl<K, V> Default for ShardMap<K, V> {
    fn default() -> Self {
        let shard = Shard::default();
        let group = Arc::new(Group { shards: std::array::from_fn(|_| shard.clone()) });
        ShardMap { groups: Arc::new(std::array::from_fn(|_| group.clone())), len: 0 }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> ShardMap<K, V> {
    /// Entries in the map.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when the map has no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a key.
    #[inline]
    pub fn get(&self, key: &K) -> Option<&V> {
        let hash = hash_of(key);
        let (group, shard) = place(hash);
        let shard = &self.groups[group].shards[shard];
        if !shard.may_have(hash) {
            return None;
        }
        shard.table.find(hash, |entry| entry.0 == *key).map(|entry| &entry.1)
    }

    /// Sets the value of a key and returns the one it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = hash_of(&key);
        let shard = self.shard_mut(hash);
        let table = Arc::make_mut(&mut shard.table);
        if let Some(entry) = table.find_mut(hash, |entry| entry.0 == key) {
            return Some(std::mem::replace(&mut entry.1, value));
        }
        table.insert_unique(hash, (key, value), |entry| hash_of(&entry.0));
        shard.note(hash);
        self.len += 1;
        None
    }

    /// Removes a key and returns its value. Clones nothing when it is absent.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.get(key)?;
        let hash = hash_of(key);
        let shard = self.shard_mut(hash);
        let table = Arc::make_mut(&mut shard.table);
        let entry = table.find_entry(hash, |entry| entry.0 == *key).ok()?;
        let ((_, value), _) = entry.remove();
        shard.refilter();
        self.len -= 1;
        Some(value)
    }

    /// All entries, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.groups
            .iter()
            .flat_map(|group| group.shards.iter())
            .flat_map(|shard| shard.table.iter())
            .map(|(key, value)| (key, value))
    }

    /// Lays all shards one behind the other in memory. Those that came to be one by one,
    /// among whatever else was made meanwhile, are on a page each, and who looks
    /// something up pays for that.
    pub fn lay_together(&mut self) {
        let empty = Shard::default();
        let shard = |shard: &Shard<K, V>| match shard.table.is_empty() {
            true => empty.clone(),
            false => Shard { table: Arc::new((*shard.table).clone()), filter: shard.filter },
        };
        let group = |group: &Arc<Group<K, V>>| {
            Arc::new(Group { shards: group.shards.each_ref().map(shard) })
        };
        self.groups = Arc::new(self.groups.each_ref().map(group));
    }

    /// How many of the [`SHARDS`] two versions share: how little a change
    /// touched.
    pub fn shards_shared_with(&self, other: &Self) -> usize {
        let groups = self.groups.iter().zip(other.groups.iter());
        let shards = groups.flat_map(|(a, b)| a.shards.iter().zip(b.shards.iter()));
        shards.filter(|(a, b)| Arc::ptr_eq(&a.table, &b.table)).count()
    }

    fn shard_mut(&mut self, hash: u64) -> &mut Shard<K, V> {
        let (group, shard) = place(hash);
        &mut Arc::make_mut(&mut Arc::make_mut(&mut self.groups)[group]).shards[shard]
    }
}

fn hash_of<K: Hash>(key: &K) -> u64 {
    FixedState::with_seed(0x51_71_c3).hash_one(key)
}

/// Bits that hashbrown uses neither for the bucket nor for the tag first.
fn place(hash: u64) -> (usize, usize) {
    ((hash >> 40) as usize % WAYS, (hash >> 48) as usize % WAYS)
}

/// The word of a filter and the two bits of it that a key of this hash sets, by hash bits that
/// nothing else uses.
#[inline]
fn place_in_filter(hash: u64) -> (usize, u64) {
    let word = (((hash >> 8) & 0xffff) * FILTER_WORDS as u64) >> 16;
    (word as usize, (1 << ((hash >> 24) % 64)) | (1 << ((hash >> 30) % 64)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn agrees_with_the_standard_map_and_leaves_old_versions_alone() {
        let mut oracle: HashMap<u32, u32> = HashMap::new();
        let mut map: ShardMap<u32, u32> = ShardMap::default();
        let mut x = 1u32;
        for step in 0..20_000u32 {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = (x >> 16) % 3000;
            if x & 3 == 0 {
                assert_eq!(map.remove(&key), oracle.remove(&key));
            } else {
                let before = map.clone();
                assert_eq!(map.insert(key, step), oracle.insert(key, step));
                assert_ne!(before.get(&key), Some(&step));
            }
        }
        assert_eq!(map.len(), oracle.len());
        let scattered = map.clone();
        map.lay_together();
        assert_eq!(map.shards_shared_with(&scattered), 0);
        assert_eq!(map.iter().count(), oracle.len());
        for (key, value) in &oracle {
            assert_eq!(map.get(key), Some(value));
        }
    }

    #[test]
    fn most_keys_that_are_not_there_are_known_by_the_filters() {
        let mut map: ShardMap<u32, u32> = ShardMap::default();
        for key in 0..200_000 {
            map.insert(key, key);
        }
        let may_have = |map: &ShardMap<u32, u32>, key: u32| {
            let (group, shard) = place(hash_of(&key));
            map.groups[group].shards[shard].may_have(hash_of(&key))
        };
        for key in (0..200_000).filter(|key| key % 2 == 1) {
            map.remove(&key);
        }
        assert!((0..200_000).all(|key| map.get(&key).is_some() == (key % 2 == 0)));
        let taken_for_others = (200_000..300_000).filter(|key| may_have(&map, *key)).count();
        assert!(taken_for_others < 20_000, "{taken_for_others} of 100,000");
    }

    #[test]
    fn a_change_shares_every_other_shard() {
        let mut map: ShardMap<u32, u32> = ShardMap::default();
        for key in 0..5000 {
            map.insert(key, key);
        }
        let before = map.clone();
        map.insert(17, 0);
        assert_eq!(before.shards_shared_with(&map), SHARDS - 1);
    }
}
