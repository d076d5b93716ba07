use std::cell::Cell;

/// Defines the counters from one list: those that count, and what they have come to.
macro_rules! counters {
    ($($(#[doc = $help:literal])+ $name:ident,)+) => {
        /// What a worker has done with its upstreams, since its start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct UpstreamCounters { $($(#[doc = $help])+ pub $name: u64,)+ }

        #[derive(Default)]
        pub(super) struct Counting { $(pub(super) $name: Cell<u64>,)+ }

        impl Counting {
            pub(super) fn snapshot(&self) -> UpstreamCounters {
                UpstreamCounters { $($name: self.$name.get(),)+ }
            }
        }
    };
}

counters! {
    /// Connections that were opened.
    opened,
    /// Requests that went over a connection which had carried one.
    reused,
    /// Connections that endpoints refused, or that there is no way for.
    connect_failed,
    /// Connections that were not established in time.
    connect_timed_out,
    /// Handshakes of TLS that failed, or that agreed on another protocol.
    tls_failed,
    /// Connections that endpoints ended before they had answered, but for those in
    /// `stale`.
    reset,
    /// Connections that had carried a request and ended just when the next was on its
    /// way.
    stale,
    /// Answers that are not HTTP.
    malformed,
    /// Answers that did not go on in time.
    read_timed_out,
    /// Requests of which the endpoint took nothing in time.
    send_timed_out,
    /// Answers that ended before their end.
    cut_off,
    /// Requests that were sent to another endpoint.
    retries,
    /// Requests that were not, since too many were.
    retries_refused,
    /// Endpoints that were left out for a while.
    ejections,
    /// Requests that had to wait for a connection.
    waited,
    /// Requests that were refused since too many waited.
    overflow,
    /// Connections without a request that were closed: after a while, at a bound, or
    /// with their endpoint.
    idle_closed,
    /// Requests that network policies did not let pass to the endpoint.
    policy_denied,
    /// Requests that were cut short, since network policies do not let them pass any more.
    policy_cut,
    /// Requests that policies would deny which are only tried out.
    policy_audited,
    /// Connections that went on with another protocol.
    upgraded,
}

/// One more.
pub(super) fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}
