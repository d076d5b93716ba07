use crate::cluster::Protocol;
use crate::object::Key;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// An IP family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// That of an address.
    pub fn of(addr: IpAddr) -> Self {
        if addr.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// The name in Kubernetes.
    pub fn as_str(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }
}

/// A port that clients address.
pub type L4Port = (u16, Protocol);

/// Who may have an address together with others: those for whom all of this is
/// equal, while no port is used twice (MetalLB's rules, "IP address sharing").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sharing {
    /// The key that the owners have agreed on.
    pub key: Arc<str>,
    /// What decides where packets go, if only some gateways take them: with
    /// `externalTrafficPolicy: Local` the selector.
    pub backend: Option<Arc<str>>,
}

/// What an owner wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// When the owner was made, in seconds since 1970: the oldest is served
    /// first.
    pub created: Option<i64>,
    /// The families that it wants, each once, the primary one first.
    pub families: Vec<Family>,
    /// All families or none; else as many as there are.
    pub needs_all: bool,
    /// The pool to take them from; `None`: those that assign by themselves.
    pub pool: Option<Arc<str>>,
    /// The addresses that it asks for, at most one of a family; or what is
    /// wrong with them.
    pub addresses: Result<Vec<IpAddr>, String>,
    /// With whom it shares; `None`: with nobody.
    pub sharing: Option<Sharing>,
    /// The ports that it uses.
    pub ports: BTreeSet<L4Port>,
    /// The addresses that it has by its status.
    pub current: Vec<IpAddr>,
}

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What it has, in the order of the families that it wants.
    pub addresses: Vec<IpAddr>,
    /// What it wants and does not have, as of when it was last tried. With an
    /// address of the same family above: the one that it had before, which it
    /// keeps meanwhile.
    pub refusals: Vec<Refusal>,
}

/// Why something that was asked for is not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Every address is given away.
    Exhausted {
        /// Of this family.
        family: Family,
        /// In this pool; `None`: in all that assign by themselves.
        pool: Option<Arc<str>>,
    },
    /// There are no addresses of a family at all.
    NoFamily {
        /// The family.
        family: Family,
        /// In this pool; `None`: in all that assign by themselves.
        pool: Option<Arc<str>>,
    },
    /// No pool has this name.
    UnknownPool {
        /// The name.
        pool: Arc<str>,
    },
    /// The address lies in no pool, or in another than the one that is named.
    NotInPool {
        /// The address.
        addr: IpAddr,
        /// The pool that is named.
        pool: Option<Arc<str>>,
    },
    /// Another has the address.
    Taken {
        /// The address.
        addr: IpAddr,
        /// Who.
        by: Key,
        /// The port that both use, if they could share the address otherwise.
        port: Option<L4Port>,
    },
    /// The address is of a family that is not wanted.
    OtherFamily {
        /// The address.
        addr: IpAddr,
    },
    /// The request cannot be read.
    Invalid {
        /// What is wrong, and what was expected.
        message: String,
    },
}

impl Refusal {
    /// One word for it, as conditions and Events have it.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::Exhausted { .. } => "PoolExhausted",
            Refusal::NoFamily { .. } => "FamilyMissing",
            Refusal::UnknownPool { .. } => "UnknownPool",
            Refusal::NotInPool { .. } => "AddressNotInPool",
            Refusal::Taken { .. } => "AddressTaken",
            Refusal::OtherFamily { .. } => "FamilyNotWanted",
            Refusal::Invalid { .. } => "InvalidRequest",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pools = |pool: &Option<Arc<str>>| match pool {
            Some(pool) => format!("pool {pool:?}"),
            None => "the pools that assign by themselves".to_owned(),
        };
        match self {
            Refusal::Exhausted { family, pool } => {
                write!(f, "every {} address of {} is given away", family.as_str(), pools(pool))
            }
            Refusal::NoFamily { family, pool } => {
                write!(f, "there is no {} address in {}", family.as_str(), pools(pool))
            }
            Refusal::UnknownPool { pool } => write!(f, "there is no pool {pool:?}"),
            Refusal::NotInPool { addr, pool: None } => write!(f, "{addr} lies in no pool"),
            Refusal::NotInPool { addr, pool: Some(pool) } => {
                write!(f, "{addr} does not lie in pool {pool:?}")
            }
            Refusal::Taken { addr, by, port: None } => {
                write!(f, "{addr} is taken by {by}, which does not share it with this object")
            }
            Refusal::Taken { addr, by, port: Some((port, protocol)) } => {
                write!(f, "{addr} is shared with {by}, which has port {port}/{}", protocol.as_str())
            }
            Refusal::OtherFamily { addr } => {
                write!(f, "{addr} is of a family that the object does not have")
            }
            Refusal::Invalid { message } => f.write_str(message),
        }
    }
}
