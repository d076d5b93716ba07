use crate::time::Nanos;
use std::time::Duration;

/// While packets wait, they have so many times half of the time that local services have
/// had: where there is too much of both, what is shed takes a part of it, too.
const FORWARDING_HALVES: u64 = 5;

/// Twice as many for each step in which they have waited all the time, so that what came at
/// once does not stay, and so often at most.
const DOUBLINGS_MAX: u32 = 3;

/// Where few are shed, it takes a little more time, and none would have to be.
const DOUBLINGS_LIGHT: u32 = 1;

/// But not for longer: what a thread was kept from running is not what services took.
const WAIT_MAX_NS: u64 = 1_000_000;

/// How often it is looked at how things have gone.
const STEP_NS: u64 = 1_000_000;

/// Steps after which packets that still wait are more than there is time for.
const OVERLOAD_STEPS: u32 = 5;

/// Steps over which it is averaged how many packets services have,
const DEMAND_STEPS: u32 = 16;

/// from how many on it matters to them that theirs are lost where nothing makes room: one
/// in four steps; in the unit of the average, which is small,
const DEMAND_MIN: u32 = DEMAND_STEPS * DEMAND_STEPS / 4;

/// and for how many it counts: whoever has lost a packet says nothing for a while.
const DEMAND_LASTS: u32 = 1_000;

/// The part of packets that are shed at first, when there are too many,
const SHED_FIRST: u32 = SHED_ALL / 64;

/// what is added to it in each step after which there still are: this share of it,
const SHED_MORE: u32 = 8;

/// and taken from it, when they have waited for a part of the time only.
const SHED_LESS: u32 = 16;

/// Up to here few are shed.
const SHED_LIGHT: u32 = SHED_ALL / 4;

/// Some go on always.
const SHED_MAX: u32 = SHED_ALL / 8 * 7;

/// Stands for all packets.
pub(crate) const SHED_ALL: u32 = 256;

/// How forwarding and local services share the time of a worker. Packets wait in a turn
/// whose bursts are full.
///
/// Where more comes than there is time for, queues in front of the worker stay full and
/// lose packets as they come: also those of connections that end here, which are few, and
/// wait for long for each that is lost. So a part of what is forwarded is dropped in time,
/// as large as it has to be for queues to get empty now and then. That is not done where
/// no such connections are: it would cost time that could be used to forward.
#[derive(Debug, Default)]
pub(super) struct TimeShare {
    /// When services have a turn although packets wait.
    services_due: Nanos,
    step_ends: Nanos,
    /// Whether packets have waited in a turn of this step, and whether in each.
    has_waited: bool,
    waits_always: bool,
    /// Steps before it in which they have waited all the time.
    full_steps: u32,
    /// Packets of services in a step, the average times the square of [`DEMAND_STEPS`].
    demand: u32,
    /// Steps for which that counts.
    demand_left: u32,
    shed: u32,
}

impl TimeShare {
    /// Whether it is the turn of services, too.
    #[inline]
    pub fn is_services(&mut self, waits: bool, now: Nanos) -> bool {
        self.has_waited |= waits;
        self.waits_always &= waits;
        if now >= self.step_ends {
            self.step(now);
        }
        !waits || now >= self.services_due
    }

    /// Services have had their turn, and so many packets.
    pub fn services_took(&mut self, begin: Nanos, end: Nanos, packets: usize) {
        let packets = u32::try_from(packets).unwrap_or(u32::MAX);
        self.demand = self.demand.saturating_add(packets.saturating_mul(DEMAND_STEPS));
        let doublings = match self.shed {
            0 => self.full_steps.min(DOUBLINGS_MAX),
            1..SHED_LIGHT => DOUBLINGS_LIGHT,
            _ => 0,
        };
        let halves = FORWARDING_HALVES << doublings;
        let wait_ns = (end.since(begin).saturating_mul(halves) / 2).min(WAIT_MAX_NS);
        self.services_due = end + Duration::from_nanos(wait_ns);
    }

    /// How many of [`SHED_ALL`] packets that would be forwarded are to be dropped.
    #[inline]
    pub fn shed(&self) -> u32 {
        self.shed
    }

