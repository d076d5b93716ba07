//! What all other addresses are to policies.

use super::blocks::{self, Blocks};
use super::peers::PeerKey;
use super::{Peer, Policies};
use sluice_tables::policy::AddressRanges;
use sluice_tables::{Family, Tables, V4, V6};
use std::net::IpAddr;
use std::sync::Arc;

impl Policies {
    /// Writes the ranges that the blocks make, if those have changed; whether
    /// they have.
    pub(super) fn write_ranges(&mut self, next: &mut Tables) -> bool {
        if !std::mem::take(&mut self.stale.blocks) {
            return false;
        }
        let all = self.attributes.iter().filter_map(|(id, attribute)| match &attribute.peer {
            Peer::Block(block) => Some((id, block.net)),
            _ => None,
        });
        let all: Vec<_> = all.collect();
        let blocks = Blocks::new(all.iter().copied());
        let old = std::mem::replace(&mut self.blocks, blocks);
        let moved = |addr: &IpAddr| old.of(*addr) != self.blocks.of(*addr);
        let moved: Vec<_> = self.addresses.iter().filter(moved).collect();
        self.stale.addresses.extend(moved);
        self.put_ranges::<V4>(next);
        self.put_ranges::<V6>(next);
        true
    }

    fn put_ranges<F: Family>(&mut self, next: &mut Tables) {
        let mut peers = Vec::new();
        let ranges = self.blocks.ranges(F::IS_V4);
        let mut starts = Vec::with_capacity(ranges.len());
        for (first, blocks) in ranges {
            let key = PeerKey { attributes: blocks.to_vec(), ports: None };
            let peer = self.peers.acquire(key, &mut self.attributes);
            peers.push(peer);
            starts.extend(blocks::address::<F>(*first).map(|first| (first, peer)));
        }
        let old = std::mem::replace(&mut self.range_peers[usize::from(!F::IS_V4)], peers);
        old.into_iter().for_each(|peer| self.peers.release(peer));
        F::of_mut(next).blocks = Arc::new(AddressRanges::new(starts));
    }
}
