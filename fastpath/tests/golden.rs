//! Golden cases: what becomes of packets, in a language that reads like the story it tells. The
//! language is described in `testkit/README.md`.
//!
//! `SLUICE_CASE=text` runs only the cases whose name or file contains the text.

use sluice_testkit::cases::run_folder;
use std::path::Path;

#[test]
fn golden_cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let filter = std::env::var("SLUICE_CASE").unwrap_or_default();
    let report = run_folder(&folder, &filter).unwrap();
    for failure in &report.failures {
        println!("{failure}\n");
    }
    assert!(report.failures.is_empty(), "{} cases failed", report.failures.len());
    assert!(report.passed > 0, "no case in {} contains `{filter}`", folder.display());
    println!("{} cases passed", report.passed);
}
