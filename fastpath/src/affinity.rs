//! Where clients went: session affinity (`spec.sessionAffinity: ClientIP`,
//! kubernetes.io/docs/reference/networking/virtual-ips, "Session affinity").
//!
//! A client's connections come to all workers, so each worker remembers all
//! clients: who sends one somewhere tells the others. What gets lost costs
//! little: a client that a worker does not know is sent by the hash of its
//! address, which is where another worker has sent it, unless the endpoints have
//! changed since.

use crate::time::Nanos;
use sluice_tables::ServiceId;
use sluice_tables::hash::{endpoint, fold};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Clients in one bucket.
const WAYS: usize = 8;

/// A client of a Service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The Service port.
    pub service: ServiceId,
    /// The client's address; IPv4's is mapped (RFC 4291 section 2.5.5.2).
    addr: [u8; 16],
}

impl Client {
    /// A client by its address.
    pub fn new(service: ServiceId, addr: IpAddr) -> Self {
        Client { service, addr: mapped(addr) }
    }
}

/// Where a client went.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    client: Client,
    /// The endpoint's address, mapped.
    endpoint: [u8; 16],
    l4_port: u16,
    /// When it went there.
    at: Nanos,
    /// When it is forgotten; in the past for what is not used.
    until: Nanos,
    /// When the other workers are to be told again.
    tell: Nanos,
}

const NOBODY: Visit = Visit {
    client: Client { service: ServiceId::NONE, addr: [0; 16] },
    endpoint: [0; 16],
    l4_port: 0,
    at: Nanos(0),
    until: Nanos(0),
    tell: Nanos(0),
};

impl Visit {
    /// The endpoint's address and port.
    pub fn endpoint(&self) -> (IpAddr, u16) {
        let addr = Ipv6Addr::from(self.endpoint);
        (addr.to_ipv4_mapped().map_or(IpAddr::V6(addr), IpAddr::V4), self.l4_port)
    }
}

fn mapped(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(addr) => Ipv4Addr::to_ipv6_mapped(&addr).octets(),
        IpAddr::V6(addr) => addr.octets(),
    }
}

/// What one worker remembers: a table of fixed size, in which a new client
/// takes the place of one that would be forgotten first.
pub struct Affinities {
    buckets: Box<[[Visit; WAYS]]>,
    seed: u64,
}

impl Affinities {
    /// Room for `clients_max` clients, about; `seed` keys the hash.
    pub fn new(clients_max: usize, seed: u64) -> Self {
        let buckets = (clients_max / WAYS).next_power_of_two().max(1);
        Affinities { buckets: vec![[NOBODY; WAYS]; buckets].into(), seed }
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    /// Where a client went, if that is not too long ago.
    pub fn find(&self, client: &Client, now: Nanos) -> Option<Visit> {
        let bucket = &self.buckets[self.bucket(client)];
        bucket.iter().find(|visit| visit.client == *client && visit.until > now).copied()
    }

    /// Remembers where a client goes now, for `timeout_ms` from now on. Returns
    /// what the other workers are to be told, if they do not know it already, and
    /// whether another client was forgotten for it before its time.
    ///
    /// A client that comes often is told of 16 times in its time at most, so
    /// others may forget it a sixteenth too early.
    pub fn remember(
        &mut self,
        client: Client,
        endpoint: (IpAddr, u16),
        now: Nanos,
        timeout_ms: u32,
    ) -> (Option<Visit>, bool) {
        let timeout = u64::from(timeout_ms) * 1_000_000;
        let mut visit = Visit {
            client,
            endpoint: mapped(endpoint.0),
            l4_port: endpoint.1,
            at: now,
            until: Nanos(now.0 + timeout),
            tell: Nanos(now.0 + timeout / 16),
        };
        let (slot, was_known) = self.slot(&client);
        // Told in a time that was longer: others may have heard of shorter ones
        // since, and forget it before they are told again.
        let is_told = was_known
            && slot.until > now
            && slot.tell > now
            && slot.tell <= visit.tell
            && (slot.endpoint, slot.l4_port) == (visit.endpoint, visit.l4_port);
        if is_told {
            visit.tell = slot.tell;
        }
        let forgets = !was_known && slot.until > now;
        *slot = visit;
        ((!is_told).then_some(visit), forgets)
    }

    /// Takes in where another worker has sent a client. Returns whether another
    /// client was forgotten for it before its time.
    pub fn learn(&mut self, visit: Visit, now: Nanos) -> bool {
        let (slot, was_known) = self.slot(&visit.client);
        // The last one counts, not the one that is remembered longest: the time
        // may have been longer before.
        if was_known && slot.at >= visit.at {
            return false;
        }
        let forgets = !was_known && slot.until > now;
        *slot = visit;
        forgets
    }

    /// The place of a client, or of the one in its bucket that is forgotten
    /// first; and which of both.
    fn slot(&mut self, client: &Client) -> (&mut Visit, bool) {
        let at = self.bucket(client);
        let bucket = &mut self.buckets[at];
        let known = bucket.iter().position(|visit| visit.client == *client);
        let first = || (0..WAYS).min_by_key(|&way| bucket[way].until).unwrap_or(0);
        let way = known.unwrap_or_else(first);
        (&mut bucket[way], known.is_some())
    }

    fn bucket(&self, client: &Client) -> usize {
        let hash = fold(endpoint(self.seed, &client.addr, 0), u64::from(client.service.0) ^ MIX);
        hash as usize & (self.buckets.len() - 1)
    }
}

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    fn client(n: u32) -> Client {
        Client::new(ServiceId(1), Ipv4Addr::from(n).into())
    }

