use super::show::{document, socket_path};
use super::table::Table;
use super::units::{count, duration_ms, percent};
use super::{Output, StatusArgs};
use crate::admin::view::StatusView;
use crate::admin::{Question, client};
use crate::output;
use sluice_control::Severity;
use sluice_control::election::ElectionView;
use sluice_control::source::kubernetes::SourceView;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// Diagnostics shown; the rest is counted.
const DIAGNOSTICS_SHOWN: usize = 20;

/// Prints how a running gateway does. The exit status is 1 if it is not ready.
///
/// # Errors
/// When there is no answer.
pub fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let (socket, config) = (args.target.socket.as_deref(), args.target.config.as_deref());
    let socket = match socket_path(socket, config) {
        Ok(socket) => socket,
        Err(code) => return Ok(code),
    };
    let answer = client::ask(&socket, &Question::Status)?;
    let view: StatusView = client::read(&answer)?;
    let text = match args.output {
        Output::Json => document(&answer)?,
        Output::Table => screen(&view, now_unix_ms()),
    };
    output::print(&text)?;
    Ok(if view.not_ready.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn screen(view: &StatusView, now_unix_ms: u64) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "sluice {} on {}: {}, up {}",
        view.version,
        view.node,
        view.state,
        duration_ms(view.uptime_ms)
    );
    for reason in &view.not_ready {
        let _ = writeln!(out, "  not ready: {reason}");
    }
    ports(&mut out, view);
    workers(&mut out, view);
    tables(&mut out, view, now_unix_ms);
    wrong(&mut out, view);
    out
}

fn ports(out: &mut String, view: &StatusView) {
    let mut table =
        Table::new(&["PORT", "DEVICE", "LINK", "MTU", "MODE", ">QUEUES", ">RX/S", ">TX/S"]);
    for (index, port) in view.ports.iter().enumerate() {
        let mut modes: Vec<&str> = port.queues.iter().map(|queue| queue.mode.as_str()).collect();
        modes.dedup();
        let rate = |rates: &[f64]| count(rates.get(index).copied().unwrap_or(0.0).round() as u64);
        table.row([
            port.name.clone(),
            port.device.clone(),
            port.link.clone(),
            port.mtu.to_string(),
            modes.join(", "),
            port.queues.len().to_string(),
            rate(&view.rates.rx_pps),
            rate(&view.rates.tx_pps),
        ]);
    }
    let _ = write!(out, "\n{}", table.render(0, "no ports"));
}

fn workers(out: &mut String, view: &StatusView) {
    let mut table = Table::new(&[
        "WORKER",
        "STATE",
        "CORE",
        ">BUSY",
        ">FLOWS V4",
        ">FLOWS V6",
        ">HANDED IN",
        ">DROPPED",
    ]);
    for worker in &view.workers {
        let busy = view.rates.busy_ratio.get(worker.id).copied().unwrap_or(0.0);
        table.row([
            worker.id.to_string(),
            if worker.up { "up" } else { "down" }.to_owned(),
            worker.core.map_or_else(|| "any".to_owned(), |core| core.to_string()),
            percent(busy),
            count(worker.flows[0]),
            count(worker.flows[1]),
            count(worker.handed_in),
            count(worker.dropped),
        ]);
    }
    let _ = write!(out, "\n{}", table.render(0, "no workers"));
}

fn tables(out: &mut String, view: &StatusView, now_unix_ms: u64) {
    let (free, frames) = (count(view.frames_free as u64), count(view.frames as u64));
    let Some(control) = &view.control else {
        let _ = writeln!(out, "\ntables   as they were\nframes   {free} of {frames} free");
        return;
    };
    let age = match control.versions.published_unix_ms {
        Some(at) => format!("published {} ago", duration_ms(now_unix_ms.saturating_sub(at))),
        None => "none published yet".to_owned(),
    };
    let api = control.api.as_ref().map_or_else(String::new, api);
    let announces = control.election.as_ref().map_or_else(String::new, announces);
    let objects = control.objects.iter().filter(|(_, count)| **count > 0);
    let objects: Vec<String> =
        objects.map(|(kind, count)| format!("{} {kind}", self::count(*count as u64))).collect();
    let objects = if objects.is_empty() { "none".to_owned() } else { objects.join(", ") };
    let source = if control.synced { "" } else { ", not read to the end yet" };
    let _ = writeln!(
        out,
        "\ntables   version {}, {age}, live on every worker: {}\n\
         source   {}{source}{api}\n\
         {announces}\
         objects  {objects}\n\
         frames   {free} of {frames} free",
        control.versions.published, control.versions.live, control.source,
    );
}

/// Which VIPs are announced here, if gateways agree on that.
fn announces(election: &ElectionView) -> String {
    let leader = if election.leader { ", leader" } else { "" };
    let error = match (&election.error, election.member, &election.watch_error) {
        (Some(error), false, _) => format!(", its Lease is not renewed: {error}"),
        (_, _, Some(error)) => format!(", others' Leases are not watched: {error}"),
        _ => String::new(),
    };
    let held = election.held.len();
    format!("vips     {held} of {} groups announced here{leader}{error}\n", election.groups)
}

/// How the API server does, if that is worth a word.
fn api(api: &SourceView) -> String {
    match (api.away_s, api.snapshot_age_s) {
        (Some(away), None) => format!(", away for {away} s"),
        (Some(away), Some(age)) => {
            format!(", away for {away} s; a snapshot {age} s old is in force")
        }
        (None, Some(age)) => format!("; a snapshot {age} s old is in force"),
        (None, None) => String::new(),
    }
}

fn wrong(out: &mut String, view: &StatusView) {
    let diagnostics = view.control.iter().flat_map(|control| &control.diagnostics);
    let is_wrong = |severity| severity != Severity::Info;
    let all: Vec<_> = diagnostics.filter(|one| is_wrong(one.severity)).collect();
    if view.problems.is_empty() && all.is_empty() {
        let _ = writeln!(out, "\nnothing is wrong");
        return;
    }
    let _ = writeln!(out, "\nwhat is wrong");
    for problem in &view.problems {
        for line in problem.lines() {
            let _ = writeln!(out, "  {line}");
        }
    }
    for diagnostic in all.iter().take(DIAGNOSTICS_SHOWN) {
        for line in diagnostic.to_string().lines() {
            let _ = writeln!(out, "  {line}");
        }
    }
    if all.len() > DIAGNOSTICS_SHOWN {
        let more = all.len() - DIAGNOSTICS_SHOWN;
        let _ = writeln!(out, "  and {more} more: sluice check --config FILE lists them");
    }
}
