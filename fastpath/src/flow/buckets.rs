/// Entries in a bucket.
const WAYS: usize = 8;
const EMPTY: u16 = 0;

/// One cache line: tags of eight entries and their numbers.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Bucket {
    /// Tags of 16 bits, four in a word, so that a few operations compare them all.
    tags: [u64; 2],
    entries: [u32; WAYS],
    /// Entries that belong here and live in their other bucket.
    spilled: u32,
    /// A bit for each way whose entry belongs to its other bucket.
    guests: u32,
}

impl Bucket {
    fn tag(&self, way: usize) -> u16 {
        (self.tags[way / 4] >> (way % 4 * 16)) as u16
    }

    fn set_tag(&mut self, way: usize, tag: u16) {
        let (word, shift) = (&mut self.tags[way / 4], way % 4 * 16);
        *word = *word & !(0xffff << shift) | u64::from(tag) << shift;
    }
}

/// A fixed hash table from hashes to entry numbers: a bucket is a cache line,
/// an entry lives in its first bucket or, when that is full, in its second.
/// When both are full, one of their entries moves to its own other bucket (one
/// step of cuckoo hashing; Pagh and Rodler, 2001): at half load, both buckets
/// of one in hundreds are full, and those of their sixteen entries never are.
/// It never grows, so no packet ever waits for a rehash.
pub(super) struct Buckets {
    buckets: Vec<Bucket>,
    mask: usize,
}

impl Buckets {
    /// A table that holds `entries` at about half load.
    pub(super) fn new(entries: usize) -> Self {
        let len = (entries * 2 / WAYS).next_power_of_two().max(2);
        let mut buckets = crate::hugepage::vec_with_capacity(len);
        let empty = Bucket { tags: [0; 2], entries: [0; WAYS], spilled: 0, guests: 0 };
        buckets.resize(len, empty);
        Buckets { buckets, mask: len - 1 }
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>()
    }

    /// The bucket of a hash, to be prefetched.
    #[inline]
    pub(super) fn line(&self, hash: u64) -> *const u8 {
        std::ptr::from_ref(&self.buckets[self.first(hash)]).cast()
    }

    #[inline]
    fn first(&self, hash: u64) -> usize {
        hash as usize & self.mask
    }

    #[inline]
    fn second(&self, hash: u64) -> usize {
        self.other(self.first(hash), tag(hash))
    }

    /// The other bucket of an entry with this tag: of its first the second,
    /// and the other way round.
    #[inline]
    fn other(&self, bucket: usize, tag: u16) -> usize {
        // An odd step: never the same bucket.
        bucket ^ ((usize::from(tag).wrapping_mul(0x5bd1_e995) | 1) & self.mask)
    }

    /// The first entry of the first bucket whose tag fits: nearly always the
    /// one, if there is one. To be verified by [`Buckets::find`]'s caller.
    #[inline(always)]
    pub(super) fn suggest(&self, hash: u64) -> Option<u32> {
        let bucket = &self.buckets[self.first(hash)];
        let found = matches(bucket, tag(hash));
        if found != 0 {
            return Some(bucket.entries[first_way(found)]);
        }
        if bucket.spilled == 0 { None } else { self.suggest_second(hash) }
    }

    #[cold]
    fn suggest_second(&self, hash: u64) -> Option<u32> {
        let bucket = &self.buckets[self.second(hash)];
        let found = matches(bucket, tag(hash));
        (found != 0).then(|| bucket.entries[first_way(found)])
    }

    /// The entry with this hash that `is_it` accepts.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let first = &self.buckets[self.first(hash)];
        let found = find_in(first, tag(hash), &mut is_it);
        if found.is_some() || first.spilled == 0 {
            return found;
        }
        find_in(&self.buckets[self.second(hash)], tag(hash), &mut is_it)
    }

    /// Adds an entry; false when there is no room for it.
    #[must_use]
    pub(super) fn insert(&mut self, hash: u64, entry: u32) -> bool {
        let (first, second) = (self.first(hash), self.second(hash));
        if self.put(first, hash, entry) || self.put(second, hash, entry) {
            return true;
        }
        (self.make_room(first) && self.put(first, hash, entry))
            || (self.make_room(second) && self.put(second, hash, entry))
    }

    /// Removes an entry that was added with this hash.
    pub(super) fn remove(&mut self, hash: u64, entry: u32) {
        let first = self.first(hash);
        if take(&mut self.buckets[first], tag(hash), entry) {
            return;
        }
        let second = self.second(hash);
        if take(&mut self.buckets[second], tag(hash), entry) {
            self.buckets[first].spilled -= 1;
        }
    }

    /// Puts an entry into a free way of one of its buckets, if there is one.
    fn put(&mut self, at: usize, hash: u64, entry: u32) -> bool {
        let free = matches(&self.buckets[at], EMPTY);
        if free == 0 {
            return false;
        }
        let first = self.first(hash);
        let way = first_way(free);
        let bucket = &mut self.buckets[at];
        bucket.set_tag(way, tag(hash));
        bucket.entries[way] = entry;
        if at != first {
            bucket.guests |= 1 << way;
            self.buckets[first].spilled += 1;
        }
        true
    }

    /// Moves one entry of a full bucket to its other one.
    #[cold]
    fn make_room(&mut self, at: usize) -> bool {
        for way in 0..WAYS {
            let bucket = self.buckets[at];
            let tag = bucket.tag(way);
            let other = self.other(at, tag);
            let free = matches(&self.buckets[other], EMPTY);
            if free == 0 {
                continue;
            }
            let to = first_way(free);
            self.buckets[other].set_tag(to, tag);
            self.buckets[other].entries[to] = bucket.entries[way];
            self.buckets[at].set_tag(way, EMPTY);
            if bucket.guests >> way & 1 != 0 {
                self.buckets[at].guests &= !(1 << way);
                self.buckets[other].spilled -= 1;
            } else {
                self.buckets[other].guests |= 1 << to;
                self.buckets[at].spilled += 1;
            }
            return true;
        }
        false
    }
}

