use crate::time::Nanos;
use hashbrown::HashMap;
use sluice_tables::VtepId;
use std::net::IpAddr;
use std::time::Duration;

/// How long a router's word about a path counts: after it, a larger packet is
/// tried again (RFC 1191 section 6.3, RFC 8201 section 4).
const BELIEVED: Duration = Duration::from_mins(10);
/// How often the same word is passed on to other workers, in nanoseconds.
const REPEATED_NS: u64 = Nanos::SECOND;

/// What a router of the underlay says of the path to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathNews {
    /// The node.
    pub vtep: VtepId,
    /// Its underlay address, which the packet that was too big went to.
    pub to: IpAddr,
    /// Largest outer IP packet that passes, in bytes.
    pub mtu: u16,
}

/// Paths to nodes that carry less than configured: at most one of each family, of
/// nodes that the tables have.
#[derive(Debug, Default)]
pub struct PathMtus {
    /// By node, and whether the underlay is IPv4.
    by_vtep: HashMap<(VtepId, bool), Path>,
    /// When the first of them ends.
    soonest: Nanos,
}

#[derive(Clone, Copy, Debug)]
struct Path {
    to: IpAddr,
    mtu: u16,
    heard: Nanos,
}

impl PathMtus {
    /// Takes in what a router says. False when it is nothing new, or larger
    /// than what is known.
    pub fn learn(&mut self, news: PathNews, now: Nanos) -> bool {
        let PathNews { vtep, to, mtu } = news;
        let key = (vtep, to.is_ipv4());
        if let Some(known) = self.by_vtep.get(&key)
            && known.to == to
            && (mtu > known.mtu || mtu == known.mtu && now.since(known.heard) < REPEATED_NS)
        {
            return false;
        }
        if self.by_vtep.is_empty() {
            self.soonest = now + BELIEVED;
        }
        self.by_vtep.insert(key, Path { to, mtu, heard: now });
        true
    }

    /// What is known of the path to a node's underlay address: the largest outer
    /// IP packet, in bytes.
    pub fn get(&self, vtep: VtepId, to: IpAddr) -> Option<u16> {
        let path = self.by_vtep.get(&(vtep, to.is_ipv4()))?;
        (path.to == to).then_some(path.mtu)
    }

    /// A node whose path's time is over, which is forgotten.
    pub fn expire(&mut self, now: Nanos) -> Option<VtepId> {
        if self.by_vtep.is_empty() || now < self.soonest {
            return None;
        }
        let is_over = |path: &Path| now >= path.heard + BELIEVED;
        let over = self.by_vtep.iter().find(|(_, path)| is_over(path)).map(|(key, _)| *key);
        match over {
            Some(key) => {
                self.by_vtep.remove(&key);
            }
            None => {
                let heard = self.by_vtep.values().map(|path| path.heard).min();
                self.soonest = heard.unwrap_or(now) + BELIEVED;
            }
        }
        over.map(|(vtep, _)| vtep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: VtepId = VtepId(3);

    fn news(mtu: u16) -> PathNews {
        PathNews { vtep: NODE, to: [10, 0, 0, 1].into(), mtu }
    }

    #[test]
    fn a_path_only_gets_smaller_until_its_time_is_over() {
        let mut paths = PathMtus::default();
        let at = |seconds: u64| Nanos(seconds * Nanos::SECOND);
        assert!(paths.learn(news(1400), at(1)));
        assert!(!paths.learn(news(1400), at(1)));
        assert!(!paths.learn(news(1450), at(2)));
        assert_eq!(paths.get(NODE, news(0).to), Some(1400));
        assert!(paths.learn(news(1300), at(100)));
        assert_eq!(paths.get(NODE, news(0).to), Some(1300));
        assert_eq!(paths.expire(at(699)), None);
        assert_eq!(paths.expire(at(700)), Some(NODE));
        assert_eq!(paths.expire(at(700)), None);
        assert_eq!(paths.get(NODE, news(0).to), None);
    }

    #[test]
    fn a_node_that_moved_has_another_path() {
        let mut paths = PathMtus::default();
        assert!(paths.learn(news(1400), Nanos(1)));
        assert_eq!(paths.get(NODE, [10, 0, 0, 2].into()), None);
        let moved = PathNews { to: [10, 0, 0, 2].into(), ..news(1450) };
        assert!(paths.learn(moved, Nanos(1)));
        assert_eq!(paths.get(NODE, moved.to), Some(1450));
    }
}
