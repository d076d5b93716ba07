//! Random operations, and after each a look at everything: whether it is legal,
//! whether nobody moved who need not, whether nobody waits for what is there.
//! The looks are as naive as can be: over all pairs and all addresses.

use super::{Allocator, Family, Outcome, Request, Sharing, pool, wants};
use crate::cluster::Protocol;
use crate::object::Key;
use proptest::prelude::*;
use sluice_config::AddressPool;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Pools of which there are never enough.
fn pools(which: usize) -> Vec<AddressPool> {
    let a = pool("a", &[("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::3")], true);
    let b = pool("b", &[("10.0.0.9", "10.0.0.10")], true);
    let c = pool("c", &[("10.0.0.20", "10.0.0.20"), ("fd00::20", "fd00::20")], false);
    match which {
        0 => vec![a, b, c],
        1 => vec![c, a],
        2 => vec![b, pool("a", &[("10.0.0.1", "10.0.0.5"), ("fd00::2", "fd00::2")], false)],
        _ => {
            vec![a, b, c, pool("d", &[("10.0.0.30", "10.0.0.31"), ("fd00::30", "fd00::31")], true)]
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Set(Vec<(u8, Option<Request>)>),
    Pools(usize),
    Restart(u64),
}

fn request() -> impl Strategy<Value = Request> {
    let families = prop_oneof![
        3 => Just(vec![Family::V4]),
        1 => Just(vec![Family::V6]),
        2 => Just(vec![Family::V4, Family::V6]),
        1 => Just(vec![Family::V6, Family::V4]),
    ];
    let address = prop_oneof![
        (1_u8..12).prop_map(|n| IpAddr::from([10, 0, 0, n])),
        (1_u16..4).prop_map(|n| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n])),
    ];
    let addresses = prop_oneof![
        5 => Just(Ok(Vec::new())),
        3 => address.prop_map(|addr| Ok(vec![addr])),
        1 => Just(Err("unreadable".to_owned())),
    ];
    let named = prop_oneof![6 => Just(None), 2 => Just(Some("a")), 2 => Just(Some("c")), 1 => Just(Some("x"))];
    let sharing = prop_oneof![
        3 => Just(None),
        2 => Just(Some(("k", None))),
        1 => Just(Some(("k", Some("app=x")))),
        1 => Just(Some(("l", None))),
    ];
    let ports = prop::collection::btree_set((80_u16..83, Just(Protocol::Tcp)), 1..3);
    (0_i64..6, families, any::<bool>(), named, addresses, sharing, ports).prop_map(
        |(created, families, needs_all, named, addresses, sharing, ports)| Request {
            families,
            needs_all,
            pool: named.map(Into::into),
            addresses,
            sharing: sharing.map(|(key, backend)| Sharing {
                key: key.into(),
                backend: backend.map(Into::into),
            }),
            ports,
            ..wants(created)
        },
    )
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let one = (0_u8..12, prop::option::weighted(0.75, request()));
    let op = prop_oneof![
        12 => prop::collection::vec(one, 1..4).prop_map(Op::Set),
        1 => (0_usize..4).prop_map(Op::Pools),
        2 => any::<u64>().prop_map(Op::Restart),
    ];
    prop::collection::vec(op, 1..40)
}

fn key(number: u8) -> Key {
    super::owner(&format!("s{number}"))
}

/// Subject and what the test knows by itself.
struct World {
    allocator: Allocator,
    pools: Vec<AddressPool>,
    requests: BTreeMap<Key, Request>,
}

impl World {
    fn outcome(&self, owner: &Key) -> Outcome {
        self.allocator.outcome(owner).cloned().unwrap_or_default()
    }

    fn outcomes(&self) -> BTreeMap<Key, Outcome> {
        self.requests.keys().map(|owner| (owner.clone(), self.outcome(owner))).collect()
    }

    fn pool_of(&self, addr: IpAddr) -> Option<&AddressPool> {
        self.pools.iter().find(|pool| pool.ranges.iter().any(|range| range.contains(addr)))
    }

