//! Network policies of both kinds, told as stories.

/// Who is there, and what the gateway reads.
mod cast;
/// Who asks whom, and what becomes of it.
mod probe;
/// A gateway and its cast.
mod story;

/// What is tried out first.
mod audit;
/// Policies that are wrong.
mod bad_input;
/// Changes while connections live.
mod live;
/// The policies that users write first.
mod patterns;
/// Connections that count what arrives.
mod streams;
/// The tiers of ClusterNetworkPolicies.
mod tiers;
