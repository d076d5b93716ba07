//! Pages of rows: each content once.

use hashbrown::HashMap;
use sluice_tables::chunked::Chunked;
use sluice_tables::policy::Page;
use std::collections::BTreeSet;

/// The pages that rows use, by number.
#[derive(Debug, Default)]
pub(super) struct Pages {
    numbers: HashMap<Page, u32>,
    slots: Vec<(Page, usize)>,
    free: BTreeSet<u32>,
    /// Given since the tables were written last.
    fresh: BTreeSet<u32>,
}

impl Pages {
    /// Another use of a page with this content.
    pub(super) fn acquire(&mut self, page: Page) -> u32 {
        if let Some(&number) = self.numbers.get(&page) {
            self.slots[number as usize].1 += 1;
            return number;
        }
        let number = self.free.pop_first().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(number as usize) {
            Some(slot) => *slot = (page, 1),
            None => self.slots.push((page, 1)),
        }
        self.numbers.insert(page, number);
        self.fresh.insert(number);
        number
    }

    /// What a page in use has.
    pub(super) fn content(&self, number: u32) -> Page {
        self.slots[number as usize].0
    }

    /// One use less.
    pub(super) fn release(&mut self, number: u32) {
        let (page, uses) = &mut self.slots[number as usize];
        *uses -= 1;
        if *uses == 0 {
            self.numbers.remove(page);
            self.free.insert(number);
            self.fresh.remove(&number);
        }
    }

    /// Writes the pages that are new into tables; whether there are any.
    pub(super) fn write(&mut self, pages: &mut Chunked<Page>) -> bool {
        let fresh = std::mem::take(&mut self.fresh);
        for &number in &fresh {
            pages.set(number, self.slots[number as usize].0);
        }
        !fresh.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }
}
