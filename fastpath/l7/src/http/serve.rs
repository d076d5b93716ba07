//! A connection's journey.

use super::attend::{self, Attendance, Attended};
use super::connection::{Connection, Ends};
use super::counters::Limit;
use super::entry::Entry;
use super::listing::Spoken;
use super::peeked::Peeked;
use super::proxy::Proxy;
use super::proxy_header;
use super::requests::Requests;
use super::runtime::Tasks;
use super::seams::{Accept, Forward};
use super::wire::{End, Wire};
use crate::guard::{Guard, Limits};
use crate::net::{Net, Stream};
use crate::{Alpn, L7Reason};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluice_tables::l7::{Listener, ListenerId};
use std::cell::RefCell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;

/// How a connection of HTTP/2 begins without TLS (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first byte of a handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// Bytes that hyper's buffer has beside a head: it does not take less than 8 KiB.
const BUFFER_SPARE: usize = 8 << 10;

/// Headers that hyper has room for without asking for memory.
const HEADERS_CHEAP: usize = 100;

/// Serves a connection to its end. What it is made of is on the heap, each for as long as it
/// lasts: a connection that waits for a request is not to have room for a handshake, or for
/// HTTP/2 if it does not speak it.
pub(super) async fn connection<N: Net, F: Forward, A: Accept>(
    proxy: Proxy<N, F, A>,
    mut stream: N::Stream,
    id: ListenerId,
) {
    let Some(admitted) = proxy.admit(&stream, id) else { return stream.abort() };
    let connection = &admitted.connection;
    let listener = proxy.0.tables.borrow().listener(id).cloned();
    let Some(listener) = listener else { return stream.abort() };
    let mut stream = Peeked::new(stream);
    if let Err(turned_away) = prologue(&proxy, connection, &listener, &mut stream).await {
        return Box::pin(turn_away(&proxy, connection, stream, turned_away)).await;
    }
    let Some(certificates) = &listener.certificates else {
        drop(listener);
        let is_http2 = stream.seen().starts_with(PREFACE);
        return Box::pin(speak(&proxy, connection, stream, is_http2)).await;
    };
    let (shared, source) = (&proxy.0, connection.ends.get().client.ip());
    let handshake = Box::pin(shared.accept.accept(stream, certificates, source));
    drop(listener);
    let timeout = shared.options.handshake_timeout;
    match attend::within(&shared.book.clock, connection, timeout, handshake).await {
        Some(Ok((stream, negotiated))) => {
            let is_http2 = negotiated.protocol == Some(Alpn::H2);
            *connection.tls.borrow_mut() = Some(Rc::new(negotiated));
            connection.idle_since.set(proxy.now_ns());
            Box::pin(speak(&proxy, connection, stream, is_http2)).await;
        }
        Some(Err(_)) => shared.book.counters.limited(Limit::Handshake),
        None => {
            let limit = connection.limit(proxy.now_ns(), Limit::HandshakeTime);
            shared.book.counters.limited(limit);
        }
    }
}

/// Why a connection goes no further. `None`: the client has gone, or there is no way to
/// tell it.
type TurnedAway = Option<L7Reason>;

/// Looks at what a connection begins with.
async fn prologue<N: Net, F: Forward, A: Accept, S: Stream>(
    proxy: &Proxy<N, F, A>,
    connection: &Connection,
    listener: &Arc<Listener>,
    stream: &mut Peeked<S>,
) -> Result<(), TurnedAway> {
    let shared = &proxy.0;
    let (clock, options) = (&shared.book.clock, &shared.options);
    let trusted = &listener.trusted;
    if trusted.speak_proxy_protocol && trusted.contains(connection.peer.ip()) {
        let header =
            attend::within(clock, connection, options.proxy_header_timeout, proxy_header(stream))
                .await;
        match header {
            Some(Ok(Some((client, local)))) => connection.ends.set(Ends { client, local }),
            Some(Ok(None)) => {}
            Some(Err(turned_away)) => {
                shared.book.counters.limited(Limit::ProxyHeader);
                return Err(turned_away.filter(|_| listener.certificates.is_none()));
            }
            None => {
                let limit = connection.limit(clock.now_ns(), Limit::ProxyHeader);
                shared.book.counters.limited(limit);
                return Err(None);
            }
        }
    }
    let is_encrypted = listener.certificates.is_some();
    let (timeout, limit) = match is_encrypted {
        true => (options.handshake_timeout, Limit::HandshakeTime),
        false => (options.head_timeout, Limit::HeadTime),
    };
    let beginning = async {
        while stream.seen().is_empty() || !is_encrypted && may_become_preface(stream.seen()) {
            if !stream.more().await.map_err(|_| None)? {
                // What has come is not the preface then, and is looked at as it is.
                return if stream.seen().is_empty() { Err(None) } else { Ok(()) };
            }
        }
        let is_handshake = stream.seen().first() == Some(&HANDSHAKE);
        if is_encrypted && !is_handshake { Err(Some(L7Reason::NotTls)) } else { Ok(()) }
    };
    let begun = attend::within(clock, connection, timeout, beginning).await;
    begun.unwrap_or_else(|| {
        let counts = connection.limit(clock.now_ns(), limit);
        shared.book.counters.limited(counts);
        let has_begun = counts == limit && !is_encrypted && !stream.seen().is_empty();
        Err(has_begun.then_some(L7Reason::RequestTimeout))
    })
}

