use super::view::{Direction, Explanation, From, JudgmentView, Match, Ruling, Way, WayKind};
use crate::cli::table::Table;
use crate::cli::units::duration_ms;
use sluice_control::view::{FlowView, PolicyView, WhoKind, WhoView};
use sluice_fastpath::DropReason;

/// An explanation: a line a step, in the order of the journey.
pub fn render(explanation: &Explanation) -> String {
    let mut table = Table::new(&["STEP", "WHAT"]);
    let mut row = |step: &str, what: String| table.row([step.to_owned(), what]);
    let of = explanation;
    row("packet", of.packet.to_string());
    row("from", format!("{}, by {}", who(&of.source), entrance(&of.from)));
    for line in flows(of) {
        row("flow", line);
    }
    row("to", who(&of.destination));
    row("service", service(of));
    if let Some(endpoint) = &of.endpoint {
        row("endpoint", with_pod(endpoint, of));
    }
    for (step, judgment) in [("egress policy", &of.egress), ("ingress policy", &of.ingress)] {
        for policy in &judgment.policies {
            row(step, selects(policy));
        }
        row(step, ruling(judgment));
    }
    if let Some(way) = &of.way {
        row("route", route(way));
    }
    if let Some(tunnel) = of.way.as_ref().and_then(tunnel) {
        row("tunnel", tunnel);
    }
    if of.way.is_some() {
        let none = || "none: the source stays as it is".to_owned();
        let drawn = |snat: &String| format!("as {snat}, drawn for each flow");
        row("snat", of.snat.as_ref().map_or_else(none, drawn));
    }
    for line in verdicts(of) {
        row("verdict", line);
    }
    let mut text = table.render(0, "");
    for note in &of.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

/// Who has an address, with what policies see of it.
pub(super) fn who(who: &WhoView) -> String {
    let name = who.name.as_deref().unwrap_or_default();
    let address = who.address;
    match who.kind {
        WhoKind::Pod => {
            let node = who.node.as_ref().map(|node| format!(" on node {node}")).unwrap_or_default();
            let labels: Vec<_> =
                who.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let labels = match labels.is_empty() {
                true => String::new(),
                false => format!(" {{{}}}", labels.join(", ")),
            };
            format!("{address}, pod {name}{node}{labels}")
        }
        WhoKind::Node => format!("{address}, node {name}"),
        WhoKind::Service => format!("{address}, Service {name}"),
        WhoKind::Gateway if name.is_empty() => format!("{address}, the gateway's SNAT pool"),
        WhoKind::Gateway => format!("{address}, the gateway's own on port {name}"),
        WhoKind::PodRange => format!(
            "{address}, of the pod range of node {}, but no known pod has it",
            who.node.as_deref().unwrap_or("?")
        ),
        WhoKind::Outside => format!("{address}, outside of the cluster"),
    }
}

fn entrance(from: &From) -> String {
    match &from.node {
        Some(node) => format!("the tunnel from node {node} on port {}", from.port),
        None => format!("port {}", from.port),
    }
}

/// The flows that there are, or that there are none.
fn flows(of: &Explanation) -> Vec<String> {
    let Some(flows) = &of.flows else {
        return vec!["not looked for: no gateway is asked".to_owned()];
    };
    if flows.is_empty() {
        return vec!["none yet: what follows is of a new one".to_owned()];
    }
    let mut lines: Vec<String> = flows.iter().map(flow).collect();
    if of.flows_left_out > 0 {
        lines.push(format!("and {} more", of.flows_left_out));
    }
    lines.push("what follows is of a new one".to_owned());
    lines
}

/// A flow as its worker has it.
fn flow(of: &Match) -> String {
    let Match { direction, flow } = of;
    let ends = format!("{} -> {}", flow.client, flow.destination);
    let mut text = match direction {
        Direction::Original => format!("{}: {ends}", flow.state),
        Direction::Reply => format!("{}, replies of {ends}", flow.state),
    };
    let mut add = |part: String| {
        text.push_str(", ");
        text.push_str(&part);
    };
    if flow.server != flow.destination {
        let pod = flow.pod.as_ref().map(|pod| format!(" (pod {pod})")).unwrap_or_default();
        add(format!("endpoint {}{pod}", flow.server));
    }
    if flow.source != flow.client {
        add(format!("as {}", flow.source));
    }
    if let Some(cut) = cut(flow) {
        add(cut);
    } else {
        for (direction, rule) in [("egress", &flow.egress_rule), ("ingress", &flow.ingress_rule)] {
            if let Some(rule) = rule {
                add(format!("{direction}{}", by(rule)));
            }
        }
    }
    if flow.stale {
        add("judged before the last change".to_owned());
    }
    add(format!("idle {}", duration_ms(flow.idle_ms)));
    add(format!("worker {}", flow.worker));
    text
}

/// What cuts a flow, if policies do.
fn cut(flow: &FlowView) -> Option<String> {
    let reason = flow.cut.as_ref()?;
    let is_egress = reason == DropReason::PolicyEgress.label();
    let rule = if is_egress { &flow.egress_rule } else { &flow.ingress_rule };
    let by = rule.as_deref().map(by).unwrap_or_default();
    Some(format!("cut{by} ({reason})"))
}

/// That a rule has decided, to be put behind what. What no policy says is a sentence,
/// not a name.
fn by(rule: &str) -> String {
    let is_sentence = ["a pod ", "policies "].iter().any(|start| rule.starts_with(start));
    if is_sentence { format!(": {rule}") } else { format!(" by {rule}") }
}

fn service(of: &Explanation) -> String {
    match &of.service {
        Some(service) => service.clone(),
        None => "none is addressed".to_owned(),
    }
}

fn with_pod(endpoint: &str, of: &Explanation) -> String {
    let pod = match &of.server {
        Some(server) if server.kind == WhoKind::Pod => {
            let node = server.node.as_ref().map(|node| format!(" on node {node}"));
            server.name.as_ref().map(|pod| format!("{pod}{}", node.unwrap_or_default()))
        }
        _ => of.endpoint_pod.clone(),
    };
    pod.map_or_else(|| endpoint.to_owned(), |pod| format!("{endpoint}, pod {pod}"))
}

/// That a policy selects somebody.
pub(super) fn selects(view: &PolicyView) -> String {
    let mut text = format!("{} selects it", view.policy);
    if view.audited {
        text.push_str(", audited");
    }
    if view.refused {
        text.push_str(", refused: it denies everything");
    }
    text
}

/// What policies have decided.
pub(super) fn ruling(judgment: &JudgmentView) -> String {
    let JudgmentView { policies, namespace_audited, rule, ruling } = judgment;
    let by = rule.as_deref().map(by).unwrap_or_default();
    match ruling {
        Ruling::Allowed | Ruling::Passed if rule.is_none() && policies.is_empty() => {
            "allowed: no policy selects it".to_owned()
        }
        Ruling::Allowed | Ruling::Passed if rule.is_none() => {
            "allowed: no policy objects".to_owned()
        }
        Ruling::Allowed => format!("allowed{by}"),
        Ruling::Audited if *namespace_audited => {
            format!("would be denied{by}; passes, its namespace is audited")
        }
        Ruling::Audited => format!("would be denied{by}; passes, the policy is audited"),
        Ruling::Passed => format!("let pass{by}"),
        Ruling::Denied => format!("denied{by}"),
        Ruling::NotAsked => "not asked".to_owned(),
        Ruling::NotTold => "not decisive: it is dropped for another reason".to_owned(),
    }
}

fn route(way: &Way) -> String {
    let port = way.port.as_deref().unwrap_or("?");
    match (way.kind, way.via) {
        (WayKind::Connected, _) => format!("connected on port {port}"),
        (WayKind::Via, Some(via)) => format!("via {via} on port {port}"),
        (WayKind::Via, None) => format!("port {port}"),
        (WayKind::Tunnel, _) => {
            format!("the tunnel to node {}", way.node.as_deref().unwrap_or("?"))
        }
    }
}

fn tunnel(way: &Way) -> Option<String> {
    let via = way.via.map(|via| format!(" via {via}")).unwrap_or_default();
    Some(format!("VXLAN to {}, by port {}{via}", way.vtep?, way.port.as_deref().unwrap_or("?")))
}

/// What becomes of the flow that there is, and of a new one.
fn verdicts(of: &Explanation) -> Vec<String> {
    let flows = of.flows.as_deref().unwrap_or_default();
    let new = if flows.is_empty() { "" } else { "of a new flow: " };
    let mut lines = Vec::new();
    if let [Match { flow, .. }] = flows
        && of.flows_left_out == 0
    {
        lines.push(match cut(flow) {
            _ if flow.stale => "of this flow: its next packet is judged again".to_owned(),
            Some(cut) => format!("of this flow: {cut}"),
            None => "of this flow: forwarded".to_owned(),
        });
    }
    lines.push(match (of.verdict.as_str(), &of.reason, &of.help) {
        ("answered", ..) => format!("{new}answered here"),
        ("kernel", ..) => format!("{new}passed to the kernel of port {}, unseen", of.from.port),
        (verdict, Some(reason), Some(help)) => format!("{new}{verdict}: {reason}: {help}"),
        (verdict, ..) => format!("{new}{verdict}"),
    });
    lines
}
