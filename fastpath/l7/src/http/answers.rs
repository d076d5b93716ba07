use crate::L7Reason;
use crate::clock::Clock;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

/// What answers say of why they are, if they may.
pub(super) const REASON: HeaderName = HeaderName::from_static("x-sluice-reason");

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What the gateway itself answers.
pub(super) struct Answers {
    /// By reason.
    bodies: Box<[Bytes]>,
    shows_reason: bool,
    clock: Rc<dyn Clock>,
    /// The date of a second.
    date: RefCell<(u64, HeaderValue)>,
}

impl Answers {
    pub(super) fn new(shows_reason: bool, clock: Rc<dyn Clock>) -> Self {
        let body = |reason: &L7Reason| format!("{} {}\n", reason.status(), reason.label()).into();
        let bodies = L7Reason::ALL.iter().map(body).collect();
        let date = RefCell::new((u64::MAX, HeaderValue::from_static("")));
        Answers { bodies, shows_reason, clock, date }
    }

    /// The value of Date (RFC 9110 section 6.6.1).
    pub(super) fn date(&self) -> HeaderValue {
        let now_s = self.clock.unix_ms() / 1000;
        let (of_s, date) = &mut *self.date.borrow_mut();
        if *of_s != now_s {
            let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(now_s));
            // A date is made of visible characters.
            if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(text)) {
                (*of_s, *date) = (now_s, value);
            }
        }
        date.clone()
    }

    /// Status, headers and body of an answer.
    pub(super) fn of(&self, reason: L7Reason) -> (StatusCode, HeaderMap, Bytes) {
        let status = StatusCode::from_u16(reason.status());
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(header::CONTENT_TYPE, TEXT);
        headers.insert(header::DATE, self.date());
        if self.shows_reason {
            headers.insert(REASON, HeaderValue::from_static(reason.label()));
        }
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, headers, self.bodies[reason as usize].clone())
    }

    /// Bytes of the body of an answer.
    pub(super) fn body_bytes(&self, reason: L7Reason) -> u64 {
        self.bodies[reason as usize].len() as u64
    }

    /// A whole answer of HTTP/1.1, the last one of its connection.
    pub(super) fn last(&self, reason: L7Reason) -> Vec<u8> {
        let (status, headers, body) = self.of(reason);
        let line = format!("HTTP/1.1 {} {}\r\n", status.as_str(), phrase(status));
        let mut bytes = line.into_bytes();
        for (name, value) in &headers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                bytes.extend_from_slice(part);
            }
        }
        let length = format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len());
        bytes.extend_from_slice(length.as_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }
}

fn phrase(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or_default()
}
