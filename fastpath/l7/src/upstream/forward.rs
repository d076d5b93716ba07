use super::answer::{AnswerBody, AnswerError};
use super::connect::NoConnection;
use super::counters::count;
use super::encrypt::Encrypt;
use super::host::{Host, Outstanding};
use super::judge::{Fault, fault, is_right};
use super::lease::Lease;
use super::permit::{Denied, Permit};
use super::sent::{Phase, SentBody, Track, prepare};
use super::spare::Spare;
use super::{RequestBodies, Upstreams};
use crate::L7Reason;
use crate::clock::after;
use crate::http::{Forward, Refusal, RequestBody, Sent, Terms, Upgrade};
use crate::names::first;
use crate::net::Net;
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use sluice_tables::l7::Upstream;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

/// How often a request is sent once more because its connection had ended before: that is
/// nobody's fault.
const UNSEEN_MAX: u8 = 3;

/// A request on the heap: it goes from one attempt to the next without being copied.
type Unsent<B> = Box<Request<SentBody<B>>>;

/// An attempt that came to nothing.
struct Failed<B> {
    reason: L7Reason,
    /// The request, if it may be sent once more.
    request: Option<Unsent<B>>,
    /// The endpoint did it.
    is_endpoints: bool,
}

impl<N: Net, E: Encrypt<N::Stream>, B: RequestBodies> Upstreams<N, E, B> {
    /// Sends a request to one of an upstream's endpoints ([`Forward::send`]).
    ///
    /// # Errors
    /// It was not sent, or nobody has answered.
    pub async fn send_to(
        &self,
        upstream: &Arc<Upstream>,
        request: Request<B>,
        terms: Terms,
    ) -> Result<Sent<AnswerBody<B>>, Refusal> {
        let request = self.prepare(upstream, request);
        self.send_prepared(upstream, request, terms).await
    }

    fn prepare(&self, upstream: &Upstream, request: Request<B>) -> Unsent<B> {
        Box::new(prepare(request, &self.0.shared, upstream.protocol.is_http2()))
    }

    async fn send_prepared(
        &self,
        upstream: &Arc<Upstream>,
        mut request: Unsent<B>,
        terms: Terms,
    ) -> Result<Sent<AnswerBody<B>>, Refusal> {
        let shared = &self.0.shared;
        let cluster = self.cluster(upstream);
        cluster.budget.earn(&shared.config, shared.now_ns());
        let mut tried: Vec<SocketAddr> = Vec::new();
        let (mut attempts, mut unseen) = (0_u8, 0);
        let mut last = None;
        loop {
            let picked = cluster.pick(&tried, &mut self.0.random.borrow_mut());
            // What an upstream speaks may have changed since the request was made for it.
            let Some(host) = picked.filter(|host| host.is_of(upstream)) else {
                return Err(Refusal { reason: L7Reason::NoEndpoint, endpoint: last, attempts });
            };
            attempts = attempts.saturating_add(1);
            last = Some(host.addr);
            let is_fresh = unseen > 0;
            let failed = match self.attempt(&host, upstream, request, &terms, is_fresh).await {
                Ok((response, upgrade)) => {
                    return Ok(Sent { response, endpoint: host.addr, attempts, upgrade });
                }
                Err(failed) => failed,
            };
            if failed.is_endpoints {
                cluster.failed(&host);
            }
            let refusal = Refusal { reason: failed.reason, endpoint: last, attempts };
            request = failed.request.ok_or(refusal)?;
            if !failed.is_endpoints {
                unseen += 1;
                if unseen > UNSEEN_MAX {
                    return Err(refusal);
                }
                continue;
            }
            tried.push(host.addr);
            if tried.len() > usize::from(shared.config.retries_max) || !cluster.has_other(&tried) {
                return Err(refusal);
            }
            if !cluster.budget.spend() {
                count(&shared.counting.retries_refused);
                return Err(refusal);
            }
            count(&shared.counting.retries);
        }
    }

    /// Sends a request to an endpoint.
    async fn attempt(
        &self,
        host: &Rc<Host<B>>,
        upstream: &Arc<Upstream>,
        request: Unsent<B>,
        terms: &Terms,
        is_fresh: bool,
    ) -> Result<(Response<AnswerBody<B>>, Option<Upgrade>), Failed<B>> {
        let shared = &self.0.shared;
        let counting = &shared.counting;
        let permit = Permit::ask(&*shared.policies, counting, terms.client, host.addr)
            .map_err(|Denied| Failed::at_once(L7Reason::PolicyDenied))?;
        let outstanding = Outstanding::new(host.clone());
        let owner = host.sends_proxy_protocol.then_some(terms.ends);
        let leased = self.lease(host, upstream, (is_fresh, owner), terms.connect_timeout).await;
        let mut lease = match leased {
            Ok(lease) => lease,
            Err(why) => return Err(not_sent(why, request)),
        };
        if lease.is_reused {
            count(&counting.reused);
        }
        let is_http2 = host.is_http2();
        let asks_upgrade = !is_http2 && first(request.headers(), &header::UPGRADE).is_some();
        let spare = Spare::of(&request, is_http2);
        let track = request.body().begin(permit);
        // It may have waited for its connection.
        if !track.is_let() {
            return Err(Failed::at_once(L7Reason::PolicyDenied));
        }
        let upgrade = asks_upgrade.then(|| lease.link.switches());
        let answered = exchange(&mut lease, &track, request, terms).await;
        let response = match answered {
            Some(Ok(response)) => response,
            Some(Err(error)) => return Err(not_answered(&lease, &track, error, spare)),
            None => return Err(timed_out(&lease, &track)),
        };
        host.health.answered();
        if !track.is_let() {
            return Err(Failed::at_once(L7Reason::PolicyDenied));
        }
        let (head, incoming) = response.into_parts();
        if !is_right(&head, is_http2, asks_upgrade) {
            count(&counting.malformed);
            return Err(Failed::at_once(L7Reason::UpstreamProtocol));
        }
        let body = if head.status == StatusCode::SWITCHING_PROTOCOLS {
            count(&counting.upgraded);
            lease.link.keep_for_tunnel(outstanding, track);
            lease.leave();
            AnswerBody::of_upgrade(incoming)
        } else {
            AnswerBody::new(incoming, lease, track, terms.read_timeout, outstanding)
        };
        Ok((Response::from_parts(head, body), upgrade))
    }
}

