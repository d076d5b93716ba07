use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

/// What one case came to.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The case.
    pub name: String,
    /// What it is.
    pub what: String,
    /// What the numbers count: nanoseconds per packet, or per flow.
    pub unit: &'static str,
    /// The best round.
    pub min: f64,
    /// The middle one.
    pub median: f64,
    /// Rounds.
    pub rounds: usize,
}

impl Row {
    /// The row of a case's rounds, in nanoseconds per unit.
    pub fn new(name: &str, what: &str, unit: &'static str, rounds: &mut [f64]) -> Self {
        rounds.sort_by(f64::total_cmp);
        let median = rounds.get(rounds.len() / 2).copied().unwrap_or(f64::NAN);
        let min = rounds.first().copied().unwrap_or(f64::NAN);
        let (name, what) = (name.to_owned(), what.to_owned());
        Row { name, what, unit, min, median, rounds: rounds.len() }
    }
}

/// A number that was aimed at, and what it came to.
#[derive(Clone, Debug, Serialize)]
pub struct Aim {
    /// What it is.
    pub what: String,
    /// The aim.
    pub aim: f64,
    /// What it came to, from best rounds.
    pub min: f64,
    /// What it came to, from middle rounds.
    pub median: f64,
    /// Whether more is better.
    pub at_least: bool,
}

/// Everything that a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The processor.
    pub cpu: String,
    /// Ticks of the time stamp counter per nanosecond.
    pub tsc_ghz: f64,
    /// The cases.
    pub rows: Vec<Row>,
    /// The aims that these cases speak to.
    pub aims: Vec<Aim>,
}

impl Report {
    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Adds an aim that follows from rows, if all of them were measured. `of`
    /// makes one number from theirs.
    pub fn aim(
        &mut self,
        what: &str,
        aim: f64,
        at_least: bool,
        names: &[&str],
        of: impl Fn(&[f64]) -> f64,
    ) {
        let rows: Option<Vec<&Row>> = names.iter().map(|name| self.row(name)).collect();
        let Some(rows) = rows else { return };
        let min = of(&rows.iter().map(|row| row.min).collect::<Vec<_>>());
        let median = of(&rows.iter().map(|row| row.median).collect::<Vec<_>>());
        self.aims.push(Aim { what: what.to_owned(), aim, min, median, at_least });
    }

    /// The report as text.
    pub fn text(&self) -> String {
        let mut text = format!("{}, TSC {:.3} GHz\n\n", self.cpu, self.tsc_ghz);
        let _ = writeln!(text, "{:<18} {:>8} {:>8}  {:<10} what", "row", "min", "median", "unit");
        for row in &self.rows {
            let Row { name, what, unit, .. } = row;
            // A row without a round has neither.
            let [min, median] = [row.min, row.median].map(|value| match value.is_nan() {
                true => "-".to_owned(),
                false => format!("{value:.1}"),
            });
            let _ = writeln!(text, "{name:<18} {min:>8} {median:>8}  {unit:<10} {what}");
        }
        if !self.aims.is_empty() {
            let _ = writeln!(text, "\n{:<58} {:>8} {:>8} {:>8}", "aim", "aim", "min", "median");
        }
        for Aim { what, aim, min, median, at_least } in &self.aims {
            let met = |value: f64| {
                if (value >= *aim) == *at_least || value == *aim { "yes" } else { "no" }
            };
            let (sign, met) = (if *at_least { ">=" } else { "<=" }, met(*median));
            let _ = writeln!(text, "{what:<58} {sign}{aim:>6.2} {min:>8.2} {median:>8.2}  {met}");
        }
        text
    }

    /// Writes the report as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(path, json + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
