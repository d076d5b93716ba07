use crate::mutate::Random;
use sluice_config::Config;
use sluice_control::cluster::{Cluster, Policy};
use sluice_control::compile::Compiler;
use sluice_control::object::{Key, Kind, Object, Origin};
use sluice_control::source::Event;
use sluice_control::source::manifests::decode_text;
use sluice_control::{Diagnostic, PortFacts};
use sluice_tables::{Family, Frontend, ZoneId};
use std::sync::OnceLock;
use std::time::Duration;

/// Reads an input as a configuration. Whatever it says, the answer is a
/// configuration or a list of errors that can be printed.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match sluice_config::parse("fuzz.yaml", &text) {
        Ok(loaded) => {
            // What was accepted once is accepted again, with the same result.
            let again = sluice_config::parse("fuzz.yaml", &text);
            assert!(again.is_ok_and(|again| again == loaded), "two readings differ");
        }
        Err(errors) => {
            assert!(!errors.to_string().is_empty(), "refused without a reason");
        }
    }
}

/// Reads an input as a file of manifests; what it has comes to a gateway object
/// by object, and goes again. What is compiled on the way is what is compiled at
/// once if nothing is wrong with it, and in the end nothing is left.
pub fn manifests(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (mut objects, diagnostics) = objects_of(&text);
    assert_eq!((objects.clone(), diagnostics.clone()), objects_of(&text), "two readings differ");
    printable(&diagnostics);
    if objects.is_empty() {
        return;
    }
    let mut random = Random(data.len() as u64);
    shuffle(&mut random, &mut objects);
    let (mut steps, mut at_once) = (World::default(), World::default());
    for (object, origin) in &objects {
        steps.cluster.apply(object, origin.clone());
        steps.compile();
        at_once.cluster.apply(object, origin.clone());
    }
    at_once.compile();
    // What several claim is whose it was first: the order counts, and somebody
    // is told.
    let wrong = [steps.findings(), at_once.findings()];
    if wrong.iter().all(Vec::is_empty) {
        assert_eq!(steps.programmed(), at_once.programmed(), "two ways, two tables");
    }
    assert_eq!(wrong[0].is_empty(), wrong[1].is_empty(), "two ways, two findings: {wrong:?}");
    printable(&steps.findings());
    for (object, origin) in &objects {
        steps.cluster.apply(object, origin.clone());
    }
    assert!(steps.cluster.take_changes().is_empty(), "what is the same has changed");
    shuffle(&mut random, &mut objects);
    for (object, _) in &objects {
        steps.cluster.delete(&object.key());
        steps.compile();
    }
    steps.check_empty();
}

type Objects = Vec<(Object, Option<Origin>)>;

fn objects_of(text: &str) -> (Objects, Vec<Diagnostic>) {
    let (mut objects, mut all) = (Objects::new(), Vec::new());
    for event in decode_text(text) {
        match event {
            Event::Applied { object, origin } => objects.push((object, origin)),
            Event::Diagnostics(diagnostics) => all.extend(diagnostics),
            Event::Refused { key, rest } => Cluster::default().refuse(&key, rest.as_ref()),
            Event::Moved { .. } | Event::Deleted(_) | Event::Synced | Event::Confirmed => {
                panic!("a new file has only new objects")
            }
        }
    }
    (objects, all)
}

fn printable(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        assert!(!diagnostic.message.is_empty(), "something is wrong without a reason");
        assert!(diagnostic.to_string().contains(&diagnostic.message));
    }
}

fn shuffle<T>(random: &mut Random, list: &mut [T]) {
    for last in (1..list.len()).rev() {
        list.swap(last, random.below(last + 1));
    }
}