impl<B> Failed<B> {
    /// Nobody's fault, or one that would only come again.
    fn at_once(reason: L7Reason) -> Self {
        Failed { reason, request: None, is_endpoints: false }
    }
}

/// The answer to a request, or hyper's error; `None`: the endpoint took too long.
async fn exchange<B: RequestBodies>(
    lease: &mut Lease<B>,
    track: &Track,
    request: Unsent<B>,
    terms: &Terms,
) -> Option<Result<Response<Incoming>, TrySendError<Request<SentBody<B>>>>> {
    let mut answer = pin!(lease.send(*request));
    poll_fn(|context| {
        if let Poll::Ready(answer) = answer.as_mut().poll(context) {
            return Poll::Ready(Some(answer));
        }
        let shared = &lease.host.shared;
        let until_ns = match (track.phase(), lease.link.broke_at_ns()) {
            (Phase::Sent { at_ns }, _) => after(at_ns, terms.read_timeout),
            // It takes no more of the request, but may have answered it.
            (_, Some(at_ns)) => after(at_ns, terms.read_timeout),
            (Phase::Endpoint { since_ns }, None) => {
                after(since_ns.max(lease.link.wrote_at_ns()), terms.send_timeout)
            }
            // Whatever the endpoint is waited for next, it has until then at least.
            (Phase::Client, None) => {
                after(shared.now_ns(), terms.read_timeout.min(terms.send_timeout))
            }
        };
        lease.alarm.poll(&*shared.clock, until_ns, context).map(|()| None)
    })
    .await
}

fn not_sent<B>(why: NoConnection, request: Unsent<B>) -> Failed<B> {
    match why {
        NoConnection::Failed(reason) => {
            Failed { reason, request: Some(request), is_endpoints: true }
        }
        NoConnection::Refused(reason) => Failed::at_once(reason),
        NoConnection::Gone => {
            let reason = L7Reason::NoEndpoint;
            Failed { reason, request: Some(request), is_endpoints: false }
        }
    }
}

fn timed_out<B>(lease: &Lease<B>, track: &Track) -> Failed<B> {
    let counting = &lease.host.shared.counting;
    let is_answer_late = track.is_sent() || lease.link.broke_at_ns().is_some();
    count(if is_answer_late { &counting.read_timed_out } else { &counting.send_timed_out });
    // If nothing came for anybody, the connection is dead.
    if lease.is_silent() {
        lease.link.retire();
    }
    Failed::at_once(L7Reason::UpstreamTimeout)
}

/// There is no answer: may there be one from somebody else, or over another connection?
fn not_answered<B>(
    lease: &Lease<B>,
    track: &Track,
    mut error: TrySendError<Request<SentBody<B>>>,
    spare: Option<Spare>,
) -> Failed<B> {
    let counting = &lease.host.shared.counting;
    if let Some(failed) = track.failed() {
        return Failed::at_once(failed.0.unwrap_or(L7Reason::RequestTimeout));
    }
    let again = |spare: Spare| Box::new(spare.again(&lease.host.shared));
    let is_http2 = lease.host.is_http2();
    let reason = L7Reason::UpstreamReset;
    // The connection ended before the request was begun to be sent.
    if let Some(request) = error.take_message() {
        count(if lease.is_reused { &counting.stale } else { &counting.reset });
        let request = Some(Box::new(request));
        return Failed { reason, request, is_endpoints: !lease.is_reused };
    }
    match fault(&error.into_error()) {
        Fault::Malformed => {
            count(&counting.malformed);
            Failed::at_once(L7Reason::UpstreamProtocol)
        }
        Fault::Unseen => {
            count(&counting.stale);
            Failed { reason, request: spare.map(again), is_endpoints: false }
        }
        Fault::Ended => {
            let is_stale = !is_http2 && lease.is_reused && lease.is_silent();
            count(if is_stale { &counting.stale } else { &counting.reset });
            // Where an answer has begun, the request was done.
            let request = spare
                .filter(Spare::is_idempotent)
                .filter(|_| is_http2 || lease.is_silent())
                .map(again);
            Failed { reason, request, is_endpoints: !is_stale }
        }
    }
}

impl<N, E> Forward for Upstreams<N, E, RequestBody>
where
    N: Net,
    E: Encrypt<N::Stream>,
{
    type Body = AnswerBody<RequestBody>;
    type Failure = AnswerError;

    fn send(
        &self,
        upstream: &Arc<Upstream>,
        request: Request<RequestBody>,
        terms: Terms,
    ) -> impl Future<Output = Result<Sent<Self::Body>, Refusal>> + 'static {
        let (upstreams, upstream) = (self.clone(), upstream.clone());
        let request = self.prepare(&upstream, request);
        // On the heap: whoever awaits it is moved about while it is small.
        Box::pin(async move { upstreams.send_prepared(&upstream, request, terms).await })
    }
}
