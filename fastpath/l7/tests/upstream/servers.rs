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
use tokio::sync::Semaphore;

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

    /// Reads the head of a request, and never answers.
    pub async fn silent() -> Self {
        Server::new(|_, mut stream| async move {
            head(&mut stream).await;
            closed(&mut stream).await;
        })
        .await
    }

    /// Goes on with the protocol `echo`, whose first bytes come with the answer.
    pub async fn echo(first: &'static str) -> Self {
        Server::new(move |_, mut stream| async move {
            let asked = head(&mut stream).await.unwrap();
            assert!(asked.contains("upgrade: echo\r\n") && asked.contains("connection: upgrade"));
            let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\n\
                connection: upgrade\r\n\r\n";
            stream.write_all([answer, first].concat().as_bytes()).await.unwrap();
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
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

/// Where endpoints wait until a test lets them go on.
#[derive(Clone)]
pub struct Gate(Rc<Semaphore>);

impl Gate {
    pub fn shut() -> Self {
        Gate(Rc::new(Semaphore::new(0)))
    }

    /// Lets so many through.
    pub fn open(&self, many: usize) {
        self.0.add_permits(many);
    }

    pub async fn pass(&self) {
        self.0.acquire().await.unwrap().forget();
    }
}

/// An address that refuses connections.
pub async fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// The head of a request; `None`: there is none any more.
pub async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
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
pub async fn answer(stream: &mut (impl AsyncWrite + Unpin), text: &str) {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.flush().await;
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
