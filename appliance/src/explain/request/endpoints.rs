use super::view::{EndpointHit, LeftOut, UpstreamHit};
use super::{Sources, protocol_text};
use crate::explain::tuple::{FlowTuple, Protocol};
use crate::explain::view::{Explanation, Ruling};
use crate::explain::{probe, put_together, query_of};
use sluice_control::view::{EndpointView, NamesQuery, RequestedView};
use sluice_l7::L7Reason;
use sluice_l7::http::Outcome;
use sluice_tables::l7::Upstream;
use sluice_tables::policy::{Verdict, judge_request};
use sluice_tables::{Family, Tables, V4, V6};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Endpoints that one explanation shows.
const ENDPOINTS_MAX: usize = 16;

/// Endpoints whose connections are tried.
const PROBES_MAX: usize = 8;

/// Who serves a request, and what becomes of the gateway's connections there. If all of them
/// come to nothing, so does the request. Of connections of the kernel it is only known what
/// policies say to the request.
///
/// # Errors
/// As with [`super::live`].
pub(super) fn hit(
    tables: &Tables,
    sources: &Sources<'_>,
    upstream: &Upstream,
    requested: &RequestedView,
    client: IpAddr,
    outcome: &mut Outcome,
) -> anyhow::Result<UpstreamHit> {
    let mut all = views(upstream, requested);
    let endpoints_left_out = all.len().saturating_sub(ENDPOINTS_MAX);
    all.truncate(ENDPOINTS_MAX);
    let mut left_out = left_out(sources, upstream);
    let is_sent = matches!(outcome, Outcome::Sent { .. });
    if is_sent && requested.is_of_kernel && deny(tables, client, &mut all) {
        *outcome = Outcome::Refused(L7Reason::PolicyDenied);
    }
    let is_sent = is_sent && !requested.is_of_kernel;
    let (mut endpoints, mut probes) = (Vec::new(), 0);
    for endpoint in all {
        let is_tried = is_sent && endpoint.why_not.is_none() && probes < PROBES_MAX;
        let connection = match is_tried {
            true => connection(tables, sources, client, endpoint.address)?,
            false => None,
        };
        probes += usize::from(is_tried);
        let left_out_by = left_out.remove(&endpoint.address).unwrap_or_default();
        let connection = connection.map(Box::new);
        endpoints.push((is_tried, EndpointHit { endpoint, left_out_by, connection }));
    }
    if let Some(reason) = all_fail(&endpoints) {
        *outcome = Outcome::Refused(reason);
    }
    Ok(UpstreamHit {
        name: upstream.name.to_string(),
        protocol: protocol_text(upstream),
        endpoints: endpoints.into_iter().map(|(_, of)| of).collect(),
        endpoints_left_out,
        problem: requested.problem.clone(),
    })
}

/// Says of endpoints that policies do not let a client's requests pass there; true if that is
/// so of all that would get them.
fn deny(tables: &Tables, client: IpAddr, endpoints: &mut [EndpointView]) -> bool {
    let mut denied = false;
    for endpoint in endpoints.iter_mut().filter(|of| of.why_not.is_none()) {
        if judge_request(tables, client, endpoint.address).verdict() == Verdict::Deny {
            endpoint.why_not = Some(L7Reason::PolicyDenied.help().to_owned());
            denied = true;
        }
    }
    denied && endpoints.iter().all(|of| of.why_not.is_some())
}

/// The endpoints that the tables have, then those that get no requests.
fn views(upstream: &Upstream, requested: &RequestedView) -> Vec<EndpointView> {
    let known = |addr: SocketAddr| requested.endpoints.iter().find(|of| of.address == addr);
    let chosen = upstream.endpoints.iter().map(|of| EndpointView {
        address: of.addr,
        pod: known(of.addr).and_then(|of| of.pod.clone()),
        node: known(of.addr).and_then(|of| of.node.clone()),
        why_not: None,
    });
    let is_chosen = |addr| upstream.endpoints.iter().any(|of| of.addr == addr);
    let others = requested.endpoints.iter().filter(|of| !is_chosen(of.address));
    // What has changed since the tables were taken gets requests soon.
    chosen.chain(others.filter(|of| of.why_not.is_some()).cloned()).collect()
}

/// What workers leave out of an upstream.
fn left_out(sources: &Sources<'_>, upstream: &Upstream) -> BTreeMap<SocketAddr, Vec<LeftOut>> {
    let mut all: BTreeMap<SocketAddr, Vec<LeftOut>> = BTreeMap::new();
    for (worker, ejected) in sources.ejected.map(|ask| ask()).unwrap_or_default() {
        for of in ejected.unwrap_or_default() {
            if of.endpoint.upstream == upstream.name {
                let left_out = LeftOut { worker, for_ms: of.for_ns / 1_000_000 };
                all.entry(of.endpoint.addr).or_default().push(left_out);
            }
        }
    }
    all
}

/// What becomes of the gateway's connection to an endpoint; `None`: it has no address to
/// open one from.
fn connection(
    tables: &Tables,
    sources: &Sources<'_>,
    client: IpAddr,
    to: SocketAddr,
) -> anyhow::Result<Option<Explanation>> {
    fn own<F: Family>(tables: &Tables) -> Option<(IpAddr, u16)> {
        let pool = &F::of(tables).snat;
        Some((F::to_ip(*pool.addresses.first()?), pool.port_min))
    }
    let own = if to.is_ipv4() { own::<V4>(tables) } else { own::<V6>(tables) };
    let Some((source, port)) = own else { return Ok(None) };
    let tuple = FlowTuple {
        source,
        source_port: Some(port),
        destination: to.ip(),
        port: to.port(),
        protocol: Protocol::Tcp,
    };
    let probe = probe::run_own(tables, &tuple)?;
    let judgment = judge_request(tables, client, to);
    let query = NamesQuery { rules: judgment.rules(), ..query_of(&tuple, &probe) };
    let mut explanation = put_together(tables, &tuple, &probe, (sources.names)(query)?);
    explanation.notes.clear();
    for (view, of) in
        [(&mut explanation.egress, judgment.egress), (&mut explanation.ingress, judgment.ingress)]
    {
        view.ruling = match of.verdict() {
            Verdict::Allow => Ruling::Allowed,
            Verdict::Audit => Ruling::Audited,
            Verdict::Deny => Ruling::Denied,
        };
    }
    if judgment.verdict() == Verdict::Deny {
        explanation.verdict = "dropped".to_owned();
        explanation.reason = Some(L7Reason::PolicyDenied.label().to_owned());
        explanation.help = Some(L7Reason::PolicyDenied.help().to_owned());
    }
    Ok(Some(explanation))
}

/// How a request ends of which no connection comes to anything, if that is so.
fn all_fail(endpoints: &[(bool, EndpointHit)]) -> Option<L7Reason> {
    let mut reason = None;
    for (is_tried, of) in endpoints.iter().filter(|(_, of)| of.endpoint.why_not.is_none()) {
        if !is_tried {
            return None;
        }
        let Some(connection) = &of.connection else {
            reason.get_or_insert(L7Reason::ConnectFailed);
            continue;
        };
        if connection.verdict != "dropped" {
            return None;
        }
        let is_denied = connection.reason.as_deref() == Some(L7Reason::PolicyDenied.label());
        let of_one = if is_denied { L7Reason::PolicyDenied } else { L7Reason::ConnectFailed };
        reason.get_or_insert(of_one);
    }
    reason
}
