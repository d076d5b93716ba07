//! What is done when SYNs come faster than they can be taken: the first SYN of a
//! connection is noted and dropped, its retransmission is let in.
//!
//! A client whose SYN is lost sends it again after a second (RFC 6298 section
//! 2.1). A flood from random sources never sends the same one twice, so it costs
//! a lookup each instead of a flow, and the worker has time for everything else.
//! Established connections notice nothing, new ones take a second.

use crate::time::Nanos;
use sluice_tables::hash::fold;

/// SYNs remembered, about: a byte each, touched only in a flood.
const SLOTS: usize = 1 << 25;
/// Nanoseconds of a unit of time, as a shift: 0.54 s.
const UNIT_SHIFT: u32 = 29;
/// Units until they are counted from 1 again: what was noted two minutes before
/// looks new then, which lets one SYN in.
const UNITS: u16 = 255;
/// A SYN is a retransmission if it was noted so many units ago: at the second
/// try of a client, half a second to two seconds later.
const AGES: std::ops::RangeInclusive<u16> = 1..=3;
/// Turns in a row that found a full burst: a backlog of milliseconds, and no
/// mere burst of packets.
const FULL_TURNS: u32 = 256;
/// Nanoseconds for which the gate stays closed; a flood that goes on closes it
/// again at once.
const CLOSED_NS: u64 = 10 * Nanos::SECOND;

/// The gate of one worker. It is open unless there is a flood.
pub struct SynGate {
    /// When each slot was written, in units from 1 to [`UNITS`]; 0: never. It
    /// comes from the system as zero pages and takes memory as it is written.
    stamps: Box<[u8]>,
    seed: u64,
    full_turns: u32,
    closed: bool,
    until: Nanos,
    unit: u8,
}

impl SynGate {
    /// An open gate; `seed` keys the choice of slots.
    pub fn new(seed: u64) -> Self {
        SynGate::with_slots(SLOTS, seed)
    }

    fn with_slots(slots: usize, seed: u64) -> Self {
        let stamps = vec![0; slots].into();
        SynGate { stamps, seed, full_turns: 0, closed: false, until: Nanos(0), unit: 1 }
    }

    /// True while there is a flood.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Notes whether a turn found a full burst, and whether many flows are half
    /// open. Both together are a flood.
    #[inline]
    pub fn turn(&mut self, is_full: bool, many_half_open: bool, now: Nanos) {
        self.full_turns = if is_full { self.full_turns.saturating_add(1) } else { 0 };
        if self.closed || self.full_turns >= FULL_TURNS {
            self.look(many_half_open, now);
        }
    }

    fn look(&mut self, many_half_open: bool, now: Nanos) {
        if self.full_turns >= FULL_TURNS && many_half_open {
            self.closed = true;
            self.until = Nanos(now.0 + CLOSED_NS);
        } else if now >= self.until {
            self.closed = false;
        }
        self.unit = ((now.0 >> UNIT_SHIFT) % u64::from(UNITS)) as u8 + 1;
    }

    /// Whether a SYN with this hash may go on, at the closed gate.
    pub fn admits(&mut self, hash: u64) -> bool {
        let slot = self.slot(hash);
        let stamp = &mut self.stamps[slot];
        let age = (u16::from(self.unit) + UNITS - u16::from(*stamp)) % UNITS;
        if *stamp != 0 && AGES.contains(&age) {
            return true;
        }
        *stamp = self.unit;
        false
    }

    /// The byte that [`SynGate::admits`] looks at, to be prefetched.
    #[inline]
    pub fn line(&self, hash: u64) -> *const u8 {
        std::ptr::from_ref(&self.stamps[self.slot(hash)])
    }

    #[inline]
    fn slot(&self, hash: u64) -> usize {
        fold(hash ^ self.seed, MIX) as usize & (self.stamps.len() - 1)
    }
}

const MIX: u64 = 0xe703_7ed1_a0b4_28db;

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: u64 = 1 << UNIT_SHIFT;

    fn closed(now: u64) -> SynGate {
        let mut gate = SynGate::with_slots(1 << 16, 7);
        for _ in 0..FULL_TURNS {
            gate.turn(true, true, Nanos(now));
        }
        assert!(gate.is_closed());
        gate
    }

    #[test]
    fn only_a_backlog_of_half_open_connections_closes_it() {
        let mut gate = SynGate::with_slots(1, 7);
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
        for start in [0, UNIT * 254, UNIT * 255 * 3 - 1] {
            for (after, admitted) in [(0, false), (1, true), (2, true), (3, true), (4, false)] {
                let mut gate = closed(start);
                assert!(!gate.admits(99));
                gate.turn(false, true, Nanos(start + after * UNIT));
                assert_eq!(gate.admits(99), admitted, "{start}, {after} units");
                assert!(!gate.admits(100));
            }
        }
    }
}
