use super::counters::count;
use super::host::Outstanding;
use super::judge::{Fault, fault};
use super::lease::Lease;
use super::sent::Underway;
use super::stir::Hold;
use crate::L7Reason;
use crate::clock::after;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// The body of an answer on its way from an endpoint. Its connection is free for another
/// request once it has come to its end.
pub struct AnswerBody<B> {
    incoming: Incoming,
    /// `None`: it is over.
    open: Option<Open<B>>,
}

/// Why the body of an answer ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerError(pub L7Reason);

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.label())
    }
}

impl std::error::Error for AnswerError {}

impl From<AnswerError> for L7Reason {
    fn from(AnswerError(reason): AnswerError) -> Self {
        reason
    }
}

struct Open<B> {
    lease: Lease<B>,
    track: Underway,
    read_timeout: Duration,
    /// Since when the endpoint is waited for.
    waits_since_ns: Option<u64>,
    _outstanding: Outstanding<B>,
}

impl<B> AnswerBody<B> {
    pub(super) fn new(
        incoming: Incoming,
        lease: Lease<B>,
        track: Underway,
        read_timeout: Duration,
        outstanding: Outstanding<B>,
    ) -> Self {
        let waits_since_ns = None;
        let open = Open { lease, track, read_timeout, waits_since_ns, _outstanding: outstanding };
        let mut body = AnswerBody { incoming, open: Some(open) };
        if body.incoming.is_end_stream() {
            body.finish();
        }
        body
    }

    /// That of an answer after which the connection speaks another protocol.
    pub(super) fn of_upgrade(incoming: Incoming) -> Self {
        AnswerBody { incoming, open: None }
    }

    fn finish(&mut self) {
        if let Some(open) = self.open.take() {
            let is_sent = open.track.is_sent();
            open.lease.finish(is_sent);
        }
    }

    /// It ends here, and its connection with it.
    fn fail(&mut self, reason: L7Reason) -> AnswerError {
        if let Some(open) = self.open.take() {
            let counting = &open.lease.host.shared.counting;
            match reason {
                L7Reason::UpstreamTimeout => {
                    count(&counting.read_timed_out);
                    if open.lease.is_silent() {
                        open.lease.link.retire();
                    }
                }
                L7Reason::UpstreamProtocol => count(&counting.malformed),
                // It has been counted.
                L7Reason::PolicyDenied => {}
                _ => count(&counting.cut_off),
            }
        }
        AnswerError(reason)
    }
}

impl<B> Open<B> {
    /// Ready if the endpoint has sent nothing for too long.
    fn poll_timeout(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let shared = &self.lease.host.shared;
        let since_ns = *self.waits_since_ns.get_or_insert_with(|| shared.now_ns());
        let until_ns = after(since_ns, self.read_timeout);
        self.lease.alarm.poll(&*shared.clock, until_ns, context)
    }
}

/// The next part of an answer. Whoever drives its connection has nothing to do when that was
/// the last one.
fn poll_held(
    incoming: &mut Incoming,
    hold: Option<Hold<'_>>,
    context: &mut Context<'_>,
) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
    let polled = Pin::new(&mut *incoming).poll_frame(context);
    if let Some(hold) = hold {
        let has_come = matches!(polled, Poll::Ready(Some(Ok(_))));
        hold.end(has_come && incoming.is_end_stream());
    }
    polled
}

impl<B> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        let this = &mut *self;
        let Some(open) = &mut this.open else { return Poll::Ready(None) };
        if !open.track.is_let() {
            return Poll::Ready(Some(Err(this.fail(L7Reason::PolicyDenied))));
        }
        let is_http2 = open.lease.host.is_http2();
        // In HTTP/2 the rest of the connection may have to hear of it.
        let hold = if is_http2 { None } else { open.lease.link.hold() };
        match poll_held(&mut this.incoming, hold, context) {
            Poll::Ready(Some(Ok(frame))) => {
                open.waits_since_ns = None;
                if frame.is_trailers() || this.incoming.is_end_stream() {
                    this.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            // So hyper ends it where its stream was reset without an error, which only one whose
            // answer is whole may be (RFC 9113 section 8.1).
            Poll::Ready(None) if is_http2 && !this.incoming.is_end_stream() => {
                Poll::Ready(Some(Err(this.fail(L7Reason::UpstreamReset))))
            }
            Poll::Ready(None) => {
                this.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                let reason = match fault(&error) {
                    Fault::Malformed => L7Reason::UpstreamProtocol,
                    Fault::Ended | Fault::Unseen => L7Reason::UpstreamReset,
                };
                Poll::Ready(Some(Err(this.fail(reason))))
            }
            Poll::Pending => {
                open.poll_timeout(context).map(|()| Some(Err(this.fail(L7Reason::UpstreamTimeout))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.open.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl<B> fmt::Debug for AnswerBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBody").field("is_over", &self.open.is_none()).finish()
    }
}
