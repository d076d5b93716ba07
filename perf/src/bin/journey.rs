//! What a packet costs on its journey, in memory: prepared frames through a
//! [`sluice_fastpath::Worker`] on one core. Rows take turns, several times, so
//! that what disturbs the machine disturbs all of them alike.

use anyhow::{Result, ensure};
use clap::Parser;
use sluice_perf::cases::churn::Churn;
use sluice_perf::cases::clock::Clock;
use sluice_perf::cases::null::{Null, Touch};
use sluice_perf::cases::pair::Pair;
use sluice_perf::cases::steady::{Feed, Mix, Steady};
use sluice_perf::cases::two::Two;
use sluice_perf::cases::{Case, Check, PACKETS};
use sluice_perf::cluster::Cluster;
#[cfg(feature = "l7")]
use sluice_perf::fair::requests::Requests;
use sluice_perf::gateway::GatewayOptions;
use sluice_perf::report::{Report, Row};
use sluice_perf::site::Family;
use sluice_perf::{cpu, tsc};
use std::path::PathBuf;

/// Rounds that a row runs before its turn counts.
const WARM_UP: usize = 2;
/// Gateways of a row whose ratio to another one is wanted to the percent: where the
/// flows of one come to lie in memory is worth a few.
const GATEWAYS: usize = 4;
/// Table changes a second of the row that has them.
const CHANGES_PER_SECOND: f64 = 100.0;

/// Measures what a packet costs on its journey, in memory.
#[derive(Parser)]
struct Args {
    /// Turns of every row.
    #[arg(long, default_value_t = 5)]
    passes: usize,
    /// Rounds of 4,096 packets in a turn.
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// Only rows whose name contains one of these words, separated by commas.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// The core to run on.
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// The core of the second worker, for the row that has one.
    #[arg(long, default_value_t = 0)]
    second_cpu: usize,
    /// A file for the results as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

type Make = Box<dyn Fn() -> Result<Box<dyn Case>>>;

struct Plan {
    name: String,
    what: String,
    unit: &'static str,
    /// Makes one of its gateways.
    make: Make,
    /// How many take turns.
    gateways: usize,
}

/// How a steady row differs from the plain one.
#[derive(Clone, Copy)]
struct Variant {
    family: Family,
    services: u32,
    policies: u32,
    flows: usize,
    mix: Mix,
    feed: Feed,
    changes_every: Option<u64>,
}

impl Variant {
    fn plain(family: Family, flows: usize) -> Self {
        let (mix, feed) = (Mix::Both, Feed::Alone);
        Variant { family, services: 1, policies: 0, flows, mix, feed, changes_every: None }
    }

    fn options(&self) -> GatewayOptions {
        GatewayOptions {
            cluster: Cluster {
                policies: self.policies,
                ..Cluster::new(self.family, self.services)
            },
            workers: if self.feed == Feed::Alone { 1 } else { 2 },
            flows_max: (self.flows * 2).max(1024),
            frames: PACKETS,
            udp_timeout_ms: 86_400_000,
        }
    }

    fn make(self) -> Result<Box<dyn Case>> {
        let steady = Steady::new(&self.options(), self.flows, self.mix, self.feed)?;
        Ok(match self.changes_every {
            Some(every) => Box::new(steady.with_changes(every)),
            None => Box::new(steady),
        })
    }

