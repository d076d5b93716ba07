use crate::cpu;
use crate::report::{Report, Row};
use crate::tsc::Rate;
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::path::Path;

/// Sizes of the part `program`.
const SIZES: [&str; 4] = ["1", "1000", "10000", "100000"];
/// Flows of the part `dpdk`.
const FLOWS: [&str; 3] = ["1", "1k", "64k"];
const PACKET: &str = "ns a packet";

/// A part of the race whose rows are given one measurement a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// On veth pairs, with VXLAN.
    Veth,
    /// On veth pairs, without an overlay.
    Plain,
    /// On DPDK's virtual devices.
    Dpdk,
    /// From objects to live.
    Program,
}

/// A row that a part may have.
struct Kind {
    name: String,
    what: String,
    unit: &'static str,
}

impl Kind {
    fn new(name: impl Into<String>, what: impl Into<String>, unit: &'static str) -> Self {
        Kind { name: name.into(), what: what.into(), unit }
    }
}

/// The measurements of a row.
#[derive(Default)]
struct Measured<'a> {
    rounds: Vec<f64>,
    core: Vec<f64>,
    per_turn: Vec<f64>,
    reason: &'a str,
}

impl<'a> Measured<'a> {
    fn add(&mut self, value: &'a str) -> Result<()> {
        if let Some(reason) = value.strip_prefix("- ") {
            self.reason = reason;
            return Ok(());
        }
        let mut values = value.split(' ');
        let first = values.next().unwrap_or_default();
        self.rounds.push(number(first)?);
        for into in [&mut self.core, &mut self.per_turn] {
            into.extend(values.next().map(number).transpose()?);
        }
        ensure!(values.next().is_none(), "more than three numbers");
        Ok(())
    }
}

fn number(text: &str) -> Result<f64> {
    text.parse().with_context(|| format!("{text:?} is no number"))
}

impl Part {
    fn label(self) -> &'static str {
        match self {
            Part::Veth => "veth",
            Part::Plain => "plain",
            Part::Dpdk => "dpdk",
            Part::Program => "program",
        }
    }

    fn kinds(self) -> Vec<Kind> {
        let packet = |name: &str, what: &str| Kind::new(name, what, PACKET);
        match self {
            Part::Veth => vec![
                packet("sluice", "NAT of both ends, VXLAN, on AF_XDP"),
                packet("l2fwd", "the same ports, MACs replaced and nothing else"),
                packet("kernel-nftables", "kube-proxy's nftables rules, VXLAN device"),
                packet("kernel-iptables", "kube-proxy's iptables rules, VXLAN device"),
                packet("kernel-vxlan", "VXLAN device and forwarding alone, no NAT"),
            ],
            Part::Plain => vec![
                packet("sluice", "NAT of both ends, on AF_XDP"),
                packet("kernel-nftables", "kube-proxy's nftables rules"),
                packet("kernel-iptables", "kube-proxy's iptables rules"),
            ],
            Part::Dpdk => dpdk_kinds(),
            Part::Program => program_kinds(),
        }
    }

    fn add_aims(self, report: &mut Report) {
        let ratio = |costs: &[f64]| costs[1] / costs[0];
        match self {
            Part::Veth => {
                let what = "packets a second, of layer 2 forwarding's";
                report.aim(what, 0.95, true, &["sluice", "l2fwd"], ratio);
                for (row, of) in [
                    ("kernel-nftables", "the kernel's, nftables and VXLAN"),
                    ("kernel-iptables", "the kernel's, iptables and VXLAN"),
                    ("kernel-vxlan", "the kernel's, VXLAN alone"),
                ] {
                    let what = format!("packets a second, of {of}");
                    report.aim(&what, 2.0, true, &["sluice", row], ratio);
                    let what = format!("packets for a core's time, of {of}");
                    report.aim_of_core(&what, 2.0, true, &["sluice", row], ratio);
                }
            }
            Part::Plain => {
                for rules in ["nftables", "iptables"] {
                    let what = format!("packets a second, of the kernel's, {rules}");
                    let row = format!("kernel-{rules}");
                    report.aim(&what, 1.3, true, &["sluice", &row], ratio);
                    let what = format!("packets for a core's time, of the kernel's, {rules}");
                    report.aim_of_core(&what, 1.3, true, &["sluice", &row], ratio);
                }
            }
            Part::Dpdk => {
                for (job, what) in
                    [("nat", "NAT"), ("vxlan", "NAT and VXLAN"), ("nat-v6", "NAT, IPv6")]
                {
                    for flows in FLOWS {
                        let what = format!("cost of a packet, of Open vSwitch's: {what}, {flows}");
                        let [ovs, sluice] =
                            ["ovs", "sluice"].map(|who| format!("{job}-{flows}-{who}"));
                        report.aim(&what, 0.5, false, &[&ovs, &sluice], ratio);
                    }
                }
            }
            Part::Program => {}
        }
    }

    /// The report of a part from its measurements, a line each: a row and its value, what of
    /// it the measured core was busy for, and packets in a turn of its loop, as far as they
    /// were counted; or a `-` and why there is none.
    ///
    /// # Errors
    /// When a line is not of that kind.
    pub fn report(self, lines: &str) -> Result<Report> {
        let mut found: HashMap<&str, Measured<'_>> = HashMap::new();
        let kinds = self.kinds();
        for line in lines.lines() {
            let (name, value) = line.split_once(' ').with_context(|| format!("{line:?}"))?;
            ensure!(kinds.iter().any(|kind| kind.name == name), "no row {name}");
            let row = found.entry(name).or_default();
            row.add(value).with_context(|| format!("{line:?}"))?;
        }
        let row = |kind: &Kind| {
            let Measured { rounds, core, per_turn, reason } = found.get_mut(kind.name.as_str())?;
            let what = match (rounds.is_empty(), *reason, &kind.what) {
                (true, reason, what) => format!("{what}: {reason}"),
                (false, "", what) => what.clone(),
                (false, reason, what) => format!("{what}; in some rounds {reason}"),
            };
            Some(Row::new(&kind.name, &what, kind.unit, rounds).with_core(core, per_turn))
        };
        let rows = kinds.iter().filter_map(row).collect();
        let tsc_ghz = Rate::calibrate().ghz();
        let mut report = Report { cpu: cpu::model(), tsc_ghz, rows, aims: Vec::new() };
        self.add_aims(&mut report);
        Ok(report)
    }

    /// Keeps a report in a file that has one for each part.
    ///
    /// # Errors
    /// When the file is of another kind, or cannot be written.
    pub fn keep(self, report: &Report, path: &Path) -> Result<()> {
        keep(self.label(), serde_json::to_value(report)?, path)
    }
}

