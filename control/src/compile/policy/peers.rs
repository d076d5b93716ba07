//! What addresses are to others' rules: each set of attributes once, by a number.

use super::AttributeId;
use super::attributes::Attributes;
use super::program::NamedPorts;
use hashbrown::HashMap;
use sluice_tables::policy::{LANES, PeerId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What tells an address from others when it is a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct PeerKey {
    /// What it has of what rules name, in order.
    pub(super) attributes: Vec<AttributeId>,
    /// Its ports that rules name.
    pub(super) ports: Option<NamedPorts>,
}

/// All peers by number: 64 on a page.
#[derive(Debug)]
pub(super) struct Peers {
    slots: Vec<Option<Peer>>,
    free: BTreeSet<u32>,
    numbers: HashMap<Arc<PeerKey>, u32>,
    /// Attributes that peers on a page have, or had.
    pages: HashMap<u32, BTreeSet<AttributeId>>,
    /// Peers that were made and that no classifier knows yet.
    fresh: Vec<PeerId>,
    /// Peers without a use, to be forgotten.
    unused: BTreeSet<u32>,
}

#[derive(Debug)]
struct Peer {
    key: Arc<PeerKey>,
    uses: usize,
}

impl Default for Peers {
    /// With [`PeerId::OUTSIDE`], which always stays.
    fn default() -> Self {
        let key: Arc<PeerKey> = Arc::default();
        Peers {
            slots: vec![Some(Peer { key: key.clone(), uses: 1 })],
            free: BTreeSet::new(),
            numbers: HashMap::from([(key, PeerId::OUTSIDE.0)]),
            pages: HashMap::new(),
            fresh: Vec::new(),
            unused: BTreeSet::new(),
        }
    }
}

impl Peers {
    /// Another use of a peer; a new one if there is none like it.
    pub(super) fn acquire(&mut self, key: PeerKey, attributes: &mut Attributes) -> PeerId {
        if let Some(&number) = self.numbers.get(&key) {
            if let Some(peer) = &mut self.slots[number as usize] {
                peer.uses += 1;
                self.unused.remove(&number);
            }
            return PeerId(number);
        }
        let number = self.free.pop_first().unwrap_or(self.slots.len() as u32);
        let (page, bit) = place(number);
        for id in &key.attributes {
            if let Some(attribute) = attributes.get_mut(*id) {
                *attribute.lanes.entry(page).or_default() |= bit;
                if attribute.pages.insert(page) {
                    self.pages.entry(page).or_default().insert(*id);
                }
            }
        }
        let key = Arc::new(key);
        self.numbers.insert(key.clone(), number);
        let peer = Some(Peer { key, uses: 1 });
        match self.slots.get_mut(number as usize) {
            Some(slot) => *slot = peer,
            None => self.slots.push(peer),
        }
        self.fresh.push(PeerId(number));
        PeerId(number)
    }

    /// One use less.
    pub(super) fn release(&mut self, id: PeerId) {
        if let Some(Some(peer)) = self.slots.get_mut(id.0 as usize) {
            peer.uses -= 1;
            if peer.uses == 0 {
                self.unused.insert(id.0);
            }
        }
    }

    /// Forgets the peers without a use.
    pub(super) fn collect(&mut self, attributes: &mut Attributes) {
        for number in std::mem::take(&mut self.unused) {
            let Some(peer) = self.slots[number as usize].take() else { continue };
            let (page, bit) = place(number);
            for id in &peer.key.attributes {
                if let Some(attribute) = attributes.get_mut(*id)
                    && let Some(lanes) = attribute.lanes.get_mut(&page)
                {
                    *lanes &= !bit;
                    if *lanes == 0 {
                        attribute.lanes.remove(&page);
                    }
                }
            }
            self.numbers.remove(&peer.key);
            self.free.insert(number);
        }
    }

    /// An attribute is no more.
    pub(super) fn forget(&mut self, id: AttributeId, pages: &BTreeSet<u32>) {
        for page in pages {
            if let Some(on_page) = self.pages.get_mut(page) {
                on_page.remove(&id);
            }
        }
    }

    /// The peers that were made since this was last called.
    pub(super) fn take_fresh(&mut self) -> Vec<PeerId> {
        std::mem::take(&mut self.fresh)
    }

    /// Attributes that peers on a page have, or had: classifiers that name one of
    /// them depend on who is on the page.
    pub(super) fn on_page(&self, page: u32) -> impl Iterator<Item = AttributeId> {
        self.pages.get(&page).into_iter().flatten().copied()
    }

    /// Which peers of a page there are.
    pub(super) fn lanes(&self, page: u32) -> u64 {
        let from = page as usize * LANES;
        let slots = self.slots.iter().skip(from).take(LANES);
        slots.enumerate().fold(0, |lanes, (lane, slot)| lanes | u64::from(slot.is_some()) << lane)
    }

    /// What a peer is.
    pub(super) fn key(&self, id: PeerId) -> Option<&PeerKey> {
        self.slots.get(id.0 as usize)?.as_ref().map(|peer| &*peer.key)
    }

    /// The ports of a peer that rules name.
    pub(super) fn ports(&self, id: PeerId) -> Option<&NamedPorts> {
        self.key(id)?.ports.as_ref()
    }

    /// Pages that there are.
    pub(super) fn page_count(&self) -> u32 {
        self.slots.len().div_ceil(LANES) as u32
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }
}

/// The page of a peer, and its bit there.
pub(super) fn place(number: u32) -> (u32, u64) {
    (number / LANES as u32, 1 << (number % LANES as u32))
}
