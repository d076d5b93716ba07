//! The membership: joined, renewed, left, lost.

use super::{Answer, Holding, Machine, Op};
use crate::election::member_name;
use std::time::Duration;

/// Where an instance is with its membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    Out,
    /// The Lease may be this instance's: a renewal will tell.
    Unsure,
    In,
    /// It is being given up, and may be gone.
    Leaving,
}

impl Machine {
    pub(super) fn poll_member(&mut self, now: Duration, ops: &mut Vec<Op>) {
        if self.membership.is_busy {
            return;
        }
        let identity = self.identity.clone();
        match self.member {
            Member::Out if self.is_eligible && self.view.is_synced() => {
                let name = member_name(&self.options.node);
                let seen = self.view.get(&name);
                // One of the same name may have run here until now.
                let is_free = seen.is_none_or(|seen| {
                    seen.lease.holder.is_none() || now >= seen.at + self.duration_of(&seen.lease)
                });
                let version = seen.map(|seen| seen.lease.version.clone());
                if is_free && self.membership.may(version.as_deref(), now) {
                    self.membership.begin(version.as_deref(), now);
                    ops.push(Op::Join { identity, version });
                }
            }
            Member::Out => {}
            Member::Leaving if now >= self.next_renewal => {
                self.begin_renewal(now);
                ops.push(Op::Leave { identity });
            }
            Member::Leaving => {}
            _ if !self.is_eligible && self.is_silent() => {
                self.member = Member::Leaving;
                self.begin_renewal(now);
                ops.push(Op::Leave { identity });
            }
            _ if now >= self.next_renewal => {
                self.begin_renewal(now);
                ops.push(Op::Renew { identity, is_able: self.is_eligible });
            }
            _ => {}
        }
    }

    fn begin_renewal(&mut self, now: Duration) {
        self.membership.is_busy = true;
        self.next_renewal = now + self.options.renew;
    }

    /// Whether nothing is held and no worker announces anything.
    fn is_silent(&self) -> bool {
        self.live.is_empty()
            && self.slots.iter().all(|slot| !matches!(slot.holding, Holding::Yes(_)))
    }

    /// Takes in what has become of a request for this membership.
    pub(super) fn member_answered(
        &mut self,
        op: &Op,
        started: Duration,
        answer: &Answer,
        now: Duration,
    ) {
        match (op, answer) {
            (Op::Join { .. }, _) => self.joined(started, answer, now),
            (Op::Renew { .. }, _) => self.renewed(started, answer, now),
            (Op::Leave { .. }, Answer::Done(_) | Answer::Lost) => self.lose(now),
            _ => {}
        }
    }

    fn joined(&mut self, started: Duration, answer: &Answer, now: Duration) {
        match answer {
            Answer::Done(_) => {
                self.member = Member::In;
                self.renewed = started;
                self.valid_since = now;
                self.is_unreachable = false;
                self.next_renewal = started + self.options.renew;
            }
            Answer::Unreachable => {
                self.member = Member::Unsure;
                self.next_renewal = now.max(started + self.options.renew);
            }
            Answer::Lost | Answer::Refused => {}
        }
    }

    fn renewed(&mut self, started: Duration, answer: &Answer, now: Duration) {
        self.counts.renew_failures += u64::from(!matches!(answer, Answer::Done(_)));
        match answer {
            Answer::Done(_) => {
                if !self.is_valid(now) {
                    self.valid_since = now;
                }
                self.member = Member::In;
                self.renewed = self.renewed.max(started);
                self.is_unreachable = false;
            }
            Answer::Lost => self.lose(now),
            // A refusal says nothing of others: an API server that has just
            // started refuses everybody, until it knows who has which rights.
            Answer::Refused | Answer::Unreachable => {
                // Later than it can be: this process did not run meanwhile, and
                // what it remembers of the API says nothing.
                let was_stopped = now.saturating_sub(started) > 2 * self.options.timeout();
                self.is_unreachable = !was_stopped;
                self.next_renewal = now.max(started + self.options.renew);
            }
        }
    }

    /// The membership is over: somebody has ended it, or this instance has.
    fn lose(&mut self, now: Duration) {
        for slot in &mut self.slots {
            if slot.holding != Holding::No {
                slot.holding = Holding::No;
                self.counts.given += 1;
            }
        }
        self.member = Member::Out;
        self.membership.at = now;
        self.is_unreachable = false;
        self.new_identity();
    }

    /// An instance of its own for each membership.
    pub(super) fn new_identity(&mut self) {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.identity = format!("{}_{:016x}", self.options.node, z ^ z >> 31);
    }
}
