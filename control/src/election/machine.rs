use super::view::{Seen, View};
use super::{Lease, STATUS, VIPS, member_name};
use crate::announce::Groups;
use lone::Lone;
use member::Member;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is announced without the API.
mod lone;
mod member;
/// Requests and answers.
mod op;
/// Which slots to take and to give up.
mod slots;

pub use op::{Answer, Key, Op, Slot};

/// Before a write that was refused because its object has changed is tried again
/// with what is known by then, if nothing else is known.
const RETRY: Duration = Duration::from_secs(1);

/// How an election is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The gateway's node.
    pub node: String,
    /// Groups of VIPs, 1 to [`crate::announce::GROUPS_MAX`].
    pub groups: u16,
    /// How long a membership holds without renewal: whole seconds.
    pub duration: Duration,
    /// Time between two renewals, less than half of that.
    pub renew: Duration,
}

impl Options {
    /// How much earlier an instance takes its membership for invalid than others
    /// may: for clocks that do not run equally fast.
    fn margin(&self) -> Duration {
        self.duration / 10
    }

    /// How long a membership is valid after a renewal.
    fn validity(&self) -> Duration {
        self.duration - self.margin()
    }

    /// How long a request may take. A renewal that fails is noticed while the
    /// one before it is valid.
    pub fn timeout(&self) -> Duration {
        self.validity().saturating_sub(self.renew) * 3 / 4
    }
}

/// What the gateway may do now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The groups whose VIPs it announces.
    pub held: Groups,
    /// It may do what only one gateway may do.
    pub is_leader: bool,
}

/// Counts of what has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Renewals that were not answered, or refused.
    pub renew_failures: u64,
    /// Slots taken.
    pub taken: u64,
    /// Slots given up or lost.
    pub given: u64,
    /// Memberships of others ended.
    pub fenced: u64,
    /// Groups given up because somebody else announced their VIPs.
    pub yielded: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Holding {
    No,
    /// By this version of the Lease.
    Yes(String),
    /// Announcements are to end before it is given up.
    Ending(String),
}

#[derive(Clone, Debug)]
struct SlotState {
    holding: Holding,
    attempt: Attempt,
}

/// The last write to a Lease.
#[derive(Clone, Debug, Default)]
struct Attempt {
    is_busy: bool,
    /// The version that it was about.
    version: Option<Option<String>>,
    at: Duration,
}

impl Attempt {
    /// Whether to write to a version: not while a write is under way, and not
    /// again to what is known to be old, but after a while.
    fn may(&self, version: Option<&str>, now: Duration) -> bool {
        let is_same = self.version.as_ref().is_some_and(|tried| tried.as_deref() == version);
        !self.is_busy && (!is_same || now >= self.at + RETRY)
    }

    fn begin(&mut self, version: Option<&str>, now: Duration) {
        *self = Attempt { is_busy: true, version: Some(version.map(str::to_owned)), at: now };
    }
}

/// An instance's part in the election: see the module's documentation.
#[derive(Clone, Debug)]
pub struct Machine {
    options: Options,
    view: View,
    random: u64,
    identity: String,
    member: Member,
    membership: Attempt,
    next_renewal: Duration,
    /// When the last successful renewal began.
    renewed: Duration,
    /// Since when the membership has been valid without a gap.
    valid_since: Duration,
    /// The last renewal was not answered.
    is_unreachable: bool,
    is_eligible: bool,
    slots: Vec<SlotState>,
    lone: Lone,
    fences: BTreeMap<String, Attempt>,
    /// The groups that workers may announce.
    live: Groups,
    counts: Counts,
}

impl Machine {
    /// An instance that may hold nothing until [`Machine::set_eligible`].
    /// `random` tells it from all others.
    pub fn new(options: Options, random: u64) -> Self {
        let slot = SlotState { holding: Holding::No, attempt: Attempt::default() };
        let mut machine = Machine {
            slots: vec![slot; usize::from(options.groups) + 1],
            options,
            view: View::default(),
            random,
            identity: String::new(),
            member: Member::Out,
            membership: Attempt::default(),
            next_renewal: Duration::ZERO,
            renewed: Duration::ZERO,
            valid_since: Duration::ZERO,
            is_unreachable: false,
            is_eligible: false,
            lone: Lone::default(),
            fences: BTreeMap::new(),
            live: Groups::default(),
            counts: Counts::default(),
        };
        machine.new_identity();
        machine
    }

    /// What is known of the Leases, to be brought up to date.
    pub fn view(&mut self) -> &mut View {
        &mut self.view
    }

    /// Whether the gateway may be given anything. Once it may not, it gives up all
    /// that no worker announces; what the workers do announce stays its own until
    /// they do not, whatever hinders them.
    pub fn set_eligible(&mut self, is_eligible: bool) {
        self.is_eligible = is_eligible;
        for slot in self.slots.iter_mut().filter(|_| !is_eligible) {
            if let Holding::Yes(version) = &slot.holding {
                slot.holding = Holding::Ending(version.clone());
            }
        }
    }

