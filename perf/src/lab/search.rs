use super::outcome::Outcome;
use anyhow::Result;
use serde::{Deserialize, Serialize};

/// The search ends when it is known to a hundredth.
const CLOSE_ENOUGH: f64 = 0.01;
const TRIES_MAX: usize = 24;
/// What was not offered of what was asked for, at most: else nothing is said of it.
const SHORT_MAX: f64 = 0.01;
/// Trials of a rate: one that passes is enough.
const CHANCES: usize = 2;

/// What keeps a rate from being higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The gateway, or the device in front of it, does not take more.
    Gateway,
    /// The gateway takes more, and loses some of it.
    Loss,
    /// The generator does not make more.
    Generator,
}

impl Limit {
    /// Its name in tables.
    pub fn label(self) -> &'static str {
        match self {
            Limit::Gateway => "gateway",
            Limit::Loss => "loss",
            Limit::Generator => "generator",
        }
    }

    /// Of a trial that has not passed.
    fn of(outcome: &Outcome) -> Self {
        if outcome.short() <= SHORT_MAX {
            Limit::Loss
        } else if outcome.blocked > 0 {
            Limit::Gateway
        } else {
            Limit::Generator
        }
    }
}

/// A trial at a rate, and what else its runner has to say of it.
#[derive(Debug)]
pub struct Trial<T> {
    /// What came of it.
    pub outcome: Outcome,
    /// The rest.
    pub more: T,
}

/// The highest rate.
#[derive(Debug)]
pub struct Maximum<T> {
    /// The trial.
    pub trial: Trial<T>,
    /// What keeps it from being higher.
    pub limit: Limit,
    /// Trials that it took.
    pub tries: usize,
}

/// Whether so much was offered, and so little of it lost.
fn passes(outcome: &Outcome, loss_max: f64) -> bool {
    outcome.short() <= SHORT_MAX && outcome.loss() <= loss_max
}

/// Finds the highest rate at which no more than a share of all frames is lost, as in RFC
/// 2544 section 26.1: from as many as go down, then by halves. `None` if there is none.
///
/// # Errors
/// What `run` returns.
pub fn maximum<T>(
    loss_max: f64,
    mut run: impl FnMut(Option<f64>) -> Result<Trial<T>>,
) -> Result<Option<Maximum<T>>> {
    let full = run(None)?;
    let most = full.outcome.achieved.max(1.0);
    let mut limit = Limit::of(&Outcome { asked: Some(most * 2.0), ..full.outcome });
    let (mut low, mut high) = (0.0, most * 1.1);
    let mut found = None;
    let mut tries = 1;
    let mut rate = most * 0.97;
    while tries < TRIES_MAX && high - low > high * CLOSE_ENOUGH {
        let mut passed = None;
        for _ in 0..CHANCES {
            tries += 1;
            let trial = run(Some(rate))?;
            if passes(&trial.outcome, loss_max) {
                passed = Some(trial);
                break;
            }
            limit = Limit::of(&trial.outcome);
        }
        match passed {
            Some(trial) => {
                low = rate;
                found = Some(trial);
            }
            None => high = rate,
        }
        // Bursts of as many as go are cheaper than frames one by one: the first guess may be
        // far off.
        rate = if low == 0.0 { high * 0.75 } else { (low + high) / 2.0 };
    }
    Ok(found.map(|trial| Maximum { trial, limit, tries }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::outcome::Passed;

    /// A gateway that takes so much, of which it loses all above some rate; a generator that
    /// makes so much.
    fn outcome(asked: Option<f64>, takes: f64, keeps: f64, makes: f64) -> Outcome {
        let offered = asked.unwrap_or(f64::INFINITY).min(takes).min(makes);
        let came = offered.min(keeps);
        let requests = Passed { sent: offered as u64, came: came as u64, ..Passed::default() };
        Outcome {
            asked,
            seconds: 1.0,
            offered,
            achieved: came,
            achieved_bits: 0.0,
            requests,
            replies: Passed::default(),
            missed: 0,
            blocked: u64::from(asked.is_none_or(|asked| asked > takes) && makes > takes),
            stale: 0,
            others: 0,
            moved: 0,
            looked_at: 0,
            one_way: None,
            round_trip: None,
            late: None,
        }
    }

    fn search(loss: f64, [takes, keeps, makes]: [f64; 3]) -> Option<Maximum<()>> {
        let run = |asked| Ok(Trial { outcome: outcome(asked, takes, keeps, makes), more: () });
        maximum(loss, run).unwrap()
    }

    #[test]
    fn the_highest_rate_is_found_and_what_limits_it() {
        for (limits, is, limit) in [
            ([5e6, 9e6, 9e6], 5e6, Limit::Gateway),
            ([9e6, 9e6, 5e6], 5e6, Limit::Generator),
            ([9e6, 5e6, 9e6], 5e6, Limit::Loss),
        ] {
            let found = search(0.0, limits).unwrap();
            let share = found.trial.outcome.achieved / is;
            assert!((0.97..=1.0).contains(&share), "{limits:?}: {share}");
            assert_eq!(found.limit, limit, "{limits:?}");
            assert!(found.tries <= TRIES_MAX + 1, "{}", found.tries);
        }
        // With a loss that is allowed it is higher.
        let with_loss = search(0.1, [9e6, 5e6, 9e6]).unwrap().trial.outcome;
        assert!(with_loss.achieved > 4.9e6 && with_loss.loss() > 0.05, "{with_loss:?}");
    }

    #[test]
    fn where_each_rate_loses_there_is_none() {
        let run = |asked| {
            let mut outcome = outcome(asked, 1e6, 1e6, 1e6);
            outcome.requests.came = outcome.requests.came.saturating_sub(1);
            Ok(Trial { outcome, more: () })
        };
        assert!(maximum(0.0, run).unwrap().is_none());
    }

    #[test]
    fn one_bad_trial_is_not_the_last_word() {
        let mut count = 0;
        let found = maximum(0.0, |asked| {
            count += 1;
            let keeps = if count % 3 == 0 { 0.0 } else { 9e6 };
            Ok(Trial { outcome: outcome(asked, 5e6, keeps, 9e6), more: () })
        });
        assert!(found.unwrap().unwrap().trial.outcome.achieved > 4.8e6);
    }
}
