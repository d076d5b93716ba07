//! The election in a simulated world: an API server that keeps its promises
//! (compare and swap, watches in order), everything else late, lost, stopped or
//! killed.

mod simulation;
mod stories;
