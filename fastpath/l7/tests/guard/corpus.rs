use super::send;
use sluice_l7::guard::Limits;
use sluice_testkit::corpus::{Example, examples};
use std::collections::BTreeSet;

#[test]
fn each_request_of_the_corpus_has_its_outcome() {
    let examples = examples();
    let names: BTreeSet<_> = examples.iter().map(|example| &example.name).collect();
    assert!(names.len() == examples.len() && names.len() > 100, "{}", names.len());
    for Example { name, outcome, bytes } in &examples {
        let passed = send(Limits::default(), [&bytes[..]]);
        let came = match passed.refused {
            Some(reason) => reason.label().to_owned(),
            None => {
                assert!(passed.is_between, "{name}: is not whole");
                assert_eq!(passed.bytes, *bytes, "{name}");
                passed.heads.len().to_string()
            }
        };
        assert_eq!(came, *outcome, "{name}");
    }
}
