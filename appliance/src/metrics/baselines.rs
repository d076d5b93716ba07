use sluice_control::ServiceLabel;
use std::sync::{Mutex, PoisonError};

/// Packets in and out, bytes in and out.
pub type Counts = [u64; 4];

/// What the counters of each number stood at when its Service got it. Workers
/// count by number and never go back; numbers that rest for long enough are
/// given to other Services.
#[derive(Debug, Default)]
pub struct Baselines {
    slots: Mutex<Vec<Slot>>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    /// The Service that has the number, or had it last.
    label: Option<ServiceLabel>,
    /// What belongs to those before it.
    base: Counts,
    /// What the counters stood at when they were last seen at rest.
    resting: Option<Counts>,
}

impl Baselines {
    /// The counts of each number that has a Service, without what others had
    /// before. A number that changed hands must have been looked at while it
    /// rested (five minutes at least): else its first counts are lost.
    pub fn look(
        &self,
        labels: &[Option<ServiceLabel>],
        counts: impl Fn(usize) -> Counts,
    ) -> Vec<Option<Counts>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let known = slots.len().max(labels.len());
        slots.resize_with(known, Slot::default);
        let mut since = Vec::with_capacity(known);
        for (id, slot) in slots.iter_mut().enumerate() {
            let now = counts(id);
            since.push(match labels.get(id).and_then(Option::as_ref) {
                None => {
                    slot.resting = Some(now);
                    None
                }
                Some(label) => {
                    if slot.label.as_ref() != Some(label) {
                        // The first of a number has all that there is.
                        slot.base = match slot.label.replace(label.clone()) {
                            None => [0; 4],
                            Some(_) => slot.resting.unwrap_or(now),
                        };
                    }
                    slot.resting = None;
                    Some(std::array::from_fn(|i| now[i].saturating_sub(slot.base[i])))
                }
            });
        }
        since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(name: &str) -> Option<ServiceLabel> {
        let (namespace, name) = ("default".into(), name.into());
        Some(ServiceLabel { namespace, name, port: 80, protocol: "TCP" })
    }

    #[test]
    fn a_service_starts_from_zero_whoever_had_its_number_before() {
        let baselines = Baselines::default();
        let look = |labels: &[Option<ServiceLabel>], count| {
            baselines.look(labels, |_| [count, 2 * count, 3 * count, 4 * count])
        };
        assert_eq!(look(&[label("a")], 5), [Some([5, 10, 15, 20])]);
        // It is gone, and a few late packets come.
        assert_eq!(look(&[None], 6), [None]);
        assert_eq!(look(&[], 7), [None]);
        // Another gets its number, with packets before the next look.
        assert_eq!(look(&[label("b")], 9), [Some([2, 4, 6, 8])]);
        assert_eq!(look(&[label("b")], 10), [Some([3, 6, 9, 12])]);
    }

    #[test]
    fn a_service_that_comes_back_goes_on_counting() {
        let baselines = Baselines::default();
        let look = |labels: &[Option<ServiceLabel>], count| baselines.look(labels, |_| [count; 4]);
        assert_eq!(look(&[label("a")], 5), [Some([5; 4])]);
        assert_eq!(look(&[None], 5), [None]);
        assert_eq!(look(&[label("a")], 8), [Some([8; 4])]);
    }

    #[test]
    fn a_change_that_nobody_saw_rest_takes_what_is_there_as_the_others() {
        let baselines = Baselines::default();
        assert_eq!(baselines.look(&[label("a")], |_| [5; 4]), [Some([5; 4])]);
        assert_eq!(baselines.look(&[label("b")], |_| [9; 4]), [Some([0; 4])]);
    }
}
