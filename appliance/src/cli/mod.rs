//! The command line.

use crate::explain::request::asked::{Header, Url, Verb};
use crate::explain::tuple::FlowTuple;
use crate::observe::filter::{Protocol, SNAP_LEN, prefix};
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use sluice_fastpath::DropReason;
use sluice_fastpath::events::SNAP_LEN_MAX;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Rows of cells, aligned.
pub mod table;
/// Durations, counts and rates as a person reads them.
pub mod units;

/// `sluice capture`.
pub mod capture;
/// `sluice check`.
pub mod check;
/// `sluice explain`.
pub mod explain;
/// `sluice show drops --follow`.
pub mod follow;
/// `sluice show`.
pub mod show;
/// What `sluice show` shows of requests.
mod show_requests;
/// `sluice status`.
pub mod status;

/// What `sluice` was asked to do.
#[derive(Debug, Parser)]
#[command(
    name = "sluice",
    version,
    about = "A userspace Kubernetes gateway: AF_XDP, VXLAN, Service NAT",
    after_help = "Exit status: 0 done, 1 something is wrong, 2 wrong usage.",
    propagate_version = true
)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway until SIGTERM; SIGHUP reads the configuration again
    Run(ConfigArg),
    /// Check a configuration and its manifests; print everything that is wrong
    Check(ConfigArg),
    /// Show what a running gateway knows
    Show(ShowArgs),
    /// Show on one screen how a running gateway does, and what is wrong
    Status(StatusArgs),
    /// Write packets of a running gateway to a pcapng file, with what became of each
    Capture(CaptureArgs),
    /// Explain what becomes of a packet or a request, step by step: which rule or route decides
    #[command(after_help = EXPLAIN_HELP)]
    Explain(ExplainArgs),
    /// Check this machine: each finding with the command that mends it
    Doctor(DoctorArgs),
    /// Print the table of drop reasons as Markdown
    #[command(hide = true)]
    DropReasons,
}

/// What `sluice explain --help` ends with.
const EXPLAIN_HELP: &str = "\
A packet is SOURCE[:PORT] -> DESTINATION:PORT/PROTOCOL, or without ports for ICMP:
  sluice explain '10.1.2.3:4000 -> 10.96.0.10:80/tcp'
  sluice explain '[2001:db8::1]:4000 -> [fd00::10]:80/tcp'
  sluice explain '10.1.2.3 -> 10.96.0.10/icmp'
A request is a URL, with what else curl takes:
  sluice explain https://shop.example/cart -X POST -H 'x-canary: always' --from 198.51.100.7
Nobody is asked what the host's address is: a listener at the URL's port is taken, or --to.
Before a change goes live, by manifests alone:
  sluice explain --offline --config FILE '10.1.2.3:4000 -> 10.96.0.10:80/tcp'
  sluice explain --offline --config FILE https://shop.example/cart
Exit status: 0 explained, whatever becomes of it; 1 there is no answer; 2 wrong usage.";

/// Arguments of `sluice explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The packet, as its sender sends it; or the URL of a request
    #[arg(value_name = "PACKET|URL")]
    pub subject: Subject,
    /// The method of a request [default: GET]
    #[arg(short = 'X', long, value_name = "METHOD")]
    pub method: Option<Verb>,
    /// A header of a request; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<Header>,
    /// Who sends a request
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<IpAddr>,
    /// The gateway's address that a request comes to
    #[arg(long, value_name = "ADDRESS")]
    pub to: Option<IpAddr>,
    /// How to print it
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Output,
    /// Ask no gateway: explain by the manifests of the configuration file that --config names
    #[arg(long, requires = "config")]
    pub offline: bool,
    /// Whom to ask
    #[command(flatten)]
    pub target: Target,
}

/// What `sluice explain` explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A packet.
    Packet(FlowTuple),
    /// A request.
    Request(Url),
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.contains("://") {
            true => text.parse().map(Subject::Request).map_err(|error| error.to_string()),
            false => text.parse().map(Subject::Packet).map_err(|error| error.to_string()),
        }
    }
}

/// A configuration file that must be given.
#[derive(Debug, Args)]
pub struct ConfigArg {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Which running gateway is asked.
#[derive(Debug, Args)]
pub struct Target {
    /// The admin socket of the gateway [default: /run/sluice/sluice.sock]
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    pub socket: Option<PathBuf>,
    /// Take the admin socket from this configuration file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Aligned columns
    Table,
    /// One JSON document
    Json,
}

/// Arguments of `sluice show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// What to show
    #[command(subcommand)]
    pub what: Show,
    /// How to print it
    #[arg(short, long, value_enum, default_value = "table", global = true)]
    pub output: Output,
    /// Whom to ask
    #[command(flatten)]
    pub target: GlobalTarget,
}

