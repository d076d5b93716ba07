//! All of L7 put together: clients' connections, TLS, requests, endpoints.

use crate::Alpn;
use crate::asks::{Ask, CLIENTS_MAX, EJECTED_MAX, Ejected};
use crate::http::{
    Accept, HttpCounts, Negotiated, NotAccepted, Observer, Proxy, ProxyOptions, RequestBody,
    TlsVersion,
};
use crate::net::{Net, Stream};
use crate::tls::{self, Connector, Handshakes, ProtocolVersion, TlsRefusal, TlsStream, Verify};
use crate::upstream::{Encrypt, UpstreamConfig, UpstreamCounters, Upstreams};
use sluice_tables::l7::{Certificates, L7, ListenerId, Upstream};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// How L7 is set up, the same for all workers.
#[derive(Clone, Debug, Default)]
pub struct ServingOptions {
    /// What clients may do.
    pub proxy: ProxyOptions,
    /// Bounds of what there is of upstreams.
    pub upstreams: UpstreamConfig,
}

/// What serves requests on one thread.
pub struct Serving<N: Net> {
    net: N,
    proxy: Serves<N>,
    upstreams: Sends<N>,
}

type Sends<N> = Upstreams<N, Encrypts, RequestBody>;

/// A proxy with everything that it needs.
pub type Serves<N> = Proxy<N, Sends<N>, Accepts<N>>;

/// What has been done, as others are told of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Served {
    /// What clients did.
    pub http: Option<HttpCounts>,
    /// What was done with upstreams.
    pub upstreams: UpstreamCounters,
    /// Clients' connections that are served.
    pub clients: usize,
    /// Connections to endpoints.
    pub endpoints: usize,
}

impl<N: Net> Serving<N> {
    /// Serves nobody before it has tables. The seed is for the choice of endpoints.
    ///
    /// # Errors
    /// TLS with endpoints cannot be set up.
    pub fn new(
        net: N,
        options: &ServingOptions,
        handshakes: &Handshakes,
        observer: Rc<dyn Observer>,
        seed: u64,
    ) -> io::Result<Self> {
        let connector = Connector::new(handshakes, &Verify::Nothing)?;
        let upstreams = Upstreams::new(net.clone(), Encrypts(connector), options.upstreams, seed);
        let accepts = Accepts { net: net.clone(), handshakes: handshakes.clone() };
        let proxy =
            Proxy::new(net.clone(), options.proxy.clone(), upstreams.clone(), accepts, observer);
        Ok(Serving { net, proxy, upstreams })
    }

    /// The proxy.
    pub fn proxy(&self) -> &Serves<N> {
        &self.proxy
    }

    /// Serves a connection.
    pub fn accept(&self, stream: N::Stream, listener: ListenerId) {
        self.net.spawn(self.proxy.serve(stream, listener));
    }

    /// Takes the tables that count from now on.
    pub fn take_tables(&self, tables: &L7) {
        self.upstreams.take_tables(tables);
        drop(self.proxy.set_tables(tables.clone()));
    }

    /// Ends everything in order ([`Proxy::drain`]), and then what is kept to endpoints.
    pub fn drain(&self, until_ns: u64) {
        self.proxy.drain(until_ns);
        let (net, upstreams) = (self.net.clone(), self.upstreams.clone());
        self.net.spawn(async move {
            net.sleep_until(until_ns).await;
            upstreams.drain();
        });
    }

    /// What has been done so far.
    pub fn served(&self) -> Served {
        Served {
            http: Some(self.proxy.counts()),
            upstreams: self.upstreams.counters(),
            clients: self.proxy.connections(),
            endpoints: self.upstreams.connections(),
        }
    }

    /// Answers a question, unless nobody waits for it any more.
    pub fn answer(&self, ask: Ask) {
        match ask {
            Ask::Clients { client, max, reply } => {
                let _ = reply.try_send(self.proxy.clients(client, max.min(CLIENTS_MAX)));
            }
            Ask::Ejected { reply } => {
                let now_ns = self.net.now_ns();
                let left_out = self.upstreams.endpoints().into_iter().filter_map(|endpoint| {
                    let for_ns = endpoint.ejected_until_ns?.saturating_sub(now_ns);
                    Some(Ejected { endpoint, for_ns })
                });
                let _ = reply.try_send(left_out.take(EJECTED_MAX).collect());
            }
        }
    }
}

/// Ends TLS with clients.
#[derive(Clone)]
pub struct Accepts<N> {
    net: N,
    handshakes: Handshakes,
}

impl<N: Net> Accept for Accepts<N> {
    type Stream<S: Stream> = TlsStream<S>;

    fn accept<S: Stream>(
        &self,
        stream: S,
        certificates: &Arc<Certificates>,
        source: IpAddr,
    ) -> impl Future<Output = Result<(TlsStream<S>, Negotiated), NotAccepted>> + 'static {
        let made = self.handshakes.accept(stream, certificates, source, self.net.now_ns());
        async move {
            let made = made.await.map_err(|refused| not_accepted(refused.refusal));
            made.map(|(stream, agreed)| (stream, negotiated(agreed)))
        }
    }
}

fn negotiated(agreed: tls::Negotiated) -> Negotiated {
    Negotiated {
        protocol: agreed.alpn,
        server_name: agreed.server_name,
        client_auth: agreed.client_auth,
        version: match agreed.version {
            ProtocolVersion::TLSv1_2 => TlsVersion::Tls12,
            _ => TlsVersion::Tls13,
        },
    }
}

fn not_accepted(refusal: TlsRefusal) -> NotAccepted {
    match refusal {
        TlsRefusal::UnknownName => NotAccepted::NoCertificate,
        TlsRefusal::SourceLimit | TlsRefusal::Shed | TlsRefusal::Stopping => NotAccepted::TooMany,
        TlsRefusal::Closed => NotAccepted::Closed,
        _ => NotAccepted::Failed,
    }
}

/// Begins TLS with endpoints.
pub struct Encrypts(Connector);

impl<S: Stream> Encrypt<S> for Encrypts {
    type Stream = TlsStream<S>;

    fn connect(
        &self,
        stream: S,
        upstream: &Arc<Upstream>,
    ) -> impl Future<Output = io::Result<(TlsStream<S>, Option<Alpn>)>> + 'static {
        let is_http2 = upstream.protocol.is_http2();
        let offered = if is_http2 { Alpn::H2 } else { Alpn::Http11 };
        let made = self.0.connect(stream, None, offered);
        async move {
            let stream = made.await.map_err(|refusal| io::Error::other(refusal.label()))?;
            // The handshake has failed where HTTP/2 was not agreed on.
            Ok((stream, is_http2.then_some(Alpn::H2)))
        }
    }
}
