/// Reads an input as a configuration. Whatever it says, the answer is a
/// configuration or a list of errors that can be printed.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match sluice_config::parse("fuzz.yaml", &text) {
        Ok(loaded) => {
            // What was accepted once is accepted again, with the same result.
            let again = sluice_config::parse("fuzz.yaml", &text);
            assert!(again.is_ok_and(|again| again == loaded), "two readings differ");
        }
        Err(errors) => {
            assert!(!errors.to_string().is_empty(), "refused without a reason");
        }
    }
}

/// Reads an input as a file of manifests.
pub fn manifests(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (objects, diagnostics) = sluice_control::source::manifests::decode_text(&text);
    let again = sluice_control::source::manifests::decode_text(&text);
    assert_eq!((objects, diagnostics.len()), (again.0, again.1.len()), "two readings differ");
    for diagnostic in diagnostics {
        assert!(!diagnostic.to_string().is_empty(), "refused without a reason");
    }
}
