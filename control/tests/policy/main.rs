//! Network policy against an evaluator that is obviously right.

/// Objects as they are written in manifests.
mod object;

/// What the APIs' texts say.
mod reference;
