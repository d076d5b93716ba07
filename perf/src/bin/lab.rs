//! The load lab: any load by a profile, in memory around the shipped worker or on devices in
//! front of a gateway that runs; sweeps of it, and their plots. `perf/lab` puts it together.

use anyhow::{Context, Result, ensure};
use clap::{Args as Group, Parser, Subcommand};
use sluice_perf::lab::memory::{self, Worked};
use sluice_perf::lab::outcome::Outcome;
use sluice_perf::lab::plot;
use sluice_perf::lab::profile::{
    Close, Count, Direction, Pace, Profile, Size, Traffic, Verify, Version,
};
use sluice_perf::lab::report::Report;
use sluice_perf::lab::search::{Trial, maximum};
use sluice_perf::lab::sweep::{self, Options, Sweep};
use sluice_perf::program::config::{Gateway, Ports};
use sluice_perf::program::{addresses, manifests};
use sluice_perf::tsc::Rate;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Frames of 1,518 bytes fit the tunnel over either family.
const UNDERLAY_MTU: u16 = 1600;

/// Offers any load to a gateway, and looks at all that comes back.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Offers a profile to the shipped worker, in memory, on another core.
    Memory {
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        cores: Cores,
    },
    /// Offers a profile to a gateway that runs, by two devices at its other ends.
    #[cfg(feature = "af-xdp")]
    Generate {
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        devices: Devices,
    },
    /// Highest rates and times of many profiles.
    Sweep {
        /// What is swept over, in memory.
        #[arg(long, value_delimiter = ',', value_enum, default_values_t =
            [Sweep::Flows, Sweep::Services, Sweep::Sizes, Sweep::Setups, Sweep::Latency])]
        over: Vec<Sweep>,
        #[command(flatten)]
        cores: Cores,
        #[command(flatten)]
        trials: Trials,
        #[command(flatten)]
        out: Out,
    },
    /// Lengths of frames, and times against load, of a gateway that runs.
    #[cfg(feature = "af-xdp")]
    SweepDevices {
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        devices: Devices,
        #[command(flatten)]
        trials: Trials,
        #[command(flatten)]
        out: Out,
    },
    /// Draws the plots of a report.
    Plots {
        /// The report.
        #[arg(long)]
        json: PathBuf,
        /// The folder.
        #[arg(long)]
        plots: PathBuf,
    },
    /// Writes the configuration and the objects of a gateway for a profile.
    Gateway {
        #[command(flatten)]
        load: Load,
        /// The folder.
        #[arg(long)]
        folder: PathBuf,
        /// The core of its worker.
        #[arg(long, default_value_t = 1)]
        cpu: usize,
        /// Its device towards clients.
        #[arg(long, default_value = "uplink")]
        uplink: String,
        /// Its device towards nodes.
        #[arg(long, default_value = "cluster")]
        cluster: String,
        /// The MTU there.
        #[arg(long, default_value_t = UNDERLAY_MTU)]
        underlay_mtu: u16,
    },
    /// Prints the family, and who has which address, as variables of a shell.
    Addresses {
        #[command(flatten)]
        load: Load,
    },
}

#[derive(Group)]
struct Cores {
    /// The core of the worker.
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// The core of the generator.
    #[arg(long, default_value_t = 0)]
    generator_cpu: usize,
}

#[cfg(feature = "af-xdp")]
#[derive(Group)]
struct Devices {
    /// The device where clients are.
    #[arg(long)]
    clients_device: String,
    /// The device where nodes are.
    #[arg(long)]
    nodes_device: String,
    /// The core of the generator.
    #[arg(long, default_value_t = 0)]
    generator_cpu: usize,
}

#[derive(Group)]
struct Trials {
    /// Milliseconds of each trial.
    #[arg(long, default_value_t = 250)]
    trial_ms: u64,
    /// Percent of all frames that may be lost at the highest rate.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
}

#[derive(Group)]
struct Out {
    /// A file for the results as JSON; what it says of other cases stays.
    #[arg(long)]
    json: Option<PathBuf>,
    /// A folder for plots.
    #[arg(long)]
    plots: Option<PathBuf>,
}

