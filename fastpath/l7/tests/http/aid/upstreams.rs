use super::net::TestNet;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluice_l7::L7Reason;
use sluice_l7::http::{Duplex, Forward, Refusal, RequestBody, Sent, Terms, Upgrade};
use sluice_l7::net::Net;
use sluice_tables::l7::Upstream;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::DuplexStream;

/// What an endpoint has seen of a request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub upstream: String,
    pub method: String,
    pub uri: String,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
    pub terms: Terms,
}

impl Seen {
    /// The values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }
}

pub type TestBody = Pin<Box<dyn Body<Data = Bytes, Error = L7Reason>>>;

/// What an endpoint answers.
pub struct Reply(pub Result<Response<TestBody>, L7Reason>);

impl Reply {
    pub fn text(text: &'static str) -> Reply {
        let body = Full::new(Bytes::from_static(text.as_bytes()));
        Reply(Ok(Response::new(Box::pin(body.map_err(|never: Infallible| match never {})))))
    }

    pub fn status(status: u16) -> Reply {
        let body = Empty::new().map_err(|never: Infallible| match never {});
        let mut response: Response<TestBody> = Response::new(Box::pin(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Reply(Ok(response))
    }

    /// A body of frames, of which the last may be why it breaks off.
    pub fn frames(frames: Vec<Result<Frame<Bytes>, L7Reason>>) -> Reply {
        Reply::lazily(frames.into_iter())
    }

    /// Like [`Reply::frames`], with frames that are made when they are asked for.
    pub fn lazily(
        frames: impl Iterator<Item = Result<Frame<Bytes>, L7Reason>> + Unpin + 'static,
    ) -> Reply {
        Reply(Ok(Response::new(Box::pin(Frames { frames, pause: None }))))
    }

    /// Like [`Reply::frames`], with a second before each.
    pub fn slowly(frames: Vec<Result<Frame<Bytes>, L7Reason>>) -> Reply {
        let pause = Some(Box::pin(tokio::time::sleep(SLOWLY)));
        Reply(Ok(Response::new(Box::pin(Frames { frames: frames.into_iter(), pause }))))
    }

    pub fn refused(reason: L7Reason) -> Reply {
        Reply(Err(reason))
    }

    pub fn header(mut self, name: &'static str, value: &'static str) -> Reply {
        if let Ok(response) = &mut self.0 {
            response.headers_mut().append(name, value.parse().unwrap());
        }
        self
    }
}

/// How long slow ones take.
const SLOWLY: Duration = Duration::from_secs(1);

struct Frames<I> {
    frames: I,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<I: Iterator<Item = Result<Frame<Bytes>, L7Reason>> + Unpin> Body for Frames<I> {
    type Data = Bytes;
    type Error = L7Reason;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, L7Reason>>> {
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(context));
            pause.set(tokio::time::sleep(SLOWLY));
        }
        Poll::Ready(self.frames.next())
    }
}

type Answering = dyn Fn(
    Upstreams,
    Arc<Upstream>,
    Request<RequestBody>,
    Terms,
) -> Pin<Box<dyn Future<Output = Result<Response<TestBody>, L7Reason>>>>;

/// Everybody behind the gateway.
#[derive(Clone)]
pub struct Upstreams {
    answering: Rc<Answering>,
    pub seen: Rc<RefCell<Vec<Seen>>>,
    /// Requests that have begun to be sent.
    pub begun: Rc<Cell<u32>>,
}

impl Upstreams {
    fn new(answering: Rc<Answering>) -> Self {
        Upstreams { answering, seen: Rc::default(), begun: Rc::default() }
    }

    /// They read a request to its end, and answer it then.
    pub fn answering(answer: impl Fn(&Seen) -> Reply + 'static) -> Self {
        let answer = Rc::new(answer);
        Upstreams::new(Rc::new(move |this, upstream, request, terms| {
            let answer = answer.clone();
            Box::pin(async move {
                let seen = this.see(&upstream.name, request, terms).await;
                let seen = seen.map_err(|_| L7Reason::UpstreamReset)?;
                answer(&seen).0
            })
        }))
    }

