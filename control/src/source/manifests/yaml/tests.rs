use super::*;
use serde_json::json;

fn value(text: &str) -> Value {
    parse(text).unwrap().unwrap().value
}

#[test]
fn scalars_follow_the_core_schema() {
    let text = "[a, 1, -2, 1.5, .5, 0x10, 0o10, true, null, ~, '1', \"x\\ty\", 1.2.3, 10.0.0.1, 2024-01-01, 1e3, ::1, -, .]";
    let expected = json!([
        "a",
        1,
        -2,
        1.5,
        0.5,
        16,
        8,
        true,
        null,
        null,
        "1",
        "x\ty",
        "1.2.3",
        "10.0.0.1",
        "2024-01-01",
        1000.0,
        "::1",
        "-",
        "."
    ]);
    // `-` needs quotes in a flow list.
    assert_eq!(value(&text.replace(" -,", " '-',")), expected);
}

#[test]
fn json_with_tabs_is_read() {
    let text = "{\n\t\"kind\": \"Pod\",\n\t\"spec\": {\n\t\t\"x\": [1, 2]\n\t}\n}\n";
    assert_eq!(value(text), json!({"kind": "Pod", "spec": {"x": [1, 2]}}));
}

#[test]
fn places_are_known_by_path_and_by_item() {
    let text =
        "kind: List\nitems:\n- metadata:\n    name: a\n- metadata: {name: b}\nmetadata: {}\n";
    let document = parse(text).unwrap().unwrap();
    let at = |line, column| Place { line, column };
    assert_eq!(document.places(Some(0), true).locate("metadata.name"), at(4, 11));
    assert_eq!(document.places(Some(1), true).locate("metadata.name"), at(5, 20));
    assert_eq!(document.places(Some(1), true).locate(""), at(5, 3));
    assert_eq!(document.places(None, true).locate("metadata"), at(6, 11));
}

#[test]
fn anchors_and_merge_keys() {
    let text = "base: &b {x: 1, y: 2}\na: *b\nc: {<<: *b, y: 3}\n";
    let expected = json!({"base": {"x": 1, "y": 2}, "a": {"x": 1, "y": 2}, "c": {"x": 1, "y": 3}});
    assert_eq!(value(text), expected);
}

#[test]
fn documents_that_multiply_themselves_are_refused() {
    let mut text = String::from("a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]\n");
    for i in 1..12 {
        let refs = vec![format!("*a{}", i - 1); 9].join(", ");
        text.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
    }
    assert!(parse(&text).unwrap_err().message.contains("100000"));
}

#[test]
fn errors_have_a_place_and_a_path() {
    let error = parse("a:\n  b: 1\n  b: 2\n").unwrap_err();
    assert_eq!((error.place.line, error.place.column, error.path.as_str()), (3, 3, "a"));
    assert_eq!(error.message, "the key \"b\" stands here twice");
    let error = parse("a: [1, 2\nb: 3\n").unwrap_err();
    assert!(error.place.line >= 1 && !error.message.is_empty());
    let deep = "[".repeat(150) + &"]".repeat(150);
    assert!(parse(&deep).unwrap_err().message.contains("100 levels"));
}

#[test]
fn nothing_is_no_document() {
    for text in ["", "# only a comment\n", "---\n", "\n\n"] {
        assert!(matches!(parse(text), Ok(None)) || parse(text).unwrap().unwrap().value.is_null());
    }
}
