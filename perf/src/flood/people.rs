//! Who takes part, each known by a number from which everything about it
//! follows: what comes back can be checked without remembering what was sent.

use super::shape::number;
use crate::cluster::Cluster;
use crate::site::{self, Family, SERVICE_PORT, TARGET_PORT, Who};

/// Why a connection is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To fill tables: its source is random, no one waits there.
    Flood,
    /// By a client that wants one.
    Honest,
    /// Before the flood, to carry data through it.
    Established,
}

impl Kind {
    /// All of them, in the order of the discriminants.
    pub const ALL: [Kind; 3] = [Kind::Flood, Kind::Honest, Kind::Established];
}

/// First number of honest clients, behind those whose flows are established.
const HONEST_MIN: u32 = 4096;
/// Honest clients with an address of their own; more use other ports.
const HONEST_ADDRESSES: u32 = 32_768;
/// Initial sequence numbers: the top bits tell the kind.
const HONEST_BIT: u32 = 1 << 30;
const ESTABLISHED_BIT: u32 = 1 << 31;
/// Bytes between the first sequence numbers of two established flows.
const ESTABLISHED_STEP: u32 = 1 << 20;
/// Most established flows.
pub const ESTABLISHED_MAX: u32 = 1 << 11;

/// One connection, by its kind and number in it: below 2^30 or, established,
/// below [`ESTABLISHED_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Why it is begun.
    pub kind: Kind,
    /// Which of them.
    pub number: u32,
}

impl Connection {
    /// The client's initial sequence number.
    pub fn client_isn(self) -> u32 {
        match self.kind {
            Kind::Flood => self.number,
            Kind::Honest => HONEST_BIT | self.number,
            Kind::Established => ESTABLISHED_BIT | (self.number * ESTABLISHED_STEP),
        }
    }

    /// The pod's: as from a SYN cookie, nothing is remembered for it.
    pub fn server_isn(self) -> u32 {
        mix(u64::from(self.client_isn())) as u32
    }

    /// The connection of a client's initial sequence number.
    pub fn of_isn(isn: u32) -> Self {
        if isn & ESTABLISHED_BIT != 0 {
            let number = (isn & !ESTABLISHED_BIT) / ESTABLISHED_STEP;
            Connection { kind: Kind::Established, number }
        } else if isn & HONEST_BIT != 0 {
            Connection { kind: Kind::Honest, number: isn & !HONEST_BIT }
        } else {
            Connection { kind: Kind::Flood, number: isn }
        }
    }

    /// The established connection of a client's end, if there can be one.
    pub fn of_client(family: Family, client: (u128, u16)) -> Option<Self> {
        let of = |number| Connection { kind: Kind::Established, number };
        let [first, second] = [0, 1].map(|number| of(number).client(family).0);
        let number = client.0.checked_sub(first)? / (second - first);
        let number = u32::try_from(number).ok().filter(|number| *number < ESTABLISHED_MAX)?;
        (of(number).client(family) == client).then_some(of(number))
    }

    /// The client's end.
    pub fn client(self, family: Family) -> (u128, u16) {
        let Connection { kind, number: n } = self;
        match kind {
            Kind::Flood => random_source(family, n),
            Kind::Honest => {
                let who = Who::Client(HONEST_MIN + n % HONEST_ADDRESSES);
                (number(who.addr(family)), (1024 + n / HONEST_ADDRESSES) as u16)
            }
            Kind::Established => (number(Who::Client(n).addr(family)), 40_000),
        }
    }
}

/// A source as a flood invents it: any port, any address that is nobody's here.
fn random_source(family: Family, n: u32) -> (u128, u16) {
    let high = mix(u64::from(n) ^ 0x5eed << 32);
    let port = (high as u16).max(1);
    let addr = match family {
        // 11.0.0.0 to 99.255.255.255.
        Family::V4 => u128::from((11 << 24) + (((high >> 32) * (89 << 24)) >> 32)),
        // 2a00::/16.
        Family::V6 => 0x2a00 << 112 | u128::from(high) << 48 | u128::from(mix(high) >> 16),
    };
    (addr, port)
}

/// Scatters a number (the finalizer of splitmix64).
pub fn mix(n: u64) -> u64 {
    let z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// The Service that everybody connects to.
pub fn vip(family: Family) -> (u128, u16) {
    (number(Who::Vip(0).addr(family)), SERVICE_PORT)
}

/// The pods behind it, as addresses on the wire.
#[derive(Clone, Debug)]
pub struct Pods {
    /// (node, address)
    pods: Vec<(u32, u128)>,
    snat: std::ops::Range<u128>,
}

impl Pods {
    /// Those of a cluster's first Service.
    pub fn new(cluster: &Cluster) -> Self {
        let pod = |backend| {
            let (node, addr) = cluster.backend(backend);
            (node, number(addr))
        };
        let first = number(Who::Snat(0).addr(cluster.family));
        let snat = first..first + u128::from(site::SNAT_ADDRESSES);
        Pods { pods: (0..cluster.backends).map(pod).collect(), snat }
    }

    /// True when a pod of the Service listens there.
    pub fn is_pod(&self, node: u32, (addr, port): (u128, u16)) -> bool {
        port == TARGET_PORT && self.pods.contains(&(node, addr))
    }

    /// True when it is an address and port of the SNAT pool.
    pub fn is_snat(&self, (addr, port): (u128, u16)) -> bool {
        let (min, max) = site::SNAT_PORTS;
        self.snat.contains(&addr) && (min..=max).contains(&port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_found_again() {
        for family in [Family::V4, Family::V6] {
            for kind in Kind::ALL {
                for number in [0, 1, 999, ESTABLISHED_MAX - 1] {
                    let connection = Connection { kind, number };
                    assert_eq!(Connection::of_isn(connection.client_isn()), connection);
                    let client = connection.client(family);
                    let found = Connection::of_client(family, client);
                    let is_established = kind == Kind::Established;
                    assert_eq!(found, is_established.then_some(connection), "{client:x?}");
                }
            }
        }
    }

    #[test]
    fn a_flood_comes_from_everywhere_and_from_nobody_here() {
        let first_octets: std::collections::BTreeSet<u128> =
            (0..100_000).map(|n| random_source(Family::V4, n).0 >> 24).collect();
        assert!(first_octets.into_iter().eq(11..100));
        let sources: std::collections::HashSet<(u128, u16)> =
            (0..100_000).map(|n| random_source(Family::V6, n)).collect();
        assert_eq!(sources.len(), 100_000);
        assert!(sources.iter().all(|(addr, port)| addr >> 112 == 0x2a00 && *port != 0));
    }
}
