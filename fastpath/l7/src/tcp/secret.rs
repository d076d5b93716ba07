use super::key::{Key, sip24};

/// Keys of an engine, each for one purpose.
pub(super) struct Secrets {
    pub table: [u64; 2],
    pub cookie: [u64; 2],
    isn: [u64; 2],
    stamp: [u64; 2],
}

impl Secrets {
    pub fn new(secret: [u8; 16]) -> Self {
        let (low, high) = secret.split_at(8);
        let word = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        let secret = [word(low), word(high)];
        let derive = |label: u8| [sip24(secret, (label, 0u8)), sip24(secret, (label, 1u8))];
        Secrets { table: derive(0), cookie: derive(1), isn: derive(2), stamp: derive(3) }
    }

    /// The initial sequence number of a connection (RFC 6528): a clock that ticks
    /// every 4 us, from a start that only who knows the secret knows.
    pub fn isn(&self, key: &Key, now_ns: u64) -> u32 {
        (now_ns / 4_000).wrapping_add(sip24(self.isn, key)) as u32
    }

    /// What is added to the time in timestamps, which is nobody's business (RFC 7323
    /// section 5.4).
    pub fn stamp_offset(&self, key: &Key) -> u32 {
        sip24(self.stamp, key) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_go_with_the_clock_and_differ_by_connection_and_secret() {
        let key = |port| Key {
            local: [10, 0, 0, 1].into(),
            remote: [10, 0, 0, 2].into(),
            local_port: 80,
            remote_port: port,
        };
        let (one, two) = (Secrets::new([1; 16]), Secrets::new([2; 16]));
        let first = one.isn(&key(1), 1_000_000);
        assert_eq!(one.isn(&key(1), 5_000_000), first.wrapping_add(1_000));
        assert_ne!(one.isn(&key(2), 1_000_000), first);
        assert_ne!(two.isn(&key(1), 1_000_000), first);
    }
}
