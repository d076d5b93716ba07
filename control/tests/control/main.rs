//! Control from outside: manifests in, views out.

mod support;

mod answers;

mod cases;
mod certificates;
mod l7;
mod requests;
mod shown;
mod watch;
