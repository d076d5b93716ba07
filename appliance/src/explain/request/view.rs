use super::asked::RequestAsked;
use crate::explain::view::{Explanation, Manifests};
use serde::{Deserialize, Serialize};
use sluice_control::view::{EndpointView, WhoView};
use std::net::{IpAddr, SocketAddr};

/// What becomes of a request, step by step. What does not apply is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestExplanation {
    /// The request.
    pub request: RequestAsked,
    /// The tables that decided.
    pub tables_version: u64,
    /// What is wrong with the manifests, if they were read for this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifests: Option<Manifests>,
    /// Where it comes to.
    pub listener: ListenerHit,
    /// Who sends it, if that is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<WhoView>,
    /// Whom it is taken to come from, as a trusted proxy says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// The certificate that the client is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateHit>,
    /// The route that it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteHit>,
    /// The routes of its host, in the order in which they are asked.
    pub considered: Vec<ConsideredView>,
    /// Routes that there are beside those.
    pub considered_left_out: usize,
    /// What is wrong with the object that it goes by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    /// Ingresses that name the host and are not served here, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strangers: Vec<String>,
    /// Who serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamHit>,
    /// What becomes of it.
    pub answer: AnswerView,
    /// What was assumed, and what cannot be known.
    pub notes: Vec<String>,
}

/// Where a request comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerHit {
    /// Its name.
    pub name: String,
    /// Its address and port.
    pub address: SocketAddr,
    /// It expects TLS.
    pub is_encrypted: bool,
}

/// The certificate that a client is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateHit {
    /// Where it is from, such as `Secret shop/tls`.
    pub name: String,
    /// The name that the client asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The end of its time, in seconds since 1970.
    pub not_after_unix_s: i64,
}

/// The route that a request takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteHit {
    /// The object that it is from.
    pub object: String,
    /// What of the object it is.
    pub place: String,
    /// What the endpoint is asked for, where that is another path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewritten: Option<String>,
    /// Most bytes of a body; `None`: any.
    pub body_bytes_max: Option<u64>,
    /// How long a connection may take, in milliseconds.
    pub connect_ms: u64,
    /// How long an endpoint may send nothing.
    pub read_ms: u64,
    /// How long an endpoint may take nothing.
    pub send_ms: u64,
}

/// A route that was considered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsideredView {
    /// Its hosts; `*` for all.
    pub host: String,
    /// Its path.
    pub path: String,
    /// `Exact`, `Prefix` or `Pattern`.
    pub path_type: String,
    /// The object that it is from.
    pub object: String,
    /// What of the object it is.
    pub place: String,
    /// Why it is not taken; `None`: it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

/// Who serves a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamHit {
    /// The Service and its port, as `namespace/name:port`.
    pub name: String,
    /// `HTTP/1.1` or `HTTP/2`, with ` in TLS`.
    pub protocol: String,
    /// Its endpoints, those first that may get it.
    pub endpoints: Vec<EndpointHit>,
    /// Endpoints that there are beside those.
    pub endpoints_left_out: usize,
    /// Why there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// An endpoint of who serves a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointHit {
    /// Which.
    #[serde(flatten)]
    pub endpoint: EndpointView,
    /// Workers that leave it out for a while, since it has failed them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out_by: Vec<LeftOut>,
    /// What becomes of the gateway's connection to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Box<Explanation>>,
}

/// A worker that leaves an endpoint out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The worker.
    pub worker: usize,
    /// For how long from now on.
    pub for_ms: u64,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerView {
    /// `endpoint`, `gateway` or, without a handshake, `nobody`.
    pub by: String,
    /// The status, where it is the gateway's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why the gateway answers: a label of `sluice_l7_refusals_total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the reason means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Where the client is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// What the endpoint is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}
