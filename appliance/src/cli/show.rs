use super::table::Table;
use super::units::{bytes, count, duration_ms, endpoint, percent};
use super::{GlobalTarget, Output, Show, ShowArgs};
use crate::admin::view::{ConnectionsView, DropView, PortView, SnatView, WorkerView};
use crate::admin::{Question, client};
use crate::cli::{check, follow, show_requests};
use crate::observe::FilterQuery;
use crate::output;
use anyhow::Context;
use serde_json::Value;
use sluice_control::view::{
    BackendView, CertificateView, DomainNameView, FlowsView, HttpRouteView, ListenerView,
    NeighborsView, PoliciesView, RouteView, ServiceView, TunnelView,
};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where a gateway listens if nothing says otherwise.
const SOCKET_DEFAULT: &str = "/run/sluice/sluice.sock";

/// Asks for what is to be shown, and prints it.
///
/// # Errors
/// When there is no answer.
pub fn run(args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let GlobalTarget { socket, config } = &args.target;
    let socket = match socket_path(socket.as_deref(), config.as_deref()) {
        Ok(socket) => socket,
        Err(code) => return Ok(code),
    };
    if let Show::Drops(drops) = &args.what {
        if drops.follow {
            return follow::run(&socket, drops, args.output);
        }
        let is_filtered = drops.filter.query() != FilterQuery::default();
        anyhow::ensure!(!is_filtered, "--reason, --src, --dst, --port and --proto need --follow");
    }
    let answer = client::ask(&socket, &question(&args.what))?;
    let text = match args.output {
        Output::Json => document(&answer)?,
        Output::Table => table(&args.what, &answer)?,
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The socket to ask at.
///
/// # Errors
/// The exit status, when the configuration cannot be used.
pub fn socket_path(socket: Option<&Path>, config: Option<&Path>) -> Result<PathBuf, ExitCode> {
    match (socket, config) {
        (Some(socket), _) => Ok(socket.to_owned()),
        (None, Some(config)) => Ok(check::load(config)?.config.admin.socket),
        (None, None) => Ok(PathBuf::from(SOCKET_DEFAULT)),
    }
}

/// An answer as a JSON document.
///
/// # Errors
/// When it cannot be written as JSON, which cannot be for what was read as it.
pub fn document(answer: &Value) -> anyhow::Result<String> {
    let mut text = serde_json::to_string_pretty(answer).context("cannot write the answer")?;
    text.push('\n');
    Ok(text)
}

fn question(what: &Show) -> Question {
    match what {
        Show::Services => Question::Services,
        Show::Backends => Question::Backends,
        Show::Flows(args) => Question::Flows {
            limit: args.limit,
            service: args.service.clone(),
            client: args.client,
        },
        Show::Neighbors => Question::Neighbors,
        Show::Routes => Question::Routes,
        Show::Tunnels => Question::Tunnels,
        Show::Names => Question::Names,
        Show::Listeners => Question::Listeners,
        Show::HttpRoutes => Question::HttpRoutes,
        Show::Certificates => Question::Certificates,
        Show::Connections(args) => Question::Connections { limit: args.limit, client: args.client },
        Show::Ports => Question::Ports,
        Show::Workers => Question::Workers,
        Show::Snat => Question::Snat,
        Show::Drops(_) => Question::Drops,
    }
}

fn table(what: &Show, answer: &Value) -> anyhow::Result<String> {
    Ok(match what {
        Show::Services => services(&client::read::<Vec<ServiceView>>(answer)?),
        Show::Backends => backends(&client::read::<Vec<BackendView>>(answer)?),
        Show::Flows(_) => flows(&client::read::<FlowsView>(answer)?),
        Show::Neighbors => neighbors(&client::read::<NeighborsView>(answer)?),
        Show::Routes => routes(&client::read::<Vec<RouteView>>(answer)?),
        Show::Tunnels => tunnels(&client::read::<Vec<TunnelView>>(answer)?),
        Show::Names => names(&client::read::<Vec<DomainNameView>>(answer)?),
        Show::Listeners => show_requests::listeners(&client::read::<Vec<ListenerView>>(answer)?),
        Show::HttpRoutes => {
            show_requests::http_routes(&client::read::<Vec<HttpRouteView>>(answer)?)
        }
        Show::Certificates => {
            show_requests::certificates(&client::read::<Vec<CertificateView>>(answer)?)
        }
        Show::Connections(_) => {
            show_requests::connections(&client::read::<ConnectionsView>(answer)?)
        }
        Show::Ports => ports(&client::read::<Vec<PortView>>(answer)?),
        Show::Workers => workers(&client::read::<Vec<WorkerView>>(answer)?),
        Show::Snat => snat(&client::read::<Vec<SnatView>>(answer)?),
        Show::Drops(args) => drops(&client::read::<Vec<DropView>>(answer)?, args.all),
    })
}

/// One line a port, and one a Service that has none. Addresses for the outside
/// are marked: `lb:` a load balancer's, `ext:` an external one, `node:` one of
/// the gateway's own, for node ports.
fn services(services: &[ServiceView]) -> String {
    let mut table = Table::new(&[
        "SERVICE",
        "TYPE",
        "ADDRESSES",
        "PORT",
        ">READY",
        ">DRAINING",
        ">NOT READY",
        "ASKS FOR",
    ]);
    for service in services {
        let name = format!("{}/{}", service.namespace, service.name);
        let vips = service.vips.iter().map(|vip| match vip.kind.as_str() {
            "balancer" => format!("lb:{}", vip.address),
            "external" => format!("ext:{}", vip.address),
            _ => vip.address.clone(),
        });
        let nodes = service.node_addresses.iter().map(|address| format!("node:{address}"));
        let addresses = vips.chain(nodes).collect::<Vec<_>>().join(",");
        let policies = policies(&service.policies);
        if service.ports.is_empty() {
            table.row([&*name, &*service.kind, &*addresses, "", "", "", "", &*policies]);
        }
        for port in &service.ports {
            let node_port = port.node_port.map_or_else(String::new, |port| format!(":{port}"));
            table.row([
                name.clone(),
                service.kind.clone(),
                addresses.clone(),
                format!("{}{node_port}/{}", port.port, port.protocol),
                port.ready.to_string(),
                port.draining.to_string(),
                port.not_ready.to_string(),
                policies.clone(),
            ]);
        }
    }
    table.render(0, "no Services")
}

/// What a Service asks for, in one cell.
fn policies(view: &PoliciesView) -> String {
    let some = |is: bool, word: &str| is.then(|| word.to_owned());
    let words = [
        view.proxy_name.as_ref().map(|name| format!("proxy={name}")),
        view.affinity_s.map(|seconds| format!("affinity={seconds}s")),
        some(view.balance != "consistent", &view.balance),
        some(view.internal_local, "internal=Local"),
        some(view.external_local, "external=Local"),
        view.distribution.clone(),
        view.source_ranges.as_ref().map(|ranges| format!("sources={}", ranges.join("+"))),
        view.health_check_port.map(|port| format!("health={port}")),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(",")
}

fn backends(backends: &[BackendView]) -> String {
    let mut table = Table::new(&[
        "SERVICE", "PORT", "ENDPOINT", "STATE", "ROTATION", ">WEIGHT", "POD", "NODE", "ZONE",
    ]);
    for backend in backends {
        table.row([
            backend.service.clone(),
            format!("{}/{}", backend.service_port, backend.protocol),
            endpoint(&backend.address, backend.port),
            backend.state.clone(),
            if backend.in_rotation { "in" } else { "out" }.to_owned(),
            backend.weight.to_string(),
            backend.pod.clone().unwrap_or_default(),
            backend.node.clone().unwrap_or_default(),
            backend.zone.clone().unwrap_or_default(),
        ]);
    }
    table.render(0, "no endpoints")
}

fn flows(view: &FlowsView) -> String {
    let mut table = Table::new(&[
        "PROTO",
        "CLIENT",
        "DESTINATION",
        "SERVER",
        "SOURCE",
        "STATE",
        "SERVICE",
        "POD",
        ">IN",
        ">OUT",
        ">IDLE",
        ">EXPIRES",
        ">WORKER",
    ]);
    for flow in &view.flows {
        table.row([
            flow.protocol.clone(),
            flow.client.clone(),
            flow.destination.clone(),
            flow.server.clone(),
            flow.source.clone(),
            flow.state.clone(),
            flow.service.clone().unwrap_or_default(),
            flow.pod.clone().unwrap_or_default(),
            flow.packets_in.to_string(),
            flow.packets_out.to_string(),
            duration_ms(flow.idle_ms),
            duration_ms(flow.expires_ms),
            flow.worker.to_string(),
        ]);
    }
    let mut text = table.render(0, "no flows");
    if !view.complete {
        text.push_str("there may be more: raise --limit, or ask for less\n");
    }
    text
}

fn neighbors(view: &NeighborsView) -> String {
    let mut table = Table::new(&["PORT", "ADDRESS", "MAC", "STATE", ">CONFIRMED", ">WAITING"]);
    for neighbor in &view.neighbors {
        table.row([
            neighbor.port.clone(),
            neighbor.address.clone(),
            neighbor.mac.clone().unwrap_or_default(),
            neighbor.state.clone(),
            neighbor.confirmed_ms.map_or_else(String::new, |ms| format!("{} ago", duration_ms(ms))),
            neighbor.waiting.to_string(),
        ]);
    }
    let mut text = table.render(0, "no neighbors");
    if !view.complete {
        text.push_str("there may be more\n");
    }
    text
}

fn routes(routes: &[RouteView]) -> String {
    let mut table = Table::new(&["PREFIX", "KIND", "PORT", "VIA", "NODE"]);
    for route in routes {
        table.row([
            route.prefix.clone(),
            route.kind.clone(),
            route.port.clone().unwrap_or_default(),
            route.via.clone().unwrap_or_default(),
            route.node.clone().unwrap_or_default(),
        ]);
    }
    table.render(0, "no routes")
}

fn tunnels(tunnels: &[TunnelView]) -> String {
    let mut table = Table::new(&["NODE", "UNDERLAY", "MAC", "PREFIXES"]);
    for tunnel in tunnels {
        let (addresses, prefixes) = (tunnel.addresses.join(","), tunnel.prefixes.join(","));
        table.row([&*tunnel.node, &*addresses, &*tunnel.mac, &*prefixes]);
    }
    table.render(0, "no tunnels")
}

/// One line an address.
fn names(names: &[DomainNameView]) -> String {
    let mut table = Table::new(&["NAME", "ADDRESS", ">FORGOTTEN IN", "POLICIES"]);
    for name in names {
        let asked_for = if name.wanted { "name it" } else { "none" };
        for (address, seconds) in &name.addresses {
            let left = duration_ms(seconds * 1000);
            table.row([&*name.name, &**address, &*left, asked_for]);
        }
    }
    table.render(0, "no names")
}

/// One line a queue.
fn ports(ports: &[PortView]) -> String {
    let mut table = Table::new(&[
        "PORT",
        "DEVICE",
        "LINK",
        "MTU",
        "QUEUE",
        "MODE",
        ">RX PACKETS",
        ">RX BYTES",
        ">TX PACKETS",
        ">TX BYTES",
        ">KERNEL DROPS",
    ]);
    for port in ports {
        for queue in &port.queues {
            table.row([
                port.name.clone(),
                port.device.clone(),
                port.link.clone(),
                port.mtu.to_string(),
                queue.queue.to_string(),
                queue.mode.clone(),
                count(queue.rx_packets),
                bytes(queue.rx_bytes),
                count(queue.tx_packets),
                bytes(queue.tx_bytes),
                count(queue.kernel_drops),
            ]);
        }
    }
    table.render(0, "no ports")
}

fn workers(workers: &[WorkerView]) -> String {
    let mut table = Table::new(&[
        "WORKER",
        "STATE",
        "CORE",
        ">BUSY",
        ">LONGEST POLL",
        ">SLEEPS",
        ">FLOWS V4",
        ">FLOWS V6",
        ">HANDED IN",
        ">HANDED OUT",
        ">HELD",
        ">DROPPED",
        ">TABLES",
    ]);
    for worker in workers {
        table.row([
            worker.id.to_string(),
            if worker.up { "up" } else { "down" }.to_owned(),
            worker.core.map_or_else(|| "any".to_owned(), |core| core.to_string()),
            percent(worker.busy_ratio),
            format!("{} us", count(worker.longest_poll_us)),
            count(worker.sleeps),
            count(worker.flows[0]),
            count(worker.flows[1]),
            count(worker.handed_in),
            count(worker.handed_out),
            count(worker.held),
            count(worker.dropped),
            worker.tables_version.to_string(),
        ]);
    }
    table.render(0, "no workers")
}

fn snat(snat: &[SnatView]) -> String {
    let mut table = Table::new(&["SERVICE", "PORT", "ENDPOINT", ">USED", ">OF", ">FULL"]);
    for of in snat {
        table.row([
            of.service.clone(),
            format!("{}/{}", of.port, of.protocol),
            of.endpoint.clone().unwrap_or_else(|| "gone".to_owned()),
            count(of.used),
            count(of.capacity),
            percent(of.ratio),
        ]);
    }
    table.render(0, "no SNAT port is in use")
}

fn drops(drops: &[DropView], all: bool) -> String {
    let mut table = Table::new(&["REASON", ">COUNT", "MEANING"]);
    for drop in drops.iter().filter(|drop| all || drop.count > 0) {
        table.row([drop.reason.clone(), count(drop.count), drop.help.clone()]);
    }
    table.render(0, "no packet was dropped")
}

#[cfg(test)]
mod tests;
