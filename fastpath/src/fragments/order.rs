/// "None".
pub const NONE: u16 = u16::MAX;

/// Slots of a table in the order in which they came: links beside each other in
/// an array, so that nothing is allocated and any slot can be taken out.
#[derive(Debug)]
pub struct Order {
    links: Box<[Link]>,
    oldest: u16,
    newest: u16,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u16,
    after: u16,
}

impl Order {
    /// No slots, of `slots` that may come.
    pub fn new(slots: usize) -> Self {
        let link = Link { before: NONE, after: NONE };
        Order { links: vec![link; slots].into(), oldest: NONE, newest: NONE }
    }

    /// The slot that came first.
    pub fn oldest(&self) -> Option<u16> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// Adds a slot that is not there.
    pub fn push(&mut self, slot: u16) {
        let before = std::mem::replace(&mut self.newest, slot);
        self.links[usize::from(slot)] = Link { before, after: NONE };
        match self.links.get_mut(usize::from(before)) {
            Some(link) => link.after = slot,
            None => self.oldest = slot,
        }
    }

    /// Takes a slot out that is there.
    pub fn remove(&mut self, slot: u16) {
        let Link { before, after } = self.links[usize::from(slot)];
        match self.links.get_mut(usize::from(before)) {
            Some(link) => link.after = after,
            None => self.oldest = after,
        }
        match self.links.get_mut(usize::from(after)) {
            Some(link) => link.before = before,
            None => self.newest = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_leave_from_anywhere_and_the_rest_keeps_its_order() {
        let mut order = Order::new(4);
        assert_eq!(order.oldest(), None);
        [2, 0, 3, 1].into_iter().for_each(|slot| order.push(slot));
        order.remove(3);
        assert_eq!(order.oldest(), Some(2));
        order.remove(2);
        order.push(2);
        let mut left = Vec::new();
        while let Some(slot) = order.oldest() {
            left.push(slot);
            order.remove(slot);
        }
        assert_eq!(left, [0, 1, 2]);
        order.push(3);
        assert_eq!(order.oldest(), Some(3));
    }
}
