//! Each file of `tests/errors` and what is said about it, in the `.txt` beside it; likewise the
//! warnings about each file of `tests/warnings`. `SLUICE_UPDATE_GOLDEN=1` writes the texts.

use std::fs;
use std::path::{Path, PathBuf};

use sluice_config::{Diagnostic, Errors, Severity, load, parse};

/// The cases of a folder: name and text of each file.
fn cases(folder: &str) -> Vec<(String, String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut cases: Vec<_> = fs::read_dir(folder)
        .expect("folder")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let name = path.file_name().expect("name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("UTF-8");
            (name, text, path.with_extension("txt"))
        })
        .collect();
    cases.sort();
    cases
}

fn compare(found: &str, golden: &Path) {
    if std::env::var_os("SLUICE_UPDATE_GOLDEN").is_some() {
        fs::write(golden, found).expect("write");
        return;
    }
    let expected = fs::read_to_string(golden).unwrap_or_default();
    assert!(found == expected, "{}:\n--- found\n{found}--- expected\n{expected}", golden.display());
}

#[test]
fn wrong_files_are_refused_with_every_error_and_its_place() {
    let cases = cases("errors");
    assert!(cases.len() >= 20, "{} cases", cases.len());
    for (name, text, golden) in cases {
        let errors = parse(&name, &text).expect_err(&name);
        let count = |d: &&Diagnostic| d.severity == Severity::Error;
        assert!(errors.diagnostics.iter().filter(count).count() > 0, "{name}");
        compare(&format!("{errors}\n"), &golden);
    }
}

#[test]
fn suspicious_files_are_taken_with_warnings() {
    let cases = cases("warnings");
    assert!(!cases.is_empty());
    for (name, text, golden) in cases {
        let loaded = parse(&name, &text).unwrap_or_else(|errors| panic!("{name}:\n{errors}"));
        assert!(loaded.warnings.iter().all(|d| d.severity == Severity::Warning), "{name}");
        compare(&format!("{}\n", Errors { diagnostics: loaded.warnings }), &golden);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_without_a_place() {
    let path = Path::new("/nonexistent/sluice.yaml");
    let errors = load(path).expect_err("no such file");
    let text = errors.to_string();
    assert!(text.starts_with("/nonexistent/sluice.yaml: error: cannot read the file"), "{text}");
    assert_eq!(errors.diagnostics.len(), 1);
}

#[test]
fn a_file_that_is_not_utf8_is_refused_with_its_line() {
    let path = std::env::temp_dir().join(format!("sluice-config-{}.yaml", std::process::id()));
    fs::write(&path, b"ports: []\nname: \xff\n").expect("write");
    let errors = load(&path);
    fs::remove_file(&path).expect("remove");
    let text = errors.expect_err("not UTF-8").to_string();
    assert!(text.contains("line 2 (offset 16) that is not UTF-8"), "{text}");
}

#[test]
fn a_file_over_the_size_limit_is_refused() {
    let text = "#".repeat((1 << 20) + 1);
    let errors = parse("large.yaml", &text).expect_err("too large").to_string();
    assert_eq!(errors, "large.yaml: error: the file is larger than 1048576 bytes");
}

#[test]
fn many_errors_are_bounded_and_the_rest_is_counted() {
    let text: String = (0..1000).map(|index| format!("unknown{index}: 1\n")).collect();
    let errors = parse("many.yaml", &text).expect_err("unknown keys");
    assert_eq!(errors.diagnostics.len(), 201);
    let last = &errors.diagnostics[200].message;
    assert!(last.ends_with("more findings are not shown"), "{last}");
}

#[test]
fn aliases_are_followed_and_cannot_blow_up() {
    let text = "
ports: [{name: a, device: b, addresses: &own [192.0.2.1/24]}]
snat: {addresses: [&pool 10.0.0.0/28]}
cluster: {pod_cidrs: [*pool]}
source: {manifests: {path: m}}
";
    parse("alias.yaml", text).expect("aliases of values");

    let mut bomb = String::from("a0: &a0 [x, x]\n");
    for level in 1..200 {
        let below = level - 1;
        bomb.push_str(&format!("a{level}: &a{level} [*a{below}, *a{below}]\n"));
    }
    let errors = parse("bomb.yaml", &bomb).expect_err("too deep").to_string();
    assert!(errors.contains("nested more than 32 levels deep"), "{errors}");
}