/// [`Target`], accepted before and after what is shown.
#[derive(Debug, Args)]
pub struct GlobalTarget {
    /// The admin socket of the gateway [default: /run/sluice/sluice.sock]
    #[arg(long, value_name = "PATH", global = true, conflicts_with = "config")]
    pub socket: Option<PathBuf>,
    /// Take the admin socket from this configuration file
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
}

/// What `sluice show` shows.
#[derive(Debug, Subcommand)]
pub enum Show {
    /// Services, their addresses and ports, and how many endpoints serve them
    Services,
    /// Endpoints of every Service port, and their states
    Backends,
    /// Tracked flows
    Flows(FlowArgs),
    /// Neighbors on the ports' links, as each worker knows them
    Neighbors,
    /// Routes
    Routes,
    /// Tunnel endpoints of the nodes
    Tunnels,
    /// Domain names that policies name, and the addresses learned from DNS answers.
    Names,
    /// Where requests are listened for, for whom, and with which certificates
    Listeners,
    /// Routes of requests: host, path, Ingress, Service
    HttpRoutes,
    /// Certificates, how long they last, and what is wrong with them
    Certificates,
    /// Clients' connections that requests come by
    Connections(ConnectionArgs),
    /// Ports, their queues and counters
    Ports,
    /// Workers and their counters
    Workers,
    /// SNAT ports in use towards each endpoint, the fullest first
    Snat,
    /// Dropped packets by reason
    Drops(DropArgs),
}

/// Arguments of `sluice show flows`.
#[derive(Debug, Args)]
pub struct FlowArgs {
    /// Most flows shown
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// Only flows of this Service
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub service: Option<String>,
    /// Only flows that this address began
    #[arg(long, value_name = "ADDRESS")]
    pub client: Option<IpAddr>,
}

/// Arguments of `sluice show connections`.
#[derive(Debug, Args)]
pub struct ConnectionArgs {
    /// Most connections shown
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=64_000))]
    pub limit: u32,
    /// Only those of this client
    #[arg(long, value_name = "ADDRESS")]
    pub client: Option<IpAddr>,
}

/// Arguments of `sluice show drops`.
#[derive(Debug, Args)]
pub struct DropArgs {
    /// Also reasons that never occurred
    #[arg(long, conflicts_with = "follow")]
    pub all: bool,
    /// Print each packet that is dropped from now on, or would be
    #[arg(long)]
    pub follow: bool,
    /// Which packets
    #[command(flatten)]
    pub filter: FilterArgs,
}

/// Which packets are meant: all that is given must hold.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Only packets dropped for this reason; may be given several times
    #[arg(long, value_name = "REASON", hide_possible_values = true,
        value_parser = PossibleValuesParser::new(DropReason::ALL.iter().map(|reason| reason.label())))]
    pub reason: Vec<String>,
    /// Only packets from this prefix or address
    #[arg(long, value_name = "CIDR", value_parser = prefix)]
    pub src: Option<IpNet>,
    /// Only packets to this prefix or address
    #[arg(long, value_name = "CIDR", value_parser = prefix)]
    pub dst: Option<IpNet>,
    /// Only packets from or to this port
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Only packets of this protocol
    #[arg(long, value_name = "PROTOCOL", value_enum)]
    pub proto: Option<Protocol>,
}

/// Arguments of `sluice capture`.
#[derive(Debug, Args)]
pub struct CaptureArgs {
    /// The file; `-`: standard output
    #[arg(short, long, value_name = "FILE")]
    pub write: PathBuf,
    /// Which packets, as they came or as they leave
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Only packets that are dropped; --reason implies it
    #[arg(long)]
    pub drops_only: bool,
    /// End after so many packets
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: Option<u64>,
    /// Bytes of each packet
    #[arg(long, value_name = "BYTES", default_value_t = SNAP_LEN,
        value_parser = clap::value_parser!(u16).range(1..=SNAP_LEN_MAX as i64))]
    pub snaplen: u16,
    /// Whom to ask
    #[command(flatten)]
    pub target: Target,
}

/// Arguments of `sluice status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// How to print it
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Output,
    /// Whom to ask
    #[command(flatten)]
    pub target: Target,
}

/// Arguments of `sluice doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Also check the devices that this configuration file names
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
