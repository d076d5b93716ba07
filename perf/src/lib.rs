//! What a packet costs.
//!
//! The binaries here measure the shipped [`sluice_fastpath::Worker`]: the same
//! code, no feature, no test hook. Around it stand a port that hands out
//! prepared frames, a gateway with Services and nodes, and an independent
//! parser that checks what comes out.
#![deny(unsafe_code)]

/// An independent parser for what was sent.
pub mod check;
/// Frames as they arrive: from clients, and from pods through VXLAN.
pub mod frames;
/// The addresses of the gateway, its nodes, pods, Services and clients.
pub mod site;

/// Tables of a cluster of a given size.
pub mod cluster;
/// Workers with their ports, mailboxes and clock.
pub mod gateway;
/// A port that hands out prepared frames and keeps what is sent.
pub mod port;
/// Flows of clients to Services, and packets of them.
pub mod traffic;

/// The cases that are measured.
pub mod cases;
/// L4 forwarding and L7 on one worker.
#[cfg(feature = "l7")]
pub mod fair;
/// A SYN flood, and what it leaves to others.
pub mod flood;
/// Any load by a profile, between any two ports.
#[cfg(feature = "lab")]
pub mod lab;
/// How backends share, and what moves when they change.
pub mod shares;

/// The program in its place: configuration, objects, addresses.
pub mod program;
/// Sluice beside other programs that do its job.
pub mod race;

/// A large cluster that changes, as control sees it.
#[cfg(feature = "scale")]
pub mod scale;

/// Threads on cores.
pub mod cpu;
/// What generators can be asked for.
pub mod limits;
/// Raw packet sockets: what arrives on a device.
pub mod packet_socket;
/// Minimum, median, and the table of results.
pub mod report;
/// The time stamp counter.
pub mod tsc;

/// What the instruction guard compares with.
pub mod baseline;
/// Instruction counts from callgrind.
pub mod callgrind;
/// Small fixed workloads for the instruction guard.
#[cfg(feature = "l7")]
pub mod workloads;
