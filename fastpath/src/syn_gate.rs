//! What is done when SYNs come faster than they can be taken: the first SYN of a
//! connection is noted and dropped, its retransmission is let in.
//!
//! A client whose SYN is lost sends it again after a second (RFC 6298 section
//! 2.1). A flood from random sources never sends the same one twice, so it costs
//! a lookup each instead of a flow, and the worker has time for everything else.
//! Established connections notice nothing, new ones take a second.

use crate::time::Nanos;
use sluice_tables::hash::fold;

/// SYNs in a bucket, which is a cache line.
const WAYS: usize = 32;
/// Buckets: 32 MiB, touched only in a flood. At 4 million SYNs a second a SYN is
/// remembered for four seconds.
const BUCKETS: usize = 1 << 19;
/// Nanoseconds of a unit of time, as a shift: 0.54 s.
const UNIT_SHIFT: u32 = 29;
/// Units until they are counted from 0 again. What was noted so long ago looks
/// new, which lets a SYN in that has the same mark: one of 4,096.
const UNITS: u64 = 1 << STAMP_BITS;
const STAMP_BITS: u32 = 4;
/// A SYN is a retransmission if it was noted so many units ago. Clients wait 1, 2
/// and 4 s from one try to the next.
const AGES: std::ops::RangeInclusive<u16> = 1..=8;
/// Turns in a row that found a full burst: a backlog of milliseconds, and no
/// mere burst of packets.
const FULL_TURNS: u32 = 256;
/// Nanoseconds for which the gate stays closed; a flood that goes on closes it
/// again at once.
const CLOSED_NS: u64 = 10 * Nanos::SECOND;

/// The gate of one worker. It is open unless there is a flood.
pub struct SynGate {
    /// SYNs that were noted: twelve bits of the hash, and when. Plain numbers, which
    /// come from the system as zero pages and take memory as they are written.
    notes: Box<[u16]>,
    /// Where the first bucket begins, at a cache line.
    first: usize,
    /// Buckets, less one.
    mask: usize,
    seed: u64,
    may_close: bool,
    full_turns: u32,
    closed: bool,
    until: Nanos,
    /// The time in units, modulo [`UNITS`].
    unit: u16,
}

impl SynGate {
    /// An open gate, which closes if it `may_close`; `seed` keys the choice of
    /// buckets.
    pub fn new(may_close: bool, seed: u64) -> Self {
        SynGate { may_close, ..SynGate::with_buckets(BUCKETS, seed) }
    }

    fn with_buckets(buckets: usize, seed: u64) -> Self {
        const LINE: usize = 64;
        let notes: Box<[u16]> = vec![0; (buckets + 1) * WAYS].into();
        let first = notes.as_ptr().align_offset(LINE).min(WAYS);
        SynGate {
            notes,
            first,
            mask: buckets - 1,
            seed,
            may_close: true,
            full_turns: 0,
            closed: false,
            until: Nanos(0),
            unit: 0,
        }
    }

    /// True while there is a flood.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Notes whether a turn found a full burst, and whether many handshakes are not
    /// over. Both together are a flood.
    #[inline]
    pub fn turn(&mut self, is_full: bool, many_syns: bool, now: Nanos) {
        self.full_turns = if is_full { self.full_turns.saturating_add(1) } else { 0 };
        if self.closed || self.full_turns >= FULL_TURNS {
            self.look(many_syns, now);
        }
    }

    fn look(&mut self, many_syns: bool, now: Nanos) {
        if self.may_close && self.full_turns >= FULL_TURNS && many_syns {
            self.closed = true;
            self.until = Nanos(now.0 + CLOSED_NS);
        } else if now >= self.until {
            self.closed = false;
        }
        self.unit = ((now.0 >> UNIT_SHIFT) % UNITS) as u16;
    }

