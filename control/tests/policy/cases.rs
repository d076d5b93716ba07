//! Golden cases: `cases/TOPIC.yaml` has the manifests of a cluster and at last a
//! document of kind `Expectations`:
//!
//! ```yaml
//! kind: Expectations
//! addresses: {internet: [203.0.113.7, "2001:db8:113::7"]}
//! learned: {www.example.com: [203.0.113.8, "2001:db8:113::8"]}
//! sentences:
//! - sentence: what the documentation says
//!   link: where
//!   answers:
//!     a/client -> a/server tcp 80: deny; ingress NetworkPolicy a/np default deny ingress
//! ```
//!
//! Ends are pods (`namespace/name`), nodes (`node name`) and names of
//! `addresses`; each question is asked in both families. An answer is `allow`,
//! `audit` or `deny` and the rules that decide, `no policy` where there is none
//! for a direction. `||` is between rules of which any may be named.

use crate::compiled::Compiled;
use crate::harness::Subject;
use crate::object::parse;
use crate::reference::{Answer, Protocol, Question, Verdict, Why, World, judge};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectations {
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default)]
    addresses: BTreeMap<String, Vec<IpAddr>>,
    #[serde(default)]
    learned: BTreeMap<String, Vec<IpAddr>>,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sentence {
    sentence: String,
    link: String,
    answers: BTreeMap<String, String>,
}

struct Case {
    objects: Vec<Value>,
    expectations: Expectations,
}

impl Case {
    fn read(path: &Path) -> Case {
        let mut objects = parse(&std::fs::read_to_string(path).unwrap());
        let last = objects.pop().expect("documents");
        assert_eq!(last["kind"], "Expectations", "the last document of {}", path.display());
        let expectations =
            serde_json::from_value(last).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Case { objects, expectations }
    }

    fn world(&self) -> World {
        let mut world = World::of(&self.objects);
        self.expectations.learned.iter().for_each(|(name, addrs)| world.learn(name, addrs));
        world
    }

    fn compiled(&self) -> Compiled {
        let mut compiled = Compiled::new();
        self.objects.iter().for_each(|object| compiled.apply(object));
        let learned = self.expectations.learned.iter();
        learned.for_each(|(name, addrs)| compiled.learn(name, addrs));
        compiled.settle();
        compiled
    }

    /// The addresses of an end, one of each family.
    fn addresses(&self, end: &str) -> Vec<IpAddr> {
        if let Some(addrs) = self.expectations.addresses.get(end) {
            return addrs.clone();
        }
        let list = match (end.strip_prefix("node "), end.split_once('/')) {
            (Some(node), _) => {
                let node = self.object("Node", None, node);
                node["status"]["addresses"].as_array().map(|list| (list, "address"))
            }
            (_, Some((namespace, name))) => {
                let pod = self.object("Pod", Some(namespace), name);
                pod["status"]["podIPs"].as_array().map(|list| (list, "ip"))
            }
            _ => panic!("{end:?} is no pod, node or address"),
        };
        let (list, field) = list.unwrap_or_else(|| panic!("{end:?} has no addresses"));
        let texts = list.iter().filter_map(|entry| entry[field].as_str());
        texts.filter_map(|text| text.parse().ok()).collect()
    }

    fn object(&self, kind: &str, namespace: Option<&str>, name: &str) -> &Value {
        let found = self.objects.iter().find(|object| {
            let metadata = &object["metadata"];
            object["kind"] == kind
                && metadata["name"] == name
                && namespace.is_none_or(|namespace| metadata["namespace"] == namespace)
        });
        found.unwrap_or_else(|| panic!("no {kind} {name:?}"))
    }

    /// The question `SRC -> DST PROTOCOL PORT`, in both families.
    fn questions(&self, text: &str) -> [Question; 2] {
        let parts = || {
            let (src, rest) = text.split_once(" -> ")?;
            let (dst, protocol, port) = match rest.strip_suffix(" icmp") {
                Some(dst) => (dst, Protocol::Other, 0),
                None => {
                    let (rest, port) = rest.rsplit_once(' ')?;
                    let (dst, protocol) = rest.rsplit_once(' ')?;
                    let protocol = match protocol {
                        "tcp" => Protocol::Tcp,
                        "udp" => Protocol::Udp,
                        "sctp" => Protocol::Sctp,
                        _ => return None,
                    };
                    (dst, protocol, port.parse().ok()?)
                }
            };
            Some((src, dst, protocol, port))
        };
        let Some((src, dst, protocol, port)) = parts() else { panic!("no question: {text:?}") };
        let (sources, destinations) = (self.addresses(src), self.addresses(dst));
        [false, true].map(|is_v4| {
            let of_family = |addrs: &[IpAddr]| {
                let found = addrs.iter().find(|addr| addr.is_ipv4() == is_v4);
                *found.unwrap_or_else(|| panic!("{text:?} is not asked in both families"))
            };
            let (src, dst) = (of_family(&sources), of_family(&destinations));
            Question { src, dst, protocol, port }
        })
    }
}

fn expected(text: &str) -> Answer {
    let mut parts = text.split("; ");
    let verdict = match parts.next() {
        Some("allow") => Verdict::Allow,
        Some("audit") => Verdict::Audit,
        Some("deny") => Verdict::Deny,
        _ => panic!("no answer: {text:?}"),
    };
    let mut answer = Answer { verdict, egress: Why::no_policy(), ingress: Why::no_policy() };
    for part in parts {
        let why = |text: &str| Why::any(text.split(" || ").map(str::to_owned));
        match part.split_once(' ') {
            Some(("egress", rules)) => answer.egress = why(rules),
            Some(("ingress", rules)) => answer.ingress = why(rules),
            _ => panic!("no answer: {text:?}"),
        }
    }
    answer
}

/// What is wrong with a case.
fn check(path: &Path) -> String {
    let case = Case::read(path);
    let world = case.world();
    let mut compiled = case.compiled();
    let mut wrong = String::new();
    for Sentence { sentence, link, answers } in &case.expectations.sentences {
        assert!(link.starts_with("https://"), "{}: {link:?} is no link", path.display());
        assert!(!answers.is_empty(), "{}: nothing is asked about {sentence:?}", path.display());
        for (question, text) in answers {
            let expected = expected(text);
            for asked in case.questions(question) {
                let found = judge(&world, asked);
                if found != expected {
                    let Answer { verdict, egress, ingress } = found;
                    writeln!(wrong, "{}: {sentence}\n  {question}: {text}", path.display())
                        .unwrap();
                    writeln!(wrong, "  reference: {verdict:?}; {egress}; {ingress}").unwrap();
                }
                let said = compiled.judge(asked);
                if !said.agrees(&expected) {
                    writeln!(wrong, "{}: {sentence}\n  {question}: {text}", path.display())
                        .unwrap();
                    writeln!(wrong, "  tables: {said}").unwrap();
                }
            }
        }
    }
    wrong
}

#[test]
fn every_sentence_is_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy/cases");
    let mut paths: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 20, "{paths:?}");
    let wrong: String = paths.iter().map(|path| check(path)).collect();
    assert!(wrong.is_empty(), "{wrong}");
}
