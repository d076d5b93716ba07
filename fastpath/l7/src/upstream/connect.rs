use super::counters::count;
use super::encrypt::{Encrypt, Wire};
use super::host::{Grant, Host, Opening, Owner, Slot, Turn};
use super::lease::{Kind, Lease, Multi};
use super::link::{Io, Link};
use super::{RequestBodies, Upstreams};
use crate::clock::{Alarm, after};
use crate::http::proxy_header;
use crate::net::Net;
use crate::{Alpn, L7Reason};
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use sluice_tables::l7::{BackendProtocol, Upstream};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

/// Windows of HTTP/2: what an endpoint may send that no client has taken yet.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;

/// Bytes of a request's body that wait for the endpoint's window.
const SEND_BUFFER: usize = 64 << 10;

/// What hyper needs at least for a head.
const HEAD_BYTES_MIN: usize = 8 << 10;

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoConnection {
    /// The endpoint is to blame, or the way to it.
    Failed(L7Reason),
    /// The gateway is.
    Refused(L7Reason),
    /// The endpoint has gone while it was waited for.
    Gone,
}

impl<N: Net, E: Encrypt<N::Stream>, B: RequestBodies> Upstreams<N, E, B> {
    /// A connection for a request of an owner's, `is_fresh`: that has not carried one yet.
    pub(super) async fn lease(
        &self,
        host: &Rc<Host<B>>,
        upstream: &Arc<Upstream>,
        (is_fresh, owner): (bool, Owner),
        timeout: Duration,
    ) -> Result<Lease<B>, NoConnection> {
        let shared = &self.0.shared;
        let (mut alarm, until_ns) = (Alarm::default(), after(shared.now_ns(), timeout));
        let grant = match host.turn(is_fresh, owner) {
            Turn::Now(grant) => grant,
            Turn::Full => {
                count(&shared.counting.overflow);
                return Err(NoConnection::Refused(L7Reason::UpstreamOverflow));
            }
            Turn::Wait(turn) => match alarm.within(&*shared.clock, until_ns, turn).await {
                Some(Ok(grant)) => grant,
                Some(Err(_)) => return Err(NoConnection::Gone),
                None => {
                    count(&shared.counting.connect_timed_out);
                    return Err(NoConnection::Refused(L7Reason::ConnectTimeout));
                }
            },
        };
        let slot = match grant {
            Grant::Lease(lease) => return Ok(lease),
            Grant::Slot(slot) => slot,
        };
        // Most requests take a connection that is there: none of them is to carry the room
        // that opening one takes.
        let opening = Box::pin(self.open(host, upstream, slot, owner));
        let Some(opened) = alarm.within(&*shared.clock, until_ns, opening).await else {
            count(&shared.counting.connect_timed_out);
            return Err(NoConnection::Failed(L7Reason::ConnectTimeout));
        };
        opened.map(|mut lease| {
            lease.alarm = alarm;
            lease
        })
    }

    async fn open(
        &self,
        host: &Rc<Host<B>>,
        upstream: &Arc<Upstream>,
        mut slot: Slot<B>,
        owner: Owner,
    ) -> Result<Lease<B>, NoConnection> {
        let shared = &self.0.shared;
        // Those who wait for it are served when it is there, or is not to be had.
        let opening = slot.opening.take();
        let mut stream = self.0.net.connect(host.addr).await.map_err(|error| {
            count(&shared.counting.connect_failed);
            not_connected(&error)
        })?;
        if let Some(ends) = owner {
            stream.write_all(&proxy_header::write(ends)).await.map_err(|_| {
                count(&shared.counting.reset);
                NoConnection::Failed(L7Reason::UpstreamReset)
            })?;
        }
        let wire = match upstream.protocol.is_encrypted() {
            false => Wire::Plain(stream),
            true => {
                let shaken = self.0.encrypt.connect(stream, upstream).await;
                let agreed = shaken.ok().filter(|(_, alpn)| is_agreed(upstream.protocol, *alpn));
                let Some((stream, _)) = agreed else {
                    count(&shared.counting.tls_failed);
                    return Err(NoConnection::Failed(L7Reason::UpstreamTls));
                };
                Wire::Tls(stream)
            }
        };
        count(&shared.counting.opened);
        self.sweep();
        let link = Link::new(shared.clone(), owner);
        let io = Io::new(wire, link.clone(), slot);
        let made = match upstream.protocol.is_http2() {
            true => self.begin_http2(host, io, link, opening).await,
            false => self.begin_http1(host, io, link).await,
        };
        made.map_err(|_| {
            count(&shared.counting.reset);
            NoConnection::Failed(L7Reason::UpstreamReset)
        })
    }

