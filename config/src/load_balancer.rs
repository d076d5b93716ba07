//! `load_balancer`: addresses that Services of type LoadBalancer are given.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::read::{
    Field, Fields, Located, Reader, Reported, Spot, address_range, boolean, is_subdomain, label,
    list, text,
};
use crate::schema::{Default, Key, Section};

/// Which Services of type LoadBalancer are given addresses, and which addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadBalancer {
    /// `spec.loadBalancerClass` of the Services that are given addresses.
    pub class: String,
    /// Whether Services without a class are given addresses, too.
    pub is_default: bool,
    /// Where the addresses come from; the first that has one gives it.
    pub pools: Vec<AddressPool>,
}

/// Addresses that are given to Services. No two pools have one in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPool {
    /// Its unique name, for `sluice.dev/address-pool`.
    pub name: String,
    /// Its addresses, of both families; no two ranges overlap.
    pub ranges: Vec<AddressRange>,
    /// Whether it also serves who names neither a pool nor an address.
    pub auto_assign: bool,
}

/// Addresses of one family, both ends included; `first <= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressRange {
    /// The first address.
    pub first: IpAddr,
    /// The last address.
    pub last: IpAddr,
}

impl AddressRange {
    /// Whether an address lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        // An IPv4 address is below every IPv6 address.
        self.first <= address && address <= self.last
    }

    /// Whether two ranges have an address in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl From<IpNet> for AddressRange {
    fn from(net: IpNet) -> Self {
        Self { first: net.network(), last: net.broadcast() }
    }
}

impl std::fmt::Display for AddressRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// Most pools.
const POOLS_MAX: usize = 64;

/// Most ranges of a pool.
const RANGES_MAX: usize = 256;

pub(crate) static SECTION: Section = Section {
    path: "load_balancer",
    keys: &[
        Key {
            name: "class",
            kind: "label-style name, such as `example.com/gateway`",
            default: Default::Value("sluice.dev/gateway"),
            meaning: "`spec.loadBalancerClass` of the Services that are given addresses",
        },
        Key {
            name: "default",
            kind: "boolean",
            default: Default::Value("false"),
            meaning: "give addresses to Services without a class, too; nobody else may do so",
        },
        Key {
            name: "pools",
            kind: "list of 1 to 64 sections",
            default: Default::Required,
            meaning: "where the addresses come from; the first pool that has one gives it",
        },
    ],
};

pub(crate) static POOL: Section = Section {
    path: "load_balancer.pools[]",
    keys: &[
        Key {
            name: "name",
            kind: "1 to 63 of `a-z`, `0-9`, `-`",
            default: Default::Required,
            meaning: "the pool's unique name, for the annotation `sluice.dev/address-pool`",
        },
        Key {
            name: "addresses",
            kind: "list of 1 to 256 prefixes, addresses or ranges `FIRST-LAST`",
            default: Default::Required,
            meaning: "the pool, of one family or both; every address of a prefix is used, and \
                      nothing else uses it",
        },
        Key {
            name: "auto_assign",
            kind: "boolean",
            default: Default::Value("true"),
            meaning: "give addresses also to Services that name neither the pool nor an address",
        },
    ],
};

/// `load_balancer` as read, its addresses not yet checked against others.
pub(crate) struct RawLoadBalancer {
    class: String,
    is_default: bool,
    pub pools: Vec<RawPool>,
    pub spot: Spot,
}

/// A pool as read.
pub(crate) struct RawPool {
    name: Located<String>,
    pub ranges: Vec<Located<AddressRange>>,
    auto_assign: bool,
}

impl RawLoadBalancer {
    /// Reads `load_balancer`.
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        root: &Fields<'_>,
    ) -> Result<Option<Self>, Reported> {
        let Some(field) = root.get("load_balancer") else { return Ok(None) };
        let fields = Fields::open(reader, field, &SECTION)?;
        let class = fields.defaulted(reader, "class", class);
        let is_default = fields.defaulted(reader, "default", boolean);
        let pools = fields.required(reader, "pools", list(1..=POOLS_MAX, RawPool::read));
        let pools: Vec<_> = pools?.value.into_iter().map(|pool| pool.value).collect();
        for (index, pool) in pools.iter().enumerate() {
            let mut earlier = pools[..index].iter();
            if let Some(first) = earlier.find(|first| first.name.value == pool.name.value) {
                let message =
                    format!("{:?} is the name of {}", pool.name.value, first.name.spot.refer());
                reader.error(&pool.name.spot, message, "a name of its own for each pool");
            }
        }
        Ok(Some(Self {
            class: class?.value,
            is_default: is_default?.value,
            pools,
            spot: fields.spot().clone(),
        }))
    }

    /// Every range, in the order of the file.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = &Located<AddressRange>> {
        self.pools.iter().flat_map(|pool| &pool.ranges)
    }

    /// The section as it will be used.
    pub(crate) fn build(self) -> LoadBalancer {
        let pool = |pool: RawPool| AddressPool {
            name: pool.name.value,
            ranges: pool.ranges.into_iter().map(|range| range.value).collect(),
            auto_assign: pool.auto_assign,
        };
        LoadBalancer {
            class: self.class,
            is_default: self.is_default,
            pools: self.pools.into_iter().map(pool).collect(),
        }
    }
}

impl RawPool {
    fn read(reader: &mut Reader<'_>, field: Field<'_>) -> Result<Self, Reported> {
        let fields = Fields::open(reader, field, &POOL)?;
        let name = fields.required(reader, "name", label);
        let ranges = fields.required(reader, "addresses", list(1..=RANGES_MAX, address_range));
        let auto_assign = fields.defaulted(reader, "auto_assign", boolean);
        Ok(Self { name: name?, ranges: ranges?.value, auto_assign: auto_assign?.value })
    }
}

/// Reads a class: a name with a prefix, as Kubernetes wants it of `spec.loadBalancerClass`.
fn class(reader: &mut Reader<'_>, field: Field<'_>) -> Result<String, Reported> {
    let expected = "a label-style name such as `example.com/gateway`";
    let read = text(expected, |text| {
        let (prefix, name) = match text.split_once('/') {
            Some((prefix, name)) => (Some(prefix), name),
            None => (None, text),
        };
        let alphanumeric = |c: char| c.is_ascii_alphanumeric();
        let is_name = name.len() <= 63
            && name.starts_with(alphanumeric)
            && name.ends_with(alphanumeric)
            && name.chars().all(|c| alphanumeric(c) || matches!(c, '-' | '_' | '.'));
        match is_name && prefix.is_none_or(is_subdomain) {
            true => Ok(text.to_owned()),
            false => Err(String::new()),
        }
    });
    read(reader, field)
}
