use super::view::{ConsideredView, EndpointHit, RequestExplanation, RouteHit};
use crate::cli::table::Table;
use crate::cli::units::{bytes, counted, duration_ms, time_s};
use crate::explain::text::{ruling, selects, who};
use crate::explain::view::{Explanation, Ruling};
use sluice_control::view::EndpointView;

/// An explanation: a line a step, in the order in which a request meets them.
pub fn render(explanation: &RequestExplanation) -> String {
    let mut table = Table::new(&["STEP", "WHAT"]);
    let mut row = |step: &str, what: String| table.row([step.to_owned(), what]);
    let of = explanation;
    row("request", format!("{} {}", of.request.method.0, of.request.url));
    for header in &of.request.headers {
        row("header", format!("{}: {}", header.name, header.value));
    }
    if let Some(source) = &of.source {
        row("from", who(source));
    }
    if let Some(client) = &of.client {
        row("client", format!("{client}, as a trusted proxy says it"));
    }
    let expects = if of.listener.is_encrypted { "expects TLS" } else { "without TLS" };
    row("listener", format!("{}, {}, {expects}", of.listener.address, of.listener.name));
    certificate(of, &mut row);
    for line in of.considered.iter().map(considered) {
        row("route", line);
    }
    if of.considered_left_out > 0 {
        row("route", format!("and {} more of the host", of.considered_left_out));
    }
    if of.route.is_none() && of.considered.is_empty() {
        row("route", no_route(of).to_owned());
    }
    for line in &of.strangers {
        row("not ours", line.clone());
    }
    if let Some(route) = &of.route {
        row("takes", format!("{} {}", route.object, route.place));
        options(route, &mut row);
    }
    for finding in &of.findings {
        row("finding", finding.clone());
    }
    if let Some(upstream) = &of.upstream {
        let count = upstream.endpoints.iter().filter(|of| of.endpoint.why_not.is_none()).count();
        let ready = counted(count as u64, "endpoint");
        row("service", format!("{}, {}, {ready}", upstream.name, upstream.protocol));
        if let Some(problem) = &upstream.problem {
            row("service", problem.clone());
        }
        for endpoint in &upstream.endpoints {
            row("endpoint", self::endpoint(endpoint));
        }
        if upstream.endpoints_left_out > 0 {
            row("endpoint", format!("and {} more", upstream.endpoints_left_out));
        }
        let connections = upstream.endpoints.iter().filter_map(|of| of.connection.as_deref());
        if let Some(connection) = connections.clone().next() {
            policies(connection, &mut row);
        }
    }
    row("answer", answer(of));
    let mut text = table.render(0, "");
    for note in &of.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

fn certificate(of: &RequestExplanation, row: &mut impl FnMut(&str, String)) {
    let Some(certificate) = &of.certificate else { return };
    let name = match &certificate.server_name {
        Some(name) => format!("for {name}"),
        None => "for a client that tells no name".to_owned(),
    };
    let until = time_s(certificate.not_after_unix_s);
    row("certificate", format!("{}, {name}, until {until}", certificate.name));
}

fn considered(of: &ConsideredView) -> String {
    let what = format!("{}{} {} of {} {}", of.host, of.path, of.path_type, of.object, of.place);
    match &of.why_not {
        None => format!("{what}: this one"),
        Some(why_not) => format!("{what}: no, {why_not}"),
    }
}

/// Why no route was considered.
fn no_route(of: &RequestExplanation) -> &'static str {
    match of.answer.reason.as_deref() {
        Some("bad_path") => "none is asked: the path is none",
        Some(reason) if !["no_route", "misdirected_request"].contains(&reason) => {
            "none is asked: the request is refused before"
        }
        _ => "none is of the host",
    }
}

fn options(route: &RouteHit, row: &mut impl FnMut(&str, String)) {
    if let Some(target) = &route.rewritten {
        row("rewrite", format!("{target} is asked for"));
    }
    let body = match route.body_bytes_max {
        Some(max) => format!("bodies of {} at most", bytes(max)),
        None => "bodies of any size".to_owned(),
    };
    row(
        "limits",
        format!(
            "{body}; {} to connect, {} to wait for the endpoint, {} for it to take what is sent",
            duration_ms(route.connect_ms),
            duration_ms(route.read_ms),
            duration_ms(route.send_ms)
        ),
    );
}

fn endpoint(of: &EndpointHit) -> String {
    let EndpointView { address, pod, node, why_not } = &of.endpoint;
    let mut text = address.to_string();
    if let Some(pod) = pod {
        text.push_str(&format!(", pod {pod}"));
    }
    if let Some(node) = node {
        text.push_str(&format!(" on node {node}"));
    }
    if let Some(why_not) = why_not {
        text.push_str(&format!(": no, {why_not}"));
    }
    for left_out in &of.left_out_by {
        let time = duration_ms(left_out.for_ms);
        text.push_str(&format!(": left out by worker {} for {time} more", left_out.worker));
    }
    match &of.connection {
        Some(connection) if connection.verdict == "dropped" => {
            let reason = connection.reason.as_deref().unwrap_or_default();
            let rule = rule(connection).map(|rule| format!(" by {rule}")).unwrap_or_default();
            text.push_str(&format!(": not reached: {reason}{rule}"));
        }
        Some(_) => text.push_str(": reached"),
        None => {}
    }
    text
}

/// The rule that denies a connection.
fn rule(of: &Explanation) -> Option<&str> {
    let judgments = [&of.egress, &of.ingress];
    judgments.into_iter().find(|of| of.ruling == Ruling::Denied)?.rule.as_deref()
}

/// What policies say of the gateway's connections, by the first one.
fn policies(of: &Explanation, row: &mut impl FnMut(&str, String)) {
    row("gateway", who(&of.source));
    for (step, judgment) in [("egress policy", &of.egress), ("ingress policy", &of.ingress)] {
        for policy in &judgment.policies {
            row(step, selects(policy));
        }
        row(step, ruling(judgment));
    }
}

fn answer(of: &RequestExplanation) -> String {
    let answer = &of.answer;
    match (&*answer.by, answer.status, &answer.reason, &answer.location) {
        ("nobody", ..) => {
            "none: there is no certificate for the name, and so no handshake".to_owned()
        }
        ("endpoint", ..) => {
            let target = answer.target.as_deref().unwrap_or_default();
            format!("an endpoint's, to {} {target}", of.request.method.0)
        }
        (_, Some(status), Some(reason), _) => {
            let help = answer.help.as_deref().unwrap_or_default();
            format!("{status} by the gateway: {reason}: {help}")
        }
        (_, Some(status), None, Some(location)) => {
            format!("{status} by the gateway: the client is sent to {location}")
        }
        (_, Some(status), None, None) => format!("{status} by the gateway: it goes no further"),
        _ => "none".to_owned(),
    }
}
