//! `sluice show drops --follow`: a line for each dropped packet.

use super::units::endpoint;
use super::{DropArgs, FilterArgs, Output};
use crate::admin::client;
use crate::observe::view::{EndView, Ends, EventView, LeftOut, Line};
use crate::observe::{FilterQuery, Follow};
use anyhow::Context;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::process::ExitCode;

impl FilterArgs {
    /// As the gateway is asked.
    pub fn query(&self) -> FilterQuery {
        FilterQuery {
            reasons: self.reason.clone(),
            src: self.src,
            dst: self.dst,
            port: self.port,
            protocol: self.proto,
        }
    }
}

/// Prints drops until the gateway stops, or this is interrupted.
///
/// # Errors
/// When there is no answer.
pub fn run(socket: &Path, args: &DropArgs, output: Output) -> anyhow::Result<ExitCode> {
    let follow = Follow::Drops { filter: args.filter.query() };
    let mut lines = client::follow(socket, &follow)?;
    let mut out = io::stdout().lock();
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line).context("the gateway is gone")? == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        let text = match output {
            Output::Json => line.clone(),
            Output::Table => match serde_json::from_str(&line).context("cannot read a line")? {
                Line::Event(event) => text(&event),
                Line::LeftOut(left_out) => said(&left_out),
            },
        };
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(ExitCode::SUCCESS);
            }
            written => written?,
        }
    }
}

/// An event in a line:
///
/// ```text
/// 07:50:16.123456  spoofed_pod  TCP 10.1.0.7:4000 > 10.96.0.10:80  from port uplink
/// ```
fn text(event: &EventView) -> String {
    let reason = event.reason.as_deref().unwrap_or(&event.event);
    let mut parts = vec![time(event.time), format!("{reason:<20}")];
    let protocol = event.protocol.as_deref().unwrap_or("no IP");
    let came = event.source.as_ref().zip(event.destination.as_ref());
    let is_icmp = protocol.starts_with("ICMP");
    let ends = |(source, destination): (&EndView, &EndView)| {
        format!("{} > {}", end(source, is_icmp), end(destination, is_icmp))
    };
    let both = |of: &Option<Ends>| {
        of.as_ref().map(|Ends { source, destination }| ends((source, destination)))
    };
    let came = came.map(ends);
    parts.push(match (came, both(&event.translated)) {
        (Some(came), Some(leaves)) => format!("{protocol} {came} => {leaves}"),
        (Some(came), None) => format!("{protocol} {came}"),
        // On its way out.
        (None, Some(leaves)) => format!("{protocol} => {leaves}"),
        (None, None) => protocol.to_owned(),
    });
    if let Some(real) = both(&event.real_ends) {
        parts.push(format!("real ends {real}"));
    }
    let ids = event.source.as_ref().filter(|source| is_icmp && source.port != 0);
    if let Some(EndView { port, .. }) = ids {
        parts.push(format!("id {port}"));
    }
    if event.event == "audit" {
        parts.push("audited".to_owned());
    }
    let named = [
        ("from", &event.from),
        ("service", &event.service),
        ("egress", &event.egress_rule),
        ("ingress", &event.ingress_rule),
    ];
    parts.extend(
        named.iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?))),
    );
    parts.join("  ") + "\n"
}

/// An end; what ICMP has instead of ports is no end's.
fn end(end: &EndView, is_icmp: bool) -> String {
    let address = end.address.to_string();
    let is_bare = is_icmp || end.port == 0;
    let address = if is_bare { address } else { endpoint(&address, end.port) };
    match (&end.namespace, &end.pod) {
        (Some(namespace), Some(pod)) => format!("{address} ({namespace}/{pod})"),
        _ => address,
    }
}

fn time(time: jiff::Timestamp) -> String {
    format!("{}", time.strftime("%H:%M:%S.%6f"))
}