    /// Whether a SYN with this hash may go on, at the closed gate. One that may not
    /// is noted, in the place of the oldest.
    pub fn admits(&mut self, hash: u64) -> bool {
        let mark = (self.mix(hash) >> (64 - (16 - STAMP_BITS)) << STAMP_BITS) as u16;
        let unit = self.unit;
        let at = self.bucket(hash);
        let age = |entry: u16| unit.wrapping_sub(entry) % UNITS as u16;
        let entries = &mut self.notes[at..at + WAYS];
        let (mut oldest, mut is_new) = (0, true);
        for way in 0..WAYS {
            let entry = entries[way];
            if entry & !(UNITS as u16 - 1) == mark && entry != 0 {
                if AGES.contains(&age(entry)) {
                    return true;
                }
                is_new &= age(entry) != 0;
            }
            if entries[oldest] != 0 && (entry == 0 || age(entry) > age(entries[oldest])) {
                oldest = way;
            }
        }
        if is_new {
            entries[oldest] = mark | unit;
        }
        false
    }

    /// The bucket that [`SynGate::admits`] looks at, to be prefetched.
    #[inline]
    pub fn line(&self, hash: u64) -> *const u8 {
        std::ptr::from_ref(&self.notes[self.bucket(hash)]).cast()
    }

    /// Where the bucket of a hash begins.
    #[inline]
    fn bucket(&self, hash: u64) -> usize {
        self.first + (self.mix(hash) as usize & self.mask) * WAYS
    }

    #[inline]
    fn mix(&self, hash: u64) -> u64 {
        fold(hash ^ self.seed, MIX)
    }
}

const MIX: u64 = 0xe703_7ed1_a0b4_28db;

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: u64 = 1 << UNIT_SHIFT;

    fn closed(now: u64) -> SynGate {
        let mut gate = SynGate::with_buckets(1 << 10, 7);
        for _ in 0..FULL_TURNS {
            gate.turn(true, true, Nanos(now));
        }
        assert!(gate.is_closed());
        gate
    }

    #[test]
    fn only_a_backlog_of_half_open_connections_closes_it() {
        let mut gate = SynGate::with_buckets(1, 7);
        for turn in 0..FULL_TURNS * 3 {
            gate.turn(turn % FULL_TURNS != 0, true, Nanos(1));
        }
        assert!(!gate.is_closed(), "turns that are not full come in between");
        for _ in 0..FULL_TURNS {
            gate.turn(true, false, Nanos(1));
        }
        assert!(!gate.is_closed(), "few flows are half open");
    }

    #[test]
    fn it_opens_when_its_time_is_over_unless_the_flood_goes_on() {
        let mut gate = closed(1);
        gate.turn(true, true, Nanos(CLOSED_NS));
        gate.turn(false, true, Nanos(CLOSED_NS + 1));
        assert!(gate.is_closed());
        gate.turn(false, true, Nanos(2 * CLOSED_NS));
        assert!(!gate.is_closed());
    }

    #[test]
    fn a_retransmission_is_admitted_and_what_comes_too_soon_or_too_late_is_not() {
        // Also where the count of units wraps.
        for start in [0, UNIT * 15, UNIT * 16 * 3 - 1] {
            for (after, admitted) in [(0, false), (1, true), (2, true), (8, true), (9, false)] {
                let mut gate = closed(start);
                assert!(!gate.admits(99));
                gate.turn(false, true, Nanos(start + after * UNIT));
                assert_eq!(gate.admits(99), admitted, "{start}, {after} units");
                assert!(!gate.admits(100));
            }
        }
    }

    #[test]
    fn the_oldest_give_way_and_few_are_mistaken() {
        let mut gate = closed(0);
        let flood = |gate: &mut SynGate, from: u64| {
            (from..from + 20_000).filter(|n| gate.admits(fold(*n, MIX))).count()
        };
        assert_eq!(flood(&mut gate, 0), 0, "all of one unit");
        gate.turn(false, true, Nanos(UNIT));
        // 20,000 fit beside as many of before; 32 in 4,096 are mistaken.
        assert!(flood(&mut gate, 100_000) < 400);
        let known = |gate: &mut SynGate, from: u64| {
            (from..from + 1_000).filter(|n| gate.admits(fold(*n, MIX))).count()
        };
        gate.turn(false, true, Nanos(2 * UNIT));
        assert!(known(&mut gate, 119_000) > 900, "the youngest");
        assert!(known(&mut gate, 0) < 500, "the oldest");
    }
}
