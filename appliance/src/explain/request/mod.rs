//! `sluice explain URL`: what becomes of a request, and why.
//!
//! ```text
//!  URL -> listener -> what the worker does with a request's head -> endpoints
//!                                                  each: a probe by the second entrance
//! ```
//!
//! Certificates, routes and answers are found by the code that serves requests, in the tables
//! that it serves by; what becomes of a connection to an endpoint is told by the shipped
//! journey.

/// Which request.
pub mod asked;
/// An explanation for a person.
pub mod text;
/// An explanation as data.
pub mod view;

/// The routes that were considered.
mod considered;
/// The gateway's connections to endpoints.
mod endpoints;

use crate::gateway::Gateway;
use anyhow::{Context, bail};
use asked::RequestAsked;
use sluice_config::Config;
use sluice_control::view::{Names, NamesQuery, RequestedQuery, RequestedView, WhoView};
use sluice_control::{Offline, Request};
use sluice_l7::L7Reason;
use sluice_l7::asks::Ejected;
use sluice_l7::http::{Foreseen, Outcome, ProxyOptions, Supposed, foresee};
use sluice_tables::l7::{ListenerId, Upstream};
use sluice_tables::{BackendId, Family, RuleId, ServiceId, Tables, V4, V6};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use view::{AnswerView, CertificateHit, ListenerHit, RequestExplanation, RouteHit};

/// What each worker leaves out. `None`: it has not answered.
type EjectedBy = Vec<(usize, Option<Vec<Ejected>>)>;

/// Who knows more of names than tables do.
struct Sources<'a> {
    names: &'a dyn Fn(NamesQuery) -> anyhow::Result<Names>,
    requested: &'a dyn Fn(RequestedQuery) -> anyhow::Result<RequestedView>,
    /// What each worker leaves out, if there are workers that can be asked.
    ejected: Option<&'a dyn Fn() -> EjectedBy>,
}

/// Explains what a running gateway does with a request: blocks for seconds at worst.
///
/// # Errors
/// When nobody listens where it comes to, control does not answer, or a probe cannot be made.
pub fn live(gateway: &Gateway, asked: &RequestAsked) -> anyhow::Result<RequestExplanation> {
    let control = &gateway.control;
    let l7 = gateway.l7.as_ref().context(NO_SECTION)?;
    let tables = control.ask(|reply| Request::Tables { reply })?;
    let sources = Sources {
        names: &|query| Ok(control.ask(|reply| Request::Names { query, reply })?),
        requested: &|query| Ok(control.ask(|reply| Request::Requested { query, reply })?),
        ejected: Some(&|| l7.ejected()),
    };
    explain(&tables, l7.proxy_options(), &sources, asked)
}

/// Explains what a gateway would do with a request that has these manifests.
///
/// # Errors
/// When nobody listens where it comes to, or a probe cannot be made.
pub fn offline(
    of: &Offline,
    config: &Config,
    asked: &RequestAsked,
) -> anyhow::Result<RequestExplanation> {
    if config.l7.is_none() {
        bail!(NO_SECTION);
    }
    let sources = Sources {
        names: &|query| Ok(of.names(&query)),
        requested: &|query| Ok(of.requested(&query)),
        ejected: None,
    };
    let options = crate::l7::proxy_options(config);
    let mut explanation = explain(&of.tables(), &options, &sources, asked)?;
    let (manifests, note) = super::manifests(of.diagnostics());
    explanation.manifests = Some(manifests);
    explanation.notes.extend(note);
    Ok(explanation)
}

const NO_SECTION: &str = "requests do not end here: the configuration has no section `l7`";

