//! What control answers.

use crate::support::{Harness, config, facts};
use sluice_control::view::FlowQuery;
use sluice_control::{PortFacts, Request, SetupError};

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
