use super::body::BodyError;
use super::entry::Entry;
use super::hops;
use crate::L7Reason;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// The body of an answer on its way to a client. When it is dropped the request is over.
pub(super) struct ResponseBody<B: Body> {
    source: Source<B>,
    /// How long it is.
    length: Option<u64>,
    entry: Rc<RefCell<Entry>>,
}

enum Source<B> {
    /// The gateway's own, or none.
    Own(Option<Bytes>),
    /// An endpoint's.
    Endpoint(B),
    /// It ended before its end.
    Failed,
}

impl<B: Body> ResponseBody<B> {
    /// The gateway's own.
    pub(super) fn own(body: Option<Bytes>, entry: Rc<RefCell<Entry>>) -> Self {
        ResponseBody { source: Source::Own(body), length: None, entry }
    }

    /// An endpoint's, of which nothing is sent if the answer may have none.
    pub(super) fn endpoint(body: B, entry: Rc<RefCell<Entry>>) -> Self {
        let length = body.size_hint().exact();
        ResponseBody { source: Source::Endpoint(body), length, entry }
    }
}

impl<B> ResponseBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<L7Reason>,
{
    fn fail(&mut self, reason: L7Reason) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.source = Source::Failed;
        self.entry.borrow_mut().reason = Some(reason);
        Poll::Ready(Some(Err(BodyError(Some(reason)))))
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<L7Reason>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = match &mut this.source {
            Source::Own(body) => body.take().map(|data| Ok(Frame::data(data))),
            Source::Failed => None,
            Source::Endpoint(body) => {
                let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(context)));
                match polled {
                    Ok(polled) => ready!(polled),
                    Err(_) => return this.fail(L7Reason::Internal),
                }
            }
        };
        let mut entry = this.entry.borrow_mut();
        let mut frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(failure)) => {
                drop(entry);
                return this.fail(failure.into());
            }
            None => {
                entry.is_complete = true;
                return Poll::Ready(None);
            }
        };
        if let Some(data) = frame.data_ref() {
            entry.bytes_out += data.len() as u64;
        } else if let Some(trailers) = frame.trailers_mut() {
            hops::strip_trailers(trailers);
            entry.is_complete = true;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(body) => body.is_none(),
            Source::Endpoint(body) => body.is_end_stream(),
            Source::Failed => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(body) => {
                SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64))
            }
            Source::Endpoint(body) => body.size_hint(),
            Source::Failed => SizeHint::default(),
        }
    }
}

impl<B: Body> Drop for ResponseBody<B> {
    fn drop(&mut self) {
        let mut entry = self.entry.borrow_mut();
        // Whoever has sent as much as there is does not ask for more.
        entry.is_complete |= match &self.source {
            Source::Own(body) => body.is_none(),
            Source::Endpoint(body) => body.is_end_stream() || self.length == Some(entry.bytes_out),
            Source::Failed => false,
        };
    }
}