/// A profile: a file, and what is said here over it.
#[derive(Group)]
struct Load {
    /// A profile, in YAML: the options below by their names, with `_` for `-`.
    #[arg(long)]
    profile: Option<PathBuf>,
    /// The family of everything.
    #[arg(long)]
    family: Option<Version>,
    /// UDP of flows that go on, new UDP flows, or TCP connections.
    #[arg(long)]
    traffic: Option<Traffic>,
    /// Who sends.
    #[arg(long)]
    direction: Option<Direction>,
    /// Flows.
    #[arg(long)]
    flows: Option<u32>,
    /// Addresses of clients.
    #[arg(long)]
    clients: Option<u32>,
    /// Services.
    #[arg(long)]
    services: Option<u32>,
    /// Endpoints of each.
    #[arg(long)]
    backends: Option<u32>,
    /// Nodes.
    #[arg(long)]
    nodes: Option<u32>,
    /// Bytes of a frame, check sequence included and outside of the tunnel; or `imix`.
    #[arg(long)]
    size: Option<Size>,
    /// Frames (new flows, connections) a second (`1.5M`, `200kpps`), bits (`2.5Gbit`), or
    /// `max`.
    #[arg(long)]
    rate: Option<Pace>,
    /// New UDP flows a second, besides.
    #[arg(long)]
    new_flows: Option<Count>,
    /// How connections end.
    #[arg(long)]
    close: Option<Close>,
    /// How much of what comes back is looked at whole.
    #[arg(long)]
    verify: Option<Verify>,
    /// Seconds to run.
    #[arg(long)]
    seconds: Option<f64>,
    /// Finds the highest rate instead, in trials of so many seconds, at which this share of
    /// all frames is lost at most, in percent.
    #[arg(long)]
    find: Option<f64>,
}

impl Load {
    fn profile(&self) -> Result<Profile> {
        let mut profile = match &self.profile {
            None => Profile::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.with_context(|| format!("cannot read {}", path.display()))?;
                Profile::read(&text).with_context(|| path.display().to_string())?
            }
        };
        fn over<T: Clone>(field: &mut T, said: &Option<T>) {
            if let Some(said) = said {
                *field = said.clone();
            }
        }
        over(&mut profile.family, &self.family);
        over(&mut profile.traffic, &self.traffic);
        over(&mut profile.direction, &self.direction);
        over(&mut profile.flows, &self.flows);
        over(&mut profile.clients, &self.clients);
        over(&mut profile.services, &self.services);
        over(&mut profile.backends, &self.backends);
        over(&mut profile.nodes, &self.nodes);
        over(&mut profile.size, &self.size);
        over(&mut profile.rate, &self.rate);
        over(&mut profile.new_flows, &self.new_flows);
        over(&mut profile.close, &self.close);
        over(&mut profile.verify, &self.verify);
        over(&mut profile.seconds, &self.seconds);
        let loss = self.find.unwrap_or(0.0);
        ensure!((0.0..100.0).contains(&loss), "find: {loss} percent");
        Ok(profile)
    }
}

impl Trials {
    fn options(&self, cpus: Option<[usize; 2]>) -> Result<Options> {
        ensure!((1..=60_000).contains(&self.trial_ms), "trial-ms: {} of 60,000", self.trial_ms);
        ensure!((0.0..100.0).contains(&self.loss), "loss: {} percent", self.loss);
        let trial = Duration::from_millis(self.trial_ms);
        Ok(Options { cpus, trial, loss_max: self.loss / 100.0 })
    }
}

impl Out {
    fn write(&self, report: &Report) -> Result<()> {
        print!("{}", report.text());
        if let Some(path) = &self.json {
            report.write(path)?;
        }
        self.plots.as_ref().map_or(Ok(()), |folder| draw(report, folder))
    }
}

fn draw(report: &Report, folder: &Path) -> Result<()> {
    for name in plot::all(report, folder)? {
        println!("{}", folder.join(name).display());
    }
    Ok(())
}

