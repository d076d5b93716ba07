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
    /// What of it one core was busy for, where that was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core: Option<Core>,
}

/// For how long the core that is measured was busy, by packet.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Core {
    /// Nanoseconds a packet, in the best round.
    pub min: f64,
    /// In the middle one.
    pub median: f64,
    /// Packets for each second in which the core was busy, in the best round.
    pub packets_per_cpu_second_max: f64,
    /// In the middle one.
    pub packets_per_cpu_second_median: f64,
    /// Packets in each turn of a loop that found any, in the middle round: of those that poll.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets_per_turn: Option<f64>,
}

impl Core {
    fn new(rounds: &mut [f64], per_turn: &mut [f64]) -> Self {
        let [min, median] = best_and_middle(rounds);
        let [_, packets_per_turn] = best_and_middle(per_turn);
        Core {
            min,
            median,
            packets_per_cpu_second_max: 1e9 / min,
            packets_per_cpu_second_median: 1e9 / median,
            packets_per_turn: (!packets_per_turn.is_nan()).then_some(packets_per_turn),
        }
    }
}

/// Sorts rounds, and returns the best one and the middle one.
fn best_and_middle(rounds: &mut [f64]) -> [f64; 2] {
    rounds.sort_by(f64::total_cmp);
    [0, rounds.len() / 2].map(|at| rounds.get(at).copied().unwrap_or(f64::NAN))
}

impl Row {
    /// The row of a case's rounds, in nanoseconds per unit.
    pub fn new(name: &str, what: &str, unit: &'static str, rounds: &mut [f64]) -> Self {
        let [min, median] = best_and_middle(rounds);
        let (name, what) = (name.to_owned(), what.to_owned());
        Row { name, what, unit, min, median, rounds: rounds.len(), core: None }
    }

    /// The same with what a core was busy for in each round, and packets in a turn of its loop,
    /// as far as they were counted.
    pub fn with_core(mut self, rounds: &mut [f64], per_turn: &mut [f64]) -> Self {
        self.core = (!rounds.is_empty()).then(|| Core::new(rounds, per_turn));
        self
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
        self.aim_by(what, aim, at_least, names, |row| Some([row.min, row.median]), of);
    }

    /// The same of what a core was busy for.
    pub fn aim_of_core(
        &mut self,
        what: &str,
        aim: f64,
        at_least: bool,
        names: &[&str],
        of: impl Fn(&[f64]) -> f64,
    ) {
        let costs = |row: &Row| row.core.map(|core| [core.min, core.median]);
        self.aim_by(what, aim, at_least, names, costs, of);
    }

    fn aim_by(
        &mut self,
        what: &str,
        aim: f64,
        at_least: bool,
        names: &[&str],
        costs: impl Fn(&Row) -> Option<[f64; 2]>,
        of: impl Fn(&[f64]) -> f64,
    ) {
        let rows = names.iter().map(|name| self.row(name).and_then(&costs));
        let Some(rows) = rows.collect::<Option<Vec<[f64; 2]>>>() else { return };
        let [min, median] =
            [0, 1].map(|at| of(&rows.iter().map(|row| row[at]).collect::<Vec<_>>()));
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
        self.add_cores(&mut text);
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

    /// Rates, of the clock's seconds and of those in which a core was busy.
    fn add_cores(&self, text: &mut String) {
        let cores = self.rows.iter().filter_map(|row| Some((row, row.core?)));
        for (number, (row, core)) in cores.enumerate() {
            if number == 0 {
                let _ = writeln!(
                    text,
                    "\n{:<18} {:>8} {:>8}  {:>8} {:>8}  {:>8} {:>8}  {:>8}",
                    "row", "Mpps max", "median", "M/CPU-s", "median", "ns, CPU", "median", "a turn"
                );
            }
            let millions = [row.min, row.median, core.min, core.median].map(|ns| 1e3 / ns);
            let [max, median, of_core_max, of_core] = millions.map(|rate| format!("{rate:.2}"));
            let turn = core.packets_per_turn.map_or("-".to_owned(), |turn| format!("{turn:.1}"));
            let _ = writeln!(
                text,
                "{:<18} {max:>8} {median:>8}  {of_core_max:>8} {of_core:>8}  {:>8.1} {:>8.1}  {turn:>8}",
                row.name, core.min, core.median
            );
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_core_was_busy_for_stands_beside_the_rate() {
        let row = |name: &str, rounds: &[f64], core: &[f64]| {
            let row = Row::new(name, "", "ns a packet", &mut rounds.to_vec());
            row.with_core(&mut core.to_vec(), &mut vec![3.0; usize::from(name == "idle")])
        };
        let rows = vec![
            row("idle", &[1000.0, 1200.0, 1100.0], &[250.0, 240.0, 500.0]),
            row("full", &[2000.0], &[2000.0]),
            row("uncounted", &[10.0], &[]),
        ];
        let mut report = Report { cpu: String::new(), tsc_ghz: 1.0, rows, aims: Vec::new() };
        let ratio = |costs: &[f64]| costs[1] / costs[0];
        report.aim("rate", 2.0, true, &["idle", "full"], ratio);
        report.aim_of_core("of the core", 2.0, true, &["idle", "full"], ratio);
        report.aim_of_core("none", 2.0, true, &["idle", "uncounted"], ratio);
        let found: Vec<f64> = report.aims.iter().map(|aim| aim.median).collect();
        assert_eq!(found, [2000.0 / 1100.0, 8.0]);
        let json = serde_json::to_value(&report.rows[0]).unwrap();
        assert_eq!(json["core"]["packets_per_cpu_second_median"], 4e6);
        assert!(serde_json::to_value(&report.rows[2]).unwrap().get("core").is_none());
        let text = report.text();
        let line = text.lines().rfind(|line| line.starts_with("idle")).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, ["idle", "1.00", "0.91", "4.17", "4.00", "240.0", "250.0", "3.0"]);
        let line = text.lines().rfind(|line| line.starts_with("full")).unwrap();
        assert!(line.ends_with(" -"), "{line}");
    }
}
