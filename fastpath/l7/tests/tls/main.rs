//! Handshakes on helper threads, and what is sent in TLS after them: against clients and
//! servers of rustls in memory, and against openssl on loopback.

mod backends;
mod bounds;
mod client_auth;
mod hostile;
mod names;
mod openssl;
mod sessions;
mod transfer;
mod world;
