//! What would become of a request that nobody has sent: its head is checked and its way is
//! found by what checks and finds those of requests that come.

use super::hops;
use super::options::ProxyOptions;
use super::seams::{Negotiated, TlsVersion};
use super::told;
use super::way::{self, Asked, Seen, Way};
use crate::guard::{Guard, Limits, Step};
use crate::{Framing, L7Reason};
use http::request::Parts;
use http::{Request, StatusCode};
use sluice_tables::http_routes::{Considered, Path};
use sluice_tables::l7::{Certificate, HttpRoute, L7, ListenerId, Upstream};
use std::net::IpAddr;
use std::sync::Arc;

/// A request, and the connection that it would come by.
#[derive(Clone, Copy, Debug)]
pub struct Supposed<'a> {
    /// Who would send it.
    pub peer: IpAddr,
    /// The client begins with a handshake.
    pub is_encrypted: bool,
    /// The name that the client asks for in the handshake. If it is asked for a certificate
    /// then, it has one.
    pub server_name: Option<&'a str>,
    /// Its method.
    pub method: &'a str,
    /// Its target: a path, with a query perhaps.
    pub target: &'a str,
    /// The host that it is for, with its port if it has one.
    pub host: &'a str,
    /// All other headers.
    pub headers: &'a [(String, String)],
}

/// What would become of it.
#[derive(Clone, Debug)]
pub struct Foreseen {
    /// The certificate that the client would be shown.
    pub certificate: Option<Arc<Certificate>>,
    /// Whom it would be taken to come from.
    pub client: IpAddr,
    /// Who sends it is believed about the client.
    pub is_trusted: bool,
    /// The route that it would take.
    pub route: Option<Arc<HttpRoute>>,
    /// Whom it would be sent to.
    pub upstream: Option<Arc<Upstream>>,
    /// What it comes to.
    pub outcome: Outcome,
}

/// What a request comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: there is no handshake, since there is no certificate for the name.
    NoCertificate,
    /// The gateway answers, for a reason.
    Refused(L7Reason),
    /// The gateway answers with another place.
    Redirected {
        /// The status.
        status: u16,
        /// The place.
        location: String,
    },
    /// The gateway answers what asks to go no further (RFC 9110 section 7.6.2).
    Answered {
        /// The status.
        status: u16,
    },
    /// An endpoint is asked.
    Sent {
        /// For this.
        target: String,
    },
}

/// Tells what would become of a request to a listener; `None`: there is no such listener.
pub fn foresee(
    tables: &L7,
    listener: ListenerId,
    options: &ProxyOptions,
    of: &Supposed<'_>,
) -> Option<Foreseen> {
    let listener = tables.listener(listener)?;
    let mut foreseen = Foreseen {
        certificate: None,
        client: of.peer,
        is_trusted: listener.trusted.contains(of.peer),
        route: None,
        upstream: None,
        outcome: Outcome::NoCertificate,
    };
    let tls = match (&listener.certificates, of.is_encrypted) {
        (Some(certificates), true) => {
            foreseen.certificate = certificates.find(of.server_name).cloned();
            if foreseen.certificate.is_none() {
                return Some(foreseen);
            }
            Some(Negotiated {
                protocol: None,
                server_name: of.server_name.map(Into::into),
                client_auth: certificates.client_auths.find(of.server_name).cloned(),
                version: TlsVersion::Tls13,
            })
        }
        (Some(_), false) => {
            foreseen.outcome = Outcome::Refused(L7Reason::NotTls);
            return Some(foreseen);
        }
        // A handshake is no request line.
        (None, true) => {
            foreseen.outcome = Outcome::Refused(L7Reason::BadRequestLine);
            return Some(foreseen);
        }
        (None, false) => None,
    };
    let mut seen = Seen::default();
    let found = head(of, options).and_then(|(mut head, framing)| {
        let told = told::told(&head.headers, of.peer, tls.is_some(), &listener.trusted);
        foreseen.client = told.client;
        let asked = Asked { head: &head, host: of.host, tls: tls.as_ref(), told, peer: of.peer };
        let way = way::find(tables, listener, &asked, &mut seen)?;
        let answer = match way {
            Way::Redirect(_) => None,
            Way::Upstream { .. } => hops::count_hop(&head.method, &mut head.headers)?,
        };
        Ok((way, framing, answer))
    });
    foreseen.outcome = match found {
        Err(reason) => Outcome::Refused(reason),
        Ok((.., Some(status))) => Outcome::Answered { status: status.as_u16() },
        Ok((Way::Redirect(location), ..)) => Outcome::Redirected {
            status: StatusCode::PERMANENT_REDIRECT.as_u16(),
            location: String::from_utf8_lossy(location.as_bytes()).into_owned(),
        },
        Ok((Way::Upstream { route, upstream, target }, framing, None)) => {
            let bytes_max = way::body_bytes_max(&route, options);
            match framing {
                Framing::Length(bytes) if bytes > bytes_max => {
                    Outcome::Refused(L7Reason::BodyTooLarge)
                }
                _ if upstream.endpoints.is_empty() => Outcome::Refused(L7Reason::NoEndpoint),
                _ => Outcome::Sent { target: target.to_string() },
            }
        }
    };
    (foreseen.route, foreseen.upstream) = (seen.route, seen.upstream);
    Some(foreseen)
}

/// All routes of the request's host, in the order in which they are asked. Empty if its
/// head is not right, or its path none.
pub fn considered<'a>(
    tables: &'a L7,
    listener: ListenerId,
    options: &ProxyOptions,
    of: &Supposed<'_>,
) -> Vec<(Considered<'a>, &'a Arc<HttpRoute>)> {
    let (Some(listener), Ok((head, _))) = (tables.listener(listener), head(of, options)) else {
        return Vec::new();
    };
    let Some(path) = Path::normal(head.uri.path()) else { return Vec::new() };
    let routes = &listener.routes;
    let all = way::with_request(&head, of.host, &path, |asked| routes.matches.considered(asked));
    let route = |of: Considered<'a>| {
        let route = routes.routes.get(of.route.0)?.as_ref()?;
        Some((of, route))
    };
    all.into_iter().filter_map(route).collect()
}

/// The head, as it would come in HTTP/1.1.
///
/// # Errors
/// What is wrong with it.
fn head(of: &Supposed<'_>, options: &ProxyOptions) -> Result<(Parts, Framing), L7Reason> {
    let mut bytes = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", of.method, of.target, of.host);
    for (name, value) in of.headers {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    bytes.push_str("\r\n");
    let mut guard = Guard::new(Limits { head: options.head, body_bytes: options.body_bytes_max });
    let Step::Head(checked) = guard.step(bytes.as_bytes())? else {
        return Err(L7Reason::HeadTooLarge);
    };
    let mut request = Request::builder().method(of.method).uri(of.target);
    request = request.header(http::header::HOST, of.host);
    for (name, value) in of.headers {
        request = request.header(name.trim(), value.trim());
    }
    let (head, ()) = request.body(()).map_err(|_| L7Reason::BadTarget)?.into_parts();
    Ok((head, checked.framing))
}