fn may_become_preface(bytes: &[u8]) -> bool {
    bytes.len() < PREFACE.len() && PREFACE.starts_with(bytes)
}

type ProxyEnds = Option<(std::net::SocketAddr, std::net::SocketAddr)>;

/// Reads the header of a proxy in front.
async fn proxy_header<S: Stream>(stream: &mut Peeked<S>) -> Result<ProxyEnds, TurnedAway> {
    loop {
        let header = proxy_header::parse(stream.seen());
        if let Some(header) = header.map_err(|_| Some(L7Reason::BadProxyHeader))? {
            stream.discard(header.len);
            return Ok(header.ends);
        }
        if !stream.more().await.map_err(|_| None)? {
            return Err(None);
        }
    }
}

/// Answers a connection that goes no further, and ends it.
async fn turn_away<N: Net, F: Forward, A: Accept, S: Stream>(
    proxy: &Proxy<N, F, A>,
    connection: &Rc<Connection>,
    mut stream: Peeked<S>,
    reason: TurnedAway,
) {
    let shared = &proxy.0;
    let Some(reason) = reason else { return stream.abort() };
    let answer = refusal(proxy, connection, reason);
    let linger = Box::pin(attend::finish(&mut stream, &answer, true));
    attend::within(&shared.book.clock, connection, shared.options.linger_timeout, linger).await;
}

/// The answer to what is no request, which is written down.
fn refusal<N: Net, F: Forward, A: Accept>(
    proxy: &Proxy<N, F, A>,
    connection: &Rc<Connection>,
    reason: L7Reason,
) -> Vec<u8> {
    let mut entry = Entry::new(&proxy.0.book, connection);
    entry.refuse(reason);
    entry.is_complete = true;
    entry.bytes_out = proxy.0.answers.body_bytes(reason);
    proxy.0.answers.last(reason)
}

/// Serves the requests of a connection, then another protocol if one of them has asked
/// for it, and ends it.
async fn speak<N: Net, F: Forward, A: Accept, S: Stream>(
    proxy: &Proxy<N, F, A>,
    connection: &Rc<Connection>,
    stream: S,
    is_http2: bool,
) {
    let shared = &proxy.0;
    let options = &shared.options;
    let clock = &shared.book.clock;
    connection.spoken.set(if is_http2 { Spoken::Http2 } else { Spoken::Http1 });
    let limits = Limits { head: options.head, body_bytes: options.body_bytes_max };
    let guard = (!is_http2).then(|| Guard::new(limits));
    let wire = Wire::new(stream, guard, connection.clone(), clock.clone());
    let wire = Rc::new(RefCell::new(wire));
    let attendance = Attendance {
        connection,
        wire: &wire,
        clock,
        options,
        counters: &shared.book.counters,
        is_http2,
    };
    let is_in_order = match is_http2 {
        true => Box::pin(http_2(proxy, &attendance)).await,
        false => Box::pin(http_1(proxy, &attendance)).await,
    };
    let tunnel = connection.tunnel.take();
    let is_tunnel = tunnel.is_some();
    if is_tunnel {
        connection.spoken.set(Spoken::Other);
    }
    let is_in_order = match tunnel {
        Some(tunnel) if is_in_order => attendance.tunnel(tunnel).await,
        _ => is_in_order,
    };
    if !is_in_order {
        return wire.borrow_mut().stream.abort();
    }
    // A request that was wrong behind its head has been answered as such.
    let reason = connection
        .violation
        .get()
        .filter(|_| !is_tunnel && !wire.borrow().is_within && !connection.has_said_close.get());
    let answer = reason.map(|reason| refusal(proxy, connection, reason)).unwrap_or_default();
    let lingers = !wire.borrow().has_ended;
    let mut end = End(wire.clone());
    wire.borrow_mut().release();
    let linger = Box::pin(attend::finish(&mut end, &answer, lingers));
    attend::within(clock, connection, options.linger_timeout, linger).await;
}

