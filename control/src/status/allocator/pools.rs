use super::free::FreeSet;
use super::request::Family;
use sluice_config::AddressPool;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// A pool by its place in the configuration.
pub(super) type PoolIndex = usize;

/// How much of a pool is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolUse {
    /// Its name.
    pub pool: Arc<str>,
    /// The family that is counted.
    pub family: Family,
    /// Addresses that have an owner.
    pub used: u64,
    /// Addresses that have none.
    pub free: u128,
}

/// The pools and what is free in them.
#[derive(Clone, Debug, Default)]
pub(super) struct Pools {
    pools: Vec<Pool>,
    by_name: BTreeMap<Arc<str>, PoolIndex>,
    /// From the first address of a range to its last one and its pool.
    ranges: BTreeMap<IpAddr, (IpAddr, PoolIndex)>,
}

#[derive(Clone, Debug)]
struct Pool {
    name: Arc<str>,
    is_auto: bool,
    /// By family.
    free: [FreeSet; 2],
    total: [u128; 2],
    used: [u64; 2],
}

impl Pools {
    /// All of it free.
    pub(super) fn new(config: &[AddressPool]) -> Self {
        let mut pools = Pools::default();
        for (index, pool) in config.iter().enumerate() {
            let name: Arc<str> = pool.name.as_str().into();
            pools.by_name.insert(name.clone(), index);
            let mut free = [FreeSet::default(), FreeSet::default()];
            let mut total = [0_u128; 2];
            for range in &pool.ranges {
                let (first, last) = (number(range.first), number(range.last));
                let family = Family::of(range.first) as usize;
                free[family].give(first, last);
                total[family] = total[family].saturating_add((last - first).saturating_add(1));
                pools.ranges.insert(range.first, (range.last, index));
            }
            pools.pools.push(Pool { name, is_auto: pool.auto_assign, free, total, used: [0; 2] });
        }
        pools
    }

    /// The pool of this name.
    pub(super) fn named(&self, name: &str) -> Option<PoolIndex> {
        self.by_name.get(name).copied()
    }

    /// The pool that an address lies in.
    pub(super) fn of(&self, addr: IpAddr) -> Option<PoolIndex> {
        let (_, (last, pool)) = self.ranges.range(..=addr).next_back()?;
        (addr <= *last).then_some(*pool)
    }

    /// Whether a pool serves who names none.
    pub(super) fn is_auto(&self, pool: PoolIndex) -> bool {
        self.pools[pool].is_auto
    }

    /// The pools to look into for who names `pool`, in order.
    fn eligible(&self, pool: Option<PoolIndex>) -> impl Iterator<Item = &Pool> {
        let all = self.pools.iter().enumerate();
        all.filter(move |(index, this)| pool.map_or(this.is_auto, |pool| pool == *index))
            .map(|(_, this)| this)
    }

    /// The first free address.
    pub(super) fn first_free(&self, pool: Option<PoolIndex>, family: Family) -> Option<IpAddr> {
        let mut numbers = self.eligible(pool).filter_map(|pool| pool.free[family as usize].first());
        numbers.next().map(|number| address(number, family))
    }

    /// Whether there is any address, free or not.
    pub(super) fn has_family(&self, pool: Option<PoolIndex>, family: Family) -> bool {
        self.eligible(pool).any(|pool| pool.total[family as usize] > 0)
    }

    /// Takes a free address of a pool.
    pub(super) fn take(&mut self, addr: IpAddr) {
        if let Some(pool) = self.of(addr) {
            let family = Family::of(addr) as usize;
            self.pools[pool].free[family].take(number(addr));
            self.pools[pool].used[family] += 1;
        }
    }

    /// Gives back an address that was taken.
    pub(super) fn give(&mut self, addr: IpAddr) {
        if let Some(pool) = self.of(addr) {
            let (family, number) = (Family::of(addr) as usize, number(addr));
            self.pools[pool].free[family].give(number, number);
            self.pools[pool].used[family] -= 1;
        }
    }

    /// How much is in use, in order; families that a pool lacks are left out.
    pub(super) fn usage(&self) -> Vec<PoolUse> {
        let counts = |pool: &Pool, family: Family| {
            let (total, used) = (pool.total[family as usize], pool.used[family as usize]);
            let free = total.saturating_sub(used.into());
            (total > 0).then(|| PoolUse { pool: pool.name.clone(), family, used, free })
        };
        let all = self.pools.iter();
        all.flat_map(|pool| Family::ALL.into_iter().filter_map(move |f| counts(pool, f))).collect()
    }
}

fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => addr.to_bits().into(),
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

fn address(number: u128, family: Family) -> IpAddr {
    match family {
        // Of an IPv4 range, so of 32 bits.
        Family::V4 => IpAddr::V4((number as u32).into()),
        Family::V6 => IpAddr::V6(number.into()),
    }
}
