use super::gather::gather;
use crate::gateway::Gateway;
use anyhow::Context;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Connections at once; more are closed.
pub const CONNECTIONS_MAX: usize = 64;

/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may live: a client that reads slowly ends with it.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest head of a request, in bytes (the least that the library takes).
const HEAD_BYTES_MAX: usize = 8192;

/// Pause after a connection could not be accepted (out of descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds the address.
///
/// # Errors
/// When it cannot be used.
pub fn bind(listen: SocketAddr) -> anyhow::Result<StdListener> {
    let listener = StdListener::bind(listen)
        .with_context(|| format!("metrics.listen: cannot listen at {listen}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers clients until the runtime ends.
///
/// # Errors
/// When the runtime cannot take the socket.
pub async fn serve(listener: StdListener, gateway: Arc<Gateway>) -> std::io::Result<()> {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let answer = move |method: Method, path: String| {
        let gateway = Arc::clone(&gateway);
        async move { respond(&method, &path, gateway).await }
    };
    accept(TcpListener::from_std(listener)?, connections, answer).await;
    Ok(())
}

/// Answers the clients of one socket until it is dropped: method and path of a
/// request go to `answer`. Clients beyond the limit that `connections` sets are
/// hung up on, as are slow ones.
pub async fn accept<A, F>(listener: TcpListener, connections: Arc<Semaphore>, answer: A)
where
    A: Fn(Method, String) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else { continue };
        let answer = answer.clone();
        tokio::spawn(async move {
            let _permit = permit;
            // A client that fails, or takes too long, concerns nobody else.
            let _ = timeout(CONNECTION_TIMEOUT, serve_connection(stream, answer)).await;
        });
    }
}

async fn serve_connection<A, F>(stream: TcpStream, answer: A) -> hyper::Result<()>
where
    A: Fn(Method, String) -> F,
    F: Future<Output = Response<Full<Bytes>>>,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(request.method().clone(), request.uri().path().to_owned());
        async move { Ok::<_, Infallible>(answer.await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn respond(method: &Method, path: &str, gateway: Arc<Gateway>) -> Response<Full<Bytes>> {
    if !matches!(path, "/metrics" | "/healthz" | "/readyz" | "/readyz/traffic") {
        let known = "there are /metrics, /healthz, /readyz and /readyz/traffic\n";
        return plain(StatusCode::NOT_FOUND, known);
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "expected GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/metrics" => metrics(gateway).await,
        "/healthz" => verdict(&gateway.unhealthy()),
        "/readyz" => ready(move || gateway.not_ready()).await,
        _ => ready(move || gateway.not_serving()).await,
    }
}

async fn ready(ask: impl FnOnce() -> Vec<String> + Send + 'static) -> Response<Full<Bytes>> {
    match spawn_blocking(ask).await {
        Ok(reasons) => verdict(&reasons),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the answer failed; see the log\n"),
    }
}

async fn metrics(gateway: Arc<Gateway>) -> Response<Full<Bytes>> {
    match spawn_blocking(move || gather(&gateway)).await {
        Ok(Ok(text)) => {
            let mut response = Response::new(Full::new(Bytes::from(text)));
            let kind = HeaderValue::from_static(prometheus::TEXT_FORMAT);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "metrics cannot be written");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written; see the log\n")
        }
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "metrics failed; see the log\n"),
    }
}

/// 200, or 503 with what is wrong, a line each.
fn verdict(wrong: &[String]) -> Response<Full<Bytes>> {
    if wrong.is_empty() {
        return plain(StatusCode::OK, "ok\n");
    }
    let text: String = wrong.iter().map(|line| format!("{line}\n")).collect();
    plain(StatusCode::SERVICE_UNAVAILABLE, text)
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
