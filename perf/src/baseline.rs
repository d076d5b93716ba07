use crate::callgrind::Profile;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// A path may take this much more than its baseline.
pub const TOLERANCE: f64 = 0.03;
/// Functions and files below this many instructions are not written down.
const NOTABLE: f64 = 1.0;

/// The compiler of this program.
pub const COMPILER: &str = env!("BUILT_BY");

/// Instructions for one packet (or flow) of a workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// All of them.
    pub total: f64,
    /// By function, what it calls left out.
    pub functions: BTreeMap<String, f64>,
    /// By source file, wherever its code was inlined.
    pub files: BTreeMap<String, f64>,
}

/// What counts are compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// The compiler that it holds for.
    pub compiler: String,
    /// Why it is as it is.
    pub why: String,
    /// By workload.
    pub workloads: BTreeMap<String, Cost>,
}

impl Cost {
    /// The cost of one unit in a profile of `units`.
    pub fn of(profile: &Profile, units: usize) -> Self {
        let each = |count: u64| (count as f64 / units as f64 * 10.0).round() / 10.0;
        let all = |counts: &BTreeMap<String, u64>| {
            let costs = counts.iter().map(|(name, &count)| (name.clone(), each(count)));
            costs.filter(|&(_, cost)| cost >= NOTABLE).collect()
        };
        Cost {
            total: each(profile.total),
            functions: all(&profile.functions),
            files: all(&profile.files),
        }
    }

    /// How much more this is than `before`, as a share of it.
    pub fn growth(&self, before: &Cost) -> f64 {
        self.total / before.total - 1.0
    }
}

/// What has grown between two maps of costs, most first: (name, before, after).
pub fn grown<'a>(
    before: &BTreeMap<String, f64>,
    after: &'a BTreeMap<String, f64>,
) -> Vec<(&'a str, f64, f64)> {
    let of = |name: &String| before.get(name).copied().unwrap_or(0.0);
    let all = after.iter().map(|(name, &cost)| (name.as_str(), of(name), cost));
    let mut grown: Vec<_> = all.filter(|(_, before, after)| after - before >= NOTABLE).collect();
    grown.sort_by(|a, b| (b.2 - b.1).total_cmp(&(a.2 - a.1)));
    grown
}

impl Baseline {
    /// Reads a baseline.
    ///
    /// # Errors
    /// When there is none, or it is not one.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("no baseline at {}: make one with --update --why REASON", path.display())
        })?;
        serde_json::from_str(&text).with_context(|| format!("{} is not valid", path.display()))
    }

    /// Writes the baseline.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(counts: &[(&str, u64)]) -> Profile {
        let functions: BTreeMap<_, _> =
            counts.iter().map(|&(name, count)| (name.to_owned(), count)).collect();
        let total = functions.values().sum();
        Profile { total, files: functions.clone(), functions }
    }

    #[test]
    fn growth_names_its_function() {
        let before = Cost::of(&profile(&[("run", 1_000), ("find", 100), ("rare", 3)]), 10);
        assert_eq!((before.total, before.functions.len()), (110.3, 2));
        let after = Cost::of(&profile(&[("run", 1_000), ("find", 200), ("new", 50)]), 10);
        assert!(after.growth(&before) > TOLERANCE);
        let grown = grown(&before.functions, &after.functions);
        assert_eq!(grown, [("find", 10.0, 20.0), ("new", 0.0, 5.0)]);
    }
}
