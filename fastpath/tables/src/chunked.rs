use std::sync::Arc;

/// Values in one chunk.
const CHUNK: usize = 64;

/// A table by dense number in chunks behind `Arc`s: a clone shares all chunks, a
/// change clones one. For values that are too large or too dear for
/// [`crate::paged::Paged`].
#[derive(Clone, Debug)]
pub struct Chunked<T> {
    /// Those behind the used ones are there so that it grows seldom.
    chunks: Arc<[Arc<[T; CHUNK]>]>,
    used: usize,
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Chunked { chunks: Arc::default(), used: 0 }
    }
}

impl<T: Clone + Default> Chunked<T> {
    /// The value of a number; `None` or `T::default()` beyond the last chunk.
    #[inline]
    pub fn get(&self, index: u32) -> Option<&T> {
        let index = index as usize;
        Some(&self.chunks.get(index / CHUNK)?[index % CHUNK])
    }

    /// Sets the value of a number. Those before it that were never set are
    /// `T::default()`.
    pub fn set(&mut self, index: u32, value: T) {
        let (number, index) = (index as usize / CHUNK, index as usize % CHUNK);
        if self.chunks.len() <= number {
            let unused = Arc::new(std::array::from_fn(|_| T::default()));
            let used = self.chunks.iter().cloned();
            let all = used.chain(std::iter::repeat(unused));
            self.chunks = all.take((number + 1).next_power_of_two()).collect();
        }
        self.used = self.used.max(number + 1);
        Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[number])[index] = value;
    }

    /// All values, those never set included.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks[..self.used].iter().flat_map(|chunk| chunk.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_independent() {
        let mut table: Chunked<String> = Chunked::default();
        assert!(table.get(0).is_none());
        table.set(200, "a".to_owned());
        let before = table.clone();
        table.set(200, "b".to_owned());
        table.set(3, "c".to_owned());
        assert_eq!(before.get(200).map(String::as_str), Some("a"));
        assert_eq!(before.get(3).map(String::as_str), Some(""));
        assert_eq!(table.get(200).map(String::as_str), Some("b"));
        assert!(Arc::ptr_eq(&before.chunks[1], &table.chunks[1]));
        assert_eq!(table.iter().filter(|value| !value.is_empty()).count(), 2);
    }
}
