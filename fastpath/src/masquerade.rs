use crate::counters::Counter;
use sluice_tables::VtepId;

/// Nodes that are counted one by one.
const NODES_MAX: usize = 16;

/// Connections to Services that came through a node's tunnel from the address of
/// the tunnel's own device: of pods that the node hides behind itself, or of its
/// host network. Written by one worker, read by anyone.
#[derive(Debug, Default)]
pub struct Masqueraded {
    /// All of them.
    pub flows: Counter,
    /// The first nodes that were seen so: the number and 1, or 0; and their flows.
    nodes: [(Counter, Counter); NODES_MAX],
}

impl Masqueraded {
    /// Counts one of a node.
    #[cold]
    pub(crate) fn count(&self, node: VtepId) {
        self.flows.add(1);
        let number = u64::from(node.0) + 1;
        let slot = self.nodes.iter().find(|(known, _)| [0, number].contains(&known.get()));
        if let Some((known, flows)) = slot {
            known.set(number);
            flows.add(1);
        }
    }

    /// The nodes, at most 16, and the flows of each.
    pub fn nodes(&self) -> impl Iterator<Item = (VtepId, u64)> {
        let known = self.nodes.iter().map(|(number, flows)| (number.get(), flows.get()));
        known
            .filter(|(number, _)| *number != 0)
            .map(|(number, flows)| (VtepId(u32::try_from(number - 1).unwrap_or(u32::MAX)), flows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_nodes_are_counted_one_by_one_and_all_together() {
        let counts = Masqueraded::default();
        for round in 0..3 {
            for node in 0..20 {
                counts.count(VtepId(node));
                assert_eq!(counts.flows.get(), u64::from(round * 20 + node + 1));
            }
        }
        let expected: Vec<_> = (0..16).map(|node| (VtepId(node), 3)).collect();
        assert_eq!(counts.nodes().collect::<Vec<_>>(), expected);
    }
}
