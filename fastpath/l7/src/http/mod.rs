//! HTTP as clients speak it to the gateway.

mod body;
mod clock;
mod seams;

pub use body::{BodyError, RequestBody};
pub use seams::{Accept, Alpn, Forward, Negotiated, NotAccepted, Refusal, Sent, Terms, TlsVersion};
