//! Golden cases: manifests in `tests/cases/NAME.yaml`, everything that control
//! says of them in `NAME.expected`. `UPDATE_EXPECTED=1` writes the latter.

use crate::support::Harness;
use sluice_control::{Request, check};
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
    let harness = Harness::start(folder.path());
    harness.wait_live();
    let mut said = String::new();
    for service in harness.services() {
        write!(said, "service {}/{} {}", service.namespace, service.name, service.kind).unwrap();
        for vip in service.vips {
            let announced = if vip.announced { " (announced)" } else { "" };
            write!(said, ", {}{announced}", vip.address).unwrap();
        }
        said.push('\n');
        for port in service.ports {
            writeln!(
                said,
                "  port {} {:?} {}: {} ready, {} draining, {} not ready",
                port.port, port.name, port.protocol, port.ready, port.draining, port.not_ready
            )
            .unwrap();
        }
    }
    for backend in harness.backends() {
        writeln!(
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
    assert_eq!(diagnostics, check(&crate::support::config(), folder.path()), "check says the same");
    said
}
