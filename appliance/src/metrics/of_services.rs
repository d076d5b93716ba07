use super::baselines::Counts;
use super::family::Families;
use crate::gateway::Gateway;
use crate::snat;
use sluice_control::ServiceLabel;

/// The name that Services without counters of their own share.
const OTHER: &str = "_other";

/// Name, help, and where in [`Counts`] a metric begins.
const METRICS: [(&str, &str, usize); 2] = [
    (
        "sluice_service_packets_total",
        "Packets of a Service's port, from (in) and to (out) its clients.",
        0,
    ),
    (
        "sluice_service_bytes_total",
        "IP bytes of a Service's port, from (in) and to (out) its clients.",
        2,
    ),
];

/// Packets and bytes of Services: those with counters of their own, and the
/// rest together.
pub(super) fn add(gateway: &Gateway, families: &mut Families) {
    let names = gateway.control.names.snapshot();
    let own = own(gateway);
    let since = look(gateway, &names);
    for (name, help, first) in METRICS {
        let mut family = families.counter(name, help);
        for (label, counts) in names.iter().zip(&since) {
            let (Some(label), Some(counts)) = (label, counts) else { continue };
            let ServiceLabel { namespace, name, port, protocol } = label;
            let (service, port) = (format!("{namespace}/{name}"), port.to_string());
            for (direction, count) in ["in", "out"].into_iter().zip(&counts[first..]) {
                let labels = [
                    ("service", service.as_str()),
                    ("port", &port),
                    ("protocol", protocol),
                    ("direction", direction),
                ];
                family.count(&labels, *count);
            }
        }
        for (direction, count) in ["in", "out"].into_iter().zip(&counts(gateway, own)[first..]) {
            let labels =
                [("service", OTHER), ("port", ""), ("protocol", ""), ("direction", direction)];
            family.count(&labels, *count);
        }
    }
}

/// How full the SNAT ports are towards the fullest endpoint of each Service.
pub(super) fn add_snat(gateway: &Gateway, families: &mut Families) {
    let names = gateway.control.names.snapshot();
    let mut fullest = snat::fullest(&snat::used(gateway));
    let mut family = families.gauge(
        "sluice_snat_ports_used_ratio",
        "Share of the SNAT ports towards the fullest endpoint of a Service's port that is in use.",
    );
    for (id, label) in (0..).zip(names.iter().take(own(gateway))) {
        let Some(ServiceLabel { namespace, name, port, protocol }) = label else { continue };
        let (service, port) = (format!("{namespace}/{name}"), port.to_string());
        let labels = [("service", service.as_str()), ("port", &port), ("protocol", protocol)];
        family.add(&labels, fullest.remove(&id).unwrap_or(0.0));
    }
    let other = fullest.into_values().fold(0.0, f64::max);
    family.add(&[("service", OTHER), ("port", ""), ("protocol", "")], other);
}

/// Notices numbers at rest: to be called more often than they may be used
/// again, whether anybody scrapes or not.
pub fn notice(gateway: &Gateway) {
    look(gateway, &gateway.control.names.snapshot());
}

fn look(gateway: &Gateway, names: &[Option<ServiceLabel>]) -> Vec<Option<Counts>> {
    let names = &names[..names.len().min(own(gateway))];
    gateway.baselines.look(names, |id| counts(gateway, id))
}

/// Numbers with counters of their own; the next one is what the rest shares.
fn own(gateway: &Gateway) -> usize {
    gateway.workers.first().map_or(0, |worker| worker.counters.services.len() - 1)
}

/// The counts of one number, over all workers.
fn counts(gateway: &Gateway, id: usize) -> Counts {
    let mut sums = Counts::default();
    for worker in &gateway.workers {
        if let Some(of) = worker.counters.services.get(id) {
            let counters = [&of.rx_packets, &of.tx_packets, &of.rx_bytes, &of.tx_bytes];
            for (sum, counter) in sums.iter_mut().zip(counters) {
                *sum += counter.get();
            }
        }
    }
    sums
}
