//! What the gateway is to policies where it sends on the requests of clients.
//!
//! It is the pod that it is taken for, with all that selects that; but blocks contain it or
//! not as they do the client. So there is a peer for each range of clients' addresses, and
//! a request costs what a flow does.

use super::peers::PeerKey;
use super::{AttributeId, Policies, blocks};
use crate::compile::epochs::Epochs;
use sluice_tables::policy::{AddressRanges, PeerId};
use sluice_tables::{Family, Tables, V4, V6};
use std::sync::Arc;

/// The peers of clients' ranges.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// What selects the gateway, as it is in the tables; `None`: nothing is.
    attributes: Option<Vec<AttributeId>>,
    /// IPv4 and IPv6.
    peers: [Vec<PeerId>; 2],
}

impl Policies {
    /// Writes what the gateway is by the addresses of clients, if that is different.
    pub(super) fn write_clients(
        &mut self,
        are_ranges_new: bool,
        next: &mut Tables,
        epochs: &mut Epochs,
    ) {
        let attributes = self.gateway.as_ref().map(|(name, _)| {
            let attributes = self.pods.attributes(name).iter().copied();
            attributes.filter(|id| self.attributes.is_peer(*id)).collect()
        });
        if !are_ranges_new && attributes == self.clients.attributes {
            return;
        }
        self.clients.attributes = attributes;
        self.put_clients::<V4>(next);
        self.put_clients::<V6>(next);
        epochs.changed();
    }

    fn put_clients<F: Family>(&mut self, next: &mut Tables) {
        let (mut peers, mut starts) = (Vec::new(), Vec::new());
        if let Some(own) = &self.clients.attributes {
            let ranges = self.blocks.ranges(F::IS_V4);
            let below = ranges.first().is_none_or(|(first, _)| *first > 0);
            let below = below.then(|| (0, blocks::BlockSet::default()));
            for (first, blocks) in below.iter().chain(ranges) {
                let mut attributes = [own, &blocks[..]].concat();
                attributes.sort_unstable();
                let key = PeerKey { attributes, ports: None };
                let peer = self.peers.acquire(key, &mut self.attributes);
                peers.push(peer);
                starts.extend(blocks::address::<F>(*first).map(|first| (first, peer)));
            }
        }
        let of_family = usize::from(!F::IS_V4);
        let old = std::mem::replace(&mut self.clients.peers[of_family], peers);
        old.into_iter().for_each(|peer| self.peers.release(peer));
        F::of_mut(next).clients = Arc::new(AddressRanges::new(starts));
    }
}