/// Serves requests of HTTP/1.1 until there are no more. `false`: the connection is to be cut.
/// What the HTTP library needs for a connection goes while nothing is asked.
async fn http_1<N: Net, F: Forward, A: Accept, S: Stream>(
    proxy: &Proxy<N, F, A>,
    attendance: &Attendance<'_, S>,
) -> bool {
    loop {
        match Box::pin(requests(proxy, attendance)).await {
            Attended::Over(is_in_order) => return is_in_order,
            Attended::Cut => return false,
            Attended::Rests => {}
        }
        match attendance.rest().await {
            Attended::Over(Ok(())) if attendance.wire.borrow().has_come() => {}
            Attended::Over(Ok(())) => return true,
            _ => return false,
        }
    }
}

/// Serves requests of HTTP/1.1 until there are none for a while.
async fn requests<N: Net, F: Forward, A: Accept, S: Stream>(
    proxy: &Proxy<N, F, A>,
    attendance: &Attendance<'_, S>,
) -> Attended<bool> {
    let head = &attendance.options.head;
    let mut builder = http1::Builder::new();
    builder
        .auto_date_header(false)
        .half_close(true)
        .max_buf_size(head.bytes.max(BUFFER_SPARE) + BUFFER_SPARE);
    if head.headers > HEADERS_CHEAP {
        builder.max_headers(head.headers);
    }
    let wire = attendance.wire.clone();
    let requests = Requests {
        proxy: proxy.clone(),
        connection: attendance.connection.clone(),
        answered_upgrade: Rc::new(move |is_switched| {
            wire.borrow_mut().answered_upgrade(is_switched);
        }),
    };
    let service = service_fn(move |request| requests.answer(request));
    let io = TokioIo::new(End(attendance.wire.clone()));
    let mut served = builder.serve_connection(io, service);
    let attended =
        attendance.serve(Pin::new(&mut served), |served| served.graceful_shutdown(), true).await;
    match attended {
        Attended::Over(result) => {
            attendance.wire.borrow_mut().put_back(&served.into_parts().read_buf);
            Attended::Over(is_in_order(&result))
        }
        Attended::Cut => Attended::Cut,
        Attended::Rests => Attended::Rests,
    }
}

/// A client must not take an answer that breaks off for a whole one.
fn is_in_order(result: &hyper::Result<()>) -> bool {
    !result.as_ref().is_err_and(hyper::Error::is_user)
}

async fn http_2<N: Net, F: Forward, A: Accept, S: Stream>(
    proxy: &Proxy<N, F, A>,
    attendance: &Attendance<'_, S>,
) -> bool {
    let options = &attendance.options.http2;
    let head_bytes = u32::try_from(attendance.options.head.bytes).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(Tasks(proxy.0.net.clone()));
    builder
        .timer(proxy.0.timing.clone())
        .auto_date_header(false)
        .max_concurrent_streams(options.streams_max)
        .initial_stream_window_size(options.stream_window_bytes)
        .initial_connection_window_size(options.connection_window_bytes)
        .max_frame_size(options.frame_bytes_max)
        .max_header_list_size(head_bytes)
        .max_send_buf_size(options.send_bytes_max)
        .max_pending_accept_reset_streams(options.pending_resets_max)
        .max_local_error_reset_streams(options.local_resets_max)
        .keep_alive_interval(options.ping_interval)
        .keep_alive_timeout(options.ping_timeout);
    let requests = Requests {
        proxy: proxy.clone(),
        connection: attendance.connection.clone(),
        answered_upgrade: Rc::new(|_| {}),
    };
    let service = service_fn(move |request| requests.answer(request));
    let io = TokioIo::new(End(attendance.wire.clone()));
    let served = builder.serve_connection(io, service);
    let attended = attendance.serve(pin!(served), |served| served.graceful_shutdown(), false).await;
    matches!(attended, Attended::Over(result) if is_in_order(&result))
}