/// A gateway of the cluster that the corpus is about.
const GATEWAY: &str = "\
node_name: gateway
ports:
- {name: uplink, device: eth1, addresses: [192.0.2.254/24, \"2001:db8:c0::fe/64\"], mtu: 1500}
- {name: cluster, device: eth2, addresses: [10.0.0.254/24, \"fd00::fe/64\"], mtu: 1500}
overlay:
  vxlan: {vni: 1, port: cluster, addresses: [10.0.0.254, \"fd00::fe\"]}
snat: {addresses: [10.1.255.0/30, \"fd01:0:0:ff::/126\"]}
cluster: {pod_cidrs: [10.1.0.0/16, \"fd01::/48\"], service_cidrs: [10.96.0.0/16, \"fd96::/112\"]}
services: {external_ips: [198.51.100.0/24, \"2001:db8:100::/64\"]}
source: {manifests: {path: ./manifests}}
";

fn gateway() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| match sluice_config::parse("gateway.yaml", GATEWAY) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("{errors}"),
    })
}

/// A cluster and what is compiled of it.
struct World {
    cluster: Cluster,
    compiler: Compiler,
}

impl Default for World {
    fn default() -> Self {
        let facts = [0, 1].map(|port| PortFacts { mac: [2, 0, 0, 0, 0, port], mtu: 1500 });
        let mut cluster = Cluster::default();
        cluster.set_policy(Policy::of(&gateway().services));
        match Compiler::new(gateway(), &facts, 0) {
            Ok(compiler) => World { cluster, compiler },
            Err(error) => panic!("{error}"),
        }
    }
}

impl World {
    fn compile(&mut self) {
        let changes = self.cluster.take_changes();
        self.compiler.compile(&self.cluster, &changes, Duration::ZERO, 0);
    }

    /// What clients can reach, in order.
    fn programmed(&self) -> Vec<String> {
        let tables = self.compiler.tables();
        let v4 =
            tables.v4.frontends.iter().map(|(key, frontend)| format!("{key:?} {}", said(frontend)));
        let v6 =
            tables.v6.frontends.iter().map(|(key, frontend)| format!("{key:?} {}", said(frontend)));
        let vips = tables.v4.vips.iter().map(|vip| format!("{vip:?}"));
        let vips = vips.chain(tables.v6.vips.iter().map(|vip| format!("{vip:?}")));
        let mut all: Vec<_> = v4.chain(v6).chain(vips).collect();
        all.sort();
        all
    }

    /// What is wrong with the objects, in order.
    fn findings(&self) -> Vec<Diagnostic> {
        let together = self.compiler.findings().map(|(key, finding)| (key, finding));
        let place = |key: &Key| self.cluster.origin(key);
        let all = self.cluster.findings().chain(together);
        let mut all: Vec<_> = all.map(|(key, finding)| finding.at(key, place(key))).collect();
        all.sort_by(Diagnostic::order);
        all
    }

    fn check_empty(&self) {
        assert_eq!(self.programmed(), Vec::<String>::new(), "something can still be reached");
        assert_eq!(self.findings(), Vec::new(), "something is still wrong");
        assert!(Kind::ALL.iter().all(|kind| self.cluster.count(*kind) == 0), "objects are left");
        assert_eq!(self.cluster.claimed_len(), 0, "addresses are still claimed");
        let tables = self.compiler.tables();
        assert!(tables.vteps.iter().all(Option::is_none), "a tunnel is left");
        assert!(tables.zones.iter().all(|zone| *zone == ZoneId::NONE), "a zone is left");
        assert!(self.compiler.health_checks().is_empty(), "somebody may still ask");
        assert!(tables.v4.vteps_by_addr.is_empty() && tables.v6.vteps_by_addr.is_empty());
        assert!(tables.v4.nodes_by_addr.is_empty() && tables.v6.nodes_by_addr.is_empty());
    }
}

/// Endpoints of a frontend, and those of its rules.
fn said<F: Family>(frontend: &Frontend<F>) -> String {
    let rules = frontend.rules.as_ref().map(|rules| {
        let locality = &rules.locality;
        let sets = locality.by_node.values().chain(locality.by_zone.values());
        let mut sizes: Vec<_> = sets.map(|set| set.backends().len()).collect();
        sizes.sort_unstable();
        (&rules.sources, rules.affinity_ms, rules.balance, locality.node_only, sizes)
    });
    format!("{} {rules:?}", frontend.backends.backends().len())
}
