use super::counters::count;
use super::link::note;
use super::permit::Permit;
use super::shared::Shared;
use crate::L7Reason;
use crate::http::BodyError;
use crate::names::first;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request};
use http_body::{Body, Frame, SizeHint};
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The body of a request on its way out.
pub(super) struct SentBody<B> {
    /// `None`: there is nothing to send.
    body: Option<B>,
    /// Bytes until its end, if that was said.
    left: Option<u64>,
    track: Rc<Track>,
}

/// How far the body of a request has come.
pub(super) struct Track {
    shared: Rc<Shared>,
    phase: Cell<Phase>,
    failed: Cell<Option<BodyError>>,
    is_given_up: Cell<bool>,
    sender: RefCell<Option<Waker>>,
    /// Once it is to be sent to somebody.
    permit: Cell<Option<Permit>>,
    is_denied: Cell<bool>,
}

/// Who is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client, for more of the body.
    Client,
    /// The endpoint, which has to take some of it.
    Endpoint { since_ns: u64 },
    /// The endpoint, which has all of it.
    Sent { at_ns: u64 },
}

impl Track {
    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(super) fn is_sent(&self) -> bool {
        matches!(self.phase.get(), Phase::Sent { .. })
    }

    /// The client did not send it to its end.
    pub(super) fn failed(&self) -> Option<BodyError> {
        self.failed.get()
    }

    /// Whether network policies let the request go on. One that they do not is over.
    pub(super) fn is_let(&self) -> bool {
        let Some(permit) = self.permit.get() else { return !self.is_denied.get() };
        let renewed = permit.renewed(&*self.shared.policies);
        self.permit.set(renewed);
        if renewed.is_none() {
            self.is_denied.set(true);
            count(&self.shared.counting.policy_cut);
        }
        renewed.is_some()
    }

    fn give_up(&self) {
        self.is_given_up.set(true);
        let sender = self.sender.take();
        if let Some(sender) = sender {
            sender.wake();
        }
    }
}

/// A body that is sent as long as this is there.
pub(super) struct Underway(Rc<Track>);

impl Deref for Underway {
    type Target = Track;

    fn deref(&self) -> &Track {
        &self.0
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

impl<B> SentBody<B> {
    fn new(body: Option<B>, left: Option<u64>, shared: Rc<Shared>) -> Self {
        let phase = Cell::new(Phase::Client);
        let (failed, is_given_up) = (Cell::default(), Cell::default());
        let (sender, permit, is_denied) = Default::default();
        let track =
            Rc::new(Track { shared, phase, failed, is_given_up, sender, permit, is_denied });
        SentBody { body, left, track }
    }

    /// That of a request that has none.
    pub(super) fn empty(shared: Rc<Shared>) -> Self {
        SentBody::new(None, None, shared)
    }

    /// There is something to send.
    pub(super) fn has_body(&self) -> bool {
        self.body.is_some()
    }

    /// It is about to be sent to somebody.
    pub(super) fn begin(&self, permit: Permit) -> Underway {
        let now_ns = self.track.shared.now_ns();
        self.track.permit.set(Some(permit));
        self.track.is_given_up.set(false);
        self.track.phase.set(match self.body {
            Some(_) => Phase::Endpoint { since_ns: now_ns },
            None => Phase::Sent { at_ns: now_ns },
        });
        Underway(self.track.clone())
    }
}

/// A request with what a worker follows its body by, and with headers that say how long
/// that is: the library would leave out a body that GET has.
pub(super) fn prepare<B: Body<Data = Bytes> + Unpin>(
    mut request: Request<B>,
    shared: &Rc<Shared>,
    is_http2: bool,
) -> Request<SentBody<B>> {
    request.extensions_mut().clear();
    let is_empty = request.body().is_end_stream();
    let exact = request.body().size_hint().exact();
    let wants_length = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    let headers = request.headers_mut();
    let has_length = first(headers, &header::CONTENT_LENGTH).is_some();
    let said = if has_length { content_length(headers) } else { None };
    match (is_empty, said) {
        (true, Some(0)) | (false, Some(_)) => {}
        (true, _) if wants_length => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        (true, _) if has_length => {
            headers.remove(header::CONTENT_LENGTH);
        }
        (true, _) => {}
        (false, None) if exact.is_none() && !is_http2 => {
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        (false, None) => {}
    }
    let left = said.or(exact);
    let shared = shared.clone();
    request.map(|body| SentBody::new((!is_empty).then_some(body), left, shared))
}

/// What the header says, if it is one number.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let value = value.as_bytes();
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
}

impl<B> Body for SentBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        if this.track.is_given_up.get() {
            return Poll::Ready(Some(Err(BodyError(None).into())));
        }
        if !this.track.is_let() {
            let denied = BodyError(Some(L7Reason::PolicyDenied));
            this.track.failed.set(Some(denied));
            return Poll::Ready(Some(Err(denied.into())));
        }
        let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(context) else {
            note(&this.track.sender, context);
            this.track.phase.set(Phase::Client);
            return Poll::Pending;
        };
        let now_ns = this.track.shared.now_ns();
        if let (Some(left), Some(Ok(frame))) = (&mut this.left, &frame) {
            let data = frame.data_ref().map_or(0, Bytes::len);
            *left = left.saturating_sub(data as u64);
        }
        let is_end = frame.is_none() || body.is_end_stream() || this.left == Some(0);
        this.track.phase.set(match is_end {
            true => Phase::Sent { at_ns: now_ns },
            false => Phase::Endpoint { since_ns: now_ns },
        });
        Poll::Ready(match frame {
            Some(Err(failed)) => {
                this.track.phase.set(Phase::Client);
                let failed = failed.into();
                let said = failed.downcast_ref().copied().unwrap_or(BodyError(None));
                this.track.failed.set(Some(said));
                Some(Err(failed))
            }
            Some(Ok(frame)) => Some(Ok(frame)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}
