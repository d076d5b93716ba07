//! Explanations of random packets, against what a data plane does with them that has the
//! flows of those before. It is asked before each packet, and once more after it.

/// What there is, and what is sent.
mod cluster;

use super::super::{frame, offline};
use super::read;
use crate::explain::tuple::FlowTuple;
use crate::explain::view::{Direction, Explanation, Match, Ruling};
use fastrand::Rng;
use sluice_control::Offline;
use sluice_control::view::{FlowsView, NamesQuery};
use sluice_fastpath::events::{EventKind, Fate, PacketEvent};
use sluice_fastpath::{DropReason, NeighborOptions};
use sluice_tables::{BackendId, OwnerMap, RuleId, ServiceId, Tables};
use sluice_testkit::gateway::told::everything;
use sluice_testkit::gateway::{Gateway, GatewayOptions, Told};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Clusters that are tried, and how to ask for more.
const CLUSTERS: u64 = 12;
const MORE: &str = "SLUICE_AGREEMENT_CLUSTERS";

/// Other policies that come in each, and packets by each of them.
const CHANGES: u64 = 3;
const PACKETS: usize = 40;

/// How often something was met: what never was is not proven.
type Met = BTreeMap<String, usize>;

/// A data plane that lives on while policies change.
struct World {
    gateway: Gateway,
    of: Offline,
}

/// What became of a packet.
struct Did {
    fate: Fate,
    /// The event of its drop, or of the flow that has begun.
    event: Option<PacketEvent>,
    audited: Vec<DropReason>,
}

impl World {
    fn publish(&mut self, version: u64) {
        let tables = self.of.tables();
        // Each is compiled from nothing, and follows the one before.
        let policy_epoch = tables.policy_epoch.wrapping_add(version as u32 * 1000);
        let owners = OwnerMap::even(1);
        let tables = Tables { version, policy_epoch, owners, ..(*tables).clone() };
        self.gateway.publish(tables).unwrap();
    }

    fn explain(&mut self, tuple: &FlowTuple) -> Explanation {
        let mut explanation = offline(&self.of, tuple).unwrap();
        // As control is asked for them.
        let mut flows = self.gateway.flows().unwrap();
        flows.retain(|flow| flow.protocol == tuple.protocol_number());
        let flows = flows.iter().map(|flow| self.of.flow(0, flow)).collect();
        explanation.set_flows(tuple, FlowsView { flows, complete: true });
        explanation
    }

    fn send(&mut self, tuple: &FlowTuple) -> Result<Did, String> {
        let arrival = frame::arrival(&self.of.tables(), tuple).unwrap();
        self.gateway.take_told();
        self.gateway.inject(arrival.port, 0, &arrival.frame)?;
        self.gateway.settle()?;
        let Told { events, captured } = self.gateway.take_told();
        let is_it =
            |came: sluice_tables::Tuple| (came.src, came.dst) == (tuple.source, tuple.destination);
        let copies: Vec<_> =
            captured.iter().filter(|packet| packet.came.is_some_and(is_it)).collect();
        let [copy] = copies[..] else { return Err(format!("{} copies", copies.len())) };
        let mut did = Did { fate: copy.fate, event: None, audited: Vec::new() };
        for (_, event) in events.iter().filter(|(_, event)| event.came.is_some_and(is_it)) {
            match event.kind {
                EventKind::Audited(reason) => did.audited.push(reason),
                EventKind::Dropped(_) | EventKind::FlowBegun => did.event = Some(*event),
                EventKind::FlowEnded { .. } => {}
            }
        }
        Ok(did)
    }

    fn rules(&self, rules: [RuleId; 2]) -> [Option<String>; 2] {
        let addresses = [[0, 0, 0, 0].into(); 3];
        let (service, backend) = (ServiceId::NONE, BackendId::NONE);
        self.of.names(&NamesQuery { addresses, rules, service, backend }).rules
    }

    /// A reply of a flow of datagrams, if there is one.
    fn reply(&mut self, rng: &mut Rng) -> Option<FlowTuple> {
        let mut flows = self.gateway.flows().unwrap();
        flows.retain(|flow| flow.protocol == 17);
        let flow = flows.get(rng.usize(..flows.len().max(1)))?;
        let end = |(addr, port)| std::net::SocketAddr::new(addr, port);
        format!("{} -> {}/udp", end(flow.server), end(flow.source)).parse().ok()
    }
}

/// What an explanation says of a new flow, and what became of a packet, alike.
fn said(of: &Explanation) -> String {
    let audited = [of.egress.ruling, of.ingress.ruling].map(|of| of == Ruling::Audited);
    let reason = of.reason.as_deref().unwrap_or_default();
    let endpoint = if of.verdict == "forwarded" { of.endpoint.clone() } else { None };
    let rules = [&of.egress.rule, &of.ingress.rule];
    format!("{} {reason} rules {rules:?} audited {audited:?} endpoint {endpoint:?}", of.verdict)
}

fn done(world: &World, did: &Did, tuple: &FlowTuple) -> String {
    let (verdict, reason) = match did.fate {
        Fate::Forwarded => ("forwarded", ""),
        Fate::Local => ("answered", ""),
        Fate::Dropped(reason) => ("dropped", reason.label()),
    };
    let rules = world.rules(did.event.map_or([RuleId::NONE; 2], |event| event.rules));
    let is_audited = |reason: &DropReason| did.audited.contains(reason) && verdict == "forwarded";
    let audited = [DropReason::PolicyEgress, DropReason::PolicyIngress].map(|r| is_audited(&r));
    let leaves = did.event.filter(|_| verdict == "forwarded").and_then(|event| event.leaves);
    let is_other = |leaves: &sluice_tables::Tuple| leaves.dst != tuple.destination;
    let leaves = leaves.filter(is_other);
    let endpoint = leaves.map(|to| super::super::end_text(tuple, to.dst, to.dst_port));
    let rules = [&rules[0], &rules[1]];
    format!("{verdict} {reason} rules {rules:?} audited {audited:?} endpoint {endpoint:?}")
}

