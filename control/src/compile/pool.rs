//! The SNAT pool, where it is a part of the pod range of the gateway's own node.

use super::nodes::is_gateway;
use super::{Compiler, Subject};
use crate::cluster::{Changes, Cluster};
use crate::diagnostic::Finding;
use crate::object::{Key, Kind};
use ipnet::IpNet;
use sluice_tables::Carriage;

impl Compiler {
    /// Takes the pool of the gateway's own node, if that has another one than before. While it
    /// has none, the last one goes on: flows hold its addresses.
    pub(super) fn settle_pool(&mut self, cluster: &Cluster, changes: &Changes) {
        let Some(count) = self.statics.from_node else {
            self.findings.set(Subject::Pool, Vec::new());
            return;
        };
        if changes.nodes.is_empty() && !self.is_reset {
            return;
        }
        let own = cluster.nodes().find(|(name, node)| is_gateway(name, node, &self.statics));
        let ranges = own.into_iter().flat_map(|(_, node)| &node.pod_cidrs).map(|(_, net)| *net);
        // What is refused as a range of pods has no room for a pool either.
        let ranges = ranges.filter(|net| self.statics.reserved_in(net).is_none());
        let pool = ends(ranges, count);
        let findings = self.pool_findings(own.is_some(), &pool);
        let name = own.map(|(name, _)| name.clone());
        let name = name.or(self.statics.node_name.as_deref().map(Into::into));
        let key = Key {
            kind: Kind::Node,
            namespace: "".into(),
            name: name.unwrap_or_else(|| "of the gateway".into()),
        };
        let findings = findings.into_iter().map(|finding| (key.clone(), finding)).collect();
        self.findings.set(Subject::Pool, findings);
        if !pool.is_empty() && pool != self.pool {
            tracing::info!(pool = ?pool, "the SNAT pool is of the gateway's node");
            self.pool = pool;
            self.is_reset = true;
        }
        if self.is_reset {
            self.statics.set_pool(&self.pool);
        }
    }

    fn pool_findings(&self, is_there: bool, pool: &[IpNet]) -> Vec<Finding> {
        let expected = match self.statics.mode {
            sluice_config::OverlayMode::Calico => "an IPAMBlock whose affinity is the node",
            _ => "`spec.podCIDRs`",
        };
        if pool.is_empty() {
            let what = if is_there { "has no range for a" } else { "is not there: there is no" };
            let goes_on = if self.pool.is_empty() {
                "clients are not translated, and reach no Service"
            } else {
                "the last one goes on"
            };
            let message = format!("the gateway's node {what} SNAT pool; {goes_on}");
            return vec![Finding::error("spec", message).expected(expected)];
        }
        let lacks = |is_ipv4: bool| {
            self.expects(is_ipv4) && !pool.iter().any(|net| net.addr().is_ipv4() == is_ipv4)
        };
        let families = [("IPv4", true), ("IPv6", false)].into_iter().filter(|(_, is)| lacks(*is));
        let finding = |(family, _)| {
            let message = format!(
                "has no {family} range for a SNAT pool; no client reaches a Service by {family}"
            );
            Finding::warning("spec", message).expected(expected)
        };
        families.map(finding).collect()
    }

    /// Whether there are pods of a family, as far as the configuration tells.
    fn expects(&self, is_ipv4: bool) -> bool {
        let vxlan = self.statics.vxlan().filter(|vxlan| vxlan.carriage == Carriage::SameFamily);
        let has_tunnel =
            vxlan.is_some_and(|v| if is_ipv4 { v.v4.is_some() } else { v.v6.is_some() });
        has_tunnel || self.statics.pod_cidrs.iter().any(|net| net.addr().is_ipv4() == is_ipv4)
    }
}

/// The last `count` addresses (a power of two) of the first range of each family; the whole range
/// if it has no more. A single address is the node's own device's.
fn ends(ranges: impl Iterator<Item = IpNet>, count: u32) -> Vec<IpNet> {
    let mut pool: Vec<IpNet> = Vec::new();
    for range in ranges.filter(|range| range.prefix_len() < range.max_prefix_len()) {
        if pool.iter().any(|taken| taken.addr().is_ipv4() == range.addr().is_ipv4()) {
            continue;
        }
        let bits = u8::try_from(count.ilog2()).unwrap_or(0);
        let len = range.prefix_len().max(range.max_prefix_len() - bits);
        pool.extend(IpNet::new(range.broadcast(), len).map(|net| net.trunc()));
    }
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_the_end_of_the_first_range_of_each_family() {
        let pool = |ranges: &[&str], count| {
            let ranges = ranges.iter().map(|net| net.parse().unwrap());
            ends(ranges, count).iter().map(IpNet::to_string).collect::<Vec<_>>()
        };
        let both = ["10.244.3.0/24", "fd00:10:244:3::/64", "10.244.9.0/24"];
        assert_eq!(pool(&both, 16), ["10.244.3.240/28", "fd00:10:244:3:ffff:ffff:ffff:fff0/124"]);
        assert_eq!(pool(&["10.1.0.64/26"], 1), ["10.1.0.127/32"]);
        assert_eq!(pool(&["10.1.0.64/26"], 4096), ["10.1.0.64/26"]);
        assert_eq!(pool(&["10.1.0.1/32"], 16), Vec::<String>::new());
    }
}
