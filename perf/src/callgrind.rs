//! Reads what `valgrind --tool=callgrind` wrote
//! (valgrind.org/docs/manual/cl-format.html): how many instructions each
//! function executed itself, and each source file, inlined code included.

use anyhow::{Context, Result};
use std::collections::{BTreeMap, HashMap};

/// Instruction counts of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// All of them.
    pub total: u64,
    /// By function, what it calls left out.
    pub functions: BTreeMap<String, u64>,
    /// By source file, wherever its code was inlined.
    pub files: BTreeMap<String, u64>,
}

/// Names that callgrind writes once and then refers to by number.
#[derive(Default)]
struct Names(HashMap<String, String>);

impl Names {
    /// The name of `(12) name`, or of a later `(12)`.
    fn resolve(&mut self, text: &str) -> String {
        match text.split_once(' ') {
            Some((id, name)) => {
                self.0.insert(id.to_owned(), name.to_owned());
                name.to_owned()
            }
            None => self.0.get(text).cloned().unwrap_or_else(|| text.to_owned()),
        }
    }
}

/// Parses a profile.
///
/// # Errors
/// The first line that is not as callgrind writes it.
pub fn parse(text: &str) -> Result<Profile> {
    let mut profile = Profile::default();
    let (mut functions, mut files) = (Names::default(), Names::default());
    let (mut function, mut file) = (String::new(), String::new());
    let mut is_call = false;
    for line in text.lines() {
        if let Some((key, value)) = line.split_once('=') {
            match key {
                "fn" => function = functions.resolve(value),
                "fl" | "fi" | "fe" => file = files.resolve(value),
                // Where a call leads: named, but its cost is not the caller's.
                "cfn" => drop(functions.resolve(value)),
                "cfi" | "cfl" => drop(files.resolve(value)),
                "calls" => is_call = true,
                _ => {}
            }
            continue;
        }
        if !line.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '*')) {
            continue;
        }
        // The line after `calls=` has the cost of everything below the call.
        if std::mem::take(&mut is_call) {
            continue;
        }
        // A position, then the count; no count means zero.
        let Some(count) = line.split_whitespace().nth(1) else { continue };
        let count: u64 = count.parse().with_context(|| format!("not a count: {line}"))?;
        profile.total += count;
        *profile.functions.entry(plain(&function)).or_default() += count;
        *profile.files.entry(short(&file)).or_default() += count;
    }
    Ok(profile)
}

/// A function's name without the marks of recursion and of its clones.
fn plain(name: &str) -> String {
    name.split('\'').next().unwrap_or(name).to_owned()
}

/// A source file without the folders that differ from machine to machine.
fn short(path: &str) -> String {
    for root in ["/fastpath/", "/perf/src/", "/library/"] {
        if let Some(at) = path.rfind(root) {
            return path[at + 1..].to_owned();
        }
    }
    // Of a crate from a registry: `crate-version/src/...`.
    match path.split_once("/registry/src/").and_then(|(_, rest)| rest.split_once('/')) {
        Some((_, file)) => file.to_owned(),
        None => path.rsplit('/').next().unwrap_or(path).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_belong_to_the_callee_and_inlined_lines_to_their_file() {
        let text = "\
version: 1
events: Ir

ob=(1) /x/guard
fl=(1) /home/a/repo/fastpath/src/journey.rs
fn=(1) sluice_fastpath::journey::run
10 100
fi=(2) /home/a/repo/fastpath/src/wire/ipv4.rs
+5 20
fe=(1)
cfi=(3) /root/.cargo/registry/src/index-1/hashbrown-0.17.1/src/raw.rs
cfn=(2) find
calls=3 7
12 900
* 1

fl=(3)
fn=(2)
7 900
fn=(1)'2
3 5
totals: 1026
";
        let profile = parse(text).unwrap();
        assert_eq!(profile.total, 1026);
        assert_eq!(profile.functions["sluice_fastpath::journey::run"], 121);
        assert_eq!(profile.functions["find"], 900);
        assert_eq!(profile.files["fastpath/src/journey.rs"], 101);
        assert_eq!(profile.files["fastpath/src/wire/ipv4.rs"], 20);
        assert_eq!(profile.files["hashbrown-0.17.1/src/raw.rs"], 905);
    }

    #[test]
    fn a_broken_line_is_named() {
        let error = parse("fn=(1) f\n1 x\n").unwrap_err();
        assert_eq!(error.to_string(), "not a count: 1 x");
    }
}
