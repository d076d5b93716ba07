use super::PeerId;
use crate::chunked::Chunked;
use std::sync::Arc;

/// Peers on one page.
pub const LANES: usize = 64;

/// Peers that a classifier has at hand.
const LISTED: usize = 28;

/// For each of 64 peers in a row: its class. Classifiers share pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Page(pub [u16; LANES]);

impl Default for Page {
    fn default() -> Self {
        Page([0; LANES])
    }
}

/// What the peers of one page are to a classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageClasses {
    /// All are of this class.
    Uniform(u16),
    /// Each has its class on this page.
    Page(u32),
}

/// Divides peers into classes: those that match the same of some rules' peers.
/// Subjects whose rules name the same peers share one, whatever their rules say.
///
/// Rules of few subjects name few peers: a classifier of at most 28 peers that are
/// not of class 0 is a list, two lines of memory that need no other. A larger one
/// has one word for each 64 peers, a page or the one class of all; peers beyond
/// the last word are of class 0.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(align(128))]
pub struct Classifier {
    /// A peer and its class each; of class 0 where there is none.
    listed: [u32; LISTED],
    words: Option<Arc<[u32]>>,
}

/// The peers that a classifier may list, as a Bloom filter: for most others one look
/// here is enough, and they are of class 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed(u64);

impl Listed {
    /// Two of 64 bits. By the golden ratio, which spreads neighbors.
    #[inline]
    fn bits(peer: PeerId) -> u64 {
        let spread = peer.0.wrapping_mul(0x9e37_79b9);
        1 << (spread >> 26) | 1 << (spread >> 20 & 63)
    }

    #[inline]
    pub(super) fn may_have(self, peer: PeerId) -> bool {
        let bits = Self::bits(peer);
        self.0 & bits == bits
    }
}

impl Default for Classifier {
    fn default() -> Self {
        Classifier { listed: [0; LISTED], words: None }
    }
}

impl Classifier {
    const UNIFORM: u32 = 1 << 31;

    /// Bits of a class in a list.
    const CLASS: u32 = 12;

    /// The classifier with these classes; `content` is what a page has.
    pub fn new(pages: &[PageClasses], content: impl Fn(u32) -> Page) -> Self {
        Self::listed(pages, content).unwrap_or_else(|| {
            let word = |classes: &PageClasses| match classes {
                PageClasses::Uniform(class) => Self::UNIFORM | u32::from(*class),
                PageClasses::Page(page) => page & !Self::UNIFORM,
            };
            Classifier { words: Some(pages.iter().map(word).collect()), ..Self::default() }
        })
    }

    /// As a list, if there are few enough, with small numbers. A page of one class
    /// has room for peers that are to come, and they are of that class too.
    fn listed(pages: &[PageClasses], content: impl Fn(u32) -> Page) -> Option<Self> {
        let mut list = Self::default();
        let mut places = list.listed.iter_mut();
        for (number, page) in (0..).zip(pages) {
            let page = match page {
                PageClasses::Uniform(0) => continue,
                PageClasses::Uniform(_) => return None,
                PageClasses::Page(page) => content(*page),
            };
            for (lane, class) in (0..).zip(page.0).filter(|(_, class)| *class != 0) {
                let (peer, class) = (number * LANES as u32 + lane, u32::from(class));
                if peer > u32::MAX >> Self::CLASS || class >> Self::CLASS != 0 {
                    return None;
                }
                *places.next()? = peer << Self::CLASS | class;
            }
        }
        Some(list)
    }

    /// The peers that may be of another class than 0.
    pub(super) fn peers(&self) -> Listed {
        if self.words.is_some() {
            return Listed(u64::MAX);
        }
        let entries = self.listed.iter().filter(|entry| **entry != 0);
        let bits = entries.map(|entry| Listed::bits(PeerId(entry >> Self::CLASS)));
        Listed(bits.fold(0, std::ops::BitOr::bitor))
    }

    #[inline]
    pub(super) fn class(&self, pages: &Chunked<Page>, peer: PeerId) -> u32 {
        match &self.words {
            // All are compared: to leave early would be a branch that cannot be
            // foreseen.
            None => self.listed.iter().fold(0, |found, entry| {
                let is_it = entry >> Self::CLASS == peer.0;
                found | if is_it { entry & ((1 << Self::CLASS) - 1) } else { 0 }
            }),
            Some(words) => Self::on_page(words, pages, peer),
        }
    }

    #[inline]
    fn on_page(words: &[u32], pages: &Chunked<Page>, peer: PeerId) -> u32 {
        let Some(&word) = words.get(peer.0 as usize / LANES) else { return 0 };
        if word & Self::UNIFORM != 0 {
            return word & !Self::UNIFORM;
        }
        pages.get(word).map_or(0, |page| u32::from(page.0[peer.0 as usize % LANES]))
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.words.as_deref().map_or(0, size_of_val)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Rows;

    fn page(classes: &[(usize, u16)]) -> Page {
        let mut page = Page::default();
        classes.iter().for_each(|(lane, class)| page.0[*lane] = *class);
        page
    }

    #[test]
    fn a_list_and_pages_say_the_same() {
        let many: Vec<_> = (0..LISTED).map(|lane| (lane * 2, lane as u16 + 1)).collect();
        let large = [1 << Classifier::CLASS, (1 << Classifier::CLASS) - 1];
        let [too_large, large] = large.map(|class| page(&[(0, class)]));
        let contents = [page(&[(3, 1), (63, 2)]), page(&many), page(&many[2..]), large, too_large];
        let mut rows = Rows::default();
        (0..).zip(contents).for_each(|(number, page)| rows.pages.set(number, page));
        let uniform = PageClasses::Uniform;
        // Beyond the peers that a list can have.
        let far = (u32::MAX >> Classifier::CLASS) as usize / LANES;
        let mut distant = vec![uniform(0); far + 1];
        distant[far] = PageClasses::Page(1);
        for (pages, is_list) in [
            (vec![], true),
            (vec![uniform(0); 3], true),
            (vec![uniform(0), PageClasses::Page(1)], true),
            (vec![PageClasses::Page(0), uniform(0), PageClasses::Page(2)], true),
            (vec![PageClasses::Page(0), PageClasses::Page(1)], false),
            (vec![uniform(0), uniform(7)], false),
            (vec![PageClasses::Page(3)], true),
            (vec![PageClasses::Page(4)], false),
            (distant, true),
        ] {
            let classifier = Classifier::new(&pages, |page| contents[page as usize]);
            assert_eq!(classifier.words.is_none(), is_list, "{:?}", pages.last());
            let last = (LANES * far) as u32;
            for peer in (0..64 * 4).chain([5000, u32::MAX - 1]).chain(last..last + 64) {
                let expected = match pages.get(peer as usize / LANES) {
                    None => 0,
                    Some(PageClasses::Uniform(class)) => *class,
                    Some(PageClasses::Page(page)) => {
                        contents[*page as usize].0[peer as usize % LANES]
                    }
                };
                let class = classifier.class(&rows.pages, PeerId(peer));
                assert_eq!(class, u32::from(expected), "{peer}");
                assert!(expected == 0 || classifier.peers().may_have(PeerId(peer)), "{peer}");
            }
        }
    }
}
