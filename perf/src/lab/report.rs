use super::outcome::{Spread, millions};
use super::search::Limit;
use crate::cpu;
use crate::tsc::Rate;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// How something was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Method {
    /// The processor.
    pub cpu: String,
    /// Ticks of the time stamp counter per nanosecond.
    pub tsc_ghz: f64,
    /// What the ports are: `memory`, `af_xdp drv/copy`.
    pub ports: String,
    /// Seconds of each trial.
    pub trial_seconds: f64,
    /// The share that may be lost at the highest rate.
    pub loss_max: f64,
}

impl Method {
    /// Of this machine.
    pub fn new(rate: Rate, ports: &str, trial: Duration, loss_max: f64) -> Self {
        Method {
            cpu: cpu::model(),
            tsc_ghz: rate.ghz(),
            ports: ports.to_owned(),
            trial_seconds: trial.as_secs_f64(),
            loss_max,
        }
    }
}

/// The highest rate in one case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RatePoint {
    /// Where it stands.
    pub x: f64,
    /// The case.
    pub label: String,
    /// Frames (round trips, flows, connections) a second.
    pub per_second: f64,
    /// The same in bits, check sequences counted, gaps and tunnels not.
    pub bits: f64,
    /// Sent, and lost, at that rate.
    pub sent: u64,
    /// Lost of those.
    pub lost: u64,
    /// What keeps it from being higher.
    pub limit: Limit,
    /// The share of its time in which the worker had something to do, if that is known.
    pub busy: Option<f64>,
    /// Nanoseconds of that for each frame.
    pub ns_per_frame: Option<f64>,
    /// Trials that it took.
    pub tries: usize,
}

/// Some cases that are to be compared.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RateSeries {
    /// What is the same in all of them.
    pub name: String,
    /// The cases.
    pub points: Vec<RatePoint>,
}

/// Highest rates against something.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RateChart {
    /// Its name, and its file's.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// Against what; `None`: against nothing, there is no plot.
    pub x: Option<String>,
    /// That has a logarithmic axis.
    pub x_log: bool,
    /// How it was measured.
    pub method: Method,
    /// The cases.
    pub series: Vec<RateSeries>,
}

/// How long frames take at one load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WaitPoint {
    /// The share of the highest rate, in percent.
    pub load_percent: f64,
    /// Frames a second that were asked for.
    pub asked: f64,
    /// That were sent.
    pub offered: f64,
    /// Sent, in all.
    pub sent: u64,
    /// Lost of those.
    pub lost: u64,
    /// From when a frame was due until it was seen at the other side, or until its answer was.
    pub spread: Spread,
    /// Of that, until it was given to the device: the generator's own.
    pub late: Spread,
}

/// How long frames take against the load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WaitChart {
    /// Its name, and its file's.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// How it was measured.
    pub method: Method,
    /// The highest rate.
    pub per_second: f64,
    /// By load.
    pub points: Vec<WaitPoint>,
}

/// All that has been measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Rates.
    pub rates: Vec<RateChart>,
    /// Times.
    pub waits: Vec<WaitChart>,
}

impl Report {
    /// Reads a report.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no report", path.display()))
    }

    /// Writes it into a file; what that says of other cases stays.
    ///
    /// # Errors
    /// When the file is something else, or cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut all = if path.exists() { Report::read(path)? } else { Report::default() };
        all.rates.retain(|old| self.rates.iter().all(|new| new.name != old.name));
        all.waits.retain(|old| self.waits.iter().all(|new| new.name != old.name));
        all.rates.extend(self.rates.iter().cloned());
        all.waits.extend(self.waits.iter().cloned());
        let json = serde_json::to_string_pretty(&all)?;
        std::fs::write(path, json + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// As tables that Markdown can read.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for chart in &self.rates {
            let _ = writeln!(text, "{}\n", heading(&chart.title, &chart.method));
            let _ = writeln!(
                text,
                "| case | {} | a second | bit/s | lost | limit | worker busy | ns a frame |",
                chart.x.as_deref().unwrap_or("what")
            );
            let _ = writeln!(text, "|---|---|---|---|---|---|---|---|");
            for series in &chart.series {
                for point in &series.points {
                    let share = |share: f64| format!("{:.0}%", 100.0 * share);
                    let _ = writeln!(
                        text,
                        "| {} | {} | {}| {}| {} of {} | {} | {} | {} |",
                        series.name,
                        point.label,
                        millions(point.per_second),
                        millions(point.bits),
                        point.lost,
                        point.sent,
                        point.limit.label(),
                        point.busy.map(share).unwrap_or_default(),
                        point.ns_per_frame.map(|ns| format!("{ns:.0}")).unwrap_or_default(),
                    );
                }
            }
            text.push('\n');
        }
        for chart in &self.waits {
            let _ = writeln!(text, "{}\n", heading(&chart.title, &chart.method));
            let _ = writeln!(
                text,
                "| load | offered | lost | p50, us | p90 | p99 | p99.9 | max | generator late, \
                 p99 | p99.9 |\n|---|---|---|---|---|---|---|---|---|---|"
            );
            for point in &chart.points {
                let Spread { p50_us, p90_us, p99_us, p999_us, max_us, .. } = point.spread;
                let _ = writeln!(
                    text,
                    "| {}% | {}| {} of {} | {p50_us:.1} | {p90_us:.1} | {p99_us:.1} | \
                     {p999_us:.1} | {max_us:.1} | {:.1} | {:.1} |",
                    point.load_percent,
                    millions(point.offered),
                    point.lost,
                    point.sent,
                    point.late.p99_us,
                    point.late.p999_us,
                );
            }
            text.push('\n');
        }
        text
    }
}

fn heading(title: &str, method: &Method) -> String {
    format!(
        "{title} ({}; {}; trials of {} s, {}% may be lost)",
        method.ports,
        method.cpu,
        method.trial_seconds,
        100.0 * method.loss_max
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str, per_second: f64) -> Report {
        let method = Method::new(Rate::calibrate(), "memory", Duration::from_secs(1), 0.0);
        let point = RatePoint {
            x: 1.0,
            label: "1".to_owned(),
            per_second,
            bits: 0.0,
            sent: 10,
            lost: 0,
            limit: Limit::Gateway,
            busy: Some(0.5),
            ns_per_frame: None,
            tries: 3,
        };
        let series = vec![RateSeries { name: "v4".to_owned(), points: vec![point] }];
        let (name, title) = (name.to_owned(), "rates".to_owned());
        let chart = RateChart { name, title, x: None, x_log: false, method, series };
        Report { rates: vec![chart], waits: Vec::new() }
    }

    #[test]
    fn what_a_file_says_of_other_cases_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lab.json");
        report("flows", 1e6).write(&path).unwrap();
        report("sizes", 2e6).write(&path).unwrap();
        report("flows", 3e6).write(&path).unwrap();
        let all = Report::read(&path).unwrap();
        let rates = all.rates.iter().map(|chart| chart.series[0].points[0].per_second);
        assert_eq!(rates.collect::<Vec<_>>(), [2e6, 3e6]);
        assert!(all.text().contains("| v4 | 1 | 3.000 M|"), "{}", all.text());
        std::fs::write(&path, "{}").unwrap();
        assert!(report("flows", 1e6).write(&path).is_err());
    }
}
