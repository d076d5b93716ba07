//! SYN cookies (RFC 4987 section 3.6): a handshake whose state is in the sequence
//! number of the SYN-ACK. Bits: 5 of the time, 3 of the maximum segment size, 24 of
//! a keyed hash. Window scale and SACK are in the timestamp that is sent with it, and
//! given up for clients that have none.

use super::key::{Key, sip24};
use super::options::{Options, Stamps};

/// A cookie is taken in the unit of time that it was made in, and in the next.
const UNIT_NS: u64 = 64_000_000_000;
/// What a client's offer is rounded down to: what paths have, tunnels subtracted.
const MSS: [u16; 8] = [536, 1_220, 1_300, 1_360, 1_400, 1_440, 1_460, 8_900];

/// Bits of a timestamp that say what a client has offered: its window scale, and SACK.
const OFFER: u32 = 31;
const NO_SCALE: u8 = 15;
const SACK: u32 = 16;

/// Makes and reads cookies.
pub(super) struct Cookies {
    secret: [u64; 2],
    /// Until when cookies that were sent are taken.
    until_ns: u64,
}

impl Cookies {
    pub fn new(secret: [u64; 2]) -> Self {
        Cookies { secret, until_ns: 0 }
    }

    /// The sequence number to answer a client's SYN with.
    pub fn make(&mut self, key: &Key, client_isn: u32, mss: u16, now_ns: u64) -> u32 {
        let unit = now_ns / UNIT_NS;
        self.until_ns = (unit + 2) * UNIT_NS;
        let index = MSS.iter().rposition(|known| *known <= mss).unwrap_or(0);
        self.cookie(key, client_isn, unit, index)
    }

    /// Whether there may be any to be taken.
    pub fn are_out(&self, now_ns: u64) -> bool {
        now_ns < self.until_ns
    }

    /// The maximum segment size in a cookie that is ours and not too old.
    pub fn take(&self, key: &Key, client_isn: u32, cookie: u32, now_ns: u64) -> Option<u16> {
        let index = (cookie >> 24 & 7) as usize;
        let unit = now_ns / UNIT_NS;
        [Some(unit), unit.checked_sub(1)]
            .into_iter()
            .flatten()
            .any(|unit| self.cookie(key, client_isn, unit, index) == cookie)
            .then(|| MSS[index])
    }

    fn cookie(&self, key: &Key, client_isn: u32, unit: u64, index: usize) -> u32 {
        let hash = sip24(self.secret, (key, client_isn, unit, index));
        (unit as u32 & 31) << 27 | (index as u32) << 24 | hash as u32 >> 8
    }
}

/// A timestamp of about now that says what a client has offered. It is never later than
/// now: those that follow must not be earlier.
pub(super) fn stamp(now: u32, offered: &Options) -> u32 {
    let scale = u32::from(offered.scale.unwrap_or(NO_SCALE));
    let offer = scale | if offered.may_sack { SACK } else { 0 };
    let stamp = now & !OFFER | offer;
    if offer > now & OFFER { stamp.wrapping_sub(OFFER + 1) } else { stamp }
}

/// What a client has offered that sends such a timestamp back.
pub(super) fn offered(mss: u16, stamps: Option<Stamps>) -> Options {
    let offer = stamps.map(|stamps| stamps.echo & OFFER);
    let scale = offer.map(|offer| offer as u8 & 15).filter(|scale| *scale != NO_SCALE);
    let may_sack = offer.is_some_and(|offer| offer & SACK != 0);
    Options { mss: Some(mss), scale, may_sack, stamps, ..Options::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_in_the_timestamp_and_never_in_the_future() {
        for now in (0..100).chain(u32::MAX - 100..=u32::MAX) {
            for scale in [None, Some(0), Some(7), Some(14)] {
                for may_sack in [true, false] {
                    let client = Options { scale, may_sack, ..Options::default() };
                    let echo = stamp(now, &client);
                    assert!(now.wrapping_sub(echo) <= OFFER);
                    let stamps = Some(Stamps { value: 1, echo });
                    let back = offered(1_400, stamps);
                    assert_eq!(back, Options { mss: Some(1_400), stamps, ..client });
                }
            }
        }
        let plain = offered(1_400, None);
        assert_eq!(plain, Options { mss: Some(1_400), ..Options::default() });
    }

    #[test]
    fn a_cookie_is_taken_for_its_connection_and_time_alone() {
        let key = |port| Key {
            local: [10, 0, 0, 1].into(),
            remote: [10, 0, 0, 2].into(),
            local_port: 80,
            remote_port: port,
        };
        let mut cookies = Cookies::new([1, 2]);
        let start = 40 * UNIT_NS;
        assert!(!cookies.are_out(start));
        let cookie = cookies.make(&key(1), 7, 1_450, start);
        assert!(cookies.are_out(start + 2 * UNIT_NS - 1));
        for (port, isn, cookie, after, mss) in [
            (1, 7, cookie, 0, Some(1_440)),
            (1, 7, cookie, 2 * UNIT_NS - 1, Some(1_440)),
            (1, 7, cookie, 2 * UNIT_NS, None),
            (1, 7, cookie, 32 * UNIT_NS, None),
            (2, 7, cookie, 0, None),
            (1, 8, cookie, 0, None),
            (1, 7, cookie ^ 1, 0, None),
            (1, 7, cookie ^ 1 << 24, 0, None),
        ] {
            assert_eq!(cookies.take(&key(port), isn, cookie, start + after), mss);
        }
        assert!(!cookies.are_out(start + 2 * UNIT_NS));
        let least = cookies.make(&key(1), 7, 0, start);
        assert_eq!(cookies.take(&key(1), 7, least, start), Some(536));
    }
}
