//! `sluice explain`: what becomes of a packet, and why.
//!
//! ```text
//!  tuple -> frame -> probe: the shipped journey, in memory -> what it decided
//!                                                 names of control -> text, JSON
//! ```
//!
//! Nothing is judged here, but for what a port's program passes to the kernel: a worker of its own takes the packet through the journey, by
//! the tables that are in force, and tells of it as running workers do. Flows that
//! running workers have are shown as they are stored.

/// The probe's frame.
mod frame;
/// What no worker sees.
mod kernel;
/// The packet through the journey.
mod probe;
/// What becomes of a request.
pub mod request;
/// An explanation for a person.
pub mod text;
/// Which packet.
pub mod tuple;
/// An explanation as data.
pub mod view;

use crate::cli::units;
use crate::control::ControlHandle;
use frame::Entrance;
use probe::{Outcome, Probe};
use sluice_control::view::{FlowQuery, FlowView, FlowsView, Names, NamesQuery, WhoView};
use sluice_control::{Diagnostic, Request, Severity};
use sluice_fastpath::DropReason;
use sluice_tables::{
    BackendId, Family, PortId, RouteTarget, RuleId, ServiceId, Tables, Tuple, V4, V6,
};
use std::net::{IpAddr, SocketAddr};
use tuple::{FlowTuple, Protocol, SOURCE_PORT};
use view::{Direction, Explanation, From, JudgmentView, Manifests, Match, Ruling, Way, WayKind};

/// Flows that one explanation shows.
const MATCHES_MAX: usize = 8;

/// Most flows of an address that are looked at.
const FLOWS_MAX: usize = crate::admin::FLOWS_MAX as usize;

/// Explains what a running gateway does to a packet: blocks for seconds at worst.
///
/// # Errors
/// When control does not answer, or a probe cannot be made.
pub fn live(control: &ControlHandle, tuple: &FlowTuple) -> anyhow::Result<Explanation> {
    let query = FlowQuery {
        service: None,
        address: Some(tuple.source),
        protocol: Some(tuple.protocol_number()),
        limit: FLOWS_MAX,
    };
    let flows = control.ask(|reply| Request::Flows { query, reply })?;
    let tables = control.ask(|reply| Request::Tables { reply })?;
    let probe = probe::run(&tables, tuple)?;
    let query = query_of(tuple, &probe);
    let names = control.ask(|reply| Request::Names { query, reply })?;
    let mut explanation = put_together(&tables, tuple, &probe, names);
    explanation.set_flows(tuple, flows);
    Ok(explanation)
}

/// Explains what a gateway would do to a packet that has these manifests.
///
/// # Errors
/// When a probe cannot be made.
pub fn offline(of: &sluice_control::Offline, tuple: &FlowTuple) -> anyhow::Result<Explanation> {
    let tables = of.tables();
    let probe = probe::run(&tables, tuple)?;
    let names = of.names(&query_of(tuple, &probe));
    let mut explanation = put_together(&tables, tuple, &probe, names);
    explanation.set_manifests(of.diagnostics());
    Ok(explanation)
}

/// The real end of a probe: the endpoint that was chosen, else whom it is sent to.
fn server(tuple: &FlowTuple, probe: &Probe) -> (IpAddr, u16) {
    let leaves = leaves(probe).map(|leaves| (leaves.dst, leaves.dst_port));
    leaves.unwrap_or((tuple.destination, tuple.port))
}

/// The number of the endpoint that was chosen, where its flow has begun.
fn backend_of(probe: &Probe) -> BackendId {
    match &probe.outcome {
        Outcome::Forwarded(event) | Outcome::Dropped(_, event) => event.backend,
        Outcome::Answered | Outcome::Kernel => BackendId::NONE,
    }
}

fn leaves(probe: &Probe) -> Option<Tuple> {
    match &probe.outcome {
        Outcome::Forwarded(event) | Outcome::Dropped(_, event) => event.leaves,
        Outcome::Answered | Outcome::Kernel => None,
    }
}

fn query_of(tuple: &FlowTuple, probe: &Probe) -> NamesQuery {
    let (rules, service) = match &probe.outcome {
        Outcome::Forwarded(event) | Outcome::Dropped(_, event) => (event.rules, event.service),
        Outcome::Answered | Outcome::Kernel => ([RuleId::NONE; 2], ServiceId::NONE),
    };
    let backend = backend_of(probe);
    let addresses = [tuple.source, tuple.destination, server(tuple, probe).0];
    NamesQuery { addresses, rules, service, backend }
}

