//! Control from outside: manifests in, views out.

mod support;

mod cases;
mod requests;
mod watch;
