use super::view::{ConnectionView, ConnectionsView};
use crate::gateway::Gateway;
use sluice_l7::asks::CLIENTS_MAX;
use sluice_l7::http::{Activity, ClientState, TlsVersion};
use std::cmp::Reverse;
use std::net::IpAddr;

/// The connections of clients, or of one, the oldest first.
pub(super) fn connections(
    gateway: &Gateway,
    client: Option<IpAddr>,
    limit: usize,
) -> ConnectionsView {
    let asked = limit.min(CLIENTS_MAX);
    let workers = gateway.l7.as_ref().map(|l7| l7.clients(client, asked)).unwrap_or_default();
    let mut view = ConnectionsView { connections: Vec::new(), left_out: 0, silent: Vec::new() };
    for (worker, clients) in workers {
        let Some(clients) = clients else {
            view.silent.push(worker);
            continue;
        };
        view.left_out += clients.left_out;
        view.connections.extend(clients.shown.iter().map(|client| of(worker, client)));
    }
    view.connections.sort_by_key(|of| (Reverse(of.age_ms), of.client));
    view.left_out += view.connections.len().saturating_sub(limit);
    view.connections.truncate(limit);
    view
}

fn of(worker: usize, client: &ClientState) -> ConnectionView {
    let tls = client.tls.as_ref();
    ConnectionView {
        worker,
        client: client.client,
        address: client.local,
        listener: client.listener.to_string(),
        tls: tls.map(|tls| TlsVersion::label(tls.version).to_owned()),
        server_name: tls.and_then(|tls| tls.server_name.as_deref()).map(str::to_owned),
        protocol: client.spoken.label().to_owned(),
        state: client.activity.label().to_owned(),
        in_flight: match client.activity {
            Activity::Serving(requests) => requests,
            _ => 0,
        },
        age_ms: client.age_ns / 1_000_000,
        idle_ms: client.idle_ns / 1_000_000,
        requests: client.requests,
        bytes_in: client.bytes[0],
        bytes_out: client.bytes[1],
    }
}