    /// They answer before they have read anything.
    pub fn deciding<A>(answer: impl Fn(Request<RequestBody>) -> A + 'static) -> Self
    where
        A: Future<Output = Reply> + 'static,
    {
        Upstreams::new(Rc::new(move |_, _, request, _| {
            let reply = answer(request);
            Box::pin(async move { reply.await.0 })
        }))
    }

    /// Each request goes out over a connection of its own, to whoever a test lets serve it.
    pub fn wired<S>(net: TestNet, serve: impl Fn(DuplexStream) -> S + 'static) -> Self
    where
        S: Future<Output = ()> + 'static,
    {
        Upstreams::new(Rc::new(move |_, upstream, request, _| {
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            let net = net.clone();
            net.spawn(serve(theirs));
            let is_http2 = upstream.protocol.is_http2();
            Box::pin(async move {
                let response = exchange(&net, ours, request, is_http2).await;
                let response = response.map_err(|_| L7Reason::UpstreamReset)?;
                Ok(response.map(|body| -> TestBody {
                    Box::pin(body.map_err(|_| L7Reason::UpstreamReset))
                }))
            })
        }))
    }

    async fn see(
        &self,
        upstream: &str,
        request: Request<RequestBody>,
        terms: Terms,
    ) -> Result<Seen, sluice_l7::http::BodyError> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned();
        let seen = Seen {
            upstream: upstream.into(),
            method: head.method.to_string(),
            uri: head.uri.to_string(),
            version: head.version,
            headers: head.headers,
            body: body.to_bytes().to_vec(),
            trailers,
            terms,
        };
        self.seen.borrow_mut().push(seen.clone());
        Ok(seen)
    }
}

async fn exchange(
    net: &TestNet,
    pipe: DuplexStream,
    request: Request<RequestBody>,
    is_http2: bool,
) -> hyper::Result<Response<Incoming>> {
    if is_http2 {
        let io = TokioIo::new(pipe);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(On(net.clone()), io).await?;
        net.spawn(async move { drop(connection.await) });
        return sender.send_request(request).await;
    }
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(pipe)).await?;
    net.spawn(async move { drop(connection.with_upgrades().await) });
    sender.send_request(request).await
}

/// Runs the tasks of a client or a server.
#[derive(Clone)]
pub struct On(pub TestNet);

impl<T: Future<Output = ()> + 'static> Executor<T> for On {
    fn execute(&self, task: T) {
        self.0.spawn(task);
    }
}

/// An endpoint that hyper serves.
pub async fn served_by<A>(
    net: TestNet,
    pipe: DuplexStream,
    is_http2: bool,
    answer: impl Fn(Request<Incoming>) -> A + 'static,
) where
    A: Future<Output = Reply> + 'static,
{
    let service = service_fn(move |request| {
        let reply = answer(request);
        async move {
            let failed = |reason: L7Reason| std::io::Error::other(reason.label());
            let response = reply.await.0.map_err(failed)?;
            Ok::<_, std::io::Error>(response.map(|body| body.map_err(failed)))
        }
    });
    let io = TokioIo::new(pipe);
    if is_http2 {
        let served = hyper::server::conn::http2::Builder::new(On(net));
        drop(served.serve_connection(io, service).await);
    } else {
        drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service).await);
    }
}

impl Forward for Upstreams {
    type Body = TestBody;
    type Failure = L7Reason;

    fn send(
        &self,
        upstream: &Arc<Upstream>,
        request: Request<RequestBody>,
        terms: Terms,
    ) -> impl Future<Output = Result<Sent<TestBody>, Refusal>> + 'static {
        self.begun.set(self.begun.get() + 1);
        let endpoint = "10.1.0.7:8080".parse().unwrap();
        let answered = (self.answering)(self.clone(), upstream.clone(), request, terms);
        async move {
            match answered.await {
                Ok(mut response) => {
                    let upgraded = hyper::upgrade::on(&mut response);
                    let upgrade = Some(Upgrade::new(async {
                        let upgraded = TokioIo::new(upgraded.await.ok()?);
                        Some(Box::new(upgraded) as Box<dyn Duplex>)
                    }));
                    Ok(Sent { response, endpoint, attempts: 1, upgrade })
                }
                Err(reason) => Err(Refusal { reason, endpoint: Some(endpoint), attempts: 2 }),
            }
        }
    }
}
