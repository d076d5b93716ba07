use crate::time::Nanos;
use std::time::Duration;

/// While packets wait, they have so many times the time that local services have had.
const FORWARDING_TIMES: u64 = 2;

/// But not for longer: what a thread was kept from running is not what services took.
const WAIT_MAX_NS: u64 = 1_000_000;

/// How forwarding and local services share the time of a worker. Packets wait in a turn
/// whose bursts are full.
#[derive(Debug, Default)]
pub(super) struct TimeShare {
    /// When services have a turn although packets wait.
    services_due: Nanos,
}

impl TimeShare {
    /// Whether it is the turn of services, too.
    #[inline]
    pub fn is_services(&self, waits: bool, now: Nanos) -> bool {
        !waits || now >= self.services_due
    }

    /// Services have had their turn.
    pub fn services_took(&mut self, begin: Nanos, end: Nanos) {
        let wait_ns = end.since(begin).saturating_mul(FORWARDING_TIMES).min(WAIT_MAX_NS);
        self.services_due = end + Duration::from_nanos(wait_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_wait_for_twice_as_long_as_they_took_while_packets_wait() {
        let mut share = TimeShare::default();
        assert!(share.is_services(true, Nanos(7)));
        share.services_took(Nanos(100), Nanos(150));
        assert!(!share.is_services(true, Nanos(249)) && share.is_services(true, Nanos(250)));
        assert!(share.is_services(false, Nanos(151)));
        let stood_still = Nanos(1_000 + 5 * WAIT_MAX_NS);
        share.services_took(Nanos(1_000), stood_still);
        let due = Nanos(stood_still.0 + WAIT_MAX_NS);
        assert!(!share.is_services(true, Nanos(due.0 - 1)) && share.is_services(true, due));
    }
}