    fn plan(self, name: &str, what: &str) -> Plan {
        let make = Box::new(move || self.make());
        Plan { name: name.to_owned(), what: what.to_owned(), unit: "ns/packet", make, gateways: 1 }
    }
}

fn plans(rate: tsc::Rate, cpus: [usize; 2]) -> Vec<Plan> {
    let mut plans = vec![Plan {
        name: "clock".to_owned(),
        what: "the core's own clock: a chain of operations in registers".to_owned(),
        unit: "ns/kcycle",
        make: Box::new(|| Ok(Box::new(Clock))),
        gateways: 1,
    }];
    for (name, touch, what) in [
        ("null", Touch::Nothing, "the port alone: handles in, handles out"),
        ("l2", Touch::Macs, "MACs swapped instead of the journey"),
    ] {
        let make: Make =
            Box::new(move || Ok(Box::new(Null::new(Cluster::new(Family::V4, 1), touch)?)));
        plans.push(Plan {
            name: name.into(),
            what: what.into(),
            unit: "ns/packet",
            make,
            gateways: 1,
        });
    }
    for family in [Family::V4, Family::V6] {
        let label = family.label();
        for (size, flows) in [("1", 1), ("1k", 1 << 10), ("64k", 1 << 16), ("1m", 1 << 20)] {
            let what = format!("{flows} flows, both ways half and half");
            plans.push(Variant::plain(family, flows).plan(&format!("{label}-{size}"), &what));
        }
        let base = Variant::plain(family, 1 << 10);
        let from_cluster = Variant { mix: Mix::FromCluster, ..base };
        plans.push(from_cluster.plan(&format!("{label}-1k-decap"), "1024 flows, from pods only"));
        let from_uplink = Variant { mix: Mix::FromUplink, ..base };
        plans.push(from_uplink.plan(&format!("{label}-1k-encap"), "1024 flows, to pods only"));
    }
    for (size, flows) in [("64k", 1 << 16), ("1m", 1 << 20)] {
        let many = Variant { services: 10_000, ..Variant::plain(Family::V4, flows) };
        plans.push(many.plan(&format!("services-{size}"), "10,000 Services x 10 endpoints"));
        let every = Some(rate.ticks(1e9 / CHANGES_PER_SECOND));
        let changing = Variant { changes_every: every, ..many };
        plans.push(
            changing.plan(&format!("changes-{size}"), "the same, 100 table changes a second"),
        );
    }
    for (size, flows) in [("64k", 1 << 16), ("1m", 1 << 20)] {
        let cluster = Cluster { nodes: 500, ..Cluster::new(Family::V4, 100_000) };
        let options = Variant::plain(Family::V4, flows).options();
        let options = GatewayOptions { cluster, ..options };
        let make: Make =
            Box::new(move || Ok(Box::new(Steady::new(&options, flows, Mix::Both, Feed::Alone)?)));
        let what = "100,000 Services x 10 endpoints".to_owned();
        let name = format!("services-100k-{size}");
        plans.push(Plan { name, what, unit: "ns/packet", make, gateways: 1 });
    }
    for family in [Family::V4, Family::V6] {
        for (size, flows) in [("1k", 1 << 10), ("1m", 1 << 20)] {
            let variant =
                Variant { services: 1000, policies: 10_000, ..Variant::plain(family, flows) };
            let name = format!("all-{}-{size}", family.label());
            plans.push(variant.plan(&name, "1,000 Services x 10 endpoints, 10,000 policies"));
        }
    }
    for family in [Family::V4, Family::V6] {
        for (size, policies) in [("none", 0), ("1", 1), ("10k", 10_000)] {
            let what = format!("{policies} policies, 10,000 pods in 1,000 namespaces");
            let name = |of: &str| format!("policy-{}-{of}-{size}", family.label());
            let variant = Variant { services: 1000, policies, ..Variant::plain(family, 1 << 16) };
            let plan = variant.plan(&name("64k"), &format!("{what}; 65,536 flows"));
            plans.push(Plan { gateways: GATEWAYS, ..plan });
            let options = GatewayOptions { flows_max: 1 << 20, ..variant.options() };
            let make: Make = Box::new(move || Ok(Box::new(Churn::new(&options)?)));
            let what = format!("{what}; flows begin and expire");
            plans.push(Plan { name: name("new"), what, unit: "ns/flow", make, gateways: 1 });
        }
    }
    let base = Variant::plain(Family::V4, 1 << 10);
    let direct = Variant { feed: Feed::Direct, ..base };
    plans.push(direct.plan("handoff-direct", "two workers, the owner gets every packet"));
    let handed = Variant { feed: Feed::Handed, ..base };
    plans.push(handed.plan("handoff", "two workers, the other one gets every packet"));
    for (name, handed_every, what) in [
        ("two-direct", None, "two workers on two cores, each gets its own flows' packets"),
        ("two-handed", Some(2), "the same, but every other reply comes to the other worker"),
    ] {
        let options = direct.options();
        let make: Make =
            Box::new(move || Ok(Box::new(Two::new(&options, direct.flows, handed_every, cpus)?)));
        let (name, what) = (name.to_owned(), what.to_owned());
        plans.push(Plan { name, what, unit: "ns/packet", make, gateways: 1 });
    }
    let make: Make =
        Box::new(move || Ok(Box::new(Pair::new(&handed.options(), handed.flows, cpus)?)));
    let what = "the same on two cores, elapsed time".to_owned();
    plans.push(Plan { name: "handoff-pair".into(), what, unit: "ns/packet", make, gateways: 1 });
    for family in [Family::V4, Family::V6] {
        let label = family.label();
        let options = GatewayOptions { flows_max: 1 << 20, ..Variant::plain(family, 0).options() };
        let cluster = Cluster { nodes: 500, ..Cluster::new(family, 100_000) };
        let among_many = GatewayOptions { cluster, ..options };
        for (name, options, what) in [
            (format!("new-{label}"), options, "70 % of 1M in use, both first packets"),
            (format!("new-{label}-services-100k"), among_many, "the same, 100,000 Services x 10"),
        ] {
            let make: Make = Box::new(move || Ok(Box::new(Churn::new(&options)?)));
            let what = format!("flows begin and expire, {what}");
            plans.push(Plan { name, what, unit: "ns/flow", make, gateways: 1 });
        }
    }
    #[cfg(feature = "l7")]
    for family in [Family::V4, Family::V6] {
        for clients in [64, 1000] {
            let make: Make = Box::new(move || Ok(Box::new(Requests::new(family, clients)?)));
            let what = format!("HTTP/1.1, {clients} connections that are kept, a KiB from pods");
            let name = format!("http-{}-{clients}", family.label());
            plans.push(Plan { name, what, unit: "ns/request", make, gateways: 1 });
        }
    }
    plans
}

fn aims(report: &mut Report) {
    for (size, flows, aim) in [("1k", "1K", 60.0), ("1m", "1M", 120.0)] {
        report.aim(
            &format!("{flows} flows, ns/packet"),
            aim,
            false,
            &[&format!("v4-{size}")],
            |v| v[0],
        );
        for family in ["v4", "v6"] {
            let what = format!("{flows} flows with Services and policies, {family}, ns/packet");
            report.aim(&what, aim, false, &[&format!("all-{family}-{size}")], |v| v[0]);
        }
    }
    for size in ["64k", "1m"] {
        let (one, many) = (format!("v4-{size}"), format!("services-{size}"));
        let what = format!("10,000 Services against one, {size} flows, ratio");
        report.aim(&what, 1.05, false, &[&many, &one], |v| v[0] / v[1]);
        let more = format!("services-100k-{size}");
        let what = format!("100,000 Services against one, {size} flows, ratio");
        report.aim(&what, 1.05, false, &[&more, &one], |v| v[0] / v[1]);
        let changing = format!("changes-{size}");
        let what = format!("100 changes a second against none, {size} flows, ratio");
        report.aim(&what, 1.05, false, &[&changing, &many], |v| v[0] / v[1]);
    }
    for size in ["1", "1k", "64k", "1m"] {
        let (v6, v4) = (format!("v6-{size}"), format!("v4-{size}"));
        let what = format!("IPv6 against IPv4, {size} flows, ratio");
        report.aim(&what, 1.25, false, &[&v6, &v4], |v| v[0] / v[1]);
    }
    for family in ["v4", "v6"] {
        let what = format!("new flows a second, {family}, millions");
        let one = format!("new-{family}");
        report.aim(&what, 2.0, true, &[&one], |v| 1e3 / v[0]);
        let what = format!("100,000 Services against one, new flows, {family}, ratio");
        let many = format!("new-{family}-services-100k");
        report.aim(&what, 1.05, false, &[&many, &one], |v| v[0] / v[1]);
    }
    for family in ["v4", "v6"] {
        for (of, what, aim) in [("64k", "established packets", 1.02), ("new", "new flows", 1.1)] {
            let rows = ["10k", "1"].map(|size| format!("policy-{family}-{of}-{size}"));
            let what = format!("10,000 policies against one, {what}, {family}, ratio");
            report.aim(&what, aim, false, &[&rows[0], &rows[1]], |v| v[0] / v[1]);
        }
    }
    for (two, what, aim) in [
        ("two-direct", "two workers against one, nothing handed over, ratio", 1.95),
        ("two-handed", "two workers against one, half of the replies handed over, ratio", 1.6),
    ] {
        report.aim(what, aim, true, &["v4-1k", two], |v| v[0] / v[1]);
    }
    let handoff = ["handoff", "handoff-direct"];
    report.aim("a handoff, ns/packet", 80.0, false, &handoff, |v| v[0] - v[1]);
}

fn main() -> Result<()> {
    let args = Args::parse();
    cpu::pin(args.cpu)?;
    let rate = tsc::Rate::calibrate();
    let mut plans = plans(rate, [args.cpu, args.second_cpu]);
    if !args.rows.is_empty() {
        plans.retain(|plan| args.rows.iter().any(|word| plan.name.contains(word)));
    }
    ensure!(!plans.is_empty(), "no row has such a name");
    let mut rows: Vec<_> = plans.iter().map(|plan| (plan, Vec::new(), Vec::new())).collect();
    for number in 0..GATEWAYS {
        for (plan, cases, _) in rows.iter_mut().filter(|(plan, ..)| number < plan.gateways) {
            eprintln!("preparing {}", plan.name);
            let mut case = (plan.make)()?;
            case.round(Check::All)?;
            cases.push(case);
        }
    }
    for pass in 0..args.passes {
        eprintln!("pass {} of {}", pass + 1, args.passes);
        for (_, cases, rounds) in &mut rows {
            let turn = pass % cases.len();
            let case = &mut cases[turn];
            for _ in 0..WARM_UP {
                case.round(Check::Sample)?;
            }
            for _ in 0..args.rounds {
                let took = case.round(Check::Sample)?;
                rounds.push(rate.nanos(took) / case.units() as f64);
            }
            case.round(Check::All)?;
        }
    }
    let row = |(plan, _, rounds): &mut (&Plan, _, Vec<f64>)| {
        Row::new(&plan.name, &plan.what, plan.unit, rounds)
    };
    let rows = rows.iter_mut().map(row).collect();
    let mut report = Report { cpu: cpu::model(), tsc_ghz: rate.ghz(), rows, aims: Vec::new() };
    aims(&mut report);
    print!("{}", report.text());
    if let Some(path) = &args.json {
        report.write(path)?;
    }
    Ok(())
}
