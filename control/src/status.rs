/// The gateway's own Node.
pub mod node;
