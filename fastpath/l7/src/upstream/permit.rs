use super::counters::{Counting, count};
use crate::net::Net;
use sluice_tables::policy::Verdict;
use std::net::{IpAddr, SocketAddr};

/// What of a net knows network policies.
pub(super) trait Policies {
    /// [`Net::judge`].
    fn judge(&self, client: IpAddr, endpoint: SocketAddr) -> Verdict;

    /// [`Net::policy_version`].
    fn version(&self) -> u64;
}

/// Those that a net knows.
pub(super) struct Of<N>(pub(super) N);

impl<N: Net> Policies for Of<N> {
    fn judge(&self, client: IpAddr, endpoint: SocketAddr) -> Verdict {
        self.0.judge(client, endpoint)
    }

    fn version(&self) -> u64 {
        self.0.policy_version()
    }
}

/// Network policies let a request go to an endpoint. They are asked for each request, since
/// connections carry those of several clients; and again while it runs when they may say
/// something else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permit {
    client: IpAddr,
    endpoint: SocketAddr,
    version: u64,
}

/// They do not let it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Denied;

impl Permit {
    /// Asks for one.
    pub(super) fn ask(
        policies: &dyn Policies,
        counting: &Counting,
        client: IpAddr,
        endpoint: SocketAddr,
    ) -> Result<Self, Denied> {
        match policies.judge(client, endpoint) {
            Verdict::Allow => {}
            Verdict::Audit => count(&counting.policy_audited),
            Verdict::Deny => {
                count(&counting.policy_denied);
                return Err(Denied);
            }
        }
        Ok(Permit { client, endpoint, version: policies.version() })
    }

    /// The same, as of now. `None`: it does not hold any more.
    #[inline]
    pub(super) fn renewed(self, policies: &dyn Policies) -> Option<Self> {
        let version = policies.version();
        if self.version == version {
            return Some(self);
        }
        let is_let = policies.judge(self.client, self.endpoint) != Verdict::Deny;
        is_let.then_some(Permit { version, ..self })
    }
}