fn explain(
    tables: &Tables,
    options: &ProxyOptions,
    sources: &Sources<'_>,
    asked: &RequestAsked,
) -> anyhow::Result<RequestExplanation> {
    let mut notes = Vec::new();
    let (address, id) = listener(tables, asked, &mut notes)?;
    let peer = asked.from.unwrap_or_else(|| anybody(address.ip()));
    if peer.is_ipv4() != address.is_ipv4() {
        bail!("{peer} and {address} are not of one family: --to chooses another address");
    }
    let host = asked.host();
    let others = asked.headers.iter().filter(|header| header.name != "host");
    let headers: Vec<_> =
        others.map(|header| (header.name.clone(), header.value.clone())).collect();
    let server_name = server_name(asked);
    let supposed = Supposed {
        peer,
        is_encrypted: asked.url.is_encrypted,
        server_name,
        method: &asked.method.0,
        target: &asked.url.target,
        host: &host,
        headers: &headers,
    };
    let l7 = &tables.l7;
    let foreseen = foresee(l7, id, options, &supposed).context("the listener has gone")?;
    let (considered, considered_left_out) =
        considered::views(l7, id, options, &supposed, foreseen.route.as_ref());
    let requested = (sources.requested)(RequestedQuery {
        host: bare(&host).to_owned(),
        route: foreseen.route.as_ref().map(|of| (of.object.to_string(), of.place.to_string())),
        upstream: foreseen.upstream.as_ref().map(|upstream| upstream.id),
    })?;
    let mut outcome = foreseen.outcome.clone();
    let upstream = foreseen.upstream.as_deref();
    let upstream = upstream
        .map(|upstream| {
            let client = foreseen.client;
            endpoints::hit(tables, sources, upstream, &requested, client, &mut outcome)
        })
        .transpose()?;
    let source = asked.from.map(|from| who(sources, from)).transpose()?;
    add_notes(asked, tables, id, &foreseen, &requested, &mut notes);
    let listener = l7.listener(id).context("the listener has gone")?;
    Ok(RequestExplanation {
        request: asked.clone(),
        tables_version: tables.version,
        manifests: None,
        listener: ListenerHit {
            name: listener.name.to_string(),
            address,
            is_encrypted: listener.certificates.is_some(),
        },
        source,
        client: foreseen.is_trusted.then_some(foreseen.client),
        certificate: foreseen.certificate.as_ref().map(|certificate| CertificateHit {
            name: certificate.name.to_string(),
            server_name: server_name.map(str::to_owned),
            not_after_unix_s: certificate.not_after,
        }),
        route: route_hit(&foreseen),
        considered,
        considered_left_out,
        findings: requested.findings,
        strangers: requested.strangers,
        upstream,
        answer: answer(&outcome),
        notes,
    })
}

/// The name that the client asks for in a handshake: no client asks for an address by name
/// (RFC 6066 section 3).
fn server_name(asked: &RequestAsked) -> Option<&str> {
    asked.url.address().is_none().then_some(&*asked.url.host)
}

/// Where a request comes to.
fn listener(
    tables: &Tables,
    asked: &RequestAsked,
    notes: &mut Vec<String>,
) -> anyhow::Result<(SocketAddr, ListenerId)> {
    fn of<F: Family>(tables: &Tables, all: &mut Vec<(SocketAddr, ListenerId)>) {
        let listeners = F::of(tables).listeners.iter();
        all.extend(
            listeners.map(|((addr, port), id)| (SocketAddr::new(F::to_ip(*addr), *port), *id)),
        );
    }
    let mut all = Vec::new();
    of::<V4>(tables, &mut all);
    of::<V6>(tables, &mut all);
    all.sort();
    if all.is_empty() {
        bail!("nothing listens for requests: `l7.ingress.addresses` of the configuration");
    }
    let port = asked.url.port();
    let told = asked.to.or(asked.url.address());
    let is_meant = |(at, _): &&(SocketAddr, ListenerId)| {
        at.port() == port && told.is_none_or(|told| told == at.ip())
    };
    let is_near = |at: &SocketAddr| asked.from.is_none_or(|from| from.is_ipv4() == at.is_ipv4());
    let meant: Vec<_> = all.iter().filter(is_meant).collect();
    let chosen = meant.iter().find(|(at, _)| is_near(at)).or(meant.first());
    let Some((at, id)) = chosen else {
        let known: Vec<_> = all.iter().map(|(at, _)| at.to_string()).collect();
        let wanted = match told {
            Some(told) => SocketAddr::new(told, port).to_string(),
            None => format!("port {port}"),
        };
        bail!("nothing listens at {wanted}; listened at is {}", known.join(", "));
    };
    if told.is_none() && meant.len() > 1 {
        notes.push(format!("nobody is asked what the host's address is: {at} is taken"));
    }
    Ok((*at, *id))
}

