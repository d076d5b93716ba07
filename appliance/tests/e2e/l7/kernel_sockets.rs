use super::backend::Backend;
use super::shop::{CLASS, services};
use crate::gateway::Gateway;
use crate::lab::{Lab, eventually};

/// An address of the kernel's in the gateway's namespace.
const ADDRESS: &str = "192.0.2.9";

const INGRESS: &str = r#"apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop}
spec:
  ingressClassName: sluice
  rules:
    - host: shop.example
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}]}
"#;

/// `l7.io: kernel`: the same HTTP on sockets of the kernel.
#[test]
fn the_kernels_sockets_serve_the_same_requests() {
    let Some(lab) = Lab::up(&[]) else { return };
    lab.ok("gw", &["ip", "addr", "add", &format!("{ADDRESS}/24"), "dev", "uplink"]);
    let own = "addresses: [192.0.2.1/24, \"2001:db8:1::1/64\"]";
    lab.edit_config(own, &format!("{own}\n    kernel_addresses: [{ADDRESS}]"));
    lab.add_config(&format!("l7:\n  io: kernel\n  ingress: {{addresses: [{ADDRESS}]}}"));
    let _backend = Backend::start(&lab, "client");
    // The kernel has no way to the pods here: the client serves.
    let manifest = services("shop", &["pod1a"]).replace(crate::lab::V4.pod1a, "192.0.2.10");
    let (v4, _) = manifest.split_once("addressType: IPv6").unwrap();
    let (v4, _) = v4.rsplit_once("---").unwrap();
    lab.write_manifest("shop.yaml", v4);
    lab.write_manifest("class.yaml", CLASS);
    lab.write_manifest("ingress.yaml", INGRESS);
    let gateway = Gateway::ready(&lab);
    let curl = |host: &str, path: &str| {
        let (host, url) = (format!("Host: {host}"), format!("http://{ADDRESS}{path}"));
        let output =
            lab.run("client", &["curl", "-s", "-i", "--max-time", "10", "-H", &host, &url]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    eventually("an answer", || curl("shop.example", "/").starts_with("HTTP/1.1 200").then_some(()));
    let answer = curl("shop.example", "/a?b=c");
    assert!(answer.contains("\"target\":\"/a?b=c\""), "{answer}");
    assert!(answer.contains("\"x-forwarded-for\":[\"192.0.2.10\"]"), "{answer}");
    let answer = curl("other.example", "/");
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.ends_with("404 no_route\n"), "{answer}");
    eventually("what is counted", || {
        let answered = gateway.metric("sluice_l7_requests_total", &["Ingress shop/web", "2xx"]);
        (answered >= 2.0).then_some(())
    });
    gateway.stop();
}
