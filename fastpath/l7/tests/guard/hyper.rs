use super::send;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sluice_l7::guard::{Guard, Limits, Step};
use sluice_l7::{Framing, RequestHead};
use sluice_testkit::corpus::examples;
use std::convert::Infallible;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Random connections that are looked at.
const CONNECTIONS: u64 = 20_000;

/// The bodies of the requests that hyper reads from a connection.
fn by_hyper(sent: &[u8]) -> Vec<Vec<u8>> {
    let bodies = Mutex::new(Vec::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let service = service_fn(|request: Request<Incoming>| {
            let bodies = &bodies;
            async move {
                // One that is not whole is none.
                if let Ok(body) = request.into_body().collect().await {
                    bodies.lock().unwrap().push(body.to_bytes().to_vec());
                }
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
            }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .auto_date_header(false)
            .half_close(true)
            .serve_connection(TokioIo::new(server), service);
        let client = async {
            client.write_all(sent).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answers = Vec::new();
            let _ = client.read_to_end(&mut answers).await;
        };
        let _ = tokio::join!(served, client);
    });
    bodies.into_inner().unwrap()
}

/// The bodies of the whole requests among what passed, taken apart by hand.
fn by_hand(sent: &[u8]) -> Vec<Vec<u8>> {
    let mut guard = Guard::new(Limits::default());
    let (mut requests, mut rest): (Vec<(RequestHead, &[u8], bool)>, _) = (Vec::new(), sent);
    loop {
        match guard.step(rest) {
            Ok(Step::Head(head)) => {
                requests.push((head, &rest[head.len..head.len], guard.is_between()));
                rest = &rest[head.len..];
            }
            Ok(Step::Bytes(len)) => {
                if let Some((head, body, is_whole)) = requests.last_mut()
                    && !*is_whole
                {
                    let begin = body.as_ptr() as usize - sent.as_ptr() as usize;
                    let end = sent.len() - rest.len() + len;
                    (*body, *is_whole) = (&sent[begin..end], guard.is_between());
                    assert!(head.framing != Framing::Length(0));
                }
                rest = &rest[len..];
            }
            _ => break,
        }
    }
    let whole = requests.into_iter().filter(|(.., is_whole)| *is_whole);
    whole.map(|(head, body, _)| unchunked(head, body)).collect()
}

fn unchunked(head: RequestHead, mut body: &[u8]) -> Vec<u8> {
    if head.framing != Framing::Chunked {
        return body.to_vec();
    }
    let mut data = Vec::new();
    loop {
        let line = body.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = std::str::from_utf8(&body[..line]).unwrap().split(';').next().unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return data;
        }
        data.extend_from_slice(&body[line + 2..][..size]);
        body = &body[line + 2 + size + 2..];
    }
}

/// A few requests, most of them with a few bytes that are not as they should be.
fn connection(random: &mut fastrand::Rng) -> Vec<u8> {
    const LINES: [&str; 12] = [
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "X: x\r\n",
        "Connection: keep-alive\r\n",
        "Expect: 100-continue\r\n",
        "Host: b\r\n",
        "Content-Length: 12\r\n",
        "Trailer: X\r\n",
        "X-Y: \tz \r\n",
        "Accept: */*\r\n",
    ];
    const BODIES: [&str; 6] = [
        "hello",
        "",
        "5\r\nhello\r\n0\r\n\r\n",
        "5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\n\r\n",
        "0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "hello, world",
    ];
    const BYTES: &[u8] = b"\r\n\t \0:;,0159afx+-_\"\x0b\x0c\x7f\x80\xa0/*";
    let mut sent = Vec::new();
    for _ in 0..random.usize(1..4) {
        let version = if random.u8(0..8) == 0 { "1.0" } else { "1.1" };
        sent.extend(format!("POST /x HTTP/{version}\r\nHost: a\r\n").bytes());
        for _ in 0..random.usize(0..3) {
            sent.extend(LINES[random.usize(0..LINES.len())].bytes());
        }
        sent.extend(b"\r\n");
        sent.extend(BODIES[random.usize(0..BODIES.len())].bytes());
    }
    for _ in 0..random.usize(0..4) {
        let (at, byte) = (random.usize(0..sent.len()), BYTES[random.usize(0..BYTES.len())]);
        match random.u8(0..3) {
            0 => sent[at] = byte,
            1 => sent.insert(at, byte),
            _ => drop(sent.remove(at)),
        }
    }
    sent
}

#[track_caller]
fn agrees(sent: &[u8], requests: &mut usize) {
    let passed = send(Limits::default(), [sent]);
    let (hand, hyper) = (by_hand(&passed.bytes), by_hyper(&passed.bytes));
    let text = String::from_utf8_lossy(&passed.bytes);
    assert_eq!(hand, hyper, "{text:?}");
    *requests += hand.len();
}

#[test]
fn hyper_reads_the_same_requests() {
    let mut requests = 0;
    for example in examples() {
        agrees(&example.bytes, &mut requests);
    }
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..CONNECTIONS {
        agrees(&connection(&mut random), &mut requests);
    }
    assert!(requests as u64 > CONNECTIONS / 4, "{requests}");
}
