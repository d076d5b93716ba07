use crate::L7Reason;
use crate::clock::{Alarm, Clock};
use crate::head;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// The body of a request on its way to an endpoint. It ends with an error if the client
/// does not go on, sends what is none, or more than its route lets through.
#[derive(Default)]
pub struct RequestBody(Option<Box<Received>>);

/// Why a body ended before its end: what is wrong with it. `None`: the client has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyError(pub Option<L7Reason>);

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(reason) => f.write_str(reason.label()),
            None => f.write_str("the client has gone"),
        }
    }
}

impl std::error::Error for BodyError {}

/// What has come of a body.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) bytes: Cell<u64>,
    pub(super) failed: Cell<Option<BodyError>>,
}

/// How much of a body may come, and how slowly.
pub(super) struct Terms {
    pub(super) bytes_max: u64,
    pub(super) trailers_max: usize,
    pub(super) idle_ns: u64,
    pub(super) clock: Rc<dyn Clock>,
    /// What the connection has found wrong.
    pub(super) violation: Rc<Cell<Option<L7Reason>>>,
}

struct Received {
    incoming: Incoming,
    meter: Rc<Meter>,
    terms: Terms,
    alarm: Alarm,
    /// Since when it is waited for.
    waits_since: Option<u64>,
}

impl RequestBody {
    /// None at all.
    pub fn empty() -> Self {
        RequestBody(None)
    }

    /// Nothing will come of it, and nothing has.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// What the server's library has read.
    pub(super) fn new(incoming: Incoming, terms: Terms) -> (Self, Option<Rc<Meter>>) {
        if incoming.is_end_stream() {
            return (RequestBody(None), None);
        }
        let meter = Rc::new(Meter::default());
        let alarm = Alarm::default();
        let received = Received { incoming, meter: meter.clone(), terms, alarm, waits_since: None };
        (RequestBody(Some(Box::new(received))), Some(meter))
    }
}

impl Received {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) else {
            let since = *self.waits_since.get_or_insert_with(|| self.terms.clock.now_ns());
            let until = since.saturating_add(self.terms.idle_ns);
            ready!(self.alarm.poll(&*self.terms.clock, until, context));
            return Poll::Ready(Some(Err(BodyError(Some(L7Reason::RequestTimeout)))));
        };
        self.waits_since = None;
        Poll::Ready(match frame {
            None => None,
            Some(Err(_)) => Some(Err(BodyError(self.terms.violation.get()))),
            Some(Ok(frame)) => Some(self.check(&frame).map(|()| frame)),
        })
    }

    fn check(&self, frame: &Frame<Bytes>) -> Result<(), BodyError> {
        if let Some(data) = frame.data_ref() {
            let bytes = self.meter.bytes.get().saturating_add(data.len() as u64);
            self.meter.bytes.set(bytes);
            if bytes > self.terms.bytes_max {
                return Err(BodyError(Some(L7Reason::BodyTooLarge)));
            }
        }
        frame.trailers_ref().map_or(Ok(()), |trailers| self.check_trailers(trailers))
    }

    fn check_trailers(&self, trailers: &HeaderMap) -> Result<(), BodyError> {
        let is_right = trailers.len() <= self.terms.trailers_max
            && trailers.keys().all(|name| head::may_be_trailer(name.as_str().as_bytes()));
        if is_right { Ok(()) } else { Err(BodyError(Some(L7Reason::BadTrailer))) }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(received) = &mut self.0 else { return Poll::Ready(None) };
        if let Some(failed) = received.meter.failed.get() {
            return Poll::Ready(Some(Err(failed)));
        }
        let frame = ready!(received.poll(context));
        if let Some(Err(failed)) = &frame {
            received.meter.failed.set(Some(*failed));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|received| received.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), |received| received.incoming.size_hint())
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("is_empty", &self.is_empty()).finish()
    }
}
