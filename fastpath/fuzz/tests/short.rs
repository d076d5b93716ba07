//! A short, bounded session of every target: the corpus, then mutations of it.
//! The seed is fixed; `fuzz --seed` tries others.

use sluice_fuzz::corpus::{folder, load, seeds};
use sluice_fuzz::drive::{Until, session};
use sluice_fuzz::target;

fn short(name: &str, inputs: u64) {
    let target = target(name).expect("a target of this name");
    match session(&target, 1, Until::Inputs(inputs)) {
        Ok(done) => assert!(done.replayed > 0, "the corpus of {name} is empty"),
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn parser() {
    short("parser", 300_000);
}

#[test]
fn arp_nd() {
    short("arp_nd", 15_000);
}

#[test]
fn journey() {
    short("journey", 30_000);
}

#[test]
fn guard() {
    short("guard", 2_000_000);
}

#[test]
fn tcp() {
    short("tcp", 200_000);
}

#[test]
fn dns() {
    short("dns", 200_000);
}

#[test]
fn config() {
    short("config", 15_000);
}

#[test]
fn manifests() {
    short("manifests", 40_000);
}

#[test]
fn the_corpus_begins_with_what_the_command_writes() {
    for (target, name, bytes) in seeds() {
        let path = folder(target).join(name);
        let there = load(target).expect("a corpus that can be read");
        let found = there.iter().find(|(file, _)| *file == path);
        assert!(
            found.is_some_and(|(_, found)| *found == bytes),
            "{} is not up to date: run `cargo run -p sluice-fuzz --bin corpus`",
            path.display()
        );
    }
}