fn main() -> Result<()> {
    match Args::parse().command {
        Command::Memory { load, cores } => in_memory(&load, &cores),
        #[cfg(feature = "af-xdp")]
        Command::Generate { load, devices } => on_devices(&load, &devices),
        Command::Sweep { over, cores, trials, out } => {
            let options = trials.options(Some([cores.cpu, cores.generator_cpu]))?;
            let rate = Rate::calibrate();
            out.write(&sweep::in_memory(&options, &over, rate, &mut |line| eprintln!("{line}"))?)
        }
        #[cfg(feature = "af-xdp")]
        Command::SweepDevices { load, devices, trials, out } => {
            let (profile, mut bench) = (load.profile()?, devices.bench());
            let options = trials.options(None)?;
            let rate = bench.rate;
            let ports = bench.play(&profile, |player| Ok(player.modes()[0].clone()))?;
            let mut say = |line: &str| eprintln!("{line}");
            let report = sweep::on_devices(&mut bench, &options, &profile, &ports, rate, &mut say)?;
            out.write(&report)
        }
        Command::Plots { json, plots } => draw(&Report::read(&json)?, &plots),
        Command::Gateway { load, folder, cpu, uplink, cluster, underlay_mtu } => {
            let ports = Ports::Pair { devices: [cluster, uplink], underlay_mtu };
            write_gateway(&load.profile()?, ports, cpu, &folder)
        }
        Command::Addresses { load } => {
            let profile = load.profile()?;
            println!("FAMILY={}", profile.ip().label());
            print!("{}", addresses::shell_variables(profile.nodes));
            Ok(())
        }
    }
}

/// Writes configuration and objects into a folder.
fn write_gateway(profile: &Profile, ports: Ports, cpu: usize, folder: &Path) -> Result<()> {
    let folder = std::path::absolute(folder).context("the folder")?;
    let objects = folder.join("manifests");
    std::fs::create_dir_all(&objects)
        .with_context(|| format!("cannot make {}", objects.display()))?;
    let gateway = Gateway {
        family: profile.ip(),
        ports,
        overlay: true,
        keeps_clients: false,
        cpu,
        manifests: objects.clone(),
        socket: folder.join("sluice.sock"),
    };
    for (path, text) in [
        (folder.join("gateway.yaml"), gateway.config()),
        (objects.join("cluster.yaml"), manifests::manifests(&profile.cluster())),
    ] {
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(feature = "af-xdp")]
impl Devices {
    fn bench(&self) -> sluice_perf::lab::devices::OnDevices {
        sluice_perf::lab::devices::OnDevices {
            devices: sluice_perf::lab::devices::Devices::new(
                &self.clients_device,
                &self.nodes_device,
            ),
            cpu: Some(self.generator_cpu),
            rate: Rate::calibrate(),
        }
    }
}

fn in_memory(load: &Load, cores: &Cores) -> Result<()> {
    let (profile, rate) = (load.profile()?, Rate::calibrate());
    let cpus = Some([cores.cpu, cores.generator_cpu]);
    memory::with_worker(
        &profile,
        cpus,
        rate,
        |port| Box::new(port),
        |session| {
            let trial = offer(load, &profile, |rate, time| session.run(rate, time, true))?;
            let Worked { busy, ns_per_frame, drops } = &trial.more;
            print!("{}", trial.outcome.text());
            println!(
                "worker    {:.0}% busy, {ns_per_frame:.1} ns a frame, drops {drops:?}",
                100.0 * busy
            );
            judge(&trial.outcome)
        },
    )
}

#[cfg(feature = "af-xdp")]
fn on_devices(load: &Load, devices: &Devices) -> Result<()> {
    let (profile, bench) = (load.profile()?, devices.bench());
    bench.play(&profile, |player| {
        let [nodes, clients] = player.modes();
        println!("ports     {clients} (clients), {nodes} (nodes)");
        let run = |rate, time| Ok(Trial { outcome: player.run(rate, time, true)?, more: () });
        let trial = offer(load, &profile, run)?;
        print!("{}", trial.outcome.text());
        judge(&trial.outcome)
    })
}

/// One run of a profile, or the highest rate.
fn offer<T>(
    load: &Load,
    profile: &Profile,
    mut run: impl FnMut(Option<f64>, Duration) -> Result<Trial<T>>,
) -> Result<Trial<T>> {
    let time = Duration::from_secs_f64(profile.seconds);
    let Some(loss) = load.find else { return run(profile.packets(), time) };
    let found = maximum(loss / 100.0, |rate| run(rate, time))?;
    let found = found.context("each rate loses more than that")?;
    println!("found in {} trials; more is kept from it by: {}", found.tries, found.limit.label());
    Ok(found.trial)
}

/// A run in which nothing came says that something is wrong.
fn judge(outcome: &Outcome) -> Result<()> {
    ensure!(outcome.achieved > 0.0, "nothing came back");
    Ok(())
}
