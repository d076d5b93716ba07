//! Who is connected, for who asks: nothing is kept for it beside what serving needs.

use super::connection::Connection;
use super::proxy::Proxy;
use super::seams::{Accept, Forward, Negotiated};
use crate::net::Net;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

/// Connections of clients.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    /// As many as were asked for, of those that were.
    pub shown: Vec<ClientState>,
    /// How many more there are.
    pub left_out: usize,
}

/// A client's connection.
#[derive(Clone, Debug)]
pub struct ClientState {
    /// The client, as far as the connection tells.
    pub client: SocketAddr,
    /// The address that it came to.
    pub local: SocketAddr,
    /// The name of the listener.
    pub listener: Arc<str>,
    /// What was agreed on, if it is encrypted.
    pub tls: Option<Negotiated>,
    /// What is spoken.
    pub spoken: Spoken,
    /// What it is doing.
    pub activity: Activity,
    /// How old it is, in nanoseconds.
    pub age_ns: u64,
    /// How long it has been without a request, in nanoseconds; 0 while it has one.
    pub idle_ns: u64,
    /// Requests so far.
    pub requests: u32,
    /// Bytes from the client and to it, as they are without TLS.
    pub bytes: [u64; 2],
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spoken {
    /// It is not known yet.
    #[default]
    Nothing,
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// What a request has asked for, such as WebSocket.
    Other,
}

impl Spoken {
    /// Its name in output.
    pub fn label(self) -> &'static str {
        match self {
            Spoken::Nothing => "",
            Spoken::Http1 => "HTTP/1.1",
            Spoken::Http2 => "HTTP/2",
            Spoken::Other => "upgraded",
        }
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It begins: a handshake, or what comes before the first request.
    Beginning,
    /// It waits for a request.
    Idle,
    /// A head has come in part.
    Reading,
    /// So many requests are under way.
    Serving(u32),
    /// The client takes nothing of what is sent.
    Blocked,
    /// It is about to end.
    Ending,
}

impl Activity {
    /// Its name in output.
    pub fn label(self) -> &'static str {
        match self {
            Activity::Beginning => "beginning",
            Activity::Idle => "idle",
            Activity::Reading => "reading",
            Activity::Serving(_) => "serving",
            Activity::Blocked => "blocked",
            Activity::Ending => "ending",
        }
    }
}

impl<N: Net, F: Forward, A: Accept> Proxy<N, F, A> {
    /// The connections of clients, or of one, at most so many.
    pub fn clients(&self, client: Option<IpAddr>, max: usize) -> Clients {
        let now_ns = self.now_ns();
        let mut clients = Clients::default();
        self.each_connection(|connection: &Rc<Connection>| {
            let ends = connection.ends.get();
            if client.is_some_and(|client| client != ends.client.ip()) {
                return;
            }
            match clients.shown.len() < max {
                true => clients.shown.push(state(connection, now_ns)),
                false => clients.left_out += 1,
            }
        });
        clients
    }
}

fn state(of: &Connection, now_ns: u64) -> ClientState {
    let (ends, in_flight) = (of.ends.get(), of.in_flight.get());
    let activity = match of.spoken.get() {
        _ if of.is_ending.get() => Activity::Ending,
        Spoken::Nothing => Activity::Beginning,
        _ if of.blocked_since.get().is_some() => Activity::Blocked,
        _ if in_flight > 0 => Activity::Serving(in_flight),
        _ if of.head_since.get().is_some() => Activity::Reading,
        _ => Activity::Idle,
    };
    let idle = matches!(activity, Activity::Idle).then(|| of.idle_since.get());
    ClientState {
        client: ends.client,
        local: ends.local,
        listener: of.listener_name.clone(),
        tls: of.tls.borrow().as_deref().cloned(),
        spoken: of.spoken.get(),
        activity,
        age_ns: now_ns.saturating_sub(of.begun_ns),
        idle_ns: idle.map_or(0, |since| now_ns.saturating_sub(since)),
        requests: of.requests.get(),
        bytes: of.bytes.each_ref().map(std::cell::Cell::get),
    }
}
