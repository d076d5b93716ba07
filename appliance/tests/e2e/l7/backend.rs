//! A server in a pod: says what it was asked, in HTTP/1.1 and HTTP/2, with TLS and without.

use crate::lab::Lab;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_TYPE, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SERVER, UPGRADE,
};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::net::Ipv6Addr;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Where it listens.
pub const PORT: u16 = 8090;

/// Where it listens in TLS.
pub const TLS_PORT: u16 = 8453;

/// How long what it has begun may take at its end.
const GRACE: Duration = Duration::from_secs(1);

/// A server of a pod's, until it is dropped: then it answers what it was asked, and ends.
pub struct Backend {
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Where a request has come to.
#[derive(Clone, Copy)]
struct Door {
    pod: &'static str,
    port: u16,
    is_encrypted: bool,
}

impl Backend {
    /// Serves in a pod's namespace, at all of its addresses.
    pub fn start(lab: &Lab, pod: &'static str) -> Backend {
        Self::start_as(lab, pod, pod, &[PORT])
    }

    /// Serves in a namespace, in the name of a pod, at ports; in TLS at [`TLS_PORT`] if
    /// [`PORT`] is among them.
    pub fn start_as(lab: &Lab, namespace: &str, pod: &'static str, ports: &[u16]) -> Backend {
        let plain = ports.iter().map(|port| Door { pod, port: *port, is_encrypted: false });
        let encrypted = Door { pod, port: TLS_PORT, is_encrypted: true };
        let encrypted = ports.contains(&PORT).then_some(encrypted);
        let doors: Vec<_> = plain.chain(encrypted).collect();
        let (stop, stopped) = watch::channel(());
        let (listens, listening) = std::sync::mpsc::channel();
        let thread = lab.spawn(namespace, move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut serving = JoinSet::new();
                for door in doors {
                    let address = (Ipv6Addr::UNSPECIFIED, door.port);
                    let listener = TcpListener::bind(address).await.unwrap();
                    serving.spawn(serve(listener, door, stopped.clone()));
                }
                listens.send(()).unwrap();
                serving.join_all().await;
            });
        });
        listening.recv().expect("a pod's server listens");
        Backend { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves until whoever would say that it is over is gone.
async fn serve(listener: TcpListener, door: Door, mut stopped: watch::Receiver<()>) {
    let tls = door.is_encrypted.then(acceptor);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(connection(stream, door, tls.clone(), stopped.clone()));
            }
            Some(_) = connections.join_next() => {}
            _ = stopped.changed() => break,
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, connections.join_all()).await;
}

/// TLS with a certificate that nobody has to believe, as pods' own often are.
fn acceptor() -> TlsAcceptor {
    let signed = rcgen::generate_simple_self_signed(["pod".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth();
    let mut config = config.with_single_cert(vec![signed.cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config).into()
}

async fn connection(
    stream: TcpStream,
    door: Door,
    tls: Option<TlsAcceptor>,
    stopped: watch::Receiver<()>,
) {
    let _ = stream.set_nodelay(true);
    if let Some(tls) = tls {
        let Ok(stream) = tls.accept(stream).await else { return };
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        return answers(stream, door, is_http2, stopped).await;
    }
    let mut first = [0; 3];
    // Nobody's method is so short.
    let is_http2 = matches!(stream.peek(&mut first).await, Ok(3)) && first == *b"PRI";
    answers(stream, door, is_http2, stopped).await;
}

async fn answers(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    door: Door,
    is_http2: bool,
    mut stopped: watch::Receiver<()>,
) {
    let service = service_fn(move |request| answer(request, door));
    let io = TokioIo::new(stream);
    // Whoever hangs up does. Those that are open at the end have been answered.
    macro_rules! serve {
        ($served:expr) => {{
            let mut served = pin!($served);
            tokio::select! {
                _ = served.as_mut() => return,
                _ = stopped.changed() => served.as_mut().graceful_shutdown(),
            }
            let _ = served.await;
        }};
    }
    if is_http2 {
        serve!(http2::Builder::new(TokioExecutor::new()).serve_connection(io, service));
    } else {
        serve!(http1::Builder::new().serve_connection(io, service).with_upgrades());
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(
    mut request: Request<Incoming>,
    door: Door,
) -> Result<Response<Body>, hyper::Error> {
    let path = request.uri().path().to_owned();
    if request.headers().contains_key(UPGRADE) {
        return Ok(switch(&mut request));
    }
    let mut elements = path.rsplit('/');
    let last = elements.next().unwrap_or_default();
    match elements.next().unwrap_or_default() {
        "status" => {
            let status = last.parse().unwrap_or(StatusCode::BAD_REQUEST);
            return Ok(with(status, full("")));
        }
        "bytes" => {
            let bytes = vec![b'x'; last.parse().unwrap_or(0)];
            return Ok(with(StatusCode::OK, full(bytes)));
        }
        "sleep" => tokio::time::sleep(Duration::from_millis(last.parse().unwrap_or(0))).await,
        "trailers" => {
            request.into_body().collect().await?;
            return Ok(with(StatusCode::OK, trailers()));
        }
        _ => {}
    }
    let (parts, body) = request.into_parts();
    let body = body.collect().await?;
    let mut headers = Map::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        let known = headers.entry(name.as_str()).or_insert(Value::Array(Vec::new()));
        known.as_array_mut().unwrap().push(value.into());
    }
    let told = json!({
        "pod": door.pod,
        "port": door.port,
        "tls": door.is_encrypted,
        "method": parts.method.as_str(),
        "target": parts.uri.to_string(),
        "version": format!("{:?}", parts.version),
        "headers": headers,
        "body_len": body.to_bytes().len(),
    });
    let mut response = with(StatusCode::OK, full(told.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn with(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(SERVER, HeaderValue::from_static("pod"));
    response
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// A body whose end says how it went, as gRPC does.
fn trailers() -> Body {
    let mut end = HeaderMap::new();
    end.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Ok(Frame::data(Bytes::from_static(b"data"))), Ok(Frame::trailers(end))];
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
}

/// Another protocol: what comes goes back.
fn switch(request: &mut Request<Incoming>) -> Response<Body> {
    let protocol = request.headers()[UPGRADE].clone();
    let mut response = with(StatusCode::SWITCHING_PROTOCOLS, full(""));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    let key = request.headers().get(SEC_WEBSOCKET_KEY);
    let accept = key.map(|key| derive_accept_key(key.as_bytes()));
    let is_websocket = accept.is_some() && protocol == "websocket";
    if let Some(accept) = accept {
        let accept = HeaderValue::try_from(accept).unwrap();
        response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response.headers_mut().insert(UPGRADE, protocol);
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        if is_websocket {
            return messages(upgraded).await;
        }
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    response
}

async fn messages(upgraded: Upgraded) {
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        let is_ours = message.is_text() || message.is_binary();
        if is_ours && socket.send(message).await.is_err() {
            return;
        }
    }
}
