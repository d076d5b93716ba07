//! The admin socket: one JSON document a line each way, over a unix socket.
//!
//! ```text
//! > {"show":"flows","limit":10,"service":"default/web"}
//! < {"ok":{"flows":[...],"complete":true}}
//! > {"show":"weather"}
//! < {"error":"..."}
//! ```
//!
//! What is followed ([`crate::observe::Follow`]) comes after one such answer, until
//! the client hangs up or shuts its side down: JSON lines, or a capture.
//!
//! ```text
//! > {"follow":"drops","filter":{"reasons":["no_route"]}}
//! < {"ok":null}
//! < {"time":"...","event":"drop","reason":"no_route",...}
//! ```

use crate::explain::request::asked::RequestAsked;
use crate::explain::tuple::FlowTuple;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Gathers what [`view`] describes.
pub mod answer;
/// The side that asks.
pub mod client;
/// Clients' connections, asked for at those who serve them.
mod connections;
/// The side that answers.
pub mod server;
/// What goes on and on.
mod stream;
/// Answers that are not control's.
pub mod view;

/// Longest question, in bytes. One about a request, [`Question::ExplainRequest`], may be longer
/// by as much as the heads that the gateway takes; it is known by how it begins.
pub const QUESTION_BYTES_MAX: usize = 4096;

/// Most flows that one answer holds.
pub const FLOWS_MAX: u32 = 100_000;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "show", rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// [`sluice_control::view::ServiceView`]s.
    Services,
    /// [`sluice_control::view::BackendView`]s.
    Backends,
    /// [`sluice_control::view::FlowsView`].
    Flows {
        /// Most flows, at most [`FLOWS_MAX`].
        limit: u32,
        /// Only those of this Service, `namespace/name`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
        /// Only those that this address began.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<IpAddr>,
    },
    /// [`sluice_control::view::NeighborsView`].
    Neighbors,
    /// [`sluice_control::view::RouteView`]s.
    Routes,
    /// [`sluice_control::view::TunnelView`]s.
    Tunnels,
    /// [`sluice_control::view::DomainNameView`]s.
    Names,
    /// [`sluice_control::view::ListenerView`]s.
    Listeners,
    /// [`sluice_control::view::HttpRouteView`]s.
    HttpRoutes,
    /// [`sluice_control::view::CertificateView`]s.
    Certificates,
    /// [`view::ConnectionsView`].
    Connections {
        /// Most connections, of those that each worker tells of:
        /// [`sluice_l7::asks::CLIENTS_MAX`].
        limit: u32,
        /// Only those of this client.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<IpAddr>,
    },
    /// [`view::PortView`]s.
    Ports,
    /// [`view::WorkerView`]s.
    Workers,
    /// [`view::SnatView`]s.
    Snat,
    /// [`view::DropView`]s.
    Drops,
    /// [`view::StatusView`].
    Status,
    /// [`crate::explain::view::Explanation`].
    Explain {
        /// The packet.
        packet: FlowTuple,
    },
    /// [`crate::explain::request::view::RequestExplanation`].
    ExplainRequest {
        /// The request.
        request: RequestAsked,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply<T> {
    /// What was asked for.
    Ok(T),
    /// Why there is no answer.
    Error(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_read_as_documented() {
        let question: Question =
            serde_json::from_str(r#"{"show":"flows","limit":10,"service":"default/web"}"#).unwrap();
        let service = Some("default/web".to_owned());
        assert_eq!(question, Question::Flows { limit: 10, service, client: None });
        assert_eq!(serde_json::to_string(&Question::Ports).unwrap(), r#"{"show":"ports"}"#);
        for wrong in [r#"{"show":"weather"}"#, r#"{"show":"flows","limit":1,"x":2}"#, "[]", ""] {
            assert!(serde_json::from_str::<Question>(wrong).is_err(), "{wrong}");
        }
    }
}
