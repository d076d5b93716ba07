//! Requests of HTTP/2 that are made by chance, and what they are answered.

use super::{PATHS, one, rarely, still};
use crate::l7::wire;
use fastrand::Rng;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::error::Error;
use std::fmt::Write as _;
use tokio::net::TcpStream;

/// Requests of a family.
const REQUESTS: usize = 200;

/// Requests of a connection, one after the other.
const OF_A_CONNECTION: usize = 20;

type Body = BoxBody<Bytes, Infallible>;

/// What requests are answered at an address, without what differs from time to time. For
/// threads in the client's namespace.
pub fn answers(address: &str, seed: u64) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut random = Rng::with_seed(seed);
    runtime.block_on(async {
        let (mut answers, mut connection) = (Vec::new(), None);
        for number in 0..REQUESTS {
            // One that has ended has said so in the answer before.
            let open = connection.take().filter(|open: &SendRequest<Body>| !open.is_closed());
            let mut client = match open.filter(|_| number % OF_A_CONNECTION > 0) {
                Some(client) => client,
                None => connect(address).await,
            };
            let (request, shown) = request(&mut random);
            answers.push(format!("{shown}\n{}", answer(&mut client, request).await));
            connection = Some(client);
        }
        answers
    })
}

/// Without TLS, as one that knows what the gateway speaks.
async fn connect(address: &str) -> SendRequest<Body> {
    let stream = wire::connect(address, 80);
    stream.set_nonblocking(true).unwrap();
    let stream = TokioIo::new(TcpStream::from_std(stream).unwrap());
    let (client, connection) = handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    client
}

async fn answer(client: &mut SendRequest<Body>, request: Request<Body>) -> String {
    let failed = |error: hyper::Error| {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            write!(text, ": {error}").unwrap();
            source = error.source();
        }
        text
    };
    let response = match client.send_request(request).await {
        Ok(response) => response,
        Err(error) => return failed(error),
    };
    let (head, body) = response.into_parts();
    let mut text = format!("{}\n{}", head.status, lines(&head.headers));
    match body.collect().await {
        Ok(body) => {
            let trailers = body.trailers().map(lines).unwrap_or_default();
            text += &String::from_utf8_lossy(&body.to_bytes());
            text += &trailers;
        }
        Err(error) => text += &failed(error),
    }
    String::from_utf8(still(text.into_bytes())).unwrap()
}

fn lines(headers: &HeaderMap) -> String {
    let line = |(name, value): (_, &HeaderValue)| {
        format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
    };
    let mut lines: Vec<_> = headers.iter().map(line).collect();
    lines.sort();
    lines.concat()
}

/// A request, and what it is in words.
fn request(random: &mut Rng) -> (Request<Body>, String) {
    let methods = ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get"];
    let method = rarely(random, "GET", &methods);
    let target = rarely(random, "/", &PATHS);
    let host = rarely(random, "shop.example", &["other.example", "SECURE.example:80"]);
    let uri = format!("http://{host}{target}");
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap());
    request = request.uri(&uri);
    let mut shown = format!("{method} {uri}");
    let fields = [
        ("x-forwarded-for", "198.51.100.1"),
        ("x-real-ip", "198.51.100.1"),
        ("forwarded", "for=198.51.100.1"),
        ("x-request-id", "mine"),
        ("host", "shop.example"),
        ("host", "a.example"),
        ("cookie", "a=b"),
        ("cookie", "c=d"),
        ("expect", "something"),
        ("x-empty", ""),
        ("te", "trailers"),
        ("te", "gzip"),
        ("trailer", "x-checksum"),
        ("user-agent", "test"),
    ];
    for _ in 0..random.usize(..3) {
        let (name, value) = *one(random, &fields);
        request = request.header(name, value);
        write!(shown, ", {name}: {value}").unwrap();
    }
    let bytes = Bytes::from("x".repeat(random.usize(..1500)));
    // An endpoint that answers before a body has come, and hangs up on the rest of it, may take
    // its answer back: how much of that comes is a matter of time.
    let reads_body = !["/bytes/", "/status/"].iter().any(|early| target.starts_with(early));
    let (body, what) = match random.u8(..8) {
        _ if !reads_body => (Full::default().boxed(), "nothing".to_owned()),
        0 => (Full::new(bytes.clone()).boxed(), format!("{} bytes", bytes.len())),
        1 => (pieces(bytes.clone(), None), format!("{} bytes in pieces", bytes.len())),
        2 => {
            let trailers = HeaderMap::from_iter([(
                "x-checksum".parse().unwrap(),
                HeaderValue::from_static("1"),
            )]);
            (pieces(bytes, Some(trailers)), "pieces and trailers".to_owned())
        }
        _ => (Full::default().boxed(), "nothing".to_owned()),
    };
    (request.body(body).unwrap(), format!("{shown}, with {what}"))
}

/// A body whose length is not said before.
fn pieces(bytes: Bytes, trailers: Option<HeaderMap>) -> Body {
    let half = bytes.len() / 2;
    let data = [bytes.slice(..half), bytes.slice(half..)].map(Frame::data);
    let frames = data.into_iter().chain(trailers.map(Frame::trailers));
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames.map(Ok))))
}
