//! Requests come to endpoints, whatever these do.

mod answers;
mod balance;
mod bodies;
mod early;
mod http2;
mod keep_alive;
mod net;
mod policies;
mod proxy_protocol;
mod queue;
mod reasons;
mod retries;
mod servers;
mod storm;
mod tls;
mod upgrades;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use net::{TestNet, TestStream};
use sluice_l7::Alpn;
use sluice_l7::L7Reason;
use sluice_l7::http::{BodyError, Refusal, Sent, Terms};
use sluice_l7::upstream::{
    AnswerBody, AnswerError, Encrypt, EndpointState, UpstreamConfig, UpstreamCounters, Upstreams,
};
use sluice_tables::BackendId;
use sluice_tables::l7::{BackendProtocol, Endpoint, Upstream, UpstreamId};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

/// Longer than any test takes.
const HANGS: Duration = Duration::from_secs(60);

const END: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 40_000);

const TERMS: Terms = Terms {
    connect_timeout: Duration::from_secs(5),
    read_timeout: Duration::from_secs(60),
    send_timeout: Duration::from_secs(30),
    client: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    ends: (END, END),
};

/// Runs a test on one thread.
fn run<F: Future<Output = ()>>(test: impl FnOnce(World) -> F) {
    run_with(UpstreamConfig::default(), test);
}

/// Runs a test with bounds of its own. In the end nothing is left: no request that is
/// counted, no connection, no task.
fn run_with<F: Future<Output = ()>>(config: UpstreamConfig, test: impl FnOnce(World) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let world = World::new(config);
        let (net, upstreams) = (world.net.clone(), world.upstreams.clone());
        tokio::time::timeout(HANGS, async {
            test(world).await;
            upstreams.take_tables(&sluice_tables::l7::L7::default());
            until("all connections are closed", || upstreams.connections() == 0).await;
            drop(upstreams);
            until("all tasks are over", || {
                net.pass(Duration::from_secs(5));
                net.tasks() == 0
            })
            .await;
        })
        .await
        .expect("hangs");
    });
}

/// Waits until something is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    for turn in 0.. {
        if is_so() {
            return;
        }
        assert!(turn < 20_000, "never: {what}");
        if turn < 100 {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Lets everybody do what needs no time.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

type TestUpstreams = Upstreams<TestNet, Pretended, TestBody>;
type Answer = Result<Sent<AnswerBody<TestBody>>, Refusal>;

/// A worker's upstreams, and its time.
#[derive(Clone)]
struct World {
    net: TestNet,
    upstreams: TestUpstreams,
}

impl World {
    fn new(config: UpstreamConfig) -> Self {
        let net = TestNet::default();
        let upstreams = Upstreams::new(net.clone(), Pretended, config, 7);
        World { net, upstreams }
    }

    fn counters(&self) -> UpstreamCounters {
        self.upstreams.counters()
    }

    /// How an endpoint does.
    fn state(&self, addr: SocketAddr) -> EndpointState {
        let states = self.upstreams.endpoints();
        states.into_iter().find(|state| state.addr == addr).expect("an endpoint")
    }

    async fn send(&self, upstream: &Arc<Upstream>, request: Request<TestBody>) -> Answer {
        self.upstreams.send_to(upstream, request, TERMS).await
    }

    /// Sends a request beside the test.
    fn begin(
        &self,
        upstream: &Arc<Upstream>,
        request: Request<TestBody>,
    ) -> tokio::task::JoinHandle<Answer> {
        let (upstreams, upstream) = (self.upstreams.clone(), upstream.clone());
        tokio::task::spawn_local(async move { upstreams.send_to(&upstream, request, TERMS).await })
    }

    /// Sends GET / and reads the answer to its end.
    async fn get(&self, upstream: &Arc<Upstream>) -> Result<String, L7Reason> {
        let sent = self.send(upstream, get()).await.map_err(|refusal| refusal.reason)?;
        text(sent.response).await
    }
}

/// The body of an answer.
async fn text(response: Response<AnswerBody<TestBody>>) -> Result<String, L7Reason> {
    let body = response.into_body().collect().await;
    let bytes = body.map_err(|AnswerError(reason)| reason)?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

fn upstream(protocol: BackendProtocol, addrs: &[SocketAddr]) -> Arc<Upstream> {
    let endpoint = |addr: &SocketAddr| Endpoint { addr: *addr, id: BackendId::NONE };
    Arc::new(Upstream {
        id: UpstreamId(1),
        name: "shop/web:80".into(),
        protocol,
        sends_proxy_protocol: false,
        endpoints: addrs.iter().map(endpoint).collect(),
    })
}

fn http(addrs: &[SocketAddr]) -> Arc<Upstream> {
    upstream(BackendProtocol::Http, addrs)
}

fn get() -> Request<TestBody> {
    request(Method::GET, TestBody::Empty)
}

/// Asks to go on with the protocol `echo`.
fn upgrade() -> Request<TestBody> {
    let mut request = get();
    request.headers_mut().insert("upgrade", "echo".parse().unwrap());
    request.headers_mut().insert("connection", "upgrade".parse().unwrap());
    request
}

fn request(method: Method, body: TestBody) -> Request<TestBody> {
    let request = Request::builder().method(method).uri("/");
    request.header("host", "shop.example").body(body).unwrap()
}

/// A request for HTTP/2.
fn get2() -> Request<TestBody> {
    let request = Request::builder().uri("http://shop.example/").version(http::Version::HTTP_2);
    request.body(TestBody::Empty).unwrap()
}

/// A body that a test sends.
#[derive(Default)]
enum TestBody {
    #[default]
    Empty,
    Whole(Option<Bytes>),
    Parts(mpsc::UnboundedReceiver<Result<Frame<Bytes>, BodyError>>),
}

impl TestBody {
    fn whole(text: &'static str) -> Self {
        TestBody::Whole(Some(Bytes::from_static(text.as_bytes())))
    }

    fn parts() -> (Parts, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Parts(sender), TestBody::Parts(receiver))
    }
}

/// What sends a body in parts; its end is where it is dropped.
struct Parts(mpsc::UnboundedSender<Result<Frame<Bytes>, BodyError>>);

impl Parts {
    fn send(&self, data: impl Into<Bytes>) {
        let _ = self.0.send(Ok(Frame::data(data.into())));
    }

    fn fail(&self, error: BodyError) {
        let _ = self.0.send(Err(error));
    }

    /// Nobody reads it any more.
    fn is_dropped(&self) -> bool {
        self.0.is_closed()
    }
}

impl Body for TestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            TestBody::Empty => Poll::Ready(None),
            TestBody::Whole(bytes) => Poll::Ready(bytes.take().map(Frame::data).map(Ok)),
            TestBody::Parts(receiver) => receiver.poll_recv(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, TestBody::Empty | TestBody::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            TestBody::Empty | TestBody::Whole(None) => SizeHint::with_exact(0),
            TestBody::Whole(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            TestBody::Parts(_) => SizeHint::default(),
        }
    }
}

/// TLS that is none: what is agreed on is what the upstream speaks.
struct Pretended;

impl Encrypt<TestStream> for Pretended {
    type Stream = TestStream;

    fn connect(
        &self,
        stream: TestStream,
        upstream: &Arc<Upstream>,
    ) -> impl Future<Output = io::Result<(TestStream, Option<Alpn>)>> + 'static {
        let alpn = upstream.protocol.is_http2().then_some(Alpn::H2);
        async move { Ok((stream, alpn)) }
    }
}
