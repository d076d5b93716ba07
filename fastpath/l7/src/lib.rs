//! What ends at the gateway and goes on as requests: TCP, and HTTP as the gateway takes
//! it from clients. Whatever comes is checked byte by byte before a library or a server
//! behind may read it another way: who disagrees about where a request ends can be
//! made to take a part of one for the next.

#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod alpn;
pub mod asks;
mod bucket;
mod chars;
mod clock;
pub mod guard;
mod head;
pub mod http;
pub mod kernel;
mod names;
pub mod net;
mod reason;
pub mod serving;
pub mod stats;
pub mod tcp;
pub mod tls;
pub mod upstream;
mod wheel;
pub mod worker;

pub use alpn::Alpn;
pub use head::{Framing, HeadLimits, RequestHead, Version};
pub use reason::L7Reason;
