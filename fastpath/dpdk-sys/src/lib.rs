//! Bindings to the shim in `shim.h`, which stands between Sluice and DPDK: all that is
//! used of DPDK, by plain functions that take and give bursts.
//!
//! Functions and structures are documented in `shim.h`.

/// What bindgen made of `shim.h`: zeroing a structure is what it does unsafely.
#[allow(non_camel_case_types, missing_docs, clippy::undocumented_unsafe_blocks)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

pub use bindings::*;
