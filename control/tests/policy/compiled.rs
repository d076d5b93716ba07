//! The subject of it all: a cluster, its compiler, and the tables as the fast
//! path reads them.

use crate::harness::{Said, Subject, check_world};
use crate::object::Key;
use crate::reference::{Protocol, Question, Verdict};
use serde_json::Value;
use sluice_control::PortFacts;
use sluice_control::cluster::{Cluster, Policy};
use sluice_control::compile::Compiler;
use sluice_control::domain_names::Addresses;
use sluice_control::object::{self, Kind, decode};
use sluice_tables::policy::{self, Judgment, PortKey};
use sluice_tables::{RuleId, Tables, V4, V6};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Seeds that are tried if nobody asks for more.
const SETS: u64 = 5_000;

/// A cluster and what is compiled of it.
pub struct Compiled {
    cluster: Cluster,
    compiler: Compiler,
    tables: Option<Arc<Tables>>,
}

impl Compiled {
    /// A cluster without objects.
    pub fn new() -> Self {
        let text = include_str!("../control/config.yaml");
        let config = sluice_config::parse("config.yaml", text).expect("it is valid").config;
        let facts = [0, 1].map(|i| PortFacts { mac: [2, 0, 0, 0, 0, i], mtu: 1500 });
        let mut cluster = Cluster::default();
        cluster.set_policy(Policy::of(&config.services));
        cluster.set_overlay(config.overlay_mode());
        let compiler = Compiler::new(&config, &facts, 0).expect("tables");
        Compiled { cluster, compiler, tables: None }
    }

    /// What explanations say of a rule.
    fn text(&self, rule: RuleId) -> String {
        match rule {
            RuleId::NONE => "no policy".to_owned(),
            RuleId::ITSELF => "a pod may speak with itself".to_owned(),
            RuleId::OWN_NODE => "a pod may speak with its own node".to_owned(),
            rule => self
                .compiler
                .rule_of(rule)
                .map_or_else(|| format!("{rule:?}, which nobody knows"), |text| text.to_string()),
        }
    }
}

fn kind_of(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
}

impl Subject for Compiled {
    fn apply(&mut self, object: &Value) {
        let Some(kind) = kind_of(object["kind"].as_str().unwrap_or_default()) else { return };
        let object = decode(kind, object).unwrap_or_else(|_| panic!("cannot be read: {object}"));
        self.cluster.apply(&object, None);
    }

    fn delete(&mut self, key: &Key) {
        let Some(kind) = kind_of(&key.kind) else { return };
        let (namespace, name) = (key.namespace.as_str().into(), key.name.as_str().into());
        self.cluster.delete(&object::Key { kind, namespace, name });
    }

    fn learn(&mut self, name: &str, addresses: &[IpAddr]) {
        let live = addresses.iter().copied().collect();
        self.compiler.set_name(name, Addresses { live, ..Addresses::default() });
    }

    fn settle(&mut self) {
        let changes = self.cluster.take_changes();
        let tables = self.compiler.compile(&self.cluster, &changes, Duration::ZERO, 0);
        self.tables = tables.or(self.tables.take());
    }

    fn judge(&mut self, question: Question) -> Said {
        let Question { src, dst, protocol, port } = question;
        let protocol = match protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
            Protocol::Other => 1,
        };
        let port = PortKey::of(protocol, port);
        let judgment = match (&self.tables, src, dst) {
            (None, ..) => Judgment::UNASKED,
            (Some(tables), IpAddr::V4(src), IpAddr::V4(dst)) => {
                policy::judge::<V4>(tables, &src.octets(), &dst.octets(), port)
            }
            (Some(tables), IpAddr::V6(src), IpAddr::V6(dst)) => {
                policy::judge::<V6>(tables, &src.octets(), &dst.octets(), port)
            }
            _ => panic!("no flow has two families: {question}"),
        };
        let verdict = judgment.egress.verdict().max(judgment.ingress.verdict());
        Said {
            verdict: match verdict {
                policy::Verdict::Allow => Verdict::Allow,
                policy::Verdict::Audit => Verdict::Audit,
                policy::Verdict::Deny => Verdict::Deny,
            },
            egress: self.text(judgment.egress.rule()),
            ingress: self.text(judgment.ingress.rule()),
        }
    }
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|e| panic!("{name}={text:?}: {e}")))
}

/// `SLUICE_POLICY_SETS` clusters from the seed `SLUICE_POLICY_SEED` on.
#[test]
fn the_tables_say_what_the_reference_says() {
    let first = number("SLUICE_POLICY_SEED").unwrap_or(0);
    let sets = number("SLUICE_POLICY_SETS").unwrap_or(SETS);
    for seed in first..first + sets {
        if let Err(found) = check_world(seed, &|| Box::new(Compiled::new())) {
            panic!("{found}");
        }
    }
}
