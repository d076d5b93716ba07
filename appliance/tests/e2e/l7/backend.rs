//! A server in a pod: says what it was asked, in HTTP/1.1 and HTTP/2.

use crate::lab::Lab;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::net::Ipv6Addr;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Where it listens.
pub const PORT: u16 = 8090;

/// A server of a pod's, until it is dropped.
pub struct Backend {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    /// Serves in a pod's namespace, at all of its addresses.
    pub fn start(lab: &Lab, pod: &'static str) -> Backend {
        let (stop, stopped) = oneshot::channel();
        let (listens, listening) = std::sync::mpsc::channel();
        let thread = lab.spawn(pod, move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)).await.unwrap();
                listens.send(()).unwrap();
                tokio::select! {
                    () = serve(listener, pod) => {}
                    _ = stopped => {}
                }
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

async fn serve(listener: TcpListener, pod: &'static str) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(connection(stream, pod));
    }
}

async fn connection(stream: TcpStream, pod: &'static str) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(request, pod));
    let mut first = [0; 3];
    // Nobody's method is so short.
    let is_http2 = matches!(stream.peek(&mut first).await, Ok(3)) && first == *b"PRI";
    let io = TokioIo::new(stream);
    // Whoever hangs up does.
    if is_http2 {
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
    } else {
        let served = http1::Builder::new().serve_connection(io, service).with_upgrades();
        let _ = served.await;
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(
    mut request: Request<Incoming>,
    pod: &'static str,
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
        "pod": pod,
        "method": parts.method.as_str(),
        "target": parts.uri.to_string(),
        "version": format!("{:?}", parts.version),
        "headers": headers,
        "body_len": body.to_bytes().len(),
    });
    Ok(with(StatusCode::OK, full(told.to_string())))
}

fn with(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
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
    StreamBody::new(futures_util::stream::iter(frames)).boxed()
}

/// Another protocol: what comes goes back.
fn switch(request: &mut Request<Incoming>) -> Response<Body> {
    let protocol = request.headers()[UPGRADE].clone();
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
            let _ = tokio::io::copy(&mut read, &mut write).await;
        }
    });
    let mut response = with(StatusCode::SWITCHING_PROTOCOLS, full(""));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, protocol);
    response
}
