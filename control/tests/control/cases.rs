//! Golden cases: manifests in `tests/cases/NAME.yaml`, everything that control
//! says of them in `NAME.expected`. `UPDATE_EXPECTED=1` writes the latter.
//! `NAME.config` may have sections of the configuration in place of the usual
//! ones.

use crate::support::{Flows, Harness, config_with};
use sluice_control::view::{BackendView, PoliciesView, ServiceView};
use sluice_control::{Request, check};
use sluice_tables::{BackendSet, Balance, Family, SourceRanges, Tables, V4, V6, VtepId};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

#[test]
fn every_case_is_as_expected() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<_> = std::fs::read_dir(&cases)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 10);
    let mut failed = Vec::new();
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let said = say(&path);
        let expected_path = path.with_extension("expected");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            std::fs::write(&expected_path, &said).unwrap();
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
        if said != expected {
            failed.push(format!("== {name}\n-- expected\n{expected}-- found\n{said}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn say(path: &Path) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(path, folder.path().join("case.yaml")).unwrap();
    let sections = std::fs::read_to_string(path.with_extension("config")).unwrap_or_default();
    let config = config_with(&sections);
    let harness = Harness::with(folder.path(), config.clone(), Flows::default());
    harness.wait_live();
    let mut said = String::new();
    harness.services().iter().for_each(|service| say_service(service, &mut said));
    harness.backends().iter().for_each(|backend| say_backend(backend, &mut said));
    let tables = harness.in_use[0].lock().unwrap().clone().expect("tables");
    said.extend(rules_of::<V4>(&tables));
    said.extend(rules_of::<V6>(&tables));
    crate::l7::say(&tables, &mut said);
    for (port, check) in harness.health.snapshot().iter() {
        writeln!(said, "health check {port}: {} has {}", check.service, check.endpoints).unwrap();
    }
    for tunnel in harness.ask(|reply| Request::Tunnels { reply }) {
        writeln!(
            said,
            "tunnel {} {} at {}: {}",
            tunnel.node,
            tunnel.mac,
            tunnel.addresses.join(" "),
            tunnel.prefixes.join(" ")
        )
        .unwrap();
    }
    let routes = harness.ask(|reply| Request::Routes { reply });
    // Those of the configuration are in every case.
    for route in routes.iter().filter(|route| route.kind == "blackhole") {
        writeln!(said, "route {} {}", route.prefix, route.kind).unwrap();
    }
    let diagnostics = harness.diagnostics();
    for diagnostic in &diagnostics {
        writeln!(said, "{diagnostic}").unwrap();
    }
    assert_eq!(diagnostics, check(&config, folder.path()), "check says the same");
    said
}

fn say_service(service: &ServiceView, said: &mut String) {
    write!(said, "service {}/{} {}", service.namespace, service.name, service.kind).unwrap();
    for vip in &service.vips {
        let external = if vip.kind == "external" { " (external)" } else { "" };
        let announced = if vip.announced { " (announced)" } else { "" };
        write!(said, ", {}{external}{announced}", vip.address).unwrap();
    }
    said.push('\n');
    if !service.node_addresses.is_empty() {
        writeln!(said, "  nodes {}", service.node_addresses.join(" ")).unwrap();
    }
    let policies = policies(&service.policies);
    if !policies.is_empty() {
        writeln!(said, "  asks for {}", policies.join(", ")).unwrap();
    }
    for port in &service.ports {
        let node_port = port.node_port.map_or_else(String::new, |port| format!(" at {port}"));
        writeln!(
            said,
            "  port {} {:?} {}{node_port}: {} ready, {} draining, {} not ready",
            port.port, port.name, port.protocol, port.ready, port.draining, port.not_ready
        )
        .unwrap();
    }
}

fn policies(view: &PoliciesView) -> Vec<String> {
    let some = |name: &str, is: bool| is.then(|| name.to_owned());
    let ranges = |ranges: &Vec<String>| format!("sources {ranges:?}");
    [
        view.proxy_name.as_ref().map(|name| format!("proxy {name}")),
        view.affinity_s.map(|seconds| format!("affinity {seconds} s")),
        some(&view.balance, view.balance != "consistent"),
        some("internal Local", view.internal_local),
        some("external Local", view.external_local),
        view.distribution.clone(),
        view.source_ranges.as_ref().map(ranges),
        view.health_check_port.map(|port| format!("health checks {port}")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn say_backend(backend: &BackendView, said: &mut String) {
    write!(
        said,
        "backend {} {}/{}: {} {}, {}{}, pod {}, node {}",
        backend.service,
        backend.service_port,
        backend.protocol,
        backend.address,
        backend.port,
        backend.state,
        if backend.in_rotation { ", in rotation" } else { "" },
        backend.pod.as_deref().unwrap_or("-"),
        backend.node.as_deref().unwrap_or("-"),
    )
    .unwrap();
    if let Some(zone) = &backend.zone {
        write!(said, ", zone {zone}").unwrap();
    }
    if backend.weight != 1 {
        write!(said, ", weight {}", backend.weight).unwrap();
    }
    for (what, whom) in [("nodes", &backend.for_nodes), ("zones", &backend.for_zones)] {
        if !whom.is_empty() {
            write!(said, ", for {what} {}", whom.join(" ")).unwrap();
        }
    }
    said.push('\n');
}

/// The frontends that have rules, in order.
fn rules_of<F: Family>(tables: &Tables) -> Vec<String> {
    let frontends = F::of(tables).frontends.iter();
    let rules = frontends.filter_map(|(key, frontend)| Some((key, frontend.rules.as_ref()?)));
    let mut said: Vec<String> = rules
        .map(|(key, rules)| {
            let addr = F::to_ip(key.addr);
            let mut line = format!("rules {addr} {}/{}:", key.l4_port, key.protocol);
            if let Some(sources) = &rules.sources {
                let is_nobody = **sources == SourceRanges::default();
                line.push_str(if is_nobody { " from nobody;" } else { " from some;" });
            }
            if let Some(ms) = rules.affinity_ms {
                write!(line, " affinity {ms} ms;").unwrap();
            }
            if rules.balance != Balance::default() {
                write!(line, " {:?};", rules.balance).unwrap();
            }
            let locality = &rules.locality;
            let nodes: BTreeMap<_, _> = locality
                .by_node
                .iter()
                .map(|(id, set)| (tables.vtep(*id).expect("a node").name.to_string(), set))
                .collect();
            for (node, set) in nodes {
                write!(line, " on {node} {};", backends(set)).unwrap();
            }
            // Zones have no names in the tables: those of nodes and the gateway
            // stand for them.
            let zones: BTreeMap<_, _> = locality.by_zone.iter().collect();
            for (zone, set) in zones {
                let ids = (0..).map(VtepId).take(tables.vteps.len());
                let mut names: Vec<_> = ids
                    .filter(|id| tables.zone_of(Some(*id)) == *zone)
                    .filter_map(|id| Some(tables.vtep(id)?.name.to_string()))
                    .collect();
                names.sort();
                names.extend((tables.zone == *zone).then(|| "outside".to_owned()));
                write!(line, " in the zone of {}: {};", names.join(" "), backends(set)).unwrap();
            }
            if locality.node_only {
                line.push_str(" nobody else;");
            }
            line.pop();
            line.push('\n');
            line
        })
        .collect();
    said.sort();
    said
}

fn backends<F: Family>(set: &BackendSet<F>) -> String {
    let backends = set.backends().iter();
    backends.map(|backend| F::to_ip(backend.addr).to_string()).collect::<Vec<_>>().join(" ")
}
