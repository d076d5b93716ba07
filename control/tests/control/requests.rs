//! What control answers.

use crate::support::{Harness, config, config_with, facts};
use sluice_control::view::FlowQuery;
use sluice_control::{PortFacts, Request, SetupError};
use sluice_tables::record::{Conflict, FlowRecord};
use sluice_tables::{BackendId, PortId, RuleId, ServiceId};
use std::net::IpAddr;
use std::sync::Arc;

#[test]
fn every_request_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/slices.yaml"),
        folder.path().join("a.yaml"),
    )
    .unwrap();
    let harness = Harness::start(folder.path());
    harness.wait_live();

    let status = harness.ask(|reply| Request::Status { reply });
    assert!(status.synced && status.source.starts_with("manifests in "));
    assert_eq!((status.objects["Service"], status.objects["Node"]), (1, 2));
    assert_eq!(status.versions.workers.len(), 2);
    let metrics = harness.ask(|reply| Request::Metrics { reply });
    assert_eq!((metrics.publications, metrics.version, metrics.live_version), (1, 1, 1));
    assert_eq!(metrics.event_to_live.count, 1);
    assert_eq!((metrics.diagnostics["error"], metrics.quarantined["backend"]), (0, 0));
    let query = FlowQuery { limit: 10, ..FlowQuery::default() };
    let flows = harness.ask(|reply| Request::Flows { query, reply });
    assert!(flows.complete && flows.flows.is_empty());
    let neighbors = harness.ask(|reply| Request::Neighbors { reply });
    assert!(neighbors.complete && neighbors.neighbors.is_empty());
    assert_eq!(harness.ask(|reply| Request::Tunnels { reply }).len(), 2);
    // What is said can be read back from JSON.
    let text = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<sluice_control::view::StatusView>(&text).unwrap(), status);

    harness.ask(|reply| Request::Stop { reply });
}

#[test]
fn a_health_check_port_that_cannot_be_had_is_told_at_its_service() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/external-local.yaml");
    std::fs::copy(manifest, folder.path().join("a.yaml")).unwrap();
    let harness = Harness::start(folder.path());
    harness.wait_live();
    let said = |harness: &Harness| {
        let said = harness.diagnostics().into_iter().map(|diagnostic| diagnostic.to_string());
        said.filter(|line| line.contains("is not answered")).collect::<Vec<_>>()
    };
    assert_eq!(said(&harness), [""; 0]);
    let why = |port| (port, "somebody has it".to_owned());
    harness.health.refuse([why(31_000), why(31_999)].into());
    let expected = "a.yaml:11:24: warning: Service default/web: spec.healthCheckNodePort: is not \
                    answered: somebody has it\n    expected a TCP port that is free in the kernel";
    assert_eq!(said(&harness), [expected], "nobody asks for the other");
    harness.health.refuse([].into());
    assert_eq!(said(&harness), [""; 0]);
}

/// A VIP is announced three times; and once somebody else claims it, three times
/// more, however often that is heard.
#[test]
fn a_vip_is_defended_once() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/external-local.yaml");
    std::fs::copy(manifest, folder.path().join("a.yaml")).unwrap();
    let harness = Harness::start(folder.path());
    harness.wait("announced", |harness| !harness.told.lock().unwrap().is_empty());
    let vip = harness.told.lock().unwrap()[0];
    let told = |harness: &Harness| {
        harness.told.lock().unwrap().iter().filter(|told| **told == vip).count()
    };
    harness.wait("three times", |harness| told(harness) == 3);
    for _ in 0..3 {
        harness.hear(Conflict { port: PortId(0), vip, mac: [2, 0, 0, 0, 0, 9] });
    }
    harness.wait("defended", |harness| told(harness) == 6);
    harness.wait("said", |harness| {
        let said = harness.diagnostics();
        said.iter().any(|one| one.to_string().contains("02:00:00:00:00:09 claims it, too"))
    });
    assert_eq!(told(&harness), 6);
}

#[test]
fn flows_behind_a_large_table_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/slices.yaml");
    std::fs::copy(manifest, folder.path().join("a.yaml")).unwrap();
    // Workers tell of IPv4 flows first: a Service's IPv6 flows come last.
    let flow = |client: IpAddr, service: u32| FlowRecord {
        protocol: 6,
        client: (client, 40_000),
        destination: (client, 80),
        server: (client, 8080),
        source: (client, 2000),
        service: ServiceId(service),
        backend: BackendId(0),
        rules: [RuleId::NONE; 2],
        cut: None,
        is_stale: false,
        state: "established",
        packets: (1, 1),
        idle_ms: 0,
        expires_ms: 1,
    };
    let none = u32::MAX;
    let mut flows: Vec<_> = (0..400_000u32).map(|n| flow(IpAddr::V4(n.into()), none)).collect();
    flows.extend((0..10u128).map(|n| flow(IpAddr::V6(n.into()), 0)));
    let harness = Harness::with_flows(folder.path(), Arc::new(flows));
    harness.wait_live();
    let service = harness.names.get(ServiceId(0)).expect("a Service");
    let service = Some(format!("{}/{}", service.namespace, service.name));
    let query = FlowQuery { service, limit: 1000, ..FlowQuery::default() };
    let found = harness.ask(|reply| Request::Flows { query, reply });
    // Both workers are through before control's deadline.
    assert!(found.complete);
    assert_eq!(found.flows.len(), 20);
    harness.ask(|reply| Request::Stop { reply });
}

#[test]
fn another_configuration_is_used_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let harness = Harness::start(folder.path());
    harness.wait_live();
    let reload = |config, facts: Vec<PortFacts>| {
        harness.ask(|reply| Request::Reload { config: Box::new(config), facts, reply })
    };
    assert!(matches!(reload(config(), facts()[..1].to_vec()), Err(SetupError::PortCount { .. })));
    let mut other = config();
    other.workers.count += 1;
    assert_eq!(reload(other, facts()), Err(SetupError::Restart { key: "workers" }));
    assert_eq!(harness.versions().published, 1);
    let mut other = config();
    other.routes.clear();
    assert_eq!(reload(other, facts()), Ok(()));
    harness.wait("new tables", |h| h.versions().published == 2);
    let routes = harness.ask(|reply| Request::Routes { reply });
    assert!(routes.iter().all(|route| route.kind != "via"));
}

#[test]
fn another_configuration_gives_and_takes_external_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/external-ips-off.yaml");
    std::fs::copy(manifest, folder.path().join("a.yaml")).unwrap();
    let harness = Harness::start(folder.path());
    harness.wait_live();
    let external = |harness: &Harness| {
        let services = harness.services();
        services[0].vips.iter().filter(|vip| vip.kind == "external").count()
    };
    assert_eq!((external(&harness), harness.diagnostics().len()), (2, 0));
    let config = Box::new(config_with("services: {external_ips: [198.51.100.130]}"));
    let reload = |reply| Request::Reload { config, facts: facts(), reply };
    assert_eq!(harness.ask(reload), Ok(()));
    harness.wait("one address less", |harness| external(harness) == 1);
    let said: Vec<_> = harness.diagnostics().into_iter().map(|found| found.path).collect();
    assert_eq!(said, ["spec.externalIPs[1]"]);
}