fn said(left_out: &LeftOut) -> String {
    let LeftOut { left_out: all, beyond_limit, ring_full, slow_reader, .. } = left_out;
    let causes = [
        (beyond_limit, "beyond the limit per second"),
        (ring_full, "with a worker's ring full"),
        (slow_reader, "too fast for this reader"),
    ];
    let causes = causes.iter().filter(|(count, _)| **count > 0);
    let causes: Vec<String> = causes.map(|(count, cause)| format!("{count} {cause}")).collect();
    format!("{}  {all} more are left out: {}\n", time(left_out.time), causes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(json: &str) -> EventView {
        let Line::Event(event) = serde_json::from_str(json).unwrap() else { panic!("{json}") };
        *event
    }

    #[test]
    fn a_drop_is_told_on_one_line_with_all_that_is_known() {
        let event = view(
            r#"{"time":"2026-01-02T03:04:05.678901234Z","event":"drop","verdict":"dropped",
            "reason":"no_route","protocol":"TCP",
            "source":{"address":"10.1.0.7","port":4000,"namespace":"shop","pod":"web"},
            "destination":{"address":"fd00::1","port":80},"from":"node n1",
            "service":"shop/api:80","ingress_rule":"shop/deny ingress default","bytes":60,
            "worker":1}"#,
        );
        assert_eq!(
            text(&event),
            "03:04:05.678901  no_route              TCP 10.1.0.7:4000 (shop/web) > [fd00::1]:80  \
             from node n1  service shop/api:80  ingress shop/deny ingress default\n"
        );
        let event = view(
            r#"{"time":"2026-01-02T03:04:05Z","event":"drop","verdict":"dropped",
            "reason":"tx_ring_full","protocol":"ICMP","translated":{
            "source":{"address":"10.0.0.1","port":0},"destination":{"address":"10.0.0.2","port":0}},
            "worker":0}"#,
        );
        assert!(text(&event).ends_with("ICMP => 10.0.0.1 > 10.0.0.2\n"), "{}", text(&event));
        let event = view(
            r#"{"time":"2026-01-02T03:04:05Z","event":"drop","verdict":"dropped",
            "reason":"bad_arp","from":"port a","worker":0}"#,
        );
        assert!(text(&event).ends_with("bad_arp               no IP  from port a\n"));
        // Identifiers are no ports.
        let event = view(
            r#"{"time":"2026-01-02T03:04:05Z","event":"audit","verdict":"audited",
            "reason":"policy_ingress","protocol":"ICMPv6",
            "source":{"address":"fd00::1","port":77},"destination":{"address":"fd00::2","port":77},
            "worker":0}"#,
        );
        assert!(
            text(&event).contains("ICMPv6 fd00::1 > fd00::2  id 77  audited"),
            "{}",
            text(&event)
        );
        // What policies deny between other ends than it names does not leave.
        let event = view(
            r#"{"time":"2026-01-02T03:04:05Z","event":"drop","verdict":"dropped",
            "reason":"policy_ingress","protocol":"TCP",
            "source":{"address":"10.0.0.2","port":9},"destination":{"address":"10.96.0.10","port":80},
            "real_ends":{"source":{"address":"10.0.0.2","port":9},
            "destination":{"address":"10.1.0.7","port":8080,"namespace":"shop","pod":"web"}},
            "worker":0}"#,
        );
        let printed = text(&event);
        let real = "10.0.0.2:9 > 10.96.0.10:80  real ends 10.0.0.2:9 > 10.1.0.7:8080 (shop/web)";
        assert!(printed.contains(real) && !printed.contains("=>"), "{printed}");
    }

    #[test]
    fn what_is_left_out_is_said() {
        let line = r#"{"time":"2026-01-02T03:04:05Z","left_out":7,"beyond_limit":4,"ring_full":0,
            "slow_reader":3}"#;
        let Line::LeftOut(left_out) = serde_json::from_str(line).unwrap() else { panic!() };
        assert_eq!(
            said(&left_out),
            "03:04:05.000000  7 more are left out: 4 beyond the limit per second, \
             3 too fast for this reader\n"
        );
    }
}