fn put_together(tables: &Tables, tuple: &FlowTuple, probe: &Probe, names: Names) -> Explanation {
    let Names { who, rules, service, pod } = names;
    let [source, destination, server_who] = who;
    let (server_addr, server_port) = server(tuple, probe);
    let [egress_rule, ingress_rule] = rules;
    let rulings = rulings(probe);
    let judgment = |who: &WhoView, direction: usize, rule: Option<String>| JudgmentView {
        policies: if direction == 0 { who.egress.clone() } else { who.ingress.clone() },
        namespace_audited: who.audited,
        rule,
        ruling: rulings[direction],
    };
    let egress = judgment(&source, 0, egress_rule);
    let ingress = judgment(&server_who, 1, ingress_rule);
    let is_forwarded = matches!(probe.outcome, Outcome::Forwarded(_));
    let is_endpoint = backend_of(probe) != BackendId::NONE || server_addr != tuple.destination;
    let snat = leaves(probe).filter(|leaves| is_forwarded && leaves.src != tuple.source);
    let (verdict, reason) = match &probe.outcome {
        Outcome::Forwarded(_) => ("forwarded", None),
        Outcome::Answered => ("answered", None),
        Outcome::Kernel => ("kernel", None),
        Outcome::Dropped(reason, _) => ("dropped", Some(*reason)),
    };
    Explanation {
        packet: tuple.clone(),
        tables_version: tables.version,
        manifests: None,
        flows: None,
        flows_left_out: 0,
        from: from(tables, probe),
        source,
        server: (server_addr != tuple.destination).then_some(server_who),
        destination,
        service,
        endpoint: is_endpoint.then(|| end_text(tuple, server_addr, server_port)),
        endpoint_pod: pod,
        egress,
        ingress,
        way: is_forwarded.then(|| way(tables, server_addr)).flatten(),
        snat: snat.map(|leaves| end_text(tuple, leaves.src, leaves.src_port)),
        verdict: verdict.to_owned(),
        reason: reason.map(|reason| reason.label().to_owned()),
        help: reason.map(|reason| reason.help().to_owned()),
        notes: notes(tuple, probe),
    }
}

fn end_text(tuple: &FlowTuple, addr: IpAddr, port: u16) -> String {
    match tuple.protocol {
        Protocol::Icmp => addr.to_string(),
        _ => SocketAddr::new(addr, port).to_string(),
    }
}

/// What became of a packet at the policies of its source and of its destination.
fn rulings(probe: &Probe) -> [Ruling; 2] {
    let audited = |reason| match probe.audited.contains(&reason) {
        true => Ruling::Audited,
        false => Ruling::Allowed,
    };
    match &probe.outcome {
        Outcome::Forwarded(_) => {
            [audited(DropReason::PolicyEgress), audited(DropReason::PolicyIngress)]
        }
        Outcome::Answered | Outcome::Kernel => [Ruling::NotAsked; 2],
        Outcome::Dropped(DropReason::PolicyEgress, _) => [Ruling::Denied, Ruling::NotAsked],
        Outcome::Dropped(DropReason::PolicyIngress, _) => [Ruling::Passed, Ruling::Denied],
        Outcome::Dropped(_, event) if event.leaves.is_some() => [Ruling::Passed; 2],
        Outcome::Dropped(..) => [Ruling::NotTold; 2],
    }
}

fn port_name(tables: &Tables, port: usize) -> String {
    let port = tables.local.ports.get(port);
    port.map_or_else(|| "?".to_owned(), |port| port.name.clone())
}

fn from(tables: &Tables, probe: &Probe) -> From {
    let Some(arrival) = &probe.arrival else {
        return From { port: "the gateway itself".to_owned(), node: None };
    };
    let port = port_name(tables, arrival.port);
    let node = match arrival.entrance {
        Entrance::Port(_) => None,
        Entrance::Tunnel(vtep) => tables.vtep(vtep).map(|vtep| vtep.name.to_string()),
    };
    From { port, node }
}

