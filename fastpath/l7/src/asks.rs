//! Questions of other threads to whoever serves: taken some times a second, and bounded, so
//! that nobody is slower for them.

use crate::http::Clients;
use crate::upstream::EndpointState;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::net::IpAddr;

/// Most connections that one answer holds.
pub const CLIENTS_MAX: usize = 1_000;

/// Most endpoints that one answer holds.
pub const EJECTED_MAX: usize = 256;

/// Questions that wait.
const WAITING_MAX: usize = 4;

/// A question. Whoever does not answer drops it; give `reply` room for one answer.
#[derive(Debug)]
pub enum Ask {
    /// Which connections of clients there are.
    Clients {
        /// Only those of this client.
        client: Option<IpAddr>,
        /// Most that are shown, at most [`CLIENTS_MAX`].
        max: usize,
        /// Where the answer goes.
        reply: Sender<Clients>,
    },
    /// Which endpoints are left out for a while, at most [`EJECTED_MAX`].
    Ejected {
        /// Where the answer goes.
        reply: Sender<Vec<Ejected>>,
    },
}

/// An endpoint that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejected {
    /// How it does.
    pub endpoint: EndpointState,
    /// For how long it is left out from now on, in nanoseconds.
    pub for_ns: u64,
}

/// The way of questions to one who serves.
pub fn asks() -> (Sender<Ask>, Receiver<Ask>) {
    bounded(WAITING_MAX)
}
