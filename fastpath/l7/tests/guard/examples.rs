//! The examples of `corpus.txt`.

pub struct Example {
    pub name: String,
    /// The label of a reason, or how many requests pass.
    pub outcome: String,
    pub bytes: Vec<u8>,
}

/// The bytes that a line stands for.
fn unescaped(line: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), line.bytes());
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next().expect("something behind a backslash") {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => panic!("\\{} in {line}", char::from(other)),
        });
    }
    bytes
}

pub fn examples() -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for line in include_str!("corpus.txt").lines() {
        if let Some(case) = line.strip_prefix("case ") {
            let (name, outcome) = case.split_once(" -> ").expect(line);
            let (name, outcome) = (name.to_owned(), outcome.to_owned());
            examples.push(Example { name, outcome, bytes: Vec::new() });
        } else if !line.is_empty() && !line.starts_with('#') {
            examples.last_mut().expect("a case").bytes.extend(unescaped(line));
        }
    }
    examples
}