/// Keeps the report of one part in a file that has one for each.
///
/// # Errors
/// As [`Part::keep`].
pub fn keep(part: &str, report: Value, path: &Path) -> Result<()> {
    let mut all: Map<String, Value> = match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).with_context(|| path.display().to_string())?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Map::new(),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    all.insert(part.to_owned(), report);
    let text = serde_json::to_string_pretty(&all)? + "\n";
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

fn dpdk_kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for flows in FLOWS {
        let what = "dpdk-testpmd, the same devices, packets untouched";
        kinds.push(Kind::new(format!("null-{flows}"), what, PACKET));
    }
    for (job, what) in [
        ("nat", "Service to pod"),
        ("vxlan", "Service to pod, VXLAN"),
        ("nat-v6", "Service to pod, IPv6"),
    ] {
        for flows in FLOWS {
            for (who, name) in [("sluice", "Sluice"), ("ovs", "Open vSwitch")] {
                let name = format!("{name}: {what}; {flows} flows");
                kinds.push(Kind::new(format!("{job}-{flows}-{who}"), name, PACKET));
            }
        }
    }
    kinds
}

fn program_kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (who, what) in [
        ("sluice-folder", "Sluice, a file of manifests until the last Service is served"),
        ("sluice-objects", "Sluice, typed objects until all workers have the tables"),
        ("nftables", "kube-proxy's rules by nft -f"),
        ("iptables", "kube-proxy's rules by iptables-legacy-restore"),
    ] {
        for size in SIZES {
            kinds.push(Kind::new(format!("{who}-{size}"), format!("{what}, {size}"), "ms"));
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minimum_and_median_and_aims_follow_from_lines() {
        let lines = "sluice 1000\nkernel-nftables 3100\nsluice 1200\nkernel-nftables 3000\n\
                     sluice 900\nkernel-nftables 1500\n";
        let report = Part::Plain.report(lines).unwrap();
        assert_eq!(report.rows.len(), 2);
        assert_eq!((report.rows[0].min, report.rows[0].median), (900.0, 1000.0));
        assert_eq!(report.aims.len(), 1);
        assert!((report.aims[0].median - 3.0).abs() < 1e-9, "{:?}", report.aims);
    }

    #[test]
    fn a_row_that_was_not_finished_says_so() {
        let report = Part::Program.report("nftables-1 12.5\nnftables-100000 - > 60 s\n").unwrap();
        assert!(report.rows[1].median.is_nan() && report.rows[1].what.ends_with("> 60 s"));
        let json = serde_json::to_value(&report).unwrap();
        assert!(json["rows"][1]["median"].is_null());
        let text = report.text();
        assert!(text.contains("12.5") && !text.contains("NaN"), "{text}");
    }

    #[test]
    fn what_the_core_was_busy_for_has_aims_of_its_own() {
        let lines = "sluice 1000 500 3.5\nkernel-vxlan 1600 1600\nsluice 1200 700 4\n";
        let report = Part::Veth.report(lines).unwrap();
        let found: Vec<[f64; 2]> = report.aims.iter().map(|aim| [aim.min, aim.median]).collect();
        assert_eq!(found, [[1.6, 1600.0 / 1200.0], [3.2, 1600.0 / 700.0]]);
        let turns = report.rows.iter().map(|row| row.core.unwrap().packets_per_turn);
        assert_eq!(turns.collect::<Vec<_>>(), [Some(4.0), None]);
    }

    #[test]
    fn lines_of_another_kind_are_refused() {
        assert!(Part::Veth.report("sluice 1 2 3 4").is_err());
        assert!(Part::Veth.report("sluice").is_err());
        assert!(Part::Veth.report("sluice fast").is_err());
        assert!(Part::Plain.report("kernel-vxlan 12").is_err());
    }

    #[test]
    fn a_part_replaces_itself_alone() {
        let path = std::env::temp_dir().join(format!("race-parts-{}.json", std::process::id()));
        let _ = std::fs::remove_file(&path);
        for (part, value) in [("veth", 1), ("plain", 2), ("veth", 3)] {
            keep(part, value.into(), &path).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let all: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(all, serde_json::json!({"veth": 3, "plain": 2}));
    }
}