    /// All addresses that there are.
    fn everything(&self) -> Vec<IpAddr> {
        let v4 = (0..40).map(|n| IpAddr::from([10, 0, 0, n]));
        let v6 = (0..0x40).map(|n| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n]));
        v4.chain(v6).filter(|addr| self.pool_of(*addr).is_some()).collect()
    }

    /// Whether `owner` could have `addr` beside all others.
    fn is_open(&self, owner: &Key, addr: IpAddr) -> bool {
        let mine = &self.requests[owner];
        self.requests.iter().filter(|(other, _)| *other != owner).all(|(other, theirs)| {
            let has_it = self.allocator.outcome(other).is_some_and(|o| o.addresses.contains(&addr));
            !has_it
                || (mine.sharing.is_some()
                    && mine.sharing == theirs.sharing
                    && mine.ports.is_disjoint(&theirs.ports))
        })
    }

    /// What `owner` could be given of a family, as it was asked for.
    fn candidates(&self, owner: &Key, family: Family) -> Vec<IpAddr> {
        let request = &self.requests[owner];
        let Ok(asked) = &request.addresses else { return Vec::new() };
        let asked = asked.iter().find(|addr| Family::of(**addr) == family);
        let is_right = |addr: &IpAddr| {
            let pool = self.pool_of(*addr).expect("an address of a pool");
            let is_named = request.pool.as_deref().is_none_or(|name| name == pool.name);
            match asked {
                Some(asked) => addr == asked && is_named,
                None => is_named && (request.pool.is_some() || pool.auto_assign),
            }
        };
        let all = self.everything().into_iter();
        all.filter(|addr| Family::of(*addr) == family)
            .filter(is_right)
            .filter(|addr| self.is_open(owner, *addr))
            .collect()
    }

    fn check_legal(&self) {
        for (owner, request) in &self.requests {
            let outcome = self.outcome(owner);
            let families: Vec<_> = outcome.addresses.iter().map(|a| Family::of(*a)).collect();
            let wanted = request.families.iter().filter(|f| families.contains(f)).copied();
            assert_eq!(families, wanted.collect::<Vec<_>>(), "{owner} {request:?}");
            for addr in &outcome.addresses {
                assert!(self.pool_of(*addr).is_some(), "{owner}: {addr} is in no pool");
                assert!(self.is_open(owner, *addr), "{owner}: {addr} is given twice");
            }
            let is_short = outcome.addresses.len() < request.families.len();
            assert!(!is_short || !outcome.refusals.is_empty(), "{owner} is short without a reason");
        }
    }

    fn check_nobody_waits_in_vain(&self) {
        for (owner, request) in &self.requests {
            let outcome = self.outcome(owner);
            let has_any =
                |family: &Family| outcome.addresses.iter().any(|addr| Family::of(*addr) == *family);
            // It has one, as it was asked for.
            let has = |family: &Family| {
                let asked = request.addresses.as_deref().unwrap_or_default();
                outcome.addresses.iter().any(|addr| {
                    let pool = self.pool_of(*addr).map(|pool| &*pool.name);
                    Family::of(*addr) == *family
                        && asked.iter().all(|a| Family::of(*a) != *family || a == addr)
                        && request.pool.as_deref().is_none_or(|name| pool == Some(name))
                })
            };
            let could = |family: &Family| !self.candidates(owner, *family).is_empty();
            let is_servable =
                !request.needs_all || request.families.iter().all(|f| has_any(f) || could(f));
            for family in request.families.iter().filter(|family| !has(family)) {
                let is_due = could(family) && is_servable;
                assert!(!is_due, "{owner} {request:?} waits for {family:?}: {outcome:?}");
            }
        }
    }

    /// Who was not touched and lacked nothing has what it had.
    fn check_stable(&self, before: &BTreeMap<Key, Outcome>, touched: &BTreeSet<Key>) {
        for (owner, old) in before.iter().filter(|(owner, _)| !touched.contains(owner)) {
            let new = self.outcome(owner);
            for addr in old.addresses.iter().filter(|_| old.refusals.is_empty()) {
                assert!(new.addresses.contains(addr), "{owner} has lost {addr}");
            }
            // Nor does anybody lose a family.
            assert!(new.addresses.len() >= old.addresses.len(), "{owner} has less");
        }
    }

    fn restart(&mut self, seed: u64) {
        let mut batch: Vec<_> = self.requests.clone().into_iter().collect();
        for (owner, request) in &mut batch {
            request.current = self.outcome(owner).addresses;
        }
        // Any order will do.
        let weight = |owner: &Key| {
            let number = owner.name.bytes().fold(0_u64, |sum, byte| sum * 31 + u64::from(byte));
            seed.wrapping_mul(number | 1)
        };
        batch.sort_by_key(|(owner, _)| weight(owner));
        self.allocator = Allocator::new(&self.pools);
        self.allocator.apply(batch.into_iter().map(|(owner, request)| (owner, Some(request))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_given_twice_moved_or_withheld(ops in ops()) {
        let mut world =
            World { allocator: Allocator::new(&pools(0)), pools: pools(0), requests: BTreeMap::new() };
        for op in ops {
            let before = world.outcomes();
            match op {
                Op::Set(changes) => {
                    let batch: BTreeMap<Key, Option<Request>> =
                        changes.into_iter().map(|(number, request)| (key(number), request)).collect();
                    for (owner, request) in &batch {
                        match request {
                            Some(request) => world.requests.insert(owner.clone(), request.clone()),
                            None => world.requests.remove(owner),
                        };
                    }
                    let touched = batch.keys().cloned().collect();
                    world.allocator.apply(batch);
                    world.check_stable(&before, &touched);
                }
                Op::Pools(which) => {
                    world.pools = pools(which);
                    world.allocator.set_pools(&world.pools);
                    let is_gone = |addr: &IpAddr| world.pool_of(*addr).is_none();
                    let lost = before.iter().filter(|(_, o)| o.addresses.iter().any(is_gone));
                    let touched = lost.map(|(owner, _)| owner.clone()).collect();
                    world.check_stable(&before, &touched);
                }
                Op::Restart(seed) => {
                    world.restart(seed);
                    let given = |outcomes: &BTreeMap<Key, Outcome>| -> Vec<_> {
                        // Refusals tell of when it was last tried.
                        let one = |outcome: &Outcome| {
                            (outcome.addresses.clone(), outcome.refusals.is_empty())
                        };
                        outcomes.values().map(one).collect()
                    };
                    prop_assert_eq!(given(&world.outcomes()), given(&before));
                }
            }
            world.check_legal();
            world.check_nobody_waits_in_vain();
            let changed = world.allocator.take_changed();
            let differs = |owner: &Key| before.get(owner) != Some(&world.outcome(owner));
            for owner in world.requests.keys().filter(|owner| differs(owner)) {
                prop_assert!(changed.contains(owner), "{} has changed unnoticed", owner);
            }
        }
        let all: Vec<_> = world.requests.keys().map(|owner| (owner.clone(), None)).collect();
        world.allocator.apply(all);
        prop_assert_eq!(world.allocator.waiting.len(), 0);
        // Nothing is left of anybody.
        let untouched = Allocator::new(&world.pools);
        prop_assert_eq!(format!("{:?}", world.allocator), format!("{untouched:?}"));
    }
}
