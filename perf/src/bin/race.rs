//! What `perf/race` cannot do in a shell: the same Services as objects and as rules, Sluice's
//! configuration, packets in captures, the check of what comes out, the report.

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use sluice_perf::cluster::Cluster;
use sluice_perf::program::addresses;
use sluice_perf::program::config::{Gateway, Ports};
use sluice_perf::program::manifests::manifests;
use sluice_perf::race::capture;
use sluice_perf::race::expect::Expected;
use sluice_perf::race::parts::{Part, keep};
use sluice_perf::race::rules;
use sluice_perf::site::Family;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::PathBuf;

/// Makes and checks what the race needs.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Size {
    /// Services, of one port each.
    #[arg(long, default_value_t = 1)]
    services: u32,
    /// Endpoints of each.
    #[arg(long, default_value_t = 10)]
    backends: u32,
    /// Nodes, over which they are spread.
    #[arg(long, default_value_t = 1)]
    nodes: u32,
    /// IPv6 instead of IPv4.
    #[arg(long)]
    v6: bool,
}

impl Size {
    fn cluster(&self) -> Cluster {
        let family = if self.v6 { Family::V6 } else { Family::V4 };
        let Size { services, backends, nodes, .. } = *self;
        Cluster { backends, nodes, ..Cluster::new(family, services) }
    }
}

/// Where Sluice stands.
#[derive(Args)]
struct Place {
    /// Pods are behind VXLAN, instead of a route to their node.
    #[arg(long)]
    overlay: bool,
    /// Clients keep their addresses.
    #[arg(long)]
    keep_clients: bool,
    /// The core of its worker.
    #[arg(long)]
    cpu: usize,
    /// MTU of the device `cluster`.
    #[arg(long, default_value_t = 1500)]
    underlay_mtu: u16,
    /// A device of DPDK's for both sides, instead of the devices `uplink` and `cluster`.
    #[arg(long)]
    trunk: Option<String>,
    /// Frames for that.
    #[arg(long, default_value_t = 131_072)]
    frames: u32,
    /// The folder with the objects.
    #[arg(long)]
    manifests: PathBuf,
    /// Its admin socket.
    #[arg(long)]
    socket: PathBuf,
    /// IPv6 instead of IPv4.
    #[arg(long)]
    v6: bool,
}