    /// Notes the groups that workers may announce: what they were told and may
    /// not all have forgotten.
    pub fn set_live(&mut self, live: Groups) {
        self.live = live;
    }

    /// Notes that somebody else announces a VIP of a group. Who has lost the API
    /// ends then; who has not is in the right.
    pub fn claimed(&mut self, group: u16, now: Duration) {
        let is_valid = self.is_valid(now);
        if !is_valid && self.yield_lone(group) {
            self.counts.yielded += 1;
        }
        if let Some(slot) = self.slots.get_mut(usize::from(group))
            && !is_valid
            && slot.holding != Holding::No
        {
            slot.holding = Holding::No;
            self.counts.yielded += 1;
            self.counts.given += 1;
        }
    }

    /// What the gateway may do at a time.
    pub fn output(&self, now: Duration) -> Output {
        let (is_valid, leader) = (self.is_valid(now), self.options.groups);
        let is_held = |slot: u16| matches!(self.slots[usize::from(slot)].holding, Holding::Yes(_));
        let goes_on = is_valid || (self.member == Member::In && self.is_unreachable);
        let mut held = self.lone(now);
        (0..leader).filter(|slot| goes_on && is_held(*slot)).for_each(|slot| held.insert(slot));
        Output { held, is_leader: is_valid && is_held(leader) }
    }

    /// Whether the membership is valid, so that nobody else can hold what this
    /// instance holds.
    pub fn is_valid(&self, now: Duration) -> bool {
        self.member == Member::In && now < self.renewed + self.options.validity()
    }

    /// Whether everything has been given up that there was.
    pub fn is_out(&self) -> bool {
        self.member == Member::Out && !self.membership.is_busy
    }

    /// Counts of what has happened.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The name of a slot's Lease.
    pub fn slot_name(&self, slot: Slot) -> String {
        slot_name(slot, self.options.groups)
    }

    /// The requests to send now. To be called after everything that comes, and
    /// several times in each interval of renewals.
    pub fn poll(&mut self, now: Duration) -> Vec<Op> {
        let mut ops = Vec::new();
        self.poll_lone(now);
        self.poll_member(now, &mut ops);
        if self.is_valid(now) {
            self.poll_fences(now, &mut ops);
            self.poll_slots(now, &mut ops);
        }
        ops
    }

    fn duration_of(&self, lease: &Lease) -> Duration {
        lease.duration.unwrap_or(self.options.duration)
    }

    /// Whether a membership has not been renewed for its whole duration, while
    /// this instance was in a position to see it.
    fn is_over(&self, seen: &Seen, now: Duration) -> bool {
        now >= seen.at.max(self.valid_since) + self.duration_of(&seen.lease)
    }

    fn poll_fences(&mut self, now: Duration, ops: &mut Vec<Op>) {
        let own = member_name(&self.options.node);
        let over: Vec<(String, String)> = self
            .view
            .members()
            .filter(|(name, _, seen)| *name != own && self.is_over(seen, now))
            .map(|(name, _, seen)| (name.to_owned(), seen.lease.version.clone()))
            .collect();
        self.fences
            .retain(|name, fence| fence.is_busy || over.iter().any(|(other, _)| other == name));
        for (lease, version) in over {
            let fence = self.fences.entry(lease.clone()).or_default();
            if fence.may(Some(&version), now) {
                fence.begin(Some(&version), now);
                ops.push(Op::Fence { lease, version });
            }
        }
    }

    /// Takes in what has become of an [`Op`] that was begun at `started`.
    pub fn answered(&mut self, op: &Op, started: Duration, answer: &Answer, now: Duration) {
        match op {
            Op::Join { identity, .. } | Op::Renew { identity, .. } | Op::Leave { identity } => {
                self.membership.is_busy = false;
                // What was asked for a membership before this one says nothing of it.
                if *identity == self.identity {
                    self.member_answered(op, started, answer, now);
                }
            }
            Op::Fence { lease, .. } => {
                if let Some(fence) = self.fences.get_mut(lease) {
                    fence.is_busy = false;
                }
                self.counts.fenced += u64::from(matches!(answer, Answer::Done(_)));
            }
            Op::Claim { slot, identity, .. } => {
                let is_mine = *identity == self.identity;
                let state = &mut self.slots[usize::from(slot.0)];
                state.attempt.is_busy = false;
                if let (Answer::Done(version), true) = (answer, is_mine) {
                    state.holding = Holding::Yes(version.clone());
                    self.counts.taken += 1;
                }
            }
            Op::Release { slot, .. } => {
                self.slots[usize::from(slot.0)].attempt.is_busy = false;
            }
        }
    }
}

/// The name of a slot's Lease.
pub(super) fn slot_name(slot: Slot, groups: u16) -> String {
    if slot.0 < groups { format!("{VIPS}{}", slot.0) } else { STATUS.to_owned() }
}
