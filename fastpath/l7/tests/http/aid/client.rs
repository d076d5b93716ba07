use super::net::TestNet;
use super::upstreams::On;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::TokioIo;
use sluice_l7::net::Net;
use std::cell::Cell;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// An answer, as a client reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Answer {
    /// The values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let of = self.headers.iter().filter(|header| header.0.eq_ignore_ascii_case(name));
        of.map(|header| &*header.1).collect()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

fn headers<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let split = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_owned(), value.to_owned())
    };
    lines.map(split).collect()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Takes the first answer off what has come, if it is whole.
fn take_answer(bytes: &mut Vec<u8>, is_head: bool) -> Option<Answer> {
    let end = find(bytes, b"\r\n\r\n")?;
    let text = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap();
    let status = line.strip_prefix("HTTP/1.1 ").or(line.strip_prefix("HTTP/1.0 ")).expect(line);
    let mut answer = Answer {
        status: status[..3].parse().unwrap(),
        headers: headers(lines),
        ..Answer::default()
    };
    let mut at = end + 4;
    if is_head || answer.status < 200 || matches!(answer.status, 204 | 304) {
        bytes.drain(..at);
        return Some(answer);
    }
    if answer.all("transfer-encoding") == ["chunked"] {
        loop {
            let line = find(&bytes[at..], b"\r\n")?;
            let size = std::str::from_utf8(&bytes[at..at + line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            at += line + 2;
            if size == 0 {
                break;
            }
            answer.body.extend_from_slice(bytes.get(at..at + size)?);
            at += size + 2;
        }
        let end =
            if bytes[at..].starts_with(b"\r\n") { 0 } else { find(&bytes[at..], b"\r\n\r\n")? + 2 };
        let trailers = std::str::from_utf8(&bytes[at..at + end]).unwrap();
        answer.trailers = headers(trailers.split("\r\n").filter(|line| !line.is_empty()));
        bytes.drain(..at + end + 2);
        return Some(answer);
    }
    let length = answer.all("content-length");
    let length: usize = length.first().map_or(0, |length| length.parse().unwrap());
    answer.body = bytes.get(at..at + length)?.to_vec();
    bytes.drain(..at + length);
    Some(answer)
}

/// All answers that have come.
pub fn answers_of(mut bytes: Vec<u8>) -> Vec<Answer> {
    let answers = std::iter::from_fn(|| take_answer(&mut bytes, false)).collect();
    assert!(bytes.is_empty(), "{:?}", String::from_utf8_lossy(&bytes));
    answers
}

/// Somebody who speaks HTTP/1.1 by hand.
pub struct Client {
    pipe: DuplexStream,
    is_aborted: Rc<Cell<bool>>,
    came: Vec<u8>,
}

impl Client {
    pub fn new(pipe: DuplexStream, is_aborted: Rc<Cell<bool>>) -> Self {
        Client { pipe, is_aborted, came: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.pipe.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends a request without a body, and waits for its answer.
    pub async fn get(&mut self, host: &str, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        self.answer().await
    }

    pub async fn answer(&mut self) -> Answer {
        self.answer_to(false).await.expect("an answer")
    }

    pub async fn answer_to_head(&mut self) -> Answer {
        self.answer_to(true).await.expect("an answer")
    }

    /// The next answer. `None`: the connection ends before it.
    pub async fn answer_to(&mut self, is_head: bool) -> Option<Answer> {
        loop {
            if let Some(answer) = take_answer(&mut self.came, is_head) {
                return Some(answer);
            }
            if self.pipe.read_buf(&mut self.came).await.unwrap() == 0 {
                return None;
            }
        }
    }

    /// The connection, and what has come of it and was no answer.
    pub fn into_parts(self) -> (DuplexStream, Vec<u8>) {
        (self.pipe, self.came)
    }

    /// Everything that comes until the gateway ends its side.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut came = std::mem::take(&mut self.came);
        self.pipe.read_to_end(&mut came).await.unwrap();
        came
    }

    /// The gateway ends the connection in order, and says nothing more.
    pub async fn is_ended(&mut self) {
        let rest = self.rest().await;
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
        assert!(!self.is_aborted.get(), "aborted");
    }

    /// The gateway has cut the connection, behind what has come.
    pub async fn is_cut_behind(&mut self, end: &str) {
        let came = String::from_utf8(self.rest().await).unwrap();
        assert!(came.ends_with(end), "{came:?}");
        assert!(self.is_aborted.get(), "not aborted");
    }

    /// Ends its own side.
    pub async fn shut(&mut self) {
        self.pipe.shutdown().await.unwrap();
    }
}

/// Somebody who speaks HTTP/2.
pub struct Client2 {
    pub sender: SendRequest<Full<Bytes>>,
    pub is_over: Rc<Cell<bool>>,
}

impl Client2 {
    /// Begins to, by prior knowledge or in what a handshake has made.
    pub async fn new(net: &TestNet, client: Client) -> Client2 {
        let io = TokioIo::new(client.into_parts().0);
        let handshake = hyper::client::conn::http2::handshake(On(net.clone()), io);
        let (sender, connection) = handshake.await.unwrap();
        let is_over = Rc::new(Cell::new(false));
        let over = is_over.clone();
        net.spawn(async move {
            drop(connection.await);
            over.set(true);
        });
        Client2 { sender, is_over }
    }

    pub async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    /// Status, headers, body and trailers of an answer.
    pub async fn ask(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> (u16, HeaderMap, Vec<u8>, Option<HeaderMap>) {
        let (head, body) = self.send(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned();
        (head.status.as_u16(), head.headers, body.to_bytes().to_vec(), trailers)
    }
}

/// A request of HTTP/2.
pub fn h2_request(
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()
}

/// How a connection of HTTP/2 begins: the preface, and no settings.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// HEADERS of a request for `http://a/`.
pub fn get_of_stream(stream: u32) -> Vec<u8> {
    // END_STREAM and END_HEADERS; :method GET, :scheme http, :path /, :authority a.
    let (frame, block) = ([0, 0, 6, 1, 5], [0x82, 0x86, 0x84, 0x41, 1, b'a']);
    [&frame[..], &stream.to_be_bytes(), &block].concat()
}
