/// Defines [`DropReason`] from one list: variant, label, help. The labels are
/// what metrics, `sluice show drops` and the README's table show.
macro_rules! drop_reasons {
    ($($(#[doc = $help:literal])+ $variant:ident = $label:literal,)+) => {
        /// Why a packet was dropped. Every drop has exactly one reason.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason { $($(#[doc = $help])+ $variant,)+ }

        impl DropReason {
            /// Every reason, in the order of the journey.
            pub const ALL: &[DropReason] = &[$(DropReason::$variant,)+];

            /// The reason's name in metrics and output.
            pub const fn label(self) -> &'static str {
                match self { $(DropReason::$variant => $label,)+ }
            }

            /// One sentence that says what happened.
            pub fn help(self) -> &'static str {
                match self { $(DropReason::$variant => concat!($($help),+).trim_start(),)+ }
            }
        }
    };
}

drop_reasons! {
    /// Shorter than the headers that it announces.
    Truncated = "truncated",
    /// Addressed to another MAC.
    NotOurMac = "not_our_mac",
    /// A VLAN tag that the port does not carry, or none where it must.
    WrongVlan = "wrong_vlan",
    /// Neither ARP, IPv4 nor IPv6.
    UnknownEthertype = "unknown_ethertype",
    /// An IP header whose version, length or total length is impossible.
    BadIpHeader = "bad_ip_header",
    /// An IPv4 header whose checksum is wrong.
    BadIpChecksum = "bad_ip_checksum",
    /// IPv4 source routing, or an IPv6 type 0 routing header (RFC 5095).
    SourceRoute = "source_route",
    /// More IPv6 extension headers than are walked.
    TooManyExtensions = "too_many_extensions",
    /// A source or destination that no packet may have here: unspecified,
    /// loopback, multicast or link-local; or one that is both.
    Martian = "martian",
    /// A source address that is the gateway's own.
    SpoofedOwnAddress = "spoofed_own_address",
    /// A source address that belongs to a pod, from outside of the overlay.
    SpoofedPod = "spoofed_pod",
    /// A source address that is a node's, by another port than the underlay's.
    SpoofedNode = "spoofed_node",
    /// VXLAN to a node from somebody who is neither the gateway nor a node.
    ForeignTunnel = "foreign_tunnel",
    /// A TCP, UDP, SCTP or ICMP header that is impossible.
    BadL4Header = "bad_l4_header",
    /// A TCP or SCTP fragment that does not hold the whole header, or would
    /// replace it (RFC 1858, RFC 3128).
    TinyFragment = "tiny_fragment",
    /// TCP flags that no stack sends: none, SYN with FIN or RST, FIN or RST
    /// missing its ACK, all of them.
    BadTcpFlags = "bad_tcp_flags",
    /// SCTP whose checksum is wrong, where it is to be translated or answered.
    BadSctpChecksum = "bad_sctp_checksum",
    /// An ARP packet that breaks RFC 826, or claims an address of ours.
    BadArp = "bad_arp",
    /// ARP or ND that is not for us and teaches nothing.
    NeighborNotForUs = "neighbor_not_for_us",
    /// An ND packet that breaks RFC 4861 section 7.1, or claims an address of
    /// ours.
    BadNd = "bad_nd",
    /// Multicast or broadcast that nobody here listens to.
    Multicast = "multicast",
    /// VXLAN flags that RFC 7348 does not allow.
    BadVxlan = "bad_vxlan",
    /// VXLAN of another network.
    WrongVni = "wrong_vni",
    /// VXLAN from an address that is no node's.
    UnknownVtep = "unknown_vtep",
    /// VXLAN whose inner frame is addressed to another MAC, or is not IP.
    BadInnerFrame = "bad_inner_frame",
    /// An inner source address that does not belong to the sending node.
    WrongVtep = "wrong_vtep",
    /// VXLAN in IP fragments.
    TunnelFragment = "tunnel_fragment",
    /// The outer header reports congestion that the inner transport cannot
    /// express (RFC 6040 section 4.2).
    EcnNotCapable = "ecn_not_capable",
    /// The ring to the worker that owns the flow was full.
    HandoffRingFull = "handoff_ring_full",
    /// A fragment without payload, or one that is not the last and whose length
    /// is no multiple of 8.
    BadFragment = "bad_fragment",
    /// A fragment that has come before.
    FragmentDuplicate = "fragment_duplicate",
    /// A fragment of a packet whose fragments overlap, or do not agree on its
    /// end (RFC 5722).
    FragmentOverlap = "fragment_overlap",
    /// A fragment of SCTP where it may have to be translated, or of an ICMP message
    /// other than echo where a policy may be asked too: that takes the whole packet.
    FragmentNotSupported = "fragment_not_supported",
    /// A fragment that waited in vain for the first one of its packet.
    FragmentTimeout = "fragment_timeout",
    /// A fragment that waited for the first one of its packet, and gave way to
    /// another packet.
    FragmentTableFull = "fragment_table_full",
    /// A fragment of a packet that lacks its first one, while too many wait.
    FragmentQueueFull = "fragment_queue_full",
    /// A later fragment of a packet whose first one made no flow.
    FragmentNoFlow = "fragment_no_flow",
    /// An ICMP error about a translated flow whose checksum is wrong.
    BadIcmpChecksum = "bad_icmp_checksum",
    /// An ICMP redirect, source quench or unknown error about a flow that is
    /// translated: it means nothing to its other end.
    IcmpErrorType = "icmp_error_type",
    /// An ICMP error to a VIP, to the SNAT pool or to the gateway about no flow,
    /// or about one of somebody else than its receiver.
    IcmpErrorNoFlow = "icmp_error_no_flow",
    /// TCP or SCTP to a Service or to the SNAT pool that belongs to no
    /// connection: answered with RST or ABORT.
    NoConnection = "no_connection",
    /// A Service without an endpoint in rotation: refused.
    NoBackend = "no_backend",
    /// A client that `loadBalancerSourceRanges` does not name.
    SourceNotAllowed = "source_not_allowed",
    /// `internalTrafficPolicy: Local`, and the client's node has no endpoint.
    NoLocalEndpoint = "no_local_endpoint",
    /// A port of a VIP that is no Service's: refused.
    VipPortUnused = "vip_port_unused",
    /// A port of the gateway's own address where nothing listens: refused.
    LocalPortUnused = "local_port_unused",
    /// The gateway's own services have no room for more.
    LocalQueueFull = "local_queue_full",
    /// To an address of the gateway's kernel, but not by the port that the
    /// kernel receives on.
    KernelAddress = "kernel_address",
    /// A reply to an address of the SNAT pool that belongs to no flow.
    NoSnatFlow = "no_snat_flow",
    /// A network policy of the source pod does not allow it.
    PolicyEgress = "policy_egress",
    /// A network policy of the destination pod does not allow it.
    PolicyIngress = "policy_ingress",
    /// A DNS answer that waited to be learned from, and whose flow ended.
    DnsNoFlow = "dns_no_flow",
    /// More comes than the worker has time for: a part of what it forwards makes room for
    /// connections that end here.
    Overload = "overload",
    /// The time to live has run out.
    TtlExceeded = "ttl_exceeded",
    /// No route to the destination.
    NoRoute = "no_route",
    /// The route says that nobody has the destination.
    Blackhole = "blackhole",
    /// Larger than the next hop or the tunnel carries, and not to be
    /// fragmented.
    TooBig = "too_big",
    /// The flow table is full and nothing in it could be given up.
    FlowTableFull = "flow_table_full",
    /// The source has as many flows as one may have, or more than its share of a
    /// flow table under pressure.
    FlowSourceLimit = "flow_source_limit",
    /// The Service has as many flows, or half-open ones, as one may have.
    FlowServiceLimit = "flow_service_limit",
    /// The first SYN of a connection, in a flood of SYNs: its retransmission is
    /// let in.
    SynGated = "syn_gated",
    /// Another flow has the same tuple on the far side, and no other source port
    /// was found.
    FlowCollision = "flow_collision",
    /// No free SNAT port towards this destination.
    SnatPortsExhausted = "snat_ports_exhausted",
    /// No SNAT address of the packet's family is configured.
    NoSnatAddress = "no_snat_address",
    /// The next hop does not answer ARP or ND.
    NeighborUnreachable = "neighbor_unreachable",
    /// Too many packets wait for next hops.
    NeighborQueueFull = "neighbor_queue_full",
    /// The neighbor table is full.
    NeighborTableFull = "neighbor_table_full",
    /// The tunnel endpoint has no underlay address that is ours to reach.
    TunnelUnreachable = "tunnel_unreachable",
    /// No headroom for the headers.
    NoHeadroom = "no_headroom",
    /// The UMEM has no free frame.
    NoFrame = "no_frame",
    /// The TX ring was full.
    TxRingFull = "tx_ring_full",
    /// The worker stopped with the packet in hand.
    Stopping = "stopping",
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn labels_are_unique_prometheus_label_words() {
        let mut seen = HashSet::new();
        for reason in DropReason::ALL {
            let label = reason.label();
            assert!(
                label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{label}"
            );
            assert!(seen.insert(label), "{label} twice");
            assert!(reason.help().ends_with('.'), "{label}: help is a sentence");
        }
    }
}