    async fn begin_http1<W: AsyncRead + AsyncWrite + Unpin + 'static>(
        &self,
        host: &Rc<Host<B>>,
        io: Io<W, B>,
        link: Rc<Link<B>>,
    ) -> hyper::Result<Lease<B>> {
        let mut builder = http1::Builder::new();
        let head_bytes_max = self.0.shared.config.head_bytes_max;
        builder.max_buf_size(head_bytes_max.max(HEAD_BYTES_MIN)).max_header_size(head_bytes_max);
        let (sender, connection) = builder.handshake(TokioIo::new(io)).await?;
        let (driven, driver) = (link.clone(), host.clone());
        self.0.net.spawn(async move {
            let mut connection = connection;
            let mut poll = |context: &mut Context<'_>| Pin::new(&mut connection).poll(context);
            poll_fn(|context| {
                let polled = driven.poll(context, |context| poll(context).map(drop));
                driver.serve_waiting();
                polled
            })
            .await;
            driven.go_on(|| {
                let parts = connection.into_parts();
                Box::new(parts.io.into_inner().put_back(parts.read_buf))
            });
            driver.forget(&driven);
        });
        Ok(Lease::new(host.clone(), link, Alarm::default(), Kind::One(sender)))
    }

    async fn begin_http2<W: AsyncRead + AsyncWrite + Unpin + 'static>(
        &self,
        host: &Rc<Host<B>>,
        io: Io<W, B>,
        link: Rc<Link<B>>,
        mut opening: Option<Opening<B>>,
    ) -> hyper::Result<Lease<B>> {
        let mut builder = http2::Builder::new(Exec(Rc::new(self.0.net.clone())));
        builder
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            // As long as the endpoint has not said how many it lets.
            .initial_max_send_streams(1)
            .max_header_list_size(
                u32::try_from(self.0.shared.config.head_bytes_max).unwrap_or(u32::MAX),
            );
        let (sender, connection) = builder.handshake(TokioIo::new(io)).await?;
        let connection = Rc::new(RefCell::new(connection));
        let seen = Rc::downgrade(&connection);
        let streams_max = move || {
            let seen = seen.upgrade();
            let seen = seen.as_ref().and_then(|connection| connection.try_borrow().ok());
            seen.map_or(0, |connection| connection.current_max_send_streams())
        };
        let (driven, driver) = (link.clone(), host.clone());
        self.0.net.spawn(async move {
            poll_fn(|context| {
                let polled = driven.poll(context, |context| {
                    Pin::new(&mut *connection.borrow_mut()).poll(context).map(drop)
                });
                if opening.is_some() && driven.is_settled(context) {
                    opening = None;
                }
                polled
            })
            .await;
            drop(connection);
            driver.forget(&driven);
        });
        let multi = Multi::new(sender, link, Box::new(streams_max));
        let lease = Lease::stream(host.clone(), multi.clone());
        host.add(multi);
        Ok(lease)
    }
}

fn not_connected(error: &io::Error) -> NoConnection {
    match error.kind() {
        io::ErrorKind::TimedOut => NoConnection::Failed(L7Reason::ConnectTimeout),
        io::ErrorKind::OutOfMemory => NoConnection::Refused(L7Reason::OutOfMemory),
        io::ErrorKind::AddrNotAvailable => NoConnection::Refused(L7Reason::ConnectFailed),
        _ => NoConnection::Failed(L7Reason::ConnectFailed),
    }
}

/// Whether the endpoint speaks in TLS what is spoken to it.
fn is_agreed(protocol: BackendProtocol, alpn: Option<Alpn>) -> bool {
    (alpn == Some(Alpn::H2)) == protocol.is_http2()
}

/// Runs the tasks of HTTP/2.
struct Exec<N>(Rc<N>);

impl<N> Clone for Exec<N> {
    fn clone(&self) -> Self {
        Exec(self.0.clone())
    }
}

impl<N: Net, F: Future<Output = ()> + 'static> Executor<F> for Exec<N> {
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}
