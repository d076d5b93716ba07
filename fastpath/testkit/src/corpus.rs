//! Requests that servers have been known to read in more than one way, and what is to become
//! of each: `corpus.txt`.

/// A request, or several on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// What it is called.
    pub name: String,
    /// The label of a reason, or how many requests pass.
    pub outcome: String,
    /// What a client sends.
    pub bytes: Vec<u8>,
}

impl Example {
    /// The label of the reason for which it is refused, if it is.
    pub fn refusal(&self) -> Option<&str> {
        self.outcome.parse::<usize>().is_err().then_some(&*self.outcome)
    }
}

/// All of them.
///
/// # Panics
/// If the file is none.
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
