//! Whatever the text, `parse` returns; what it accepts keeps its promises, what it refuses is
//! placed. The texts are examples and wrong files, mutated; the seed is fixed.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use sluice_config::{Config, Errors, FRAMES_MAX, PORTS_MAX, Severity, parse};

const ROUNDS: usize = 4000;

/// Pieces that mean something to YAML or to the schema.
const PIECES: [&str; 40] = [
    "\n",
    "\r",
    "\t",
    " ",
    "  ",
    "- ",
    ": ",
    ":",
    ",",
    "[",
    "]",
    "{",
    "}",
    "? ",
    "&a ",
    "*a",
    "!x ",
    "|\n",
    ">-\n",
    "'",
    "\"",
    "#",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "null",
    "~",
    "\u{feff}",
    "\u{0}",
    "\u{2028}",
    "\u{1f600}",
    "-1",
    "0x10",
    "65536",
    "1e9",
    "0.0.0.0/0",
    "\"::/0\"",
    "ports: ",
    "mtu: 1280",
    "<<: *a",
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// The files of some folders.
fn seeds(folders: &[&str]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).expect("folder"))
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).expect("UTF-8")).collect()
}

const GOOD: [&str; 2] = ["examples", "tests/warnings"];
const BAD: [&str; 1] = ["tests/errors"];

fn mutate(text: &str, other: &str, random: &mut Random) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(3) {
        let at = random.below(chars.len() + 1);
        let end = (at + random.below(12)).min(chars.len());
        let insert: Vec<char> = match random.below(5) {
            0 => Vec::new(),
            1 => PIECES[random.below(PIECES.len())].chars().collect(),
            2 => chars[at..end].repeat(2),
            3 => other
                .lines()
                .nth(random.below(other.lines().count()))
                .unwrap_or("")
                .chars()
                .collect(),
            _ => char::from_u32(random.below(0x11_0000) as u32).into_iter().collect(),
        };
        let removed = if random.below(2) == 0 { at } else { end };
        chars.splice(at..removed, insert);
    }
    chars.into_iter().collect()
}

/// What the types alone do not say.
fn assert_promises(config: &Config) {
    assert!((1..=PORTS_MAX).contains(&config.ports.len()));
    let own: Vec<_> = config.ports.iter().flat_map(|port| &port.addresses).collect();
    let distinct: HashSet<_> = own.iter().map(|net| net.addr()).collect();
    assert_eq!(distinct.len(), own.len());
    assert!(own.iter().all(|net| !net.addr().is_multicast() && !net.addr().is_unspecified()));
    let names: HashSet<_> = config.ports.iter().map(|port| &port.name).collect();
    assert_eq!(names.len(), config.ports.len());

    let (workers, ports) = (config.workers.count, config.ports.len());
    let needed = workers * ports * config.io.ring_len as usize * 2;
    assert!((needed..=FRAMES_MAX as usize).contains(&(config.io.frames as usize)));
    assert!(config.io.ring_len.is_power_of_two());
    assert!(config.workers.cores.as_ref().is_none_or(|cores| cores.len() == workers));

    if let Some(overlay) = &config.overlay {
        let port = config.port(overlay.vxlan.port);
        assert!(overlay.vxlan.addresses.iter().count() > 0);
        for address in overlay.vxlan.addresses.iter() {
            let held = port.addresses.iter().any(|net| net.addr() == address);
            assert!(held || port.kernel_addresses.contains(&address));
        }
    }
    for route in &config.routes {
        assert_eq!(route.to, route.to.trunc());
        assert!(route.via.is_none_or(|via| via.is_ipv4() == route.to.addr().is_ipv4()));
        config.port(route.port);
    }
    assert!(config.snat.addresses_v4().count() <= 4096);
    assert!(config.snat.addresses_v6().count() <= 4096);
    assert!(config.snat.ports.max - config.snat.ports.min >= 255);
}

fn assert_placed(errors: &Errors, text: &str) {
    assert!(errors.diagnostics.iter().any(|found| found.severity == Severity::Error));
    let breaks = |c: &char| matches!(c, '\n' | '\r');
    let lines = text.chars().filter(breaks).count() + 1;
    for found in &errors.diagnostics {
        let Some(location) = &found.location else { continue };
        assert!((1..=lines).contains(&location.line), "{found}");
        assert!(location.column >= 1 && location.caret_len >= 1, "{found}");
        assert!(!location.source_line.contains(char::is_control), "{found:?}");
    }
    assert!(!errors.to_string().is_empty());
}

#[test]
fn no_mutation_of_a_file_breaks_a_promise() {
    let (good, bad) = (seeds(&GOOD), seeds(&BAD));
    let mut random = Random(0x51_u64);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let text =
            if round % 2 == 0 { &good[random.below(good.len())] } else { &bad[round % bad.len()] };
        let other = &bad[random.below(bad.len())];
        let mutated = mutate(text, other, &mut random);
        match parse("mutated.yaml", &mutated) {
            Ok(loaded) => {
                accepted += 1;
                assert_promises(&loaded.config);
            }
            Err(errors) => {
                refused += 1;
                assert_placed(&errors, &mutated);
            }
        }
    }
    assert!(accepted > ROUNDS / 50 && refused > ROUNDS / 2, "{accepted} and {refused}");
}

#[test]
fn no_heap_of_pieces_is_too_much() {
    let mut random = Random(0x52_u64);
    for _ in 0..ROUNDS {
        let count = random.below(40);
        let text: String = (0..count).map(|_| PIECES[random.below(PIECES.len())]).collect();
        if let Err(errors) = parse("pieces.yaml", &text) {
            assert_placed(&errors, &text);
        }
    }
}

#[test]
fn every_prefix_of_a_file_is_judged() {
    for text in seeds(&GOOD).iter().chain(&seeds(&BAD)) {
        for (end, _) in text.char_indices() {
            if let Err(errors) = parse("prefix.yaml", &text[..end]) {
                assert_placed(&errors, &text[..end]);
            }
        }
    }
}
