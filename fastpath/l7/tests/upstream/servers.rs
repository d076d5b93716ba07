//! Endpoints that do what a test says.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An endpoint. It closes its listener and connections when it is dropped.
pub struct Server {
    pub addr: SocketAddr,
    accepted: Rc<Cell<usize>>,
    tasks: Rc<RefCell<Vec<tokio::task::JoinHandle<()>>>>,
}

impl Server {
    /// Does the same with every connection, which it is given the number of.
    pub async fn new<F: Future<Output = ()> + 'static>(
        serve: impl Fn(usize, TcpStream) -> F + 'static,
    ) -> Self {
        Server::at("127.0.0.1:0", serve).await
    }

    pub async fn at<F: Future<Output = ()> + 'static>(
        addr: &str,
        serve: impl Fn(usize, TcpStream) -> F + 'static,
    ) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let accepted = Rc::new(Cell::new(0));
        let tasks = Rc::new(RefCell::new(Vec::new()));
        let (count, all) = (accepted.clone(), tasks.clone());
        let accepting = tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.replace(count.get() + 1);
                let serving = tokio::task::spawn_local(serve(number, stream));
                all.borrow_mut().push(serving);
            }
        });
        tasks.borrow_mut().push(accepting);
        Server { addr, accepted, tasks }
    }

    /// Answers every request with its name, over connections that stay.
    pub async fn named(name: &'static str) -> Self {
        Server::new(move |_, mut stream| async move {
            while head(&mut stream).await.is_some() {
                answer(&mut stream, name).await;
            }
        })
        .await
    }

    /// Connections that it has had.
    pub fn accepted(&self) -> usize {
        self.accepted.get()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.take().iter().for_each(|task| task.abort());
    }
}

/// An address that refuses connections.
pub async fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// The head of a request; `None`: there is none any more.
pub async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// A whole request whose body has a length: its head and its body.
pub async fn whole(stream: &mut TcpStream) -> Option<(String, String)> {
    let head = head(stream).await?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, String::from_utf8(body).unwrap()))
}

/// Answers 200 with a text.
pub async fn answer(stream: &mut TcpStream, text: &str) {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    let _ = stream.write_all(answer.as_bytes()).await;
}

/// Ends a connection with RST.
pub fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

/// Waits until the other end has closed.
pub async fn closed(stream: &mut TcpStream) {
    let mut rest = [0; 1024];
    while !matches!(stream.read(&mut rest).await, Ok(0) | Err(_)) {}
}

/// Serves HTTP/2 on a connection.
pub async fn http2<F: Future<Output = Response<Full<Bytes>>> + 'static>(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    streams_max: u32,
    respond: impl Fn(Request<Incoming>) -> F + 'static,
) {
    let service = service_fn(move |request| {
        let response = respond(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let mut builder = hyper::server::conn::http2::Builder::new(LocalExec);
    builder.max_concurrent_streams(streams_max);
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

#[derive(Clone)]
pub struct LocalExec;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExec {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