impl Place {
    fn gateway(self) -> Gateway {
        let Place { overlay, keep_clients, cpu, manifests, socket, .. } = self;
        let ports = match self.trunk {
            Some(device) => Ports::Trunk { device, frames: self.frames },
            None => Ports::Pair {
                devices: ["cluster", "uplink"].map(str::to_owned),
                underlay_mtu: self.underlay_mtu,
            },
        };
        let family = if self.v6 { Family::V6 } else { Family::V4 };
        Gateway { family, ports, overlay, keeps_clients: keep_clients, cpu, manifests, socket }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Prints who has which address, as variables of a shell.
    Addresses {
        /// Nodes.
        #[arg(long, default_value_t = 1)]
        nodes: u32,
    },
    /// Prints Sluice's configuration.
    Config {
        #[command(flatten)]
        place: Place,
    },
    /// Prints Services, endpoints and nodes as objects of Kubernetes.
    Manifests {
        #[command(flatten)]
        size: Size,
    },
    /// Prints the rules that kube-proxy writes for the same Services.
    Rules {
        /// In which of its modes.
        mode: Mode,
        #[command(flatten)]
        size: Size,
    },
    /// Writes requests of many flows as a capture for a `net_pcap` device.
    Capture {
        /// Flows, in random order.
        #[arg(long)]
        flows: u32,
        /// The file.
        #[arg(long)]
        to: PathBuf,
        #[command(flatten)]
        size: Size,
    },
    /// Checks the first frames of a capture; then reads and forgets the rest, so that a
    /// pipe never fills.
    Check {
        /// The file or pipe.
        #[arg(long)]
        from: PathBuf,
        /// What should be in it.
        #[arg(long)]
        expect: Expected,
        /// Frames to check.
        #[arg(long, default_value_t = 4096)]
        frames: usize,
        /// Flows that must be among them.
        #[arg(long)]
        flows_seen: Option<usize>,
        /// A file to make once they are.
        #[arg(long)]
        done: PathBuf,
        #[command(flatten)]
        size: Size,
    },
    /// Measures how long control takes from typed objects to a worker's new tables, in
    /// milliseconds; both families.
    #[cfg(feature = "scale")]
    Objects {
        /// The core of the worker.
        #[arg(long, default_value_t = 1)]
        worker_cpu: usize,
        #[command(flatten)]
        size: Size,
    },
    /// Prints a part's report from its measurements, and keeps it.
    Report {
        /// The part.
        part: Part,
        /// Its measurements.
        #[arg(long)]
        rows: PathBuf,
        /// The file with one report for each part.
        #[arg(long)]
        json: PathBuf,
    },
    /// Keeps the report of a part that has made one itself.
    Keep {
        /// The part.
        part: String,
        /// Its report.
        #[arg(long)]
        from: PathBuf,
        /// The file with one report for each part.
        #[arg(long)]
        json: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Nftables,
    Iptables,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Addresses { nodes } => print(&addresses::shell_variables(nodes)),
        Command::Config { place } => print(&place.gateway().config()),
        Command::Manifests { size } => print(&manifests(&size.cluster())),
        Command::Rules { mode, size } => {
            ensure!(!size.v6, "rules are for IPv4");
            match mode {
                Mode::Nftables => print(&rules::nftables(&size.cluster())),
                Mode::Iptables => print(&rules::iptables(&size.cluster())),
            }
        }
        Command::Capture { flows, to, size } => {
            let file = File::create(&to).with_context(|| to.display().to_string())?;
            capture::write(&mut BufWriter::new(file), &size.cluster(), flows)
        }
        Command::Check { from, expect, frames, flows_seen, done, size } => {
            let file = File::open(&from).with_context(|| from.display().to_string())?;
            let mut file = BufReader::new(file);
            let seen = capture::check(&mut file, &size.cluster(), expect, frames)?;
            let wanted = flows_seen.unwrap_or(seen.flows);
            ensure!(seen.flows == wanted, "{} flows of {wanted} in {frames} frames", seen.flows);
            println!("{{\"checked\": {}, \"flows\": {}}}", seen.frames, seen.flows);
            File::create(&done).with_context(|| done.display().to_string())?;
            std::io::copy(&mut file, &mut std::io::sink())?;
            Ok(())
        }
        #[cfg(feature = "scale")]
        Command::Objects { worker_cpu, size } => objects(&size, worker_cpu),
        Command::Report { part, rows, json } => {
            let text =
                std::fs::read_to_string(&rows).with_context(|| rows.display().to_string())?;
            ensure!(!text.is_empty(), "nothing was measured");
            let report = part.report(&text)?;
            print!("{}", report.text());
            part.keep(&report, &json)
        }
        Command::Keep { part, from, json } => {
            let text =
                std::fs::read_to_string(&from).with_context(|| from.display().to_string())?;
            keep(&part, serde_json::from_str(&text)?, &json)
        }
    }
}

fn print(text: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// Control and a worker as shipped, fed with all objects at once.
#[cfg(feature = "scale")]
fn objects(size: &Size, worker_cpu: usize) -> Result<()> {
    use sluice_control::source::{Batch, Event};
    use sluice_perf::scale::config::{NO_SOURCE, config};
    use sluice_perf::scale::{feed::Feed, objects, rig::Rig};
    /// Objects in a batch, as of a source.
    const BATCH: usize = 512;
    let Size { services, backends, nodes, .. } = *size;
    let wanted = objects::Size { services, endpoints: backends, nodes };
    let applied =
        |object| -> Result<Event> { Ok(Event::Applied { object: object?, origin: None }) };
    let mut events = wanted.objects().map(applied).collect::<Result<Vec<_>>>()?;
    events.push(Event::Synced);
    let (send, feed) = crossbeam_channel::bounded(16);
    let source = |_| -> Box<dyn sluice_control::Source> { Box::new(Feed(feed)) };
    let rig = Rig::start(config(NO_SOURCE)?, source, services, nodes, worker_cpu)?;
    let begin = std::time::Instant::now();
    let mut events = events.into_iter();
    loop {
        let batch: Vec<_> = events.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            break;
        }
        send.send(Batch { at: rig.now(), events: batch }).context("control is gone")?;
    }
    rig.wait_live(1)?;
    println!("{:.1}", begin.elapsed().as_secs_f64() * 1e3);
    drop(send);
    rig.stop()
}
