//! Control from outside: manifests in, views out.

mod support;

mod answers;

mod cases;
mod requests;
mod watch;