/// The way out that the tables have for an address.
fn way(tables: &Tables, to: IpAddr) -> Option<Way> {
    fn of<F: Family>(tables: &Tables, to: IpAddr) -> Option<Way> {
        let target = F::of(tables).route(&F::from_ip(to)?)?;
        let port = |id: PortId| Some(port_name(tables, usize::from(id.0)));
        let none = Way { kind: WayKind::Connected, port: None, via: None, node: None, vtep: None };
        Some(match target {
            RouteTarget::Connected(id) => Way { port: port(id), ..none },
            RouteTarget::Via(id, hop) => {
                let via = Some(F::to_ip(hop));
                Way { kind: WayKind::Via, port: port(id), via, ..none }
            }
            RouteTarget::Tunnel(id) => {
                let (node, vxlan) = (tables.vtep(id)?, tables.local.vxlan.as_ref()?);
                let vtep = vxlan.ends(node, F::IS_V4).map(|ends| ends.node());
                let underlay = vtep.and_then(|vtep| way(tables, vtep));
                Way {
                    kind: WayKind::Tunnel,
                    port: underlay.as_ref().and_then(|way| way.port.clone()),
                    via: underlay.and_then(|way| way.via),
                    node: Some(node.name.to_string()),
                    vtep,
                }
            }
            RouteTarget::Blackhole => return None,
        })
    }
    of::<V4>(tables, to).or_else(|| of::<V6>(tables, to))
}

/// What a probe cannot know.
fn notes(tuple: &FlowTuple, probe: &Probe) -> Vec<String> {
    let mut notes = Vec::new();
    if probe.arrival.as_ref().is_some_and(|arrival| arrival.is_guess) {
        notes.push(format!("no route leads to {}: it may come by another port", tuple.source));
    }
    if tuple.source_port.is_none() && tuple.protocol != Protocol::Icmp {
        notes.push(format!(
            "the source port is not told: {SOURCE_PORT} is taken, and another may get another \
             endpoint"
        ));
    }
    if matches!(probe.outcome, Outcome::Kernel) {
        return notes;
    }
    notes.push(
        "this is a new flow at an idle gateway: limits, session affinity, counts of flows and \
         neighbors that do not answer are not in it"
            .to_owned(),
    );
    notes
}

/// How much of manifests is wrong, and that in words if anything is.
fn manifests(diagnostics: &[Diagnostic]) -> (Manifests, Option<String>) {
    let count = |severity| diagnostics.iter().filter(|of| of.severity == severity).count() as u64;
    let of = Manifests { errors: count(Severity::Error), warnings: count(Severity::Warning) };
    let note = (of.errors + of.warnings > 0).then(|| {
        let wrong = [units::counted(of.errors, "error"), units::counted(of.warnings, "warning")];
        format!(
            "the manifests have {}: what is wrong is left out; `sluice check` prints it",
            wrong.join(" and ")
        )
    });
    (of, note)
}

impl Explanation {
    /// Adds how much of the manifests is wrong.
    fn set_manifests(&mut self, diagnostics: &[Diagnostic]) {
        let (of, note) = manifests(diagnostics);
        self.notes.extend(note);
        self.manifests = Some(of);
    }

    /// Adds the flows that there are of the packet, and of which it would be a reply.
    fn set_flows(&mut self, tuple: &FlowTuple, view: FlowsView) {
        let mut all: Vec<Match> = view
            .flows
            .into_iter()
            .filter_map(|flow| Some(Match { direction: direction(tuple, &flow)?, flow }))
            .collect();
        self.flows_left_out = all.len().saturating_sub(MATCHES_MAX);
        all.truncate(MATCHES_MAX);
        self.flows = Some(all);
        if !view.complete {
            self.notes.push("not all flows could be looked at".to_owned());
        }
    }
}

/// The direction of a flow that a packet has.
fn direction(tuple: &FlowTuple, flow: &FlowView) -> Option<Direction> {
    let is_packet = |source: &str, destination: &str| {
        let ends: Option<(SocketAddr, SocketAddr)> =
            source.parse().ok().zip(destination.parse().ok());
        ends.is_some_and(|(source, destination)| {
            let is_port = tuple.protocol == Protocol::Icmp || destination.port() == tuple.port;
            let is_source_port = tuple.source_port.is_none_or(|port| port == source.port());
            let is_between = source.ip() == tuple.source && destination.ip() == tuple.destination;
            is_between && is_port && is_source_port
        })
    };
    if is_packet(&flow.client, &flow.destination) {
        return Some(Direction::Original);
    }
    is_packet(&flow.server, &flow.source).then_some(Direction::Reply)
}

#[cfg(test)]
mod tests;
