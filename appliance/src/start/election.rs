use sluice_config::{Config, Source};
use sluice_control::election::{Election, Elector, Options, Seat};
use sluice_control::kubernetes::Access;
use std::time::Duration;

/// Where the Leases are when Sluice runs outside of a pod.
const NAMESPACE: &str = "sluice-system";

/// Takes part in the election of who announces VIPs, if the configuration says
/// so. Without an election this gateway announces all of them.
///
/// # Errors
/// When the system has no thread left.
pub(super) fn start(config: &Config, node: &str) -> std::io::Result<Option<(Elector, Seat)>> {
    let (Some(leases), Source::Kubernetes(kubernetes)) = (&config.announce.leases, &config.source)
    else {
        return Ok(None);
    };
    let is_in_pod = kubernetes.kubeconfig.is_none();
    let outside = || (!is_in_pod).then(|| NAMESPACE.to_owned());
    let election = Election {
        access: Access::new(kubernetes, &config.cluster.service_cidrs),
        namespace: leases.namespace.clone().or_else(outside),
        options: Options {
            node: node.to_owned(),
            groups: leases.groups,
            duration: leases.duration,
            renew: leases.renew,
        },
        memory: kubernetes.snapshot.as_ref().map(|snapshot| snapshot.path.clone()),
    };
    election.start().map(Some)
}

/// Gives the VIPs up to other gateways, and waits until that is done.
pub(super) fn leave(elector: Option<&Elector>, limit: Duration) {
    let Some(elector) = elector else { return };
    if !elector.leave(limit) {
        tracing::warn!(
            "VIPs are not handed over: other gateways take them when the Lease runs out"
        );
    }
}
