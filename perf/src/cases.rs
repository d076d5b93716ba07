/// Flows that begin and expire.
pub mod churn;
/// The core's own clock.
pub mod clock;
/// The same few frames over and over.
pub mod fixed;
/// The port alone, and frames touched but not judged.
pub mod null;
/// Two workers on two cores, of which one hands all packets to the other.
pub mod pair;
/// Established flows, in both directions.
pub mod steady;
/// Two workers on two cores, both fed at once.
pub mod two;

use crate::gateway::Seat;
use anyhow::Result;
use sluice_fastpath::{Nanos, Worker};
use std::time::Duration;

/// Packets in one round.
pub const PACKETS: usize = 4096;

/// How much of what was sent is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Every frame.
    All,
    /// One in [`SAMPLE`].
    Sample,
}

/// One frame in so many is parsed in a sampled round; all of them are counted.
pub const SAMPLE: usize = 64;

impl Check {
    /// Whether to look at frame `number` of a round.
    pub fn wants(self, number: usize) -> bool {
        self == Check::All || number.is_multiple_of(SAMPLE)
    }
}

/// One row of the results.
pub trait Case {
    /// Prepares a round, runs it, and checks what came out. Returns the ticks
    /// that the workers took; preparation and checks are left out.
    ///
    /// # Errors
    /// What is wrong with what came out.
    fn round(&mut self, check: Check) -> Result<u64>;

    /// What the ticks of a round are divided by: packets, or flows.
    fn units(&self) -> usize {
        PACKETS
    }
}

/// Gives workers their turns, `rounds` times in the order of `turns`, while time
/// passes in steps. What is measured is in here and nothing else is: the guard
/// counts the instructions between entering and leaving it.
#[inline(never)]
pub fn drive(seats: &mut [Seat], turns: &[usize], rounds: usize, now: &mut Nanos, step: Duration) {
    for _ in 0..rounds {
        *now = *now + step;
        for &turn in turns {
            seats[turn].worker.poll(*now);
        }
    }
}

/// Gives one worker a turn: the same for who needs to look at it after each.
#[inline(never)]
pub fn turn(worker: &mut Worker, now: Nanos) {
    worker.poll(now);
}
