use siphasher::sip::{SipHasher13, SipHasher24};
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

/// The 4-tuple of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub local: IpAddr,
    pub remote: IpAddr,
    pub local_port: u16,
    pub remote_port: u16,
}

impl Key {
    pub fn new(local: SocketAddr, remote: SocketAddr) -> Key {
        Key {
            local: local.ip(),
            remote: remote.ip(),
            local_port: local.port(),
            remote_port: remote.port(),
        }
    }

    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(self.local, self.local_port)
    }

    pub fn remote(&self) -> SocketAddr {
        SocketAddr::new(self.remote, self.remote_port)
    }

    /// Whether a connection between these can be: unicast addresses of one family
    /// that are not the same, and ports.
    pub fn is_possible(&self) -> bool {
        let unicast = |ip: &IpAddr| match ip {
            IpAddr::V4(ip) => !(ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast()),
            IpAddr::V6(ip) => !(ip.is_unspecified() || ip.is_multicast()),
        };
        unicast(&self.local)
            && unicast(&self.remote)
            && self.local.is_ipv4() == self.remote.is_ipv4()
            && self.local_port != 0
            && self.remote_port != 0
            && self.local() != self.remote()
    }
}

/// A table's hash: keyed, since peers choose what is in it.
#[derive(Clone)]
pub(super) struct KeyedHash(pub [u64; 2]);

impl BuildHasher for KeyedHash {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0[0], self.0[1])
    }
}

/// A hash that may be seen from outside.
pub(super) fn sip24(secret: [u64; 2], what: impl Hash) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(secret[0], secret[1]);
    what.hash(&mut hasher);
    hasher.finish()
}
