//! HTTP as clients speak it to the gateway: a connection's journey and a request's.
//!
//! ```text
//! connection   admit -> PROXY protocol -> TLS -> HTTP/1.1 or HTTP/2 -> (another protocol) -> end
//! request      check -> listener -> route -> redirect | limits -> rewrite -> headers -> endpoint
//! ```
//!
//! What a client sends in HTTP/1.1 is checked by the [`guard`](crate::guard) before the
//! HTTP library sees it. Listeners, routes and upstreams are looked up for each request,
//! in the tables of that moment.

pub mod access_log;
mod answers;
mod attend;
mod body;
mod connection;
mod counters;
mod elements;
mod entry;
mod foresee;
mod forwarded;
mod hops;
mod listing;
mod options;
mod outgoing;
mod peeked;
mod proxy;
pub(crate) mod proxy_header;
mod record;
mod requests;
mod response;
mod runtime;
mod seams;
mod serve;
mod told;
mod tunnel;
mod way;
mod wire;

pub use body::{BodyError, RequestBody};
pub use counters::{HttpCounts, Limit};
pub use foresee::{Foreseen, Outcome, Supposed, considered, foresee};
pub use listing::{Activity, ClientState, Clients, Spoken};
pub use options::{Http2Options, ProxyOptions};
pub use proxy::Proxy;
pub use record::{ConnectionRecord, Observer, Record};
pub use seams::{
    Accept, Duplex, Forward, Negotiated, NotAccepted, Refusal, Sent, Terms, TlsVersion, Upgrade,
};
