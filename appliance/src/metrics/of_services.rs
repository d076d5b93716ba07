use super::family::Families;
use crate::gateway::Gateway;
use sluice_control::ServiceLabel;
use sluice_fastpath::counters::{Counter, ServiceCounters};

/// The name that Services without counters of their own share.
const OTHER: &str = "_other";

/// Packets (or bytes) from and to clients.
type Pair = fn(&ServiceCounters) -> [&Counter; 2];

/// Packets and bytes of Services: those with counters of their own, and the
/// rest together.
pub(super) fn add(gateway: &Gateway, families: &mut Families) {
    let names = gateway.control.names.snapshot();
    let metrics: [(&str, &str, Pair); 2] = [
        (
            "sluice_service_packets_total",
            "Packets of a Service's port, from (in) and to (out) its clients.",
            |counters| [&counters.rx_packets, &counters.tx_packets],
        ),
        (
            "sluice_service_bytes_total",
            "IP bytes of a Service's port, from (in) and to (out) its clients.",
            |counters| [&counters.rx_bytes, &counters.tx_bytes],
        ),
    ];
    for (name, help, of) in metrics {
        let mut family = families.counter(name, help);
        let own = gateway.workers.first().map_or(0, |worker| worker.counters.services.len() - 1);
        for (id, label) in names.iter().take(own).enumerate() {
            let Some(ServiceLabel { namespace, name, port, protocol }) = label else { continue };
            let (service, port) = (format!("{namespace}/{name}"), port.to_string());
            for (direction, count) in directions(gateway, id, of) {
                let labels = [
                    ("service", service.as_str()),
                    ("port", &port),
                    ("protocol", protocol),
                    ("direction", direction),
                ];
                family.count(&labels, count);
            }
        }
        for (direction, count) in directions(gateway, own, of) {
            let labels =
                [("service", OTHER), ("port", ""), ("protocol", ""), ("direction", direction)];
            family.count(&labels, count);
        }
    }
}

/// The counts of one number, over all workers.
fn directions(gateway: &Gateway, id: usize, of: Pair) -> [(&'static str, u64); 2] {
    let mut sums = [("in", 0), ("out", 0)];
    for worker in &gateway.workers {
        if let Some(counters) = worker.counters.services.get(id) {
            for (sum, count) in sums.iter_mut().zip(of(counters)) {
                sum.1 += count.get();
            }
        }
    }
    sums
}
