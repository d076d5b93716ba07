use sluice_control::domain_names::message::{ALIASES_MAX, read};

/// Reads an input as a DNS message. What is learned from it are names that could
/// stand in a policy, and addresses.
pub fn dns(data: &[u8]) {
    let reading = read(data);
    assert_eq!(reading, read(data), "two readings differ");
    let Ok(reading) = reading else { return };
    assert!(!reading.addresses.is_empty(), "read for nothing");
    assert!((1..=ALIASES_MAX + 1).contains(&reading.names.len()), "{:?}", reading.names);
    for name in &reading.names {
        let is_usual =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_usual);
        assert!(name.len() <= 253 && name.split('.').all(is_label), "{name}");
    }
}
