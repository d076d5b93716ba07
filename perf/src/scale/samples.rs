use serde::Serialize;
use std::time::Duration;

/// What many observations came to, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    /// Observations.
    pub count: usize,
    /// The middle one.
    pub p50_us: f64,
    /// 99 of 100 are not above it.
    pub p99_us: f64,
    /// The largest.
    pub max_us: f64,
}

impl Spread {
    /// What these came to; `None` without any.
    pub fn of(samples: &mut [Duration]) -> Option<Self> {
        samples.sort_unstable();
        let us = |duration: &Duration| duration.as_nanos() as f64 / 1e3;
        let rank = |percent: usize| (samples.len() * percent).div_ceil(100).saturating_sub(1);
        Some(Spread {
            count: samples.len(),
            p50_us: us(samples.get(rank(50))?),
            p99_us: us(samples.get(rank(99))?),
            max_us: us(samples.last()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_the_sorted_list() {
        let mut all: Vec<_> = (1..=200).rev().map(Duration::from_micros).collect();
        let spread = Spread::of(&mut all).unwrap();
        assert_eq!((spread.p50_us, spread.p99_us, spread.max_us), (100.0, 198.0, 200.0));
        assert!(Spread::of(&mut []).is_none());
    }
}
