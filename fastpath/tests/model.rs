//! Random operations against a naive oracle: the same verdict and the same
//! bytes for every packet, and no packet or frame lost after any step.
//!
//! `SLUICE_MODEL_OPS` sets the operations of each run (default 24,000),
//! `SLUICE_MODEL_SEED` the seed of the first run and `SLUICE_MODEL_RUNS` the
//! runs of each variant, each with a seed of its own. A failure is shrunk to
//! the operations that it needs and printed with its seed.

mod model {
    /// The operations.
    pub mod ops;
    /// What a gateway should do.
    pub mod oracle;
    /// Subject and oracle side by side.
    pub mod run;
    /// Runs, and the shortest one that fails.
    pub mod shrink;
    /// What the gateway is told.
    pub mod world;

    mod answer;
    mod compare;
    mod compile;
    mod errors;
    mod flows;
    mod fragments;
    mod frames;
    mod hosts;
    mod judge;
    mod link;
    mod parse;
    mod policy;
    mod random;
    mod services;
    mod subject;
    mod wire;
}

use model::oracle::Event;
use model::run::Met;
use model::shrink::check;
use model::world::{Limits, Variant};
use sluice_fastpath::DropReason;

const PLAIN: Variant = Variant {
    underlay_v4: true,
    underlay_v6: true,
    preserve: false,
    few_ports: false,
    limits: None,
    workers: 1,
};

/// Operations of a run, unless told otherwise.
const OPS: u64 = 24_000;

fn number(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: expected a number")),
        Err(_) => otherwise,
    }
}

/// Reasons that every long run meets.
const ALWAYS_MET: &[DropReason] = {
    use DropReason::*;
    &[
        Truncated,
        NotOurMac,
        WrongVlan,
        UnknownEthertype,
        BadIpHeader,
        BadIpChecksum,
        SourceRoute,
        TooManyExtensions,
        Martian,
        SpoofedOwnAddress,
        SpoofedPod,
        BadL4Header,
        BadTcpFlags,
        BadSctpChecksum,
        TinyFragment,
        BadArp,
        NeighborNotForUs,
        BadNd,
        Multicast,
        BadVxlan,
        WrongVni,
        UnknownVtep,
        BadInnerFrame,
        WrongVtep,
        EcnNotCapable,
        TunnelFragment,
        BadFragment,
        FragmentDuplicate,
        FragmentOverlap,
        FragmentTimeout,
        FragmentNoFlow,
        BadIcmpChecksum,
        IcmpErrorType,
        IcmpErrorNoFlow,
        NoConnection,
        NoBackend,
        VipPortUnused,
        LocalPortUnused,
        KernelAddress,
        SourceNotAllowed,
        NoLocalEndpoint,
        NoSnatFlow,
        PolicyEgress,
        PolicyIngress,
        TtlExceeded,
        NoRoute,
        Blackhole,
        TooBig,
        TunnelUnreachable,
        NeighborUnreachable,
    ]
};

/// Events that every long run meets.
const ALWAYS_EVENTS: &[Event] = {
    use Event::*;
    &[
        NodePort,
        PortBesideNodePort,
        NodePortFragment,
        NodePortError,
        NodePortOutlived,
        NodePortEnded,
        SourceEnded,
        NearNode,
        NearZoneOfNode,
        NearZoneOfGateway,
        AffinityKept,
        AffinityMoved,
        AffinityOver,
        Weighted,
        Cut,
        CutFragment,
        CutError,
        Resumed,
        OwnNode,
        Related,
        LeastConnections,
        RandomOfTwo,
    ]
};

/// Runs a variant, which must meet some reasons beside [`ALWAYS_MET`].
fn runs(variant: Variant, also: &[DropReason]) {
    let ops = number("SLUICE_MODEL_OPS", OPS) as usize;
    let seed = number("SLUICE_MODEL_SEED", 1);
    let mut met = Met::default();
    for run in 0..number("SLUICE_MODEL_RUNS", 1) {
        met.add(check(variant, seed + run, ops));
    }
    if ops as u64 >= OPS {
        for reason in ALWAYS_MET.iter().chain(also) {
            assert!(met.reasons.contains(reason), "no packet was dropped for {reason:?}");
        }
        for event in ALWAYS_EVENTS {
            assert!(met.events.contains(event), "{event:?} has not come");
        }
        let other = met.events.contains(&Event::AffinityOfOtherWorker);
        assert_eq!(other, variant.workers > 1, "one worker's client at another");
        assert!(met.revalidated > 0, "no flow was judged again");
        assert!(met.resets_ignored > 0, "no reset lay outside of a window");
        assert!(met.restarts > 0, "no handshake began again");
        assert!(met.gave_way > 0 || variant.limits.is_none(), "no half-open flow gave way");
        assert!(met.other_ports > 0 || !variant.preserve, "no client got another port of its own");
        assert_eq!(met.handed > 0, variant.workers > 1, "packets handed over: {}", met.handed);
    }
}

#[test]
fn one_worker_over_either_underlay() {
    runs(PLAIN, &[]);
}

#[test]
fn one_worker_over_ipv4() {
    runs(Variant { underlay_v6: false, ..PLAIN }, &[]);
}

#[test]
fn one_worker_over_ipv6_clients_preserved() {
    runs(Variant { underlay_v4: false, preserve: true, ..PLAIN }, &[]);
}

#[test]
fn one_worker_short_of_ports() {
    runs(
        Variant { underlay_v4: false, few_ports: true, ..PLAIN },
        &[DropReason::SnatPortsExhausted],
    );
}

#[test]
fn one_worker_that_limits_sources_and_services() {
    let limits = Limits { source: [14, 9], service: [12, 6] };
    runs(
        Variant { underlay_v6: false, limits: Some(limits), ..PLAIN },
        &[DropReason::FlowSourceLimit, DropReason::FlowServiceLimit],
    );
}

#[test]
fn two_workers_over_ipv4() {
    runs(Variant { workers: 2, ..PLAIN }, &[]);
}

#[test]
fn two_workers_over_ipv6_clients_preserved() {
    runs(Variant { workers: 2, preserve: true, underlay_v4: false, ..PLAIN }, &[]);
}
