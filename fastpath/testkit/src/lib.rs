//! Tools for testing the fast path: a language in which packets are written and expected, a
//! gateway in memory, the runner of golden cases, and a corpus of requests. The README describes
//! the languages.
//!
//! [`packet`] judges the fast path and therefore shares no parsing or checksum code with it.
#![forbid(unsafe_code)]

pub mod packet;

pub mod gateway;

pub mod cases;

pub mod corpus;
