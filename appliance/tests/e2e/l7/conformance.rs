use super::report::report;
use super::shop::{ADDRESSES, Shop, WEB, address, authority, gateway, ingress, services_at};
use super::wire::exchange;
use crate::lab::{FAMILIES, eventually, succeeded};
use rustix::process::{Pid, Signal, kill_process};
use sluice_testkit::corpus::{Example, examples};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is for no host goes to the shop.
const REST: &str = r#"apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: rest
  namespace: shop
  annotations: {nginx.ingress.kubernetes.io/ssl-redirect: "false"}
spec:
  ingressClassName: sluice
  defaultBackend: {service: {name: shop, port: {number: 80}}}
"#;

/// A program of the scripts', built at its first use; `None`, with a word about it,
/// where there is no Go.
fn tool(name: &str) -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/cluster");
    let check = Command::new(&script).args(["build", "--check", name]).output().unwrap();
    if !check.status.success() {
        eprintln!("skipped: {}", String::from_utf8_lossy(&check.stderr));
        return None;
    }
    let run = |command: &str| {
        let output = Command::new(&script).args([command, name]).output().unwrap();
        succeeded(&output, &format!("scripts/cluster {command} {name}"))
    };
    run("build");
    Some(run("path").trim().into())
}

/// The conformance suite of HTTP/2 finds nothing, with TLS and without.
#[test]
fn h2spec_finds_nothing() {
    let Some(h2spec) = tool("h2spec") else { return };
    // It asks for an address, not for a name.
    let certificate = "    default_certificate: shop/shop\n";
    let Some(shop) = Shop::open(&[], certificate) else { return };
    shop.certificate("shop", &["shop.example"]);
    shop.lab.write_manifest("web.yaml", WEB);
    shop.lab.write_manifest("rest.yaml", REST);
    let gateway = gateway(&shop);
    for family in &FAMILIES {
        shop.until(family, "http://shop.example/", 200);
        shop.until(family, "https://shop.example/", 200);
        shop.until(family, "https://other.example/", 200);
    }
    let h2spec = h2spec.to_str().unwrap();
    for (host, more) in [
        (ADDRESSES[0], &["-p", "80"][..]),
        (ADDRESSES[0], &["-p", "443", "-t", "-k"]),
        (&*format!("[{}]", ADDRESSES[1]), &["-p", "443", "-t", "-k"]),
    ] {
        let arguments = [&[h2spec, "-h", host, "-o", "3"], more].concat();
        let output = shop.lab.run("client", &arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let result = text.lines().rev().find(|line| line.contains("tests,")).unwrap_or_default();
        // Without TLS both versions are spoken at one port: what does not begin as HTTP/2
        // is answered as HTTP/1.1.
        let is_expected = match more.contains(&"-t") {
            true => result.contains(" 0 failed"),
            false => result.contains(" 1 failed") && text.contains("× 2: Sends invalid connection"),
        };
        assert!(is_expected, "{host} {more:?}\n{text}");
        eprintln!("h2spec {host} {more:?}: {result}");
    }
    report(&gateway, "h2spec");
    gateway.stop();
}

/// A gRPC client, and a gRPC server behind HTTP/2 without TLS.
#[test]
fn grpc_goes_from_end_to_end() {
    let (Some(probe), Some(agnhost)) = (tool("grpc-health-probe"), tool("agnhost")) else {
        return;
    };
    let Some(shop) = Shop::open(&[], "") else { return };
    let chain = shop.certificate("shop", &["grpc.example"]);
    shop.lab.write_manifest("health.yaml", &services_at("health", &["pod1a"], 5000));
    let protocol = ("backend-protocol", "GRPC");
    let grpc = ingress("grpc", "grpc.example", "health", Some("shop"), &[protocol]);
    shop.lab.write_manifest("grpc.yaml", &grpc);
    let mut server = shop
        .lab
        .command(
            "pod1a",
            &[
                agnhost.to_str().unwrap(),
                "grpc-health-checking",
                "--port",
                "5000",
                "--http-port",
                "5001",
            ],
        )
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let gateway = gateway(&shop);
    for family in &FAMILIES {
        let address = format!("{}:443", authority(family));
        let chain = chain.to_str().unwrap();
        let in_tls = ["-tls", "-tls-ca-cert", chain, "-tls-server-name", "grpc.example"];
        let probe = [&[probe.to_str().unwrap(), "-addr", &address][..], &in_tls].concat();
        eventually("a healthy server", || {
            let output = shop.lab.run("client", &probe);
            let text = String::from_utf8_lossy(&output.stderr).into_owned()
                + &String::from_utf8_lossy(&output.stdout);
            text.contains("SERVING").then_some(())
        });
    }
    // `timeout` passes it on.
    let _ = kill_process(Pid::from_child(&server), Signal::TERM);
    let _ = server.wait();
    gateway.stop();
}

/// Every form of request smuggling that is known is refused, and names its reason.
#[test]
fn requests_are_not_smuggled() {
    let Some(shop) = Shop::open(&[], "") else { return };
    shop.certificate("shop", &["shop.example"]);
    shop.lab.write_manifest("web.yaml", WEB);
    shop.lab.write_manifest("rest.yaml", REST);
    let gateway = gateway(&shop);
    let mut refused = 0;
    for family in &FAMILIES {
        shop.until(family, "http://shop.example/", 200);
        for example in examples() {
            let Example { name, bytes, .. } = &example;
            // What begins as HTTP/2 is HTTP/2 here.
            if bytes.starts_with(b"PRI ") {
                continue;
            }
            let answer = shop.lab.within("client", || exchange(address(family), bytes));
            let text = String::from_utf8_lossy(&answer).into_owned();
            if let Some(outcome) = example.refusal() {
                refused += 1;
                assert!(text.contains(&format!(" {outcome}\n")), "{name} -> {outcome}:\n{text}");
                let smuggled = text.contains("SMUGGLED") || text.contains("/smuggled");
                assert!(!smuggled, "{name}: a pod was asked\n{text}");
            }
        }
    }
    assert!(refused > 100, "{refused} cases");
    eventually("what was refused is counted", || {
        let told = gateway.metric("sluice_l7_refusals_total", &["two_lengths"]);
        (told >= 4.0).then_some(())
    });
    report(&gateway, "the corpus of smuggling");
    gateway.stop();
}
