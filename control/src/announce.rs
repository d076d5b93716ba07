//! Which VIPs this gateway announces, and how everybody on the link is told of
//! them.
//!
//! VIPs are dealt out in groups: [`group_of`] an address is the same on every
//! gateway. [`Announce`] is what the compiler is told; who decides is the
//! [`election`](crate::status::election) or nobody. What begins to be announced
//! is told to everybody on the link, unasked, by [`Telling`].

/// Everybody on the link is told of VIPs, unasked and three times.
mod telling;

pub use telling::{Telling, TellingCounts};

use std::net::IpAddr;

/// Most groups of VIPs.
pub const GROUPS_MAX: u16 = 64;

/// A set of groups: bit N is group N.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Groups(pub u64);

impl Groups {
    /// Whether a group is in the set.
    pub fn has(self, group: u16) -> bool {
        group < GROUPS_MAX && self.0 & 1 << group != 0
    }

    /// Adds a group, which is less than [`GROUPS_MAX`].
    pub fn insert(&mut self, group: u16) {
        debug_assert!(group < GROUPS_MAX);
        self.0 |= 1 << group;
    }

    /// Groups in the set.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// True if no group is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Which VIPs a gateway announces. The others are VIPs too: what arrives for
/// them is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Announce {
    /// All: there is no other gateway.
    #[default]
    All,
    /// Those of some groups.
    Held {
        /// The groups.
        held: Groups,
        /// How many groups there are, 1 to [`GROUPS_MAX`]: the same number on
        /// all gateways.
        groups: u16,
    },
}

impl Announce {
    /// Whether a VIP is announced here, if it is one to be announced at all.
    pub fn holds(&self, vip: IpAddr) -> bool {
        match *self {
            Announce::All => true,
            Announce::Held { held, groups } => held.has(group_of(vip, groups)),
        }
    }
}

/// The group of a VIP, of `groups` (at least 1). It does not depend on the
/// gateway, its version or its machine.
pub fn group_of(vip: IpAddr, groups: u16) -> u16 {
    let hash = match vip {
        IpAddr::V4(vip) => stable_hash(&[&vip.octets()]),
        IpAddr::V6(vip) => stable_hash(&[&vip.octets()]),
    };
    (hash % u64::from(groups.max(1))) as u16
}

/// FNV-1a of the parts, each ended by a zero, and the finalizer of MurmurHash3
/// over it, so that every bit counts. For small inputs that nobody profits from
/// choosing.
pub(crate) fn stable_hash(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.iter().chain(&[0]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_vips_are_stable_and_even() {
        let group = |vip: &str| group_of(vip.parse().unwrap(), 16);
        // Changing these splits clusters whose gateways are updated one by one.
        let vips = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"];
        assert_eq!(vips.map(group), STABLE);
        let mut counts = [0; 16];
        for last in 0..4096u16 {
            let [a, b] = last.to_be_bytes();
            counts[usize::from(group_of(IpAddr::from([198, 51, a, b]), 16))] += 1;
        }
        assert!(counts.iter().all(|count| (180..340).contains(count)), "{counts:?}");
    }

    const STABLE: [u16; 4] = [4, 11, 4, 1];

    #[test]
    fn a_gateway_holds_the_vips_of_its_groups() {
        let vip: IpAddr = "192.0.2.1".parse().unwrap();
        let mut held = Groups::default();
        assert!(Announce::All.holds(vip));
        assert!(!Announce::Held { held, groups: 16 }.holds(vip));
        held.insert(group_of(vip, 16));
        assert!(Announce::Held { held, groups: 16 }.holds(vip));
        assert_eq!((held.len(), held.has(64)), (1, false));
    }
}
