//! `sluice`: a userspace Kubernetes gateway.
//!
//! ```text
//! cli ---- run -----> start: devices -> ports -> workers -> control -> servers
//!      \-- check ---> config, control
//!      \-- explain -> admin socket, or config and control; a probe
//!      \-- doctor --> this machine
//!      \-- show, status, capture --> admin socket of a running gateway
//! ```
#![forbid(unsafe_code)]

/// The command line.
mod cli;
/// Printing.
mod output;

/// The gateway's start and end.
mod start;

/// The running gateway as a whole.
mod gateway;

/// The way to ask control.
mod control;

/// What became of reloads.
mod reloads;

/// What is told of single packets.
mod observe;

/// Logs of one line each.
mod line_log;

/// Requests that end here.
mod l7;

/// What becomes of a packet, and why.
mod explain;

/// SNAT ports in use, by Service and endpoint.
mod snat;

/// Nodes that hide their pods.
mod masquerade;

/// Logging.
mod log;

/// The admin socket.
mod admin;
/// Metrics and health over HTTP.
mod metrics;

/// What unit tests share.
#[cfg(test)]
mod testing;

/// Checks of the machine.
mod doctor;
/// The table of drop reasons.
mod drop_reasons;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => start::run(&args.config),
        Command::Check(args) => cli::check::run(&args.config),
        Command::Show(args) => cli::show::run(&args),
        Command::Status(args) => cli::status::run(&args),
        Command::Capture(args) => cli::capture::run(&args),
        Command::Explain(args) => cli::explain::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::DropReasons => drop_reasons::run(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("sluice: {error:#}");
        ExitCode::FAILURE
    })
}