    fn at(seconds: u64) -> Nanos {
        Nanos(seconds * Nanos::SECOND)
    }

    const POD: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1)), 80);
    const OTHER: (IpAddr, u16) = (IpAddr::V6(Ipv6Addr::LOCALHOST), 80);

    #[test]
    fn a_client_is_known_until_its_time_is_over() {
        let mut affinities = Affinities::new(64, 7);
        assert!(affinities.find(&client(1), at(1)).is_none());
        affinities.remember(client(1), POD, at(1), 10_000);
        assert_eq!(affinities.find(&client(1), at(10)).map(|v| v.endpoint()), Some(POD));
        let of_other_service = Client { service: ServiceId(2), ..client(1) };
        assert!(affinities.find(&of_other_service, at(10)).is_none());
        affinities.remember(client(1), OTHER, at(10), 10_000);
        assert_eq!(affinities.find(&client(1), at(19)).map(|v| v.endpoint()), Some(OTHER));
        assert!(affinities.find(&client(1), at(20)).is_none());
    }

    #[test]
    fn others_are_told_of_what_is_new_and_now_and_then() {
        let mut affinities = Affinities::new(64, 7);
        let mut tells = |endpoint, seconds| {
            affinities.remember(client(1), endpoint, at(seconds), 160_000).0.is_some()
        };
        assert!(tells(POD, 1));
        assert!(!tells(POD, 5));
        assert!(tells(OTHER, 6));
        assert!(!tells(OTHER, 15));
        assert!(tells(OTHER, 16));
        assert!(tells(OTHER, 500), "it had been forgotten");
    }

    #[test]
    fn who_is_told_knows_and_does_not_go_back_in_time() {
        let (mut one, mut two) = (Affinities::new(64, 7), Affinities::new(64, 8));
        let old = one.remember(client(1), POD, at(1), 10_000).0.unwrap();
        let new = one.remember(client(1), OTHER, at(2), 10_000).0.unwrap();
        assert!(!two.learn(new, at(2)));
        assert!(!two.learn(old, at(3)));
        assert_eq!(two.find(&client(1), at(11)).map(|v| v.endpoint()), Some(OTHER));
    }

    #[test]
    fn a_shorter_time_counts_for_all_from_the_next_visit_on() {
        let (mut one, mut two) = (Affinities::new(64, 7), Affinities::new(64, 8));
        let long = one.remember(client(1), POD, at(1), 10_000_000).0.unwrap();
        two.learn(long, at(1));
        // It went the same way, and is told of all the same.
        let short = one.remember(client(1), POD, at(2), 10_000).0.unwrap();
        two.learn(short, at(2));
        assert!(two.find(&client(1), at(11)).is_some());
        assert!(two.find(&client(1), at(12)).is_none());
        // It went elsewhere, and two knows that, however long it knew the rest.
        let third = one.remember(client(1), POD, at(13), 10_000_000).0.unwrap();
        two.learn(third, at(13));
        let other = one.remember(client(1), OTHER, at(14), 10_000).0.unwrap();
        two.learn(other, at(14));
        assert_eq!(two.find(&client(1), at(15)).map(|v| v.endpoint()), Some(OTHER));
    }

    #[test]
    fn the_table_is_bounded_and_says_whom_it_forgets() {
        let mut affinities = Affinities::new(64, 7);
        let forgotten: usize = (0..1_000)
            .map(|n| usize::from(affinities.remember(client(n), POD, at(1), 10_000).1))
            .sum();
        let known = (0..1_000).filter(|&n| affinities.find(&client(n), at(2)).is_some()).count();
        assert_eq!(known + forgotten, 1_000);
        assert!((48..=64).contains(&known), "{known}");
        // Those that are over make room for free.
        assert!(!affinities.remember(client(5_000), POD, at(20), 10_000).1);
    }
}