/// Who sends a request if nobody says who.
fn anybody(to: IpAddr) -> IpAddr {
    match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// A host without its port.
fn bare(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(_) => host.find(']').map_or(host, |end| &host[..=end]),
        None => host.split(':').next().unwrap_or_default(),
    }
}

fn who(sources: &Sources<'_>, addr: IpAddr) -> anyhow::Result<WhoView> {
    let query = NamesQuery {
        addresses: [addr; 3],
        rules: [RuleId::NONE; 2],
        service: ServiceId::NONE,
        backend: BackendId::NONE,
    };
    let [who, ..] = (sources.names)(query)?.who;
    Ok(who)
}

fn route_hit(of: &Foreseen) -> Option<RouteHit> {
    let route = of.route.as_ref()?;
    let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let target = match &of.outcome {
        Outcome::Sent { target } => Some(target.clone()),
        _ => None,
    };
    Some(RouteHit {
        object: route.object.to_string(),
        place: route.place.to_string(),
        rewritten: target.filter(|_| route.rewrite.is_some()),
        body_bytes_max: route.body_bytes_max,
        connect_ms: ms(route.connect_timeout),
        read_ms: ms(route.read_timeout),
        send_ms: ms(route.send_timeout),
    })
}

fn answer(outcome: &Outcome) -> AnswerView {
    let none = AnswerView {
        by: "gateway".to_owned(),
        status: None,
        reason: None,
        help: None,
        location: None,
        target: None,
    };
    let refused = |reason: L7Reason| AnswerView {
        status: Some(reason.status()),
        reason: Some(reason.label().to_owned()),
        help: Some(reason.help().to_owned()),
        ..none.clone()
    };
    match outcome {
        Outcome::NoCertificate => AnswerView { by: "nobody".to_owned(), ..none },
        Outcome::Refused(reason) => refused(*reason),
        Outcome::Redirected { status, location } => {
            AnswerView { status: Some(*status), location: Some(location.clone()), ..none }
        }
        Outcome::Answered { status } => AnswerView { status: Some(*status), ..none },
        Outcome::Sent { target } => {
            AnswerView { by: "endpoint".to_owned(), target: Some(target.clone()), ..none }
        }
    }
}

/// What is assumed, and what cannot be known.
fn add_notes(
    asked: &RequestAsked,
    tables: &Tables,
    id: ListenerId,
    foreseen: &Foreseen,
    requested: &RequestedView,
    notes: &mut Vec<String>,
) {
    let listener = tables.l7.listener(id);
    let trusted = listener.map(|listener| &listener.trusted);
    if asked.from.is_none() {
        notes.push("the client is not told (--from): one that is no trusted proxy".to_owned());
    } else if foreseen.is_trusted && trusted.is_some_and(|of| of.speak_proxy_protocol) {
        notes.push("a PROXY protocol header comes first, and is taken to name the client".into());
    }
    let certificates = listener.and_then(|of| of.certificates.as_ref());
    let auth = certificates.and_then(|of| of.client_auths.find(server_name(asked)));
    if auth.is_some() {
        notes.push("the client is asked for a certificate, and shows one that is trusted".into());
    }
    if requested.is_of_kernel && matches!(foreseen.outcome, Outcome::Sent { .. }) {
        let note = "connections to endpoints are the kernel's (`l7.io: kernel`): what becomes of \
                    them is not known";
        notes.push(note.to_owned());
    }
    if matches!(foreseen.outcome, Outcome::Sent { .. }) {
        notes.push(
            "this is a request at an idle gateway: limits, and what the endpoint does, are not \
             in it"
                .to_owned(),
        );
    }
}

/// The upstream's name for people.
fn protocol_text(upstream: &Upstream) -> String {
    let version = if upstream.protocol.is_http2() { "HTTP/2" } else { "HTTP/1.1" };
    let tls = if upstream.protocol.is_encrypted() { " in TLS" } else { "" };
    format!("{version}{tls}")
}

#[cfg(test)]
mod tests;