/// What one packet is said to become, and what it does.
fn agree(world: &mut World, tuple: &FlowTuple, met: &mut Met) -> Result<(), String> {
    let mut meet = |what: &str| *met.entry(what.to_owned()).or_default() += 1;
    let of = world.explain(tuple);
    // No worker sees it.
    if of.verdict == "kernel" {
        return Ok(());
    }
    let did = world.send(tuple)?;
    let new = (said(&of), done(world, &did, tuple));
    let flows = of.flows.as_deref().unwrap_or_default();
    match flows {
        [] if new.0 == new.1 => {
            let audited = if did.audited.is_empty() { "" } else { ", audited" };
            meet(&format!("new: {} {}{audited}", of.verdict, of.reason.unwrap_or_default()));
        }
        [] => return Err(format!("said: {}\ndid:  {}", new.0, new.1)),
        [Match { direction, flow }] => {
            let reason = did.fate.reason().map(DropReason::label);
            let is_denied = matches!(reason, Some("policy_egress" | "policy_ingress"));
            if !flow.stale && reason != flow.cut.as_deref() {
                return Err(format!("the flow is said to be {flow:?}\nthe packet was {reason:?}"));
            }
            // After it, the flow is as the packet found it.
            let after = world.explain(tuple).flows.unwrap_or_default();
            let [Match { flow: after, .. }] = &after[..] else {
                return Err(format!("the flow of {flow:?} has gone"));
            };
            let cut = reason.filter(|_| is_denied);
            if after.stale || after.cut.as_deref() != cut || (after.state == "cut") != is_denied {
                return Err(format!("the packet was {reason:?}\nthe flow is {after:?}"));
            }
            let rules = [after.egress_rule.clone(), after.ingress_rule.clone()];
            let event = did.event.filter(|_| is_denied);
            if event.is_some_and(|event| world.rules(event.rules) != rules) {
                return Err(format!("the packet was dropped by {event:?}\nthe flow is {after:?}"));
            }
            // What is judged again is judged as a new one to the same endpoint.
            let is_same = of.endpoint.as_ref().is_none_or(|endpoint| *endpoint == flow.server);
            let of_new = [of.egress.rule, of.ingress.rule];
            if *direction == Direction::Original && is_same && rules != of_new {
                return Err(format!("the flow is {after:?}\na new one has {of_new:?}"));
            }
            let stale = if flow.stale { "judged again" } else { "known" };
            let way = if *direction == Direction::Reply { "reply" } else { "original" };
            meet(&format!("{stale}, {way}: {}", if is_denied { "cut" } else { "goes on" }));
        }
        several => return Err(format!("several flows are said to be its own: {several:?}")),
    }
    Ok(())
}

fn manifests(objects: &[serde_json::Value]) -> String {
    objects.iter().fold(String::new(), |mut text, object| {
        let _ = writeln!(text, "---\n{object}");
        text
    })
}

/// One cluster, with changing policies.
fn run(seed: u64, met: &mut Met) {
    let mut rng = Rng::with_seed(seed);
    let objects = cluster::cluster(&mut rng);
    let neighbors =
        NeighborOptions { reachable_ns: u64::MAX, queue_len: 512, ..Default::default() };
    let options = GatewayOptions { neighbors, frames: 8192, ..GatewayOptions::default() };
    let mut world = World { gateway: Gateway::new(&options).unwrap(), of: read("") };
    world.gateway.observe(everything()).unwrap();
    let mut sent: Vec<FlowTuple> = Vec::new();
    for change in 1..=CHANGES {
        let policies = cluster::policies(&mut rng);
        let text = manifests(&[&objects[..], &policies].concat());
        world.of = read(&text);
        let wrong: Vec<_> = world.of.diagnostics().iter().map(ToString::to_string).collect();
        assert!(wrong.iter().all(|text| !text.starts_with("error")), "{wrong:?}");
        world.publish(change);
        for _ in 0..PACKETS {
            let tuple = match rng.u8(..4) {
                0 => world.reply(&mut rng),
                1 => sent.get(rng.usize(..sent.len().max(1))).cloned(),
                _ => None,
            };
            let tuple = tuple.unwrap_or_else(|| cluster::packet(&mut rng));
            if let Err(error) = agree(&mut world, &tuple, met) {
                let policies = manifests(&policies);
                panic!("cluster {seed}, change {change}: '{tuple}'\n{error}\n{policies}");
            }
            sent.push(tuple);
        }
    }
}

#[test]
fn what_is_explained_is_what_a_data_plane_does() {
    let more = std::env::var(MORE).ok();
    let clusters = more.map_or(CLUSTERS, |text| text.parse().expect(MORE));
    let mut met = Met::new();
    (0..clusters).for_each(|seed| run(seed, &mut met));
    for what in [
        "new: forwarded ",
        "new: forwarded , audited",
        "new: answered ",
        "new: dropped policy_egress",
        "new: dropped policy_ingress",
        "new: dropped no_backend",
        "known, original: goes on",
        "known, original: cut",
        "known, reply: goes on",
        "known, reply: cut",
        "judged again, original: goes on",
        "judged again, original: cut",
        "judged again, reply: goes on",
        "judged again, reply: cut",
    ] {
        assert!(met.contains_key(what), "{what} was never met: {met:#?}");
    }
}
