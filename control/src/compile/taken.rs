//! Who has which address. Who has one keeps it while it asks for it: a new
//! object never takes down one that is in force.

use crate::object::Name;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Addresses that nodes and pods have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Tunnel endpoints: the node of each.
    pub(super) vteps: BTreeMap<IpAddr, Arc<str>>,
    /// Ranges of nodes by their first address. They do not overlap.
    ranges: BTreeMap<IpAddr, Range>,
    /// Pods outside of their node's ranges.
    pub(super) pods: BTreeMap<IpAddr, Stray>,
}

/// A range of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) net: IpNet,
    pub(super) node: Arc<str>,
    /// Its pods can be reached: the node has a tunnel, or is the gateway.
    pub(super) is_served: bool,
}

/// A pod outside of its node's ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stray {
    pub(super) pod: Name,
    pub(super) node: Arc<str>,
}

impl Taken {
    /// What pods have.
    pub(super) fn without_nodes(&self) -> Self {
        Taken { pods: self.pods.clone(), ..Taken::default() }
    }

    /// The ranges, in order.
    pub(super) fn ranges(&self) -> impl Iterator<Item = &Range> {
        self.ranges.values()
    }

    /// Whether a node has exactly this range.
    pub(super) fn has_range(&self, net: &IpNet, node: &str) -> bool {
        let range = self.ranges.get(&net.network());
        range.is_some_and(|range| range.net == *net && *range.node == *node)
    }

    /// Gives a range to a node; the range overlaps no other.
    pub(super) fn add_range(&mut self, range: Range) {
        self.ranges.insert(range.net.network(), range);
    }

    /// A range that a prefix overlaps.
    pub(super) fn overlap(&self, net: &IpNet) -> Option<&Range> {
        let inside = self.ranges.range(net.network()..=net.broadcast()).next();
        self.range_of(net.network()).or(inside.map(|(_, range)| range))
    }

    /// Leaves the ranges of which `keep` is true.
    pub(super) fn retain_ranges(&mut self, keep: impl Fn(&Range) -> bool) {
        self.ranges.retain(|_, range| keep(range));
    }

    /// The range that an address is in.
    pub(super) fn range_of(&self, addr: IpAddr) -> Option<&Range> {
        let (_, range) = self.ranges.range(..=addr).next_back()?;
        range.net.contains(&addr).then_some(range)
    }

    /// A tunnel endpoint in a range, and its node.
    pub(super) fn vtep_in(&self, net: &IpNet) -> Option<(&IpAddr, &Arc<str>)> {
        self.vteps.range(net.network()..=net.broadcast()).next()
    }

    /// What node or pod has an address that a Service cannot have therefore;
    /// in words.
    pub(super) fn by_node(&self, addr: IpAddr) -> Option<String> {
        if let Some(node) = self.vteps.get(&addr) {
            return Some(format!("the tunnel address of node {node}"));
        }
        if let Some(range) = self.range_of(addr) {
            return Some(format!("in {} of node {}", range.net, range.node));
        }
        self.pods.get(&addr).map(|stray| format!("the address of pod {}", stray.pod))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_do_not_overlap() {
        let mut taken = Taken::default();
        let mut add = |net: &str, node: &str| {
            let net = net.parse().unwrap();
            match taken.overlap(&net) {
                Some(other) => return Err(other.node.to_string()),
                None => taken.add_range(Range { net, node: node.into(), is_served: true }),
            }
            Ok(())
        };
        assert_eq!(add("10.0.2.0/24", "a"), Ok(()));
        assert_eq!(add("10.0.4.0/24", "b"), Ok(()));
        assert_eq!(add("fd00::/64", "c"), Ok(()));
        for (net, other) in
            [("10.0.2.0/24", "a"), ("10.0.2.128/25", "a"), ("10.0.4.0/22", "b"), ("::/0", "c")]
        {
            assert_eq!(add(net, "x"), Err(other.to_owned()), "{net}");
        }
        assert_eq!(add("10.0.3.0/24", "d"), Ok(()));
        let node = |addr: &str| taken.range_of(addr.parse().unwrap()).map(|range| &*range.node);
        assert_eq!((node("10.0.2.255"), node("10.0.3.0")), (Some("a"), Some("d")));
        assert_eq!((node("10.0.5.0"), node("fd00:0:0:1::"), node("::")), (None, None, None));
        assert!(taken.has_range(&"10.0.3.0/24".parse().unwrap(), "d"));
        assert!(!taken.has_range(&"10.0.3.0/25".parse().unwrap(), "d"));
    }
}
