use crate::diagnostic::Diagnostic;
use crate::object::{Key, Object, Origin};
use crossbeam_channel::{Receiver, Sender};
use std::convert::Infallible;
use std::time::Duration;

/// The API of a Kubernetes cluster.
pub mod kubernetes;
/// A folder of Kubernetes manifests.
pub mod manifests;

mod refused;

/// A change of what the source knows.
#[derive(Clone, Debug)]
pub enum Event {
    /// The object is new, or has changed.
    Applied {
        /// The object. It passed [`crate::validate::refusals`].
        object: Object,
        /// Where it was read, if it was read from a file.
        origin: Option<Origin>,
    },
    /// The object is the same, but stands elsewhere.
    Moved {
        /// The object.
        key: Key,
        /// Where it stands now.
        origin: Origin,
    },
    /// The object is gone.
    Deleted(Key),
    /// A network policy that cannot be understood is there, and there is no good
    /// version of it, not even an earlier one. Instead of what was before of it.
    Refused {
        /// The policy.
        key: Key,
        /// What of it can be understood. Where it is not clear which pods it
        /// selects, it selects all here.
        rest: Option<Object>,
    },
    /// Everything that is wrong in the source, instead of what was before.
    Diagnostics(Vec<Diagnostic>),
    /// Everything that exists has been sent once.
    Synced,
    /// What has been sent is what the API says now; before this, it may have
    /// been a snapshot.
    Confirmed,
}

/// Events that belong together: what one look at the source brought.
#[derive(Clone, Debug)]
pub struct Batch {
    /// When the source noticed the first of them ([`crate::Clock::now`]).
    pub at: Duration,
    /// The events, in order.
    pub events: Vec<Event>,
}

/// Where objects come from. It runs on a thread of its own.
pub trait Source: Send + 'static {
    /// What it reads, for people.
    fn describe(&self) -> String;

    /// How it gets on with whom it asks, kept up to date, if it asks anybody.
    fn health(&self) -> Option<kubernetes::SourceHealth> {
        None
    }

    /// Sends everything that exists, then [`Event::Synced`], then every change,
    /// until `stop` is disconnected or nobody receives.
    fn run(self: Box<Self>, events: &Sender<Batch>, stop: &Receiver<Infallible>);
}
