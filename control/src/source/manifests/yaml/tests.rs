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
    assert!(parse(&text).unwrap_err().errors[0].message.contains("100000"));
}

#[test]
fn errors_have_a_place_and_a_path() {
    let error_of = |text: &str| parse(text).unwrap_err().errors.remove(0);
    let error = error_of("a:\n  b: 1\n  b: 2\n");
    assert_eq!((error.place.line, error.place.column, error.path.as_str()), (3, 3, "a"));
    assert_eq!(error.message, "the key \"b\" stands here twice");
    let error = error_of("a: [1, 2\nb: 3\n");
    assert!(error.place.line >= 1 && !error.message.is_empty());
    let deep = "[".repeat(150) + &"]".repeat(150);
    assert!(error_of(&deep).message.contains("100 levels"));
}

#[test]
fn a_document_that_breaks_off_is_read_up_to_there() {
    let reading = |text: &str| {
        let mut unread = parse(text).unwrap_err();
        assert_eq!((unread.errors.len(), unread.readings.len()), (1, 1));
        unread.readings.remove(0)
    };
    let read = reading("a: 1\nb: {c: d}\ne:\n  f: [1, {g: h}, {i: [2\n");
    assert_eq!(read.value["b"], json!({"c": "d"}));
    assert_eq!(read.value["e"]["f"], json!([1, {"g": "h"}]));
    assert_eq!(read.open, ["", "e", "e.f"]);
    assert_eq!(read.lost.as_deref(), Some("e.f[2]"));
    let read = reading("a: 1\nb: \"x\n");
    assert_eq!((read.value, read.lost.as_deref()), (json!({"a": 1}), Some("b")));
    let read = reading("a: {b: 1}\n c: 2");
    assert_eq!((read.value, read.open.len(), read.lost), (json!({"a": {"b": 1}}), 1, None));
    assert_eq!(reading("'").value, Value::Null);
}

#[test]
fn keys_that_stand_twice_make_two_readings() {
    let unread = parse("a: 1\nb: {c: 1, c: 2, c: 3}\na: [2]\nd: 4\n").unwrap_err();
    let paths: Vec<_> = unread.errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(paths, ["b", "b", ""]);
    let values: Vec<_> = unread.readings.iter().map(|reading| &reading.value).collect();
    let expected =
        [json!({"a": 1, "b": {"c": 1}, "d": 4}), json!({"a": [2], "b": {"c": 3}, "d": 4})];
    assert_eq!(values, expected.iter().collect::<Vec<_>>());
    assert!(unread.readings.iter().all(|reading| reading.open.is_empty()));
    let many = "a: 1\n".repeat(100) + "b: [";
    let unread = parse(&many).unwrap_err();
    assert_eq!((unread.errors.len(), unread.readings.len()), (TWICE_MAX + 1, 2));
}

#[test]
fn nothing_is_no_document() {
    for text in ["", "# only a comment\n", "---\n", "\n\n"] {
        assert!(matches!(parse(text), Ok(None)) || parse(text).unwrap().unwrap().value.is_null());
    }
}
