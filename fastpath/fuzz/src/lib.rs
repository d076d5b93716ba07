//! Fuzz targets. Each takes any bytes and panics only when something is wrong
//! with the subject: a panic of its own, a packet or frame that got lost, an
//! output that does not parse.
//!
//! `cargo test -p sluice-fuzz` replays the corpus and tries some thousand
//! mutations of it; the binary `fuzz` goes on for as long as it is told;
//! `libfuzzer/` has the same targets for coverage-guided fuzzing.
#![forbid(unsafe_code)]

/// ARP and Neighbor Discovery.
pub mod arp_nd;
/// DNS messages.
pub mod dns;
/// Requests of HTTP/1.1, before anybody else reads them.
pub mod guard;
/// A gateway with both families and the overlay, and what passes through it.
pub mod journey;
/// Header parsers against another implementation.
pub mod parser;
/// TCP that ends here.
pub mod tcp;
/// Configuration and manifests.
pub mod texts;

/// The corpus: where it is, what it begins with.
pub mod corpus;
/// The loop of the driver: mutate, run, report.
pub mod drive;
/// Bytes taken apart.
pub mod input;
/// From one input to another.
pub mod mutate;

/// A fuzz target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in the corpus.
    pub name: &'static str,
    /// Runs one input.
    pub run: fn(&[u8]),
    /// Longest input worth trying, in bytes.
    pub len_max: usize,
    /// Words that inputs are made of.
    pub dictionary: &'static [&'static [u8]],
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "parser", run: parser::parser, len_max: 2048, dictionary: corpus::PACKET_WORDS },
    Target { name: "arp_nd", run: arp_nd::arp_nd, len_max: 512, dictionary: corpus::PACKET_WORDS },
    Target {
        name: "journey",
        run: journey::journey,
        len_max: 8192,
        dictionary: corpus::PACKET_WORDS,
    },
    Target { name: "guard", run: guard::guard, len_max: 2048, dictionary: corpus::HTTP_WORDS },
    Target { name: "tcp", run: tcp::tcp, len_max: 1024, dictionary: corpus::TCP_WORDS },
    Target { name: "dns", run: dns::dns, len_max: 1024, dictionary: corpus::DNS_WORDS },
    Target {
        name: "config",
        run: texts::config,
        len_max: 16_384,
        dictionary: corpus::CONFIG_WORDS,
    },
    Target {
        name: "manifests",
        run: texts::manifests,
        len_max: 16_384,
        dictionary: corpus::MANIFEST_WORDS,
    },
];

/// The target of a name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}
