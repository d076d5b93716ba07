//! Explanations of network policy's golden cases, whose format is that of
//! `control/tests/policy/cases.rs`, against what those expect.

use super::{ask, cases, read};
use crate::explain::view::{Explanation, Ruling};
use serde::Deserialize;
use serde_json::Value;
use sluice_control::Offline;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Reasons of other stages: a packet to oneself does not cross a gateway, and nobody
/// has the address of a pod that has ended.
const ELSEWHERE: [&str; 2] = ["martian", "blackhole"];

#[derive(Deserialize)]
struct Expectations {
    #[serde(default)]
    addresses: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    learned: BTreeMap<String, Vec<String>>,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    answers: BTreeMap<String, String>,
}

struct Case {
    objects: Vec<Value>,
    expectations: Expectations,
    offline: Offline,
}

impl Case {
    /// `None` where a case depends on names that only DNS tells.
    fn open(path: &Path) -> Option<Case> {
        let text = std::fs::read_to_string(path).unwrap();
        let (manifests, expectations) = text.split_once("---\nkind: Expectations\n").unwrap();
        let expectations: Expectations = serde_saphyr::from_str(expectations).unwrap();
        if !expectations.learned.is_empty() {
            return None;
        }
        let objects: Vec<Value> = serde_saphyr::from_multiple(manifests).unwrap();
        Some(Case { objects, expectations, offline: read(manifests) })
    }

    /// The addresses of an end: a pod, `node NAME`, or a name of the case.
    fn addresses(&self, end: &str) -> Vec<String> {
        if let Some(addresses) = self.expectations.addresses.get(end) {
            return addresses.clone();
        }
        let named = |kind: &str, namespace: &str, name: &str| {
            self.objects.iter().find(|object| {
                let metadata = &object["metadata"];
                let of = metadata["namespace"].as_str().unwrap_or_default();
                object["kind"] == kind && metadata["name"] == name && of == namespace
            })
        };
        let (list, field) = match (end.strip_prefix("node "), end.split_once('/')) {
            (Some(node), _) => {
                (&named("Node", "", node).unwrap()["status"]["addresses"], "address")
            }
            (None, Some((namespace, name))) => {
                (&named("Pod", namespace, name).unwrap()["status"]["podIPs"], "ip")
            }
            (None, None) => panic!("{end:?} is no pod, node or address"),
        };
        let texts = list.as_array().unwrap().iter();
        texts.map(|entry| entry[field].as_str().unwrap().to_owned()).collect()
    }

    /// A question in both families, as packets.
    fn packets(&self, question: &str) -> Vec<String> {
        let (source, rest) = question.split_once(" -> ").unwrap();
        let (destination, port, protocol) = match rest.strip_suffix(" icmp") {
            Some(destination) => (destination, None, "icmp"),
            None => {
                let (rest, port) = rest.rsplit_once(' ').unwrap();
                let (destination, protocol) = rest.rsplit_once(' ').unwrap();
                (destination, Some(port), protocol)
            }
        };
        let (sources, destinations) = (self.addresses(source), self.addresses(destination));
        let of_family = |list: &[String], is_v4: bool| {
            list.iter().find(|addr| addr.contains(':') != is_v4).unwrap().clone()
        };
        let packet = |is_v4| {
            let (from, to) = (of_family(&sources, is_v4), of_family(&destinations, is_v4));
            match port {
                Some(port) => format!("{from} -> [{to}]:{port}/{protocol}"),
                None => format!("{from} -> {to}/{protocol}"),
            }
        };
        [true, false]
            .map(packet)
            .map(|packet| match packet.contains("::") {
                true => packet,
                false => packet.replace(['[', ']'], ""),
            })
            .to_vec()
    }
}

/// What is wrong with an explanation.
fn compare(expected: &str, of: &Explanation) -> Option<String> {
    let mut parts = expected.split("; ");
    let verdict = match parts.next().unwrap() {
        "deny" => "dropped",
        _ => "forwarded",
    };
    if of.verdict != verdict {
        return Some(format!("{} {:?}", of.verdict, of.reason));
    }
    let is_audited = [&of.egress, &of.ingress].iter().any(|end| end.ruling == Ruling::Audited);
    if is_audited != expected.starts_with("audit") {
        return Some(format!("audited: {is_audited}"));
    }
    let parts: Vec<_> = parts.collect();
    for (direction, judgment) in [("egress ", &of.egress), ("ingress ", &of.ingress)] {
        let rules = parts.iter().find_map(|part| part.strip_prefix(direction));
        let rules: Vec<_> = rules.unwrap_or("no policy").split(" || ").collect();
        let rule = judgment.rule.as_deref().unwrap_or("no policy");
        if !rules.contains(&rule) {
            return Some(format!("{direction}{rule}"));
        }
    }
    None
}

/// Whether policy's answer is not what the packet meets: another stage drops it.
fn is_elsewhere(of: &Explanation) -> bool {
    of.reason.as_deref().is_some_and(|reason| ELSEWHERE.contains(&reason))
}

#[test]
fn every_golden_case_of_network_policy_is_explained() {
    let mut paths: Vec<_> =
        std::fs::read_dir(cases()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let (mut wrong, mut asked, mut elsewhere) = (String::new(), 0, 0);
    for case in paths.iter().filter_map(|path| Some((path, Case::open(path)?))) {
        let (path, case) = case;
        let answers = case.expectations.sentences.iter().flat_map(|sentence| &sentence.answers);
        for (question, expected) in answers {
            for packet in case.packets(question) {
                let of = ask(&case.offline, &packet);
                asked += 1;
                if is_elsewhere(&of) {
                    elsewhere += 1;
                } else if let Some(found) = compare(expected, &of) {
                    let file = path.file_name().unwrap().display();
                    writeln!(wrong, "{file}: {question} ({packet}): {expected}: {found}").unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(asked > 400 && elsewhere < asked / 20, "{elsewhere} of {asked} are not policy's");
}
