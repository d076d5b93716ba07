/// Out of VXLAN.
pub mod decap;
/// ARP and Neighbor Discovery as they come in: answers, news.
pub mod link;
/// From a frame to an IP packet: Ethernet, the IP header, the tunnel.
pub mod receive;
/// Less of what is forwarded, where there is too much.
pub mod shed;
/// What routers say of tunnel packets.
pub mod underlay;

/// What new flows will ask of the tables.
pub mod ahead;
/// Answers of DNS servers.
pub mod answer;
/// Which endpoint, where a Service asks for more than a hash.
pub mod balance;
/// Known flows: replay of what was decided for them.
pub mod conntrack;
/// New flows.
pub mod establish;
/// Fragments whose ports must be known.
pub mod fragment;
/// ICMP errors about flows.
pub mod icmp;
/// Who may open a flow to whom.
pub mod policy;
/// Questions to next hops.
mod resolve;
/// Destination to way out.
pub mod route;
/// Addresses that no packet may have.
pub mod sanity;
/// What SCTP chunks do to a flow.
mod sctp;
/// VIP to backend.
pub mod service;
/// An address and a port that bring the replies back.
pub mod snat;
/// Whose flow it is.
pub mod steer;
/// TCP's part of it: handshakes, closing, resets.
pub mod tcp;

/// ICMP errors and TCP resets to the sender.
pub mod error;
/// MSS of TCP into tunnels.
pub mod mss;
/// Fragmentation and transmission.
pub mod output;
