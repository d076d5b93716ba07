//! Where each key of a file stands, for checks that need the machine.

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Severity};
use crate::read::{Spot, locate};
use crate::yaml::{Node, Span, Value};

/// Where each key of a configuration stands in its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Places {
    file: String,
    text: String,
    spans: BTreeMap<String, Span>,
}

impl Places {
    /// The keys of a tree without errors: what its lists hold is bounded then, aliases followed.
    pub(crate) fn new(file: &str, text: &str, tree: &Node) -> Self {
        let mut spans = BTreeMap::new();
        add(&mut spans, Spot::whole(tree.span), tree);
        Self { file: file.to_owned(), text: text.to_owned(), spans }
    }

    /// An error about the key at `path` (such as `ports[1].mtu`): what was found and what was
    /// expected. Where the file does not have the key, it is placed at what holds it.
    pub fn error(
        &self,
        path: &str,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            file: self.file.clone(),
            location: Some(locate(&self.text, self.span(path))),
            path: path.to_owned(),
            message: message.into(),
            expected: Some(expected.into()),
            help: None,
        }
    }

    /// File, line and path of the key at `path`, to refer to it.
    pub fn refer(&self, path: &str) -> String {
        format!("{}:{}: {path}", self.file, self.span(path).line)
    }

    fn span(&self, path: &str) -> Span {
        let mut holder = path;
        loop {
            if let Some(span) = self.spans.get(holder) {
                return *span;
            }
            match holder.rfind(['.', '[']) {
                Some(at) => holder = &holder[..at],
                None => return Span::START,
            }
        }
    }
}

fn add(spans: &mut BTreeMap<String, Span>, spot: Spot, node: &Node) {
    match &node.value {
        Value::Scalar(_) => {}
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                add(spans, spot.element(index, item.span), item);
            }
        }
        Value::Map(entries) => {
            for entry in entries.iter() {
                add(spans, spot.key(&entry.key, entry.value.span), &entry.value);
            }
        }
    }
    spans.insert(spot.path, spot.span);
}

#[cfg(test)]
mod tests {
    const TEXT: &str = "
ports:
  - {name: a, device: eth1, addresses: [192.0.2.1/24]}
  - &b {name: b, device: eth2, addresses: [192.0.3.1/24], mtu: 1400}
snat: {addresses: [10.244.255.0/28]}
source: {manifests: {path: x}}
";

    #[test]
    fn a_key_is_placed_or_else_what_holds_it() {
        let places = crate::parse("gateway.yaml", TEXT).expect("valid").places;
        let at = |path: &str| {
            let location = places.error(path, "", "").location.expect("placed");
            (location.line, location.column)
        };
        assert_eq!(at("ports[0].device"), (3, 23));
        assert_eq!(at("ports[1].mtu"), (4, 64));
        assert_eq!(at("ports[0].mtu"), (3, 5), "of the port: it has no such key");
        assert_eq!(at("ports[1].addresses[7]"), (4, 43));
        assert_eq!(at("workers.count"), (1, 1), "nothing holds it");
        assert_eq!(at(""), (2, 1));
    }

    #[test]
    fn a_reference_has_file_line_and_path() {
        let places = crate::parse("gateway.yaml", TEXT).expect("valid").places;
        assert_eq!(places.refer("ports[1].vlan"), "gateway.yaml:4: ports[1].vlan");
    }

    #[test]
    fn an_error_reads_as_those_of_the_file_alone() {
        let places = crate::parse("gateway.yaml", TEXT).expect("valid").places;
        let error = places.error("ports[0].device", "no device `eth1`", "a network device");
        assert_eq!(
            error.to_string(),
            "gateway.yaml:3:23: error: ports[0].device: no device `eth1`\n    \
             expected a network device\n    \
             3 |   - {name: a, device: eth1, addresses: [192.0.2.1/24]}\n      \
             |                       ^^^^"
        );
    }
}
