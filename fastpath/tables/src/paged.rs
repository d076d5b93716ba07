use std::sync::Arc;

/// Values in one page.
const PAGE: usize = 1024;

/// A table by dense number, in pages behind `Arc`s: a clone shares all pages, a
/// change clones one. Numbers never written hold `T::default()`.
#[derive(Clone, Debug)]
pub struct Paged<T> {
    pages: Arc<Vec<Arc<[T; PAGE]>>>,
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Paged { pages: Arc::default() }
    }
}

impl<T: Copy + Default + PartialEq> Paged<T> {
    /// The value of a number; the default beyond the last page.
    #[inline]
    pub fn get(&self, index: u32) -> T {
        let index = index as usize;
        self.pages.get(index / PAGE).map_or_else(T::default, |page| page[index % PAGE])
    }

    /// True when no value was ever set that is not the default.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        self.pages.len() * size_of::<[T; PAGE]>()
    }

    /// Sets the value of a number. Touches nothing when it is that already.
    pub fn set(&mut self, index: u32, value: T) {
        if self.get(index) == value {
            return;
        }
        let index = index as usize;
        let pages = Arc::make_mut(&mut self.pages);
        while pages.len() <= index / PAGE {
            pages.push(Arc::new([T::default(); PAGE]));
        }
        Arc::make_mut(&mut pages[index / PAGE])[index % PAGE] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_independent_and_absent_numbers_are_default() {
        let mut table: Paged<u8> = Paged::default();
        table.set(5000, 0);
        assert!(table.is_empty() && table.memory_bytes() == 0);
        table.set(5000, 7);
        let before = table.clone();
        table.set(5000, 8);
        table.set(3, 1);
        assert_eq!((before.get(5000), before.get(3)), (7, 0));
        assert_eq!((table.get(5000), table.get(3), table.get(u32::MAX)), (8, 1, 0));
        assert_eq!((table.is_empty(), table.memory_bytes()), (false, 5 * PAGE));
        assert!(Arc::ptr_eq(&before.pages[2], &table.pages[2]));
    }
}
