use crate::events::EventCounters;
use crate::flow::Loads;
use crate::masquerade::Masqueraded;
use crate::reason::DropReason;
use sluice_io::PortStats;
use sluice_tables::ServiceId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One count. Written by one worker only, with a relaxed load and store (no
/// locked instruction), and read by anyone.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Sets the value: for gauges and for counts kept elsewhere.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of one worker. Packets are conserved:
/// `rx + originated + handed_in = tx + dropped + consumed + handed_out + held`,
/// where `held` is the number of packets that wait now: for a neighbor, for the
/// first fragment of their datagram, or until control has learned from them.
#[derive(Debug)]
pub struct WorkerCounters {
    /// By port, in the order of the configuration.
    pub ports: Box<[PortCounters]>,
    /// By [`DropReason`], in the order of [`DropReason::ALL`].
    pub drops: Box<[Counter]>,
    /// By Service up to the bound given at start, then one for all the others.
    pub services: Box<[ServiceCounters]>,
    /// Packets that the gateway made itself: answers, errors, probes, and the
    /// fragments of a packet beyond the first.
    pub originated: Counter,
    /// Packets that ended here: delivered to a local service, or learned from.
    pub consumed: Counter,
    /// Packets received from other workers.
    pub handed_in: Counter,
    /// Packets given to the workers that own their flows.
    pub handed_out: Counter,
    /// Packets that wait: for a neighbor, for a first fragment, or until control
    /// has learned from them (a gauge).
    pub held: Counter,
    /// DNS answers among them (a gauge).
    pub answers_held: Counter,
    /// DNS answers that went on before their addresses were known to every worker:
    /// control was late.
    pub answers_overdue: Counter,
    /// DNS answers that went on unread: too many waited, in all or of their client.
    pub answers_unread: Counter,
    /// ICMP errors and RSTs not sent because of the rate limit.
    pub errors_limited: Counter,
    /// News of neighbors and paths that found another worker's ring full.
    pub neighbor_news_lost: Counter,
    /// VIPs announced to everybody on a port's link, unasked.
    pub announcements: Counter,
    /// Claims of others to VIPs that are announced here.
    pub vip_conflicts: Counter,
    /// Clients forgotten before their time, for want of room.
    pub affinities_forgotten: Counter,
    /// Visits of clients that found another worker's ring full.
    pub affinity_news_lost: Counter,
    /// Flows in the table, IPv4 and IPv6 (gauges).
    pub flows: [Counter; 2],
    /// Flows ever created, IPv4 and IPv6.
    pub flows_created: [Counter; 2],
    /// Flows that expired or were given up for new ones, IPv4 and IPv6.
    pub flows_removed: [Counter; 2],
    /// Flows that hold a SNAT port, IPv4 and IPv6 (gauges).
    pub snat_ports: [Counter; 2],
    /// Flows to one endpoint that there are SNAT ports for, IPv4 and IPv6
    /// (gauges).
    pub snat_capacity: [Counter; 2],
    /// Flows that Services and endpoints have.
    pub loads: Arc<Loads>,
    /// Flows judged again because tables changed.
    pub revalidated: Counter,
    /// Questions about policy that were answered by a denial which is only tried
    /// out, at the source (egress) and at the destination (ingress): one for each
    /// flow and change of policies, one for each packet that makes no flow.
    pub policy_audited: [Counter; 2],
    /// TCP resets that lay outside of their receiver's window: passed on, and
    /// not believed.
    pub resets_ignored: Counter,
    /// Connections of pods that their node hides behind itself.
    pub masqueraded: Masqueraded,
    /// 1 while SYNs are let in at their second try only (a gauge).
    pub syn_gate_closed: Counter,
    /// Version of the tables in use (a gauge).
    pub tables_version: Counter,
    /// How long it took to take over other tables.
    pub swaps: SwapCounters,
    /// Turns of the loop.
    pub loops: Counter,
    /// Turns of the loop that found work.
    pub loops_busy: Counter,
    /// Nanoseconds spent in turns that found work.
    pub busy_ns: Counter,
    /// Nanoseconds since the worker started.
    pub total_ns: Counter,
    /// Longest turn so far, in nanoseconds (a gauge).
    pub poll_longest_ns: Counter,
    /// Times the worker went to sleep.
    pub sleeps: Counter,
    /// Frames in the worker's cache (a gauge).
    pub frames_cached: Counter,
    /// What was told of single packets.
    pub events: EventCounters,
}

/// Counters of one port's queue.
#[derive(Debug, Default)]
pub struct PortCounters {
    /// Packets received.
    pub rx_packets: Counter,
    /// Bytes received, Ethernet header included.
    pub rx_bytes: Counter,
    /// Packets that the TX ring took.
    pub tx_packets: Counter,
    /// Bytes of them, Ethernet header included.
    pub tx_bytes: Counter,
    /// Counts kept below the worker, copied about once a second.
    pub below: PortStatsCounters,
}

/// [`PortStats`] as counters.
#[derive(Debug, Default)]
pub struct PortStatsCounters {
    /// See [`PortStats::rx_dropped`].
    pub rx_dropped: Counter,
    /// See [`PortStats::rx_invalid_descs`].
    pub rx_invalid_descs: Counter,
    /// See [`PortStats::rx_ring_full`].
    pub rx_ring_full: Counter,
    /// See [`PortStats::rx_fill_ring_empty`].
    pub rx_fill_ring_empty: Counter,
    /// See [`PortStats::tx_invalid_descs`].
    pub tx_invalid_descs: Counter,
    /// See [`PortStats::tx_ring_empty`].
    pub tx_ring_empty: Counter,
    /// See [`PortStats::tx_kicks`].
    pub tx_kicks: Counter,
    /// See [`PortStats::rx_kicks`].
    pub rx_kicks: Counter,
    /// See [`PortStats::tx_copies`].
    pub tx_copies: Counter,
}

impl PortStatsCounters {
    pub(crate) fn copy(&self, stats: PortStats) {
        self.rx_dropped.set(stats.rx_dropped);
        self.rx_invalid_descs.set(stats.rx_invalid_descs);
        self.rx_ring_full.set(stats.rx_ring_full);
        self.rx_fill_ring_empty.set(stats.rx_fill_ring_empty);
        self.tx_invalid_descs.set(stats.tx_invalid_descs);
        self.tx_ring_empty.set(stats.tx_ring_empty);
        self.tx_kicks.set(stats.tx_kicks);
        self.rx_kicks.set(stats.rx_kicks);
        self.tx_copies.set(stats.tx_copies);
    }
}

/// How long swaps of tables took: the packets of a worker wait for them.
#[derive(Debug, Default)]
pub struct SwapCounters {
    /// Swaps up to each of [`SWAP_BOUNDS_NS`] and above the one before (not
    /// cumulative); the last one has all above.
    pub counts: [Counter; SWAP_BOUNDS_NS.len() + 1],
    /// Nanoseconds of all of them.
    pub sum_ns: Counter,
}

/// Upper bounds of the buckets of [`SwapCounters`], in nanoseconds.
pub const SWAP_BOUNDS_NS: [u64; 8] = [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 1_000_000];

impl SwapCounters {
    pub(crate) fn record(&self, took_ns: u64) {
        let bucket = SWAP_BOUNDS_NS.partition_point(|&bound| bound < took_ns);
        self.counts[bucket].add(1);
        self.sum_ns.add(took_ns);
    }
}

/// Counters of one Service port.
#[derive(Debug, Default)]
pub struct ServiceCounters {
    /// Packets from clients.
    pub rx_packets: Counter,
    /// IP bytes from clients.
    pub rx_bytes: Counter,
    /// Packets to clients.
    pub tx_packets: Counter,
    /// IP bytes to clients.
    pub tx_bytes: Counter,
}

impl WorkerCounters {
    /// Counters, all zero, for `ports` ports and `services` Services with
    /// counters of their own.
    pub fn new(ports: usize, services: usize) -> Self {
        fn many<T: Default>(n: usize) -> Box<[T]> {
            (0..n).map(|_| T::default()).collect()
        }
        WorkerCounters {
            ports: many(ports),
            drops: many(DropReason::ALL.len()),
            services: many(services + 1),
            originated: Counter::default(),
            consumed: Counter::default(),
            handed_in: Counter::default(),
            handed_out: Counter::default(),
            held: Counter::default(),
            answers_held: Counter::default(),
            answers_overdue: Counter::default(),
            answers_unread: Counter::default(),
            errors_limited: Counter::default(),
            neighbor_news_lost: Counter::default(),
            announcements: Counter::default(),
            vip_conflicts: Counter::default(),
            affinities_forgotten: Counter::default(),
            affinity_news_lost: Counter::default(),
            flows: Default::default(),
            flows_created: Default::default(),
            flows_removed: Default::default(),
            snat_ports: Default::default(),
            snat_capacity: Default::default(),
            loads: Arc::default(),
            revalidated: Counter::default(),
            policy_audited: Default::default(),
            resets_ignored: Counter::default(),
            masqueraded: Masqueraded::default(),
            syn_gate_closed: Counter::default(),
            tables_version: Counter::default(),
            swaps: SwapCounters::default(),
            loops: Counter::default(),
            loops_busy: Counter::default(),
            busy_ns: Counter::default(),
            total_ns: Counter::default(),
            poll_longest_ns: Counter::default(),
            sleeps: Counter::default(),
            frames_cached: Counter::default(),
            events: EventCounters::default(),
        }
    }

    /// Counts a dropped packet.
    #[inline]
    pub fn count_drop(&self, reason: DropReason) {
        self.drops[reason as usize].add(1);
    }

    /// Packets dropped for a reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize].get()
    }

    /// The counters of a Service: its own, or those of "all the others".
    #[inline]
    pub fn service(&self, service: ServiceId) -> &ServiceCounters {
        let other = self.services.len() - 1;
        &self.services[(service.0 as usize).min(other)]
    }
}
