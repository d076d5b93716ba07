use super::elector::now;
use super::{Counts, Output};
use crate::announce::Groups;
use crossbeam_channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long control may be silent before it counts as failed: much longer than
/// the longest publication.
const STALLED: Duration = Duration::from_secs(5);

/// What control and the election tell each other.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) groups: u16,
    /// The order in force: its number, and the groups to be announced.
    order: Mutex<(u64, Groups)>,
    bell: Sender<()>,
    /// The last order that all workers follow.
    live: AtomicU64,
    /// Groups that others were heard to announce: bits.
    claims: AtomicU64,
    /// When control was last heard: milliseconds of [`now`].
    beat: AtomicU64,
    is_ready: AtomicBool,
    is_leaving: AtomicBool,
    is_stopping: AtomicBool,
    view: Mutex<ElectionView>,
    /// Wakes the election.
    pub(super) wake: Notify,
}

/// How the election stands, for people and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElectionView {
    /// Groups of VIPs that there are.
    pub groups: u16,
    /// Those whose VIPs are announced here.
    pub held: Vec<u16>,
    /// It may do what only one gateway may, such as to hand out addresses.
    pub leader: bool,
    /// Its membership is valid.
    pub member: bool,
    /// It has given everything up.
    pub out: bool,
    /// Why the last renewal failed, if it did.
    pub error: Option<String>,
    /// Why the watch of Leases fails, if it does: what others do is seen late.
    pub watch_error: Option<String>,
    /// Renewals that failed.
    pub renew_failures: u64,
    /// Groups and leaderships taken.
    pub taken: u64,
    /// Groups and leaderships given up or lost.
    pub given: u64,
    /// Memberships of others ended.
    pub fenced: u64,
    /// Groups given up because somebody else announced their VIPs.
    pub yielded: u64,
}

/// Control's end of an election.
#[derive(Debug)]
pub struct Seat {
    pub(super) shared: Arc<Shared>,
    bell: Receiver<()>,
}

impl Seat {
    pub(super) fn new(groups: u16) -> Self {
        let (sender, bell) = bounded(1);
        let shared = Shared {
            groups,
            order: Mutex::default(),
            bell: sender,
            live: AtomicU64::new(0),
            claims: AtomicU64::new(0),
            beat: AtomicU64::new(0),
            is_ready: AtomicBool::new(false),
            is_leaving: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            view: Mutex::new(ElectionView { groups, out: true, ..ElectionView::default() }),
            wake: Notify::new(),
        };
        Seat { shared: Arc::new(shared), bell }
    }

    /// Rings when there is another order.
    pub fn bell(&self) -> &Receiver<()> {
        &self.bell
    }

    /// The order in force: its number, and the groups to be announced.
    pub fn order(&self) -> (u64, Groups) {
        *self.shared.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many groups there are.
    pub fn groups(&self) -> u16 {
        self.shared.groups
    }

    /// Says that all workers follow an order.
    pub fn live(&self, number: u64) {
        self.shared.live.store(number, Ordering::Release);
        self.shared.wake.notify_one();
    }

    /// Says that somebody else was heard to announce a VIP of a group.
    pub fn claimed(&self, group: u16) {
        let mut groups = Groups::default();
        groups.insert(group);
        self.shared.claims.fetch_or(groups.0, Ordering::AcqRel);
        self.shared.wake.notify_one();
    }

    /// Says that control is alive; to be said several times a second. Without it
    /// nothing new is given to this gateway.
    pub fn beat(&self) {
        let ms = u64::try_from(now().as_millis()).unwrap_or(u64::MAX);
        self.shared.beat.store(ms, Ordering::Release);
    }

    /// Says that VIPs are served: the gateway may be given some to announce.
    pub fn ready(&self) {
        if !self.shared.is_ready.swap(true, Ordering::AcqRel) {
            self.shared.wake.notify_one();
        }
    }

    /// How the election stands.
    pub fn view(&self) -> ElectionView {
        self.shared.view()
    }
}

impl Shared {
    pub(super) fn put_order(&self, number: u64, groups: Groups) {
        *self.order.lock().unwrap_or_else(PoisonError::into_inner) = (number, groups);
        // A bell that is ringing rings for this order, too.
        let _ = self.bell.try_send(());
    }

    /// Orders that nothing be announced, and shows that nobody decides any more.
    pub(super) fn withdraw(&self) {
        let (number, _) = *self.order.lock().unwrap_or_else(PoisonError::into_inner);
        self.put_order(number + 1, Groups::default());
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        view.held.clear();
        (view.leader, view.member, view.out) = (false, false, true);
        view.error = Some("the election's thread has panicked".to_owned());
    }

    pub(super) fn live(&self) -> u64 {
        self.live.load(Ordering::Acquire)
    }

    pub(super) fn take_claims(&self) -> Groups {
        Groups(self.claims.swap(0, Ordering::AcqRel))
    }

    pub(super) fn is_eligible(&self, now: Duration) -> bool {
        let beat = Duration::from_millis(self.beat.load(Ordering::Acquire));
        self.is_ready.load(Ordering::Acquire)
            && !self.is_leaving.load(Ordering::Acquire)
            && now.saturating_sub(beat) < STALLED
    }

    pub(super) fn leave(&self) {
        self.is_leaving.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    pub(super) fn view(&self) -> ElectionView {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn put_view(&self, output: Output, is_member: bool, is_out: bool, counts: Counts) {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        if view.held.len() as u32 != output.held.len()
            || !view.held.iter().all(|group| output.held.has(*group))
        {
            view.held = (0..self.groups).filter(|group| output.held.has(*group)).collect();
        }
        view.leader = output.is_leader;
        view.member = is_member;
        view.out = is_out;
        view.renew_failures = counts.renew_failures;
        view.taken = counts.taken;
        view.given = counts.given;
        view.fenced = counts.fenced;
        view.yielded = counts.yielded;
    }

    pub(super) fn put_error(&self, error: Option<String>) {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).error = error;
    }

    pub(super) fn put_watch_error(&self, error: Option<String>) {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).watch_error = error;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_withdrawn_is_a_later_order_for_nothing() {
        let seat = Seat::new(4);
        seat.shared.put_order(7, Groups(0b11));
        assert_eq!((seat.bell().try_recv(), seat.order()), (Ok(()), (7, Groups(0b11))));
        seat.shared.withdraw();
        assert_eq!((seat.bell().try_recv(), seat.order()), (Ok(()), (8, Groups(0))));
        let view = seat.view();
        assert!(!view.leader && !view.member && view.error.is_some(), "{view:?}");
    }

    #[test]
    fn control_that_is_silent_makes_a_gateway_unable() {
        let seat = Seat::new(4);
        seat.ready();
        seat.beat();
        assert!(seat.shared.is_eligible(now()));
        assert!(!seat.shared.is_eligible(now() + STALLED));
        seat.shared.leave();
        assert!(!seat.shared.is_eligible(now()));
    }
}
