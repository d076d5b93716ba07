use crate::tables::{FamilyTables, Tables};
use std::fmt::Debug;
use std::hash::Hash;
use std::net::IpAddr;

/// An IP family. Code that is generic over it treats IPv4 and IPv6 alike, and
/// compiles to straight code for each.
pub trait Family: Copy + Debug + Default + Eq + Hash + Send + Sync + 'static {
    /// An address, in network byte order.
    type Addr: Copy
        + Debug
        + Default
        + Eq
        + Ord
        + Hash
        + AsRef<[u8]>
        + AsMut<[u8]>
        + Send
        + Sync
        + 'static;

    /// An address as a number, in the order of addresses.
    type Number: Copy + Debug + Default + Eq + Ord + Send + Sync + 'static;

    /// Bits of an address.
    const BITS: u8;
    /// The number of the highest address.
    const HIGHEST: Self::Number;
    /// True for IPv4.
    const IS_V4: bool;

    /// The address as a number.
    fn number(addr: &Self::Addr) -> Self::Number;

    /// The address as the standard library's type.
    fn to_ip(addr: Self::Addr) -> IpAddr;

    /// The address, if it is of this family.
    fn from_ip(ip: IpAddr) -> Option<Self::Addr>;

    /// This family's half of the tables.
    fn of(tables: &Tables) -> &FamilyTables<Self>;

    /// This family's half of the tables, to be changed.
    fn of_mut(tables: &mut Tables) -> &mut FamilyTables<Self>;
}

/// IPv4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct V4;

/// IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct V6;

impl Family for V4 {
    type Addr = [u8; 4];
    type Number = u32;
    const BITS: u8 = 32;
    const HIGHEST: u32 = u32::MAX;
    const IS_V4: bool = true;

    #[inline]
    fn number(addr: &[u8; 4]) -> u32 {
        u32::from_be_bytes(*addr)
    }

    fn to_ip(addr: [u8; 4]) -> IpAddr {
        IpAddr::from(addr)
    }

    fn from_ip(ip: IpAddr) -> Option<[u8; 4]> {
        match ip {
            IpAddr::V4(ip) => Some(ip.octets()),
            IpAddr::V6(_) => None,
        }
    }

    fn of(tables: &Tables) -> &FamilyTables<V4> {
        &tables.v4
    }

    fn of_mut(tables: &mut Tables) -> &mut FamilyTables<V4> {
        &mut tables.v4
    }
}

impl Family for V6 {
    type Addr = [u8; 16];
    type Number = u128;
    const BITS: u8 = 128;
    const HIGHEST: u128 = u128::MAX;
    const IS_V4: bool = false;

    #[inline]
    fn number(addr: &[u8; 16]) -> u128 {
        u128::from_be_bytes(*addr)
    }

    fn to_ip(addr: [u8; 16]) -> IpAddr {
        IpAddr::from(addr)
    }

    fn from_ip(ip: IpAddr) -> Option<[u8; 16]> {
        match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(ip.octets()),
        }
    }

    fn of(tables: &Tables) -> &FamilyTables<V6> {
        &tables.v6
    }

    fn of_mut(tables: &mut Tables) -> &mut FamilyTables<V6> {
        &mut tables.v6
    }
}
