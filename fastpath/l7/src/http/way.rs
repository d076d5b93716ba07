//! Where a request goes: decided here for requests that come, and for those that somebody
//! only wants to know of ([`foresee`](super::foresee)).

use super::options::ProxyOptions;
use super::outgoing;
use super::requests::HEADERS_MAX;
use super::seams::Negotiated;
use super::told::Told;
use crate::L7Reason;
use crate::names::first;
use arrayvec::ArrayVec;
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, header};
use sluice_tables::http_routes::{Path, Request};
use sluice_tables::l7::{ClientAuthMode, HttpRoute, L7, Listener, RouteAction, Upstream};
use std::net::IpAddr;
use std::sync::Arc;

/// A request whose head is right.
pub(super) struct Asked<'a> {
    pub(super) head: &'a Parts,
    /// The host that it is for, with its port if it has one.
    pub(super) host: &'a str,
    /// What was agreed on, if it comes in TLS.
    pub(super) tls: Option<&'a Negotiated>,
    pub(super) told: Told,
    /// Whose connection it comes by: perhaps a trusted proxy's, which may have it from a
    /// client in TLS.
    pub(super) peer: IpAddr,
}

/// What was seen on the way, however far it went.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) route: Option<Arc<HttpRoute>>,
    pub(super) upstream: Option<Arc<Upstream>>,
}

/// Where a request goes.
pub(super) enum Way {
    /// Nowhere: the client shall come in TLS, to this place.
    Redirect(HeaderValue),
    /// To an upstream, which is asked for a target.
    Upstream { route: Arc<HttpRoute>, upstream: Arc<Upstream>, target: PathAndQuery },
}

/// Finds out where a request goes.
///
/// # Errors
/// Why it goes nowhere.
pub(super) fn find(
    tables: &L7,
    listener: &Listener,
    asked: &Asked<'_>,
    seen: &mut Seen,
) -> Result<Way, L7Reason> {
    let Asked { head, host, tls, told, peer } = *asked;
    let asks_https = head.uri.scheme() == Some(&Scheme::HTTPS);
    let is_elsewhere =
        asks_https && tls.is_none() && !told.is_trusted && !listener.trusted.contains(peer);
    if is_elsewhere || is_misdirected(listener, tls, host) {
        return Err(L7Reason::MisdirectedRequest);
    }
    let path = Path::normal(head.uri.path()).ok_or(L7Reason::BadPath)?;
    let route = with_request(head, host, &path, |request| listener.routes.find(request).cloned());
    let route = route.ok_or(L7Reason::NoRoute)?;
    seen.route = Some(route.clone());
    if route.https_redirect && listener.certificates.is_none() && !told.is_encrypted {
        return Ok(Way::Redirect(outgoing::https_location(&head.uri, host)?));
    }
    if let Some(auth) = &route.client_auth {
        match tls {
            Some(tls) if tls.client_auth.as_ref() != Some(auth) => {
                return Err(L7Reason::MisdirectedRequest);
            }
            None if auth.mode == ClientAuthMode::Required => {
                return Err(L7Reason::ClientCertificate);
            }
            _ => {}
        }
    }
    let RouteAction::Forward(upstream) = route.action else {
        return Err(L7Reason::RouteUnsupported);
    };
    let upstream = tables.upstream(upstream).ok_or(L7Reason::NoEndpoint)?.clone();
    seen.upstream = Some(upstream.clone());
    let target = outgoing::target(&head.uri, path, route.rewrite.as_ref())?;
    Ok(Way::Upstream { route, upstream, target })
}

/// Bytes that the body of a request of a route may have.
pub(super) fn body_bytes_max(route: &HttpRoute, options: &ProxyOptions) -> u64 {
    let of_all = options.body_bytes_max.unwrap_or(u64::MAX);
    route.body_bytes_max.unwrap_or(u64::MAX).min(of_all)
}

/// The host that is asked for.
pub(super) fn host(head: &Parts) -> Option<HeaderValue> {
    let of_target = || {
        let authority = head.uri.authority()?.as_str();
        HeaderValue::from_str(authority).ok()
    };
    first(&head.headers, &header::HOST).cloned().or_else(of_target)
}

/// A request as routes are told by it.
pub(super) fn with_request<T>(
    head: &Parts,
    host: &str,
    path: &str,
    with: impl FnOnce(&Request<'_>) -> T,
) -> T {
    let of_text = head.headers.iter().filter_map(|(name, value)| {
        let value = std::str::from_utf8(value.as_bytes()).ok()?;
        Some((name.as_str(), value))
    });
    // Filled where it is: it is large.
    let mut headers = ArrayVec::<_, HEADERS_MAX>::new();
    headers.extend(of_text.take(HEADERS_MAX));
    with(&Request {
        method: head.method.as_str(),
        host,
        path,
        query: head.uri.query().unwrap_or_default(),
        headers: &headers,
    })
}

/// Whether the client has told another name when the connection began, and there is
/// another certificate for the host, or clients of the host have to show what this one was
/// not asked for.
fn is_misdirected(listener: &Listener, tls: Option<&Negotiated>, host: &str) -> bool {
    let (Some(tls), Some(certificates)) = (tls, &listener.certificates) else {
        return false;
    };
    let host = outgoing::without_port(host);
    let asked = certificates.client_auths.find(Some(host));
    if asked.is_some() && tls.client_auth.as_ref() != asked {
        return true;
    }
    let Some(name) = &tls.server_name else { return false };
    if name.eq_ignore_ascii_case(host) {
        return false;
    }
    let (Some(of_name), Some(of_host)) =
        (certificates.find(Some(name)), certificates.find(Some(host)))
    else {
        return false;
    };
    let is_default = certificates.default.as_ref().is_some_and(|one| Arc::ptr_eq(one, of_host));
    !is_default && !Arc::ptr_eq(of_name, of_host)
}
