use crate::bucket::Bucket;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sources of one set: those among which one is looked for, and gives way to another.
const WAYS: usize = 8;

/// What one source may do: an IPv4 address, or the /64 of an IPv6 one, which is what a
/// single host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLimits {
    /// Handshakes under way at once.
    pub under_way_max: u32,
    /// Handshakes begun in a second, and at once after a pause.
    pub per_s: u32,
    /// Sources that are remembered. Those with nothing under way give way first.
    pub sources_max: usize,
}

impl Default for SourceLimits {
    fn default() -> Self {
        SourceLimits { under_way_max: 256, per_s: 500, sources_max: 16 << 10 }
    }
}

/// Who begins handshakes. A set is locked for as long as one of its sources is looked
/// for: twice a handshake.
#[derive(Debug)]
pub(super) struct Sources {
    limits: SourceLimits,
    hasher: RandomState,
    sets: Box<[Mutex<Vec<Source>>]>,
}

#[derive(Debug)]
struct Source {
    key: Key,
    under_way: u32,
    bucket: Bucket,
    seen_ns: u64,
}

/// Whether it is IPv6, and its address or /64.
type Key = (bool, u64);

/// What a source is told.
pub(super) enum Admission<'a> {
    /// It may begin.
    Admitted(Admitted<'a>),
    /// It may begin, as nobody knows how many it has.
    Untracked,
    /// It may not.
    Refused,
}

/// A handshake of a source: it is over when this is dropped.
pub(super) struct Admitted<'a> {
    sources: &'a Sources,
    key: Key,
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        // The source is there: none with anything under way gives way.
        if let Some(mut set) = self.sources.set(self.key)
            && let Some(source) = set.iter_mut().find(|source| source.key == self.key)
        {
            source.under_way -= 1;
        }
    }
}

impl Sources {
    pub fn new(limits: SourceLimits) -> Self {
        let sets = limits.sources_max.div_ceil(WAYS).max(1);
        Sources {
            limits,
            hasher: RandomState::new(),
            sets: (0..sets).map(|_| Mutex::default()).collect(),
        }
    }

    pub fn enter(&self, source: IpAddr, now_ns: u64) -> Admission<'_> {
        let key = key(source);
        let Some(mut set) = self.set(key) else {
            return Admission::Untracked;
        };
        let at = match set.iter().position(|source| source.key == key) {
            Some(at) => at,
            None => {
                if set.len() == WAYS {
                    let idle = set.iter().enumerate().filter(|(_, source)| source.under_way == 0);
                    let Some((oldest, _)) = idle.min_by_key(|(_, source)| source.seen_ns) else {
                        return Admission::Untracked;
                    };
                    set.swap_remove(oldest);
                }
                let bucket = Bucket::new(self.limits.per_s);
                set.push(Source { key, under_way: 0, bucket, seen_ns: now_ns });
                set.len() - 1
            }
        };
        let Some(source) = set.get_mut(at) else {
            return Admission::Untracked;
        };
        source.seen_ns = now_ns;
        if source.under_way >= self.limits.under_way_max || !source.bucket.take(now_ns) {
            return Admission::Refused;
        }
        source.under_way += 1;
        Admission::Admitted(Admitted { sources: self, key })
    }

    fn set(&self, key: Key) -> Option<MutexGuard<'_, Vec<Source>>> {
        let at = self.hasher.hash_one(key) % self.sets.len() as u64;
        let set = self.sets.get(at as usize)?;
        Some(set.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn key(source: IpAddr) -> Key {
    match source.to_canonical() {
        IpAddr::V4(addr) => (false, addr.to_bits().into()),
        IpAddr::V6(addr) => (true, (addr.to_bits() >> 64) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn enter<'a>(sources: &'a Sources, source: &str, now_ns: u64) -> Option<Admitted<'a>> {
        match sources.enter(addr(source), now_ns) {
            Admission::Admitted(admitted) => Some(admitted),
            Admission::Untracked => panic!("{source} is not tracked"),
            Admission::Refused => None,
        }
    }

    #[test]
    fn a_source_has_so_many_under_way_and_so_many_a_second() {
        let limits = SourceLimits { under_way_max: 2, per_s: 3, sources_max: 64 };
        let sources = Sources::new(limits);
        for (source, same) in
            [("192.0.2.1", "::ffff:192.0.2.1"), ("2001:db8::1", "2001:db8::ffff:2")]
        {
            let first = enter(&sources, source, 0);
            let second = enter(&sources, same, 0);
            assert!(first.is_some() && second.is_some());
            assert!(enter(&sources, source, 0).is_none(), "two are under way");
            drop(first);
            assert!(enter(&sources, source, 0).is_some());
            assert!(enter(&sources, source, 0).is_none(), "three were begun");
            assert!(enter(&sources, same, SECOND_NS / 3 + 1).is_some());
        }
        assert!(enter(&sources, "192.0.2.2", 0).is_some());
        assert!(enter(&sources, "2001:db8:0:1::1", 0).is_some());
    }

    #[test]
    fn the_oldest_idle_source_gives_way_and_none_with_a_handshake_under_way() {
        let limits = SourceLimits { under_way_max: 1, per_s: 100, sources_max: WAYS };
        let sources = Sources::new(limits);
        let source = |n: usize| format!("198.51.100.{n}");
        let mut all: Vec<_> = (0..WAYS).map(|n| enter(&sources, &source(n), n as u64)).collect();
        assert!(matches!(sources.enter(addr(&source(100)), 50), Admission::Untracked));
        all[5] = None;
        all[3] = None;
        assert!(enter(&sources, &source(101), 51).is_some());
        let set = sources.sets[0].lock().unwrap();
        assert_eq!(set.len(), WAYS);
        assert!(set.iter().any(|one| one.key == key(addr(&source(5)))));
        assert!(!set.iter().any(|one| one.key == key(addr(&source(3)))), "seen before the fifth");
        drop(set);
    }
}
