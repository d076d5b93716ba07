use crate::L7Reason;
use std::cell::Cell;

/// Defines [`Limit`] from one list: variant, label, help.
macro_rules! limits {
    ($($(#[doc = $help:literal])+ $variant:ident = $label:literal,)+) => {
        /// What ends connections before their clients do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Limit { $($(#[doc = $help])+ $variant,)+ }

        impl Limit {
            /// Every limit.
            pub const ALL: &[Limit] = &[$(Limit::$variant,)+];

            /// The limit's name in metrics and output.
            pub const fn label(self) -> &'static str {
                match self { $(Limit::$variant => $label,)+ }
            }

            /// One sentence that says what happened.
            pub fn help(self) -> &'static str {
                match self { $(Limit::$variant => concat!($($help),+).trim_start(),)+ }
            }
        }
    };
}

limits! {
    /// The listener has as many connections as it may.
    Connections = "connections",
    /// The gateway or the listener ends: no connection begins any more.
    Stopped = "stopped",
    /// The PROXY protocol header did not come in time, or is none.
    ProxyHeader = "proxy_header",
    /// The TLS handshake took too long.
    HandshakeTime = "handshake_time",
    /// The TLS handshake failed.
    Handshake = "handshake",
    /// The head of a request took too long.
    HeadTime = "head_time",
    /// There was no request for too long.
    IdleTime = "idle_time",
    /// The client took nothing of an answer for too long.
    SendTime = "send_time",
    /// The connection has had as many requests as it may.
    Requests = "requests",
    /// The worker has as many bytes in buffers as it may: the request was the connection's
    /// last one.
    Memory = "memory",
    /// Two ends of another protocol said nothing for too long.
    TunnelTime = "tunnel_time",
    /// What had begun was not over in the time that the gateway's or a listener's end
    /// leaves.
    DrainTime = "drain_time",
    /// The gateway itself failed at a connection: a panic, which ended nothing else.
    Panic = "panic",
}

/// What has happened.
#[derive(Debug)]
pub(super) struct HttpCounters {
    pub(super) connections: Cell<u64>,
    pub(super) requests: Cell<u64>,
    answers: [Cell<u64>; L7Reason::ALL.len()],
    limits: [Cell<u64>; Limit::ALL.len()],
}

impl Default for HttpCounters {
    fn default() -> Self {
        HttpCounters {
            connections: Cell::new(0),
            requests: Cell::new(0),
            answers: [const { Cell::new(0) }; L7Reason::ALL.len()],
            limits: [const { Cell::new(0) }; Limit::ALL.len()],
        }
    }
}

/// Counts one more.
pub(super) fn count(counter: &Cell<u64>) {
    counter.set(counter.get().wrapping_add(1));
}

impl HttpCounters {
    pub(super) fn answered(&self, reason: L7Reason) {
        count(&self.answers[reason as usize]);
    }

    pub(super) fn limited(&self, limit: Limit) {
        count(&self.limits[limit as usize]);
    }

    pub(super) fn snapshot(&self) -> HttpCounts {
        HttpCounts {
            connections: self.connections.get(),
            requests: self.requests.get(),
            answers: self.answers.each_ref().map(Cell::get),
            limits: self.limits.each_ref().map(Cell::get),
        }
    }
}

/// What had happened at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpCounts {
    /// Connections that were begun to be served.
    pub connections: u64,
    /// Requests whose heads were whole, and right.
    pub requests: u64,
    answers: [u64; L7Reason::ALL.len()],
    limits: [u64; Limit::ALL.len()],
}

impl HttpCounts {
    /// Answers that the gateway itself has given for a reason.
    pub fn answers(&self, reason: L7Reason) -> u64 {
        self.answers[reason as usize]
    }

    /// How often a limit was reached.
    pub fn limits(&self, limit: Limit) -> u64 {
        self.limits[limit as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_limit_has_a_label_of_its_own_and_a_counter() {
        let labels: BTreeSet<_> = Limit::ALL.iter().map(|limit| limit.label()).collect();
        assert_eq!(labels.len(), Limit::ALL.len());
        let counters = HttpCounters::default();
        for limit in Limit::ALL {
            assert!(limit.help().ends_with('.'), "{limit:?}");
            counters.limited(*limit);
        }
        let counts = counters.snapshot();
        assert!(Limit::ALL.iter().all(|limit| counts.limits(*limit) == 1));
    }
}
