//! AF_XDP on veth pairs, in network namespaces that each test makes itself.
//! Needs root; without it every test says that it skips.

#![expect(clippy::disallowed_methods, reason = "the kernel goes by its own time")]

/// Frames to send.
#[path = "../common/frames.rs"]
mod frames;
/// Namespaces, veth pairs, packet sockets at the far ends.
mod lab;
/// Whose each frame is.
#[path = "../common/steering.rs"]
mod steering_cases;
/// Opening ports, and a worker's hands.
mod worker;

/// Bytes in, bytes out, nothing lost.
mod forwarding;
/// How it opens, fails to open, and goes away.
mod lifecycle;
/// Multicast past the device's filter.
mod multicast;
/// Who gets which frame.
mod steering;
