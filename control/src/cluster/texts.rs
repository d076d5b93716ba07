use hashbrown::HashSet;
use std::sync::Arc;

/// Texts that are not looked through for those that nobody uses any more.
const FEW: usize = 1024;

/// Texts that many objects have, such as the names of nodes, kept once: it saves
/// memory, and one that is used all the time stays near a core.
#[derive(Debug, Default)]
pub(super) struct Texts {
    known: HashSet<Arc<str>>,
    /// How many there were when those that nobody used were dropped.
    kept: usize,
}

impl Texts {
    /// Replaces a text by an equal one that others have.
    pub(super) fn share(&mut self, text: &mut Option<Arc<str>>) {
        let Some(text) = text else { return };
        if let Some(known) = self.known.get(text) {
            text.clone_from(known);
            return;
        }
        if self.known.len() > 2 * self.kept + FEW {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.kept = self.known.len();
        }
        self.known.insert(text.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_and_those_without_a_user_are_dropped() {
        let mut texts = Texts::default();
        let of = |text: &str| Some(Arc::from(text));
        let (mut a, mut b, mut none) = (of("a"), of("a"), None);
        texts.share(&mut a);
        texts.share(&mut b);
        texts.share(&mut none);
        assert!(Arc::ptr_eq(a.as_ref().unwrap(), b.as_ref().unwrap()) && none.is_none());
        for i in 0..10 * FEW {
            texts.share(&mut of(&i.to_string()));
            assert!(texts.known.len() <= FEW + 3);
        }
        assert!(texts.known.contains(a.as_ref().unwrap()));
    }
}