    fn step(&mut self, now: Nanos) {
        self.step_ends = now + Duration::from_nanos(STEP_NS);
        self.demand_left = match self.demand >= DEMAND_MIN {
            true => DEMAND_LASTS,
            false => self.demand_left.saturating_sub(1),
        };
        self.full_steps = match self.waits_always {
            true => self.full_steps.saturating_add(1),
            false => 0,
        };
        let is_overload = self.shed > 0 || self.full_steps >= OVERLOAD_STEPS;
        self.shed = match (self.has_waited, self.waits_always) {
            _ if self.demand_left == 0 || !is_overload => 0,
            (_, true) => (self.shed + SHED_FIRST.max(self.shed / SHED_MORE)).min(SHED_MAX),
            (true, false) => self.shed - self.shed.div_ceil(SHED_LESS),
            (false, false) => self.shed / 2,
        };
        self.demand -= self.demand / DEMAND_STEPS;
        (self.has_waited, self.waits_always) = (false, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: u64 = STEP_NS / 10;

    /// Turns over some steps, in which packets wait in `waits` of ten, and services have
    /// `packets` each time.
    fn run(share: &mut TimeShare, now: &mut Nanos, steps: u32, waits: u64, packets: usize) {
        for turn in 0..10 * u64::from(steps) {
            share.is_services(turn % 10 < waits, *now);
            share.services_took(*now, *now, packets);
            now.0 += SHORT;
        }
    }

    /// How many times half as long as services took they wait now, while packets do.
    fn wait(share: &mut TimeShare, now: Nanos) -> u64 {
        const TOOK_NS: u64 = 1_000;
        let end = now + Duration::from_nanos(TOOK_NS);
        share.services_took(now, end, 0);
        2 * share.services_due.since(end) / TOOK_NS
    }

    fn begun() -> (TimeShare, Nanos) {
        let (mut share, mut now) = (TimeShare::default(), Nanos(STEP_NS));
        run(&mut share, &mut now, 3, 0, 1);
        (share, now)
    }

    #[test]
    fn services_wait_for_longer_than_they_took_while_packets_wait() {
        let mut share = TimeShare::default();
        assert!(share.is_services(true, Nanos(7)));
        share.services_took(Nanos(100), Nanos(150), 1);
        assert!(!share.is_services(true, Nanos(274)) && share.is_services(true, Nanos(275)));
        assert!(share.is_services(false, Nanos(151)));
        let stood_still = Nanos(1_000 + 5 * WAIT_MAX_NS);
        share.services_took(Nanos(1_000), stood_still, 1);
        let due = Nanos(stood_still.0 + WAIT_MAX_NS);
        assert!(!share.is_services(true, Nanos(due.0 - 1)) && share.is_services(true, due));
    }

    #[test]
    fn what_waits_for_longer_has_more_of_the_time_until_it_is_gone() {
        let (mut share, mut now) = begun();
        // A step is looked at when it is over.
        for halves in [5, 10, 20, 40] {
            run(&mut share, &mut now, 1, 10, 1);
            assert_eq!(wait(&mut share, now), halves);
        }
        run(&mut share, &mut now, 2, 5, 1);
        assert_eq!(wait(&mut share, now), FORWARDING_HALVES);
        assert_eq!(share.shed(), 0);
    }

    #[test]
    fn what_waits_for_too_long_is_shed_until_queues_get_empty() {
        let (mut share, mut now) = begun();
        run(&mut share, &mut now, OVERLOAD_STEPS - 1, 10, 1);
        assert_eq!(share.shed(), 0);
        run(&mut share, &mut now, 2, 10, 1);
        let few = share.shed();
        assert!(few > 0 && few < SHED_LIGHT);
        assert_eq!(wait(&mut share, now), 2 * FORWARDING_HALVES);
        run(&mut share, &mut now, 20, 10, 1);
        let many = share.shed();
        assert!(many > SHED_LIGHT && many < SHED_MAX);
        // Services have their part again.
        assert_eq!(wait(&mut share, now), FORWARDING_HALVES);
        run(&mut share, &mut now, 3, 5, 1);
        let fewer = share.shed();
        assert!(fewer > few && fewer < many);
        run(&mut share, &mut now, 10, 0, 1);
        assert_eq!(share.shed(), 0);
        run(&mut share, &mut now, 100, 10, 1);
        assert_eq!(share.shed(), SHED_MAX);
    }

    #[test]
    fn nothing_is_shed_for_services_that_have_nothing_to_do() {
        let (mut share, mut now) = begun();
        run(&mut share, &mut now, 2 * DEMAND_LASTS, 10, 0);
        assert_eq!(share.shed(), 0);
        run(&mut share, &mut now, 100, 10, 1);
        assert!(share.shed() > 0);
        // Whoever waits for what was lost says nothing meanwhile.
        run(&mut share, &mut now, DEMAND_LASTS / 2, 10, 0);
        assert!(share.shed() > 0);
        run(&mut share, &mut now, DEMAND_LASTS, 10, 0);
        assert_eq!(share.shed(), 0);
    }
}
