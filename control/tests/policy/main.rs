//! Network policy against an evaluator that is obviously right.

/// Objects as they are written in manifests.
mod object;

/// What the APIs' texts say.
mod reference;

/// Clusters, changes and questions from a seed.
mod random;

/// The comparison.
mod harness;

/// The compiler of Sluice, and the tables that it makes.
mod compiled;

/// What the documentation says, case by case.
mod cases;
