use foldhash::fast::FixedState;
use std::hash::BuildHasher;

/// Line and column of a value in its document, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// Where the values of one object stand, by the hash of their key path: 16
/// bytes a value, since a cluster has many objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    sorted: Vec<(u64, u32, u32)>,
}

impl Places {
    /// The places of values by [`Places::hash`].
    pub fn new(mut places: Vec<(u64, Place)>) -> Self {
        places.sort_by_key(|&(hash, _)| hash);
        Places { sorted: places.into_iter().map(|(h, p)| (h, p.line, p.column)).collect() }
    }

    /// The hash of a key path.
    pub fn hash(path: &str) -> u64 {
        FixedState::with_seed(0).hash_one(path)
    }

    /// The place of a key path, or of its nearest known parent.
    pub fn locate(&self, mut path: &str) -> Place {
        loop {
            let hash = Self::hash(path);
            if let Ok(index) = self.sorted.binary_search_by_key(&hash, |entry| entry.0) {
                let (_, line, column) = self.sorted[index];
                return Place { line, column };
            }
            let Some(end) = path.rfind(['.', '[']) else {
                if path.is_empty() {
                    return Place { line: 1, column: 1 };
                }
                path = "";
                continue;
            };
            path = &path[..end];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_path_is_at_its_nearest_parent() {
        let at = |line, column| Place { line, column };
        let places = Places::new(vec![
            (Places::hash(""), at(1, 1)),
            (Places::hash("spec"), at(4, 3)),
            (Places::hash("spec.ports[0]"), at(5, 7)),
        ]);
        assert_eq!(places.locate("spec.ports[0].targetPort"), at(5, 7));
        assert_eq!(places.locate("spec.ports[1].port"), at(4, 3));
        assert_eq!(places.locate("metadata.name"), at(1, 1));
        assert_eq!(Places::default().locate("spec"), at(1, 1));
    }
}
