//! What is written back into the cluster.

/// Who gets which address.
pub mod allocator;
/// The gateway's own Node.
pub mod node;
