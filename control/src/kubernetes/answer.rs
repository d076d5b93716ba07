use http::{Response, Uri};
use http_body::Frame;
use kube::client::Body;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// How long an answer may pause, in its middle or before its end. Not a watch:
/// that says nothing while nothing happens, and kube's watcher gives it up by
/// its own timeout.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// A watch that ends sooner, with nothing in it, is a failure ("very short
/// watch" of client-go): a proxy that does not stream, for instance.
const WATCH_MIN: Duration = Duration::from_secs(1);

/// Told once how an answer went.
pub type Told = Box<dyn FnOnce(bool) + Send>;

/// The body of an answer, which fails if it stops half-way, or if it is that of
/// a watch and ends at once. The server is heard when an answer has come whole,
/// and when a watch has begun to say something or has lasted.
pub struct Answer<B = Body> {
    body: B,
    is_watch: bool,
    /// Taken when it is known how it went.
    told: Option<Told>,
    /// How long a watch must last, or how long an answer may pause; and when
    /// that is over.
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    has_failed: bool,
}

type Failure = Box<dyn Error + Send + Sync>;
type Polled<Data> = Poll<Option<Result<Frame<Data>, Failure>>>;

impl Answer {
    /// Wraps an answer to a request.
    pub fn of(request: &Uri, response: Response<Body>, told: Told) -> Response<Self> {
        let mut parameters = request.query().unwrap_or_default().split('&');
        // What refuses a watch is an answer like any other.
        let is_watch = parameters.any(|p| p == "watch=true") && response.status().is_success();
        let limit = if is_watch { WATCH_MIN } else { PAUSE_MAX };
        response.map(|body| Answer::new(body, is_watch, limit, told))
    }
}

impl<B> Answer<B> {
    fn new(body: B, is_watch: bool, limit: Duration, told: Told) -> Self {
        let timer = Box::pin(sleep(limit));
        Answer { body, is_watch, told: Some(told), limit, timer, has_failed: false }
    }

    fn tell(&mut self, is_well: bool) {
        if let Some(told) = self.told.take() {
            told(is_well);
        }
    }

    fn fail<Data>(&mut self, error: Failure) -> Polled<Data> {
        self.has_failed = true;
        self.tell(false);
        Poll::Ready(Some(Err(error)))
    }
}

impl<B> http_body::Body for Answer<B>
where
    B: http_body::Body<Error: Into<Failure>> + Unpin,
{
    type Data = B::Data;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled<B::Data> {
        if self.has_failed {
            return Poll::Ready(None);
        }
        // A watch that has been heard may say nothing for as long as it likes.
        let is_timed = !self.is_watch || self.told.is_some();
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if self.is_watch {
                    self.tell(true);
                } else {
                    let end = Instant::now() + self.limit;
                    self.timer.as_mut().reset(end);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            // However it ended: kube takes some errors for an ordinary end.
            Poll::Ready(_) if self.is_watch && self.told.is_some() => {
                self.fail("the watch ended at once, with nothing in it".into())
            }
            Poll::Ready(Some(Err(error))) => self.fail(error.into()),
            Poll::Ready(None) => {
                self.tell(true);
                Poll::Ready(None)
            }
            Poll::Pending if is_timed && self.timer.as_mut().poll(context).is_ready() => {
                if self.is_watch {
                    self.tell(true);
                    return Poll::Pending;
                }
                self.fail("the server stopped in the middle of its answer".into())
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::future::poll_fn;
    use std::sync::{Arc, Mutex};

    type Data = <Body as http_body::Body>::Data;

    /// What is said, one by one; then the end, or nothing ever.
    struct Script {
        said: VecDeque<Result<&'static str, &'static str>>,
        ends: bool,
    }

    impl http_body::Body for Script {
        type Data = Data;
        type Error = Failure;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Polled<Data> {
            match self.said.pop_front() {
                Some(Ok(text)) => Poll::Ready(Some(Ok(Frame::data(text.into())))),
                Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
                None if self.ends => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    const NEVER: Duration = Duration::from_secs(3600);
    const SOON: Duration = Duration::from_millis(20);

    type Heard = Vec<Result<(), String>>;

    /// What is heard of an answer until it ends, or says no more for a while;
    /// and what was told of it.
    fn heard(
        is_watch: bool,
        limit: Duration,
        said: &[Result<&'static str, &'static str>],
        ends: bool,
    ) -> (Heard, Option<bool>) {
        let body = Script { said: said.iter().copied().collect(), ends };
        let told = Arc::new(Mutex::new(None));
        let tell = told.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let heard = runtime.block_on(async {
            let tell = Box::new(move |is_well| *tell.lock().unwrap() = Some(is_well));
            let mut answer = Answer::new(body, is_watch, limit, tell);
            let mut heard = Vec::new();
            loop {
                let next =
                    poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut answer), context));
                match tokio::time::timeout(20 * SOON, next).await {
                    Ok(Some(frame)) => heard.push(frame.map(drop).map_err(|e| e.to_string())),
                    Ok(None) | Err(_) => return heard,
                }
            }
        });
        let told = *told.lock().unwrap();
        (heard, told)
    }

    #[test]
    fn an_answer_that_stops_half_way_fails() {
        let (frames, told) = heard(false, SOON, &[Ok("{"), Ok("}")], true);
        assert_eq!((frames, told), (vec![Ok(()), Ok(())], Some(true)));
        for said in [&[][..], &[Ok("{")]] {
            let (frames, told) = heard(false, SOON, said, false);
            let error = frames.last().unwrap().as_ref().unwrap_err();
            assert!(error.contains("in the middle"), "{error}");
            assert_eq!((frames.len(), told), (said.len() + 1, Some(false)));
        }
        let (frames, told) = heard(false, NEVER, &[Ok("{"), Err("reset")], true);
        assert_eq!((frames, told), (vec![Ok(()), Err("reset".to_owned())], Some(false)));
    }

    #[test]
    fn a_watch_that_ends_at_once_fails() {
        for said in [&[][..], &[Err("unexpected EOF during chunk")]] {
            let (frames, told) = heard(true, NEVER, said, true);
            let error = frames[0].as_ref().unwrap_err();
            assert!(error.contains("ended at once"), "{error}");
            assert_eq!((frames.len(), told), (1, Some(false)));
        }
    }

    #[test]
    fn a_watch_may_be_silent() {
        assert_eq!(heard(true, SOON, &[], false), (vec![], Some(true)), "it has lasted");
        let said = [Ok("{}"), Err("unexpected EOF during chunk")];
        let (frames, told) = heard(true, NEVER, &said, true);
        assert_eq!((frames.len(), told), (2, Some(true)), "it has been heard");
        assert_eq!(heard(true, SOON, &[Ok("{}")], false), (vec![Ok(())], Some(true)));
    }
}
