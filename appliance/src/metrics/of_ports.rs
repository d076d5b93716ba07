use super::family::Families;
use crate::gateway::Gateway;
use sluice_fastpath::counters::{Counter, PortCounters, PortStatsCounters};

/// A counter of the kernel's side of a port, and its label.
type Below = (&'static str, fn(&PortStatsCounters) -> &Counter);

const KERNEL_DROPS: [Below; 5] = [
    ("rx_dropped", |below| &below.rx_dropped),
    ("rx_ring_full", |below| &below.rx_ring_full),
    ("rx_fill_ring_empty", |below| &below.rx_fill_ring_empty),
    ("rx_invalid_descs", |below| &below.rx_invalid_descs),
    ("tx_invalid_descs", |below| &below.tx_invalid_descs),
];

const KICKS: [Below; 2] = [("rx", |below| &below.rx_kicks), ("tx", |below| &below.tx_kicks)];

/// Ports, XDP programs and memory.
pub(super) fn add(gateway: &Gateway, families: &mut Families) {
    traffic(gateway, families);
    below(gateway, families);
    xdp(gateway, families);
    #[cfg(feature = "dpdk")]
    taps(gateway, families);
    families
        .gauge("sluice_frames", "Frames of the UMEM.")
        .count(&[], u64::from(gateway.umem.chunks()));
    families
        .gauge("sluice_frames_free", "Frames that are neither with the kernel nor with a worker.")
        .count(&[], gateway.umem.free_chunks() as u64);
}

/// Calls `f` with name, worker and counters of every queue.
fn each_queue(gateway: &Gateway, mut f: impl FnMut(&str, &str, &PortCounters)) {
    for (index, port) in gateway.ports.iter().enumerate() {
        for (id, worker) in gateway.workers.iter().enumerate() {
            f(&port.name, &id.to_string(), &worker.counters.ports[index]);
        }
    }
}

fn traffic(gateway: &Gateway, families: &mut Families) {
    let mut packets = families.counter("sluice_port_packets_total", "Packets of a port.");
    each_queue(gateway, |port, worker, counters| {
        for (direction, count) in [("rx", &counters.rx_packets), ("tx", &counters.tx_packets)] {
            let labels = [("port", port), ("worker", worker), ("direction", direction)];
            packets.count(&labels, count.get());
        }
    });
    let mut bytes = families
        .counter("sluice_port_bytes_total", "Bytes of a port's packets, Ethernet header included.");
    each_queue(gateway, |port, worker, counters| {
        for (direction, count) in [("rx", &counters.rx_bytes), ("tx", &counters.tx_bytes)] {
            let labels = [("port", port), ("worker", worker), ("direction", direction)];
            bytes.count(&labels, count.get());
        }
    });
    let mut info = families
        .gauge("sluice_port_info", "Always 1; how a queue is attached to its device is a label.");
    for port in &gateway.ports {
        for (queue, mode) in port.queues.iter().enumerate() {
            let (queue, mode) = (queue.to_string(), mode.to_string());
            let labels = [
                ("port", port.name.as_str()),
                ("device", &port.device),
                ("queue", &queue),
                ("mode", &mode),
            ];
            info.count(&labels, 1);
        }
    }
}

fn below(gateway: &Gateway, families: &mut Families) {
    let mut drops = families.counter(
        "sluice_port_kernel_drops_total",
        "Packets that the kernel, or the driver, could not hand over or send, by reason.",
    );
    each_queue(gateway, |port, worker, counters| {
        for (reason, of) in KERNEL_DROPS {
            let labels = [("port", port), ("worker", worker), ("reason", reason)];
            drops.count(&labels, of(&counters.below).get());
        }
    });
    let mut kicks = families.counter(
        "sluice_port_kicks_total",
        "System calls made to start reception or transmission.",
    );
    each_queue(gateway, |port, worker, counters| {
        for (direction, of) in KICKS {
            let labels = [("port", port), ("worker", worker), ("direction", direction)];
            kicks.count(&labels, of(&counters.below).get());
        }
    });
    let mut copies = families.counter(
        "sluice_port_tx_copies_total",
        "Frames that had to be copied or moved to be sent.",
    );
    each_queue(gateway, |port, worker, counters| {
        copies.count(&[("port", port), ("worker", worker)], counters.below.tx_copies.get());
    });
}

fn xdp(gateway: &Gateway, families: &mut Families) {
    let counters = match gateway.with_xdp(|xdp| xdp.xdp_counters()) {
        Some(Ok(counters)) => counters,
        Some(Err(error)) => {
            tracing::warn!(%error, "cannot read the counters of the XDP programs");
            return;
        }
        None => return,
    };
    let mut packets = families.counter(
        "sluice_xdp_packets_total",
        "Packets that the XDP program saw, by what became of them.",
    );
    for (port, counters) in counters {
        for (action, count) in [
            ("redirected", counters.redirected),
            ("passed_kernel_address", counters.passed_kernel_address),
            ("passed_arp", counters.passed_arp),
            ("passed_nd", counters.passed_nd),
            ("passed_control", counters.passed_control),
            ("dropped_no_socket", counters.dropped_no_socket),
            ("dropped_malformed", counters.dropped_malformed),
        ] {
            packets.count(&[("port", &port), ("action", action)], count);
        }
    }
}

#[cfg(feature = "dpdk")]
fn taps(gateway: &Gateway, families: &mut Families) {
    gateway.with_dpdk(|dpdk| {
        let mut packets = families.counter(
            "sluice_tap_packets_total",
            "Packets between a device of DPDK's and the kernel's TAP device there.",
        );
        for (port, counts) in dpdk.kernel_counts() {
            for (action, count) in [
                ("passed_kernel_address", counts.passed_kernel_address),
                ("passed_arp", counts.passed_arp),
                ("passed_nd", counts.passed_nd),
                ("passed_control", counts.passed_control),
                ("sent", counts.sent),
                ("dropped", counts.dropped),
            ] {
                packets.count(&[("port", port), ("action", action)], count);
            }
        }
    });
}
