use super::table::Table;
use super::units::{bytes, count, counted, duration_ms, endpoint, time_s};
use crate::admin::view::ConnectionsView;
use sluice_control::view::{CertificateView, HttpRouteView, ListenerView, RouteOptionsView};

/// One line an address and port.
pub(super) fn listeners(listeners: &[ListenerView]) -> String {
    let mut table = Table::new(&[
        "LISTENER",
        "ADDRESS",
        "PROTOCOL",
        "CLASSES",
        ">INGRESSES",
        ">CERTIFICATES",
        "DEFAULT",
        "STATE",
        "PROBLEM",
    ]);
    for of in listeners {
        table.row([
            of.name.clone(),
            endpoint(&of.address.to_string(), of.port),
            of.protocol.clone(),
            of.classes.join(","),
            count(of.ingresses as u64),
            count(of.certificates as u64),
            of.default_certificate.clone().unwrap_or_default(),
            of.state.clone(),
            of.problems.join("; "),
        ]);
    }
    table.render(0, "nothing listens for requests")
}

/// One line a host and path.
pub(super) fn http_routes(routes: &[HttpRouteView]) -> String {
    let mut table = Table::new(&[
        "HOST",
        "PATH",
        "TYPE",
        "INGRESS",
        "BACKEND",
        ">ENDPOINTS",
        "OPTIONS",
        "FINDING",
    ]);
    for of in routes {
        table.row([
            of.host.clone(),
            of.path.clone(),
            of.path_type.clone(),
            of.ingress.clone(),
            of.backend.clone().unwrap_or_default(),
            count(of.endpoints as u64),
            options(&of.options),
            of.findings.join("; "),
        ]);
    }
    table.render(0, "no routes of requests")
}

/// What a route does beside what all do, in one cell.
fn options(of: &RouteOptionsView) -> String {
    let usual = RouteOptionsView::default();
    let time = |word: &str, ms: u64, usual_ms: u64| {
        (ms != usual_ms).then(|| format!("{word}={}", duration_ms(ms).replace(' ', "")))
    };
    let body = match of.body_bytes_max {
        Some(max) => format!("body={}", bytes(max).replace(' ', "")),
        None => "body=any".to_owned(),
    };
    let words = [
        of.https_redirect.then(|| "to-https".to_owned()),
        of.client_certificates.as_ref().map(|secret| format!("clients={secret}")),
        of.rewrite.as_ref().map(|target| format!("rewrite={target}")),
        (of.protocol != usual.protocol).then(|| of.protocol.clone()),
        of.sends_proxy_protocol.then(|| "send-proxy-protocol".to_owned()),
        (of.body_bytes_max != usual.body_bytes_max).then_some(body),
        time("connect", of.connect_ms, usual.connect_ms),
        time("read", of.read_ms, usual.read_ms),
        time("send", of.send_ms, usual.send_ms),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(",")
}

/// One line a Secret.
pub(super) fn certificates(certificates: &[CertificateView]) -> String {
    let mut table = Table::new(&[
        "SECRET",
        "HOSTS",
        "NAMES",
        "ISSUER",
        "UNTIL",
        "LEFT",
        "LISTENERS",
        "INGRESSES",
        "PROBLEM",
    ]);
    for of in certificates {
        let ingresses = match (of.is_default, of.ingresses.is_empty()) {
            (true, true) => "the default".to_owned(),
            (true, false) => format!("{},the default", of.ingresses.join(",")),
            (false, _) => of.ingresses.join(","),
        };
        table.row([
            of.secret.clone(),
            of.hosts.join(","),
            of.names.join(","),
            of.issuer.clone(),
            of.not_after_unix_s.map(time_s).unwrap_or_default(),
            of.left_s.map(left).unwrap_or_default(),
            of.listeners.join(","),
            ingresses,
            of.problem.clone().unwrap_or_default(),
        ]);
    }
    table.render(0, "no certificates")
}

/// How long a certificate lasts.
fn left(seconds: i64) -> String {
    const DAY_S: i64 = 24 * 3600;
    match seconds {
        ..0 => "expired".to_owned(),
        0..DAY_S => duration_ms(seconds.unsigned_abs() * 1000),
        _ => counted(seconds.unsigned_abs() / DAY_S.unsigned_abs(), "day"),
    }
}

/// One line a connection.
pub(super) fn connections(view: &ConnectionsView) -> String {
    let mut table = Table::new(&[
        "CLIENT",
        "ADDRESS",
        "LISTENER",
        "TLS",
        "NAME",
        "PROTOCOL",
        "STATE",
        ">AGE",
        ">IDLE",
        ">REQUESTS",
        ">IN",
        ">OUT",
        ">WORKER",
    ]);
    for of in &view.connections {
        table.row([
            of.client.to_string(),
            of.address.to_string(),
            of.listener.clone(),
            of.tls.clone().unwrap_or_default(),
            of.server_name.as_ref().map(|name| name.escape_debug().to_string()).unwrap_or_default(),
            of.protocol.clone(),
            match of.in_flight {
                0 | 1 => of.state.clone(),
                more => format!("{} {more}", of.state),
            },
            duration_ms(of.age_ms),
            duration_ms(of.idle_ms),
            count(of.requests.into()),
            bytes(of.bytes_in),
            bytes(of.bytes_out),
            of.worker.to_string(),
        ]);
    }
    let mut text = table.render(0, "no connections");
    if view.left_out > 0 {
        let left_out = view.left_out;
        text.push_str(&format!("and {left_out} more: ask for one --client\n"));
    }
    for worker in &view.silent {
        text.push_str(&format!("worker {worker} has not answered\n"));
    }
    text
}

#[cfg(test)]
mod tests;