/// The tag: hash bits that do not choose the bucket, never [`EMPTY`].
#[inline]
fn tag(hash: u64) -> u16 {
    (hash >> 48) as u16 | 1
}

const LOW: u64 = 0x0001_0001_0001_0001;
const HIGH: u64 = LOW << 15;

/// A bit for each way whose tag fits; [`first_way`] tells which.
#[inline]
fn matches(bucket: &Bucket, tag: u16) -> u64 {
    // Lanes of 16 bits that are zero, exactly: adding 0x7fff to the low bits of
    // a lane carries into its high bit unless they are all zero, and never
    // beyond it.
    let zeros = |word: u64| {
        let lanes = word ^ (u64::from(tag) * LOW);
        !(((lanes & !HIGH) + !HIGH) | lanes) & HIGH
    };
    let [low, high] = bucket.tags;
    zeros(low) >> 15 | zeros(high) >> 14
}

/// The way of the lowest bit of [`matches`]: bit 16 n stands for way n, bit
/// 16 n + 1 for way 4 + n.
#[inline]
fn first_way(found: u64) -> usize {
    let bit = found.trailing_zeros() as usize;
    (bit / 16 + bit % 2 * 4) % WAYS
}

#[inline]
fn find_in(bucket: &Bucket, tag: u16, is_it: &mut impl FnMut(u32) -> bool) -> Option<u32> {
    let mut found = matches(bucket, tag);
    while found != 0 {
        let entry = bucket.entries[first_way(found)];
        if is_it(entry) {
            return Some(entry);
        }
        found &= found - 1;
    }
    None
}

fn take(bucket: &mut Bucket, tag: u16, entry: u32) -> bool {
    let way = (0..WAYS).find(|&way| bucket.tag(way) == tag && bucket.entries[way] == entry);
    if let Some(way) = way {
        bucket.set_tag(way, EMPTY);
        bucket.guests &= !(1 << way);
    }
    way.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn agrees_with_the_standard_map_at_its_nominal_load() {
        let mut oracle: HashMap<u32, u64> = HashMap::new();
        let mut buckets = Buckets::new(1000);
        let mut x = 3u64;
        for step in 0..50_000u32 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let hash = sluice_tables::hash::fold(x, 0x9e37_79b9_7f4a_7c15);
            if oracle.len() >= 1000 || x & 7 == 0 {
                let Some((&entry, &hash)) = oracle.iter().next() else { continue };
                oracle.remove(&entry);
                buckets.remove(hash, entry);
                assert_eq!(buckets.find(hash, |e| e == entry), None);
            } else {
                assert!(buckets.insert(hash, step), "no room for entry {}", oracle.len());
                oracle.insert(step, hash);
            }
            if step % 500 == 0 {
                for (&entry, &hash) in &oracle {
                    assert_eq!(buckets.find(hash, |e| e == entry), Some(entry));
                    assert!(buckets.suggest(hash).is_some());
                }
            }
        }
        for (entry, hash) in oracle {
            buckets.remove(hash, entry);
        }
        for bucket in &buckets.buckets {
            assert_eq!((bucket.tags, bucket.spilled, bucket.guests), ([0; 2], 0, 0));
        }
    }

    #[test]
    fn nothing_is_refused_below_two_thirds() {
        let mut buckets = Buckets::new(1 << 16);
        let slots = buckets.buckets.len() * WAYS;
        for entry in 0..slots as u32 * 2 / 3 {
            let hash =
                sluice_tables::hash::fold(u64::from(entry) ^ 0x1234_5678, 0x9e37_79b9_7f4a_7c15);
            assert!(buckets.insert(hash, entry), "no room for entry {entry} of {slots} slots");
        }
    }
}
