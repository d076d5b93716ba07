use crate::announce::Groups;
use std::collections::VecDeque;

/// Orders that may be under way.
const ORDERS_MAX: usize = 64;

/// The orders that control was given: which groups to announce. Workers may
/// announce what is in one of those since the last that is known to be live.
#[derive(Clone, Debug)]
pub struct Told {
    /// Number and groups, in order. Never empty.
    orders: VecDeque<(u64, Groups)>,
}

impl Default for Told {
    /// Order 0: nothing.
    fn default() -> Self {
        Told { orders: VecDeque::from([(0, Groups::default())]) }
    }
}

impl Told {
    /// The number of a new order, if it is not the last one again.
    pub fn order(&mut self, groups: Groups) -> Option<u64> {
        let (number, last) = *self.orders.back()?;
        if last == groups {
            return None;
        }
        self.orders.push_back((number + 1, groups));
        if self.orders.len() > ORDERS_MAX
            && let (Some((_, first)), Some((_, second))) =
                (self.orders.pop_front(), self.orders.front_mut())
        {
            second.0 |= first.0;
        }
        Some(number + 1)
    }

    /// Notes that all workers do as an order says.
    pub fn live(&mut self, number: u64) {
        while self.orders.len() > 1 && self.orders[0].0 < number {
            self.orders.pop_front();
        }
    }

    /// The groups that may be announced.
    pub fn may_be_announced(&self) -> Groups {
        Groups(self.orders.iter().fold(0, |all, (_, groups)| all | groups.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_ordered_may_be_announced_until_a_later_order_is_live() {
        let mut told = Told::default();
        assert_eq!(told.order(Groups(0)), None);
        assert_eq!(told.order(Groups(1)), Some(1));
        assert_eq!(told.order(Groups(2)), Some(2));
        assert_eq!(told.may_be_announced(), Groups(3));
        told.live(1);
        assert_eq!(told.may_be_announced(), Groups(3));
        told.live(2);
        assert_eq!(told.may_be_announced(), Groups(2));
        for i in 0..1000 {
            told.order(Groups(4 << (i % 2)));
        }
        assert_eq!(told.may_be_announced(), Groups(2 | 4 | 8));
        told.live(9999);
        assert_eq!(told.may_be_announced(), Groups(8));
    }
}
