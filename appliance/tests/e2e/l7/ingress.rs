use super::shop::{Shop, address, gateway};
use crate::gateway::Gateway;
use crate::lab::{FAMILIES, eventually};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

const SHOP: &str = r#"apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop}
spec:
  ingressClassName: sluice
  tls: [{hosts: [secure.example, "*.wild.example"], secretName: shop}]
  rules:
    - host: shop.example
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}
          - {path: /gone, pathType: Exact, backend: {service: {name: gone, port: {number: 80}}}}
    - host: secure.example
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: shop, port: {name: http}}}}
    - host: "*.wild.example"
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: rewritten
  namespace: shop
  annotations:
    nginx.ingress.kubernetes.io/rewrite-target: /in/$2
    nginx.ingress.kubernetes.io/proxy-body-size: 1k
spec:
  ingressClassName: sluice
  rules:
    - host: shop.example
      http:
        paths:
          - path: /old(/|$)(.*)
            pathType: ImplementationSpecific
            backend: {service: {name: shop, port: {number: 80}}}
"#;

/// All of a story, over AF_XDP: what users of Ingress expect of any controller.
#[test]
fn requests_reach_pods_by_host_and_path() {
    let Some(shop) = Shop::open(&[], "") else { return };
    shop.certificate("shop", &["secure.example", "*.wild.example"]);
    shop.lab.write_manifest("ingress.yaml", SHOP);
    let gateway = gateway(&shop);
    for family in &FAMILIES {
        shop.until(family, "http://shop.example/", 200);
        let (status, told) = shop.get(family, "http://shop.example/a/b?c=d", &[]);
        assert_eq!((status, &told["target"]), (200, &json!("/a/b?c=d")), "{told}");
        let headers = &told["headers"];
        assert_eq!(headers["host"], json!(["shop.example"]));
        assert_eq!(headers["x-forwarded-for"], json!([family.client]));
        assert_eq!(headers["x-forwarded-proto"], json!(["http"]));
        assert!(headers["x-request-id"][0].as_str().is_some_and(|id| id.len() == 36), "{told}");
        // Who is not trusted is not believed.
        let lie = ["-H", "X-Forwarded-For: 198.51.100.1", "-H", "X-Real-IP: 198.51.100.1"];
        let (_, told) = shop.get(family, "http://shop.example/", &lie);
        assert_eq!(told["headers"]["x-forwarded-for"], json!([family.client]));
        assert_eq!(told["headers"]["x-real-ip"], json!([family.client]));

        assert_eq!(shop.get(family, "http://other.example/", &[]).0, 404);
        assert_eq!(shop.get(family, "http://shop.example/gone", &[]).0, 503);
        assert_eq!(shop.get(family, "http://shop.example/status/418", &[]).0, 418);

        let (_, told) = shop.get(family, "http://shop.example/old/path", &[]);
        assert_eq!(told["target"], "/in/path");
        let large = ["--data-binary", &"x".repeat(1025)];
        assert_eq!(shop.get(family, "http://shop.example/old/path", &large).0, 413);
        let (status, told) = shop.get(family, "http://shop.example/new/path", &large);
        assert_eq!((status, &told["body_len"]), (200, &json!(1025)));

        encrypted(&shop, family);
        another_protocol(&shop, family);
    }
    for family in &FAMILIES {
        let url = "http://shop.example/bytes/3000000";
        let output = shop.curl(family, url, &["-o", "/dev/null", "-w", "%{size_download}"]);
        assert!(output.ends_with("3000000"), "{output}");
    }
    assert_eq!(gateway.metric("sluice_l7_panics_total", &[]), 0.0);
    the_readme_lists_every_metric(&gateway);
    assert!(gateway.metric("sluice_l7_requests_total", &["Ingress shop/web", "2xx"]) > 10.0);
    assert!(gateway.metric("sluice_l7_refusals_total", &["no_route"]) >= 2.0);
    gateway.stop();
}

fn the_readme_lists_every_metric(gateway: &Gateway<'_>) {
    let (_, text) = gateway.get("/metrics");
    let exported = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let exported: BTreeSet<&str> = exported.filter(|name| name.starts_with("sluice_l7_")).collect();
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let rows = readme.lines().filter(|line| line.starts_with("| `sluice_l7_"));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap().split(','));
    let listed: BTreeSet<&str> = names.map(|name| name.trim().trim_matches('`')).collect();
    assert_eq!(exported, listed);
}

fn encrypted(shop: &Shop, family: &crate::lab::Family) {
    // Who has a certificate is not served without.
    let text = shop.curl(family, "http://secure.example/x?y=z", &[]);
    assert!(text.starts_with("HTTP/1.1 308 "), "{text}");
    assert!(text.to_lowercase().contains("location: https://secure.example/x?y=z\r\n"), "{text}");
    for (url, version, more) in [
        ("https://secure.example/", "HTTP/1.1", &["--http1.1"][..]),
        ("https://secure.example/", "HTTP/2", &["--http2"]),
        ("https://a.wild.example/", "HTTP/2", &["--http2", "--tlsv1.2", "--tls-max", "1.2"]),
        ("https://a.wild.example/", "HTTP/2", &["--http2", "--tlsv1.3"]),
    ] {
        let text = shop.curl(family, url, more);
        assert!(text.starts_with(&format!("{version} 200")), "{url} {more:?}: {text}");
        let (status, told) = shop.get(family, url, more);
        assert_eq!(status, 200);
        assert_eq!(told["headers"]["x-forwarded-proto"], json!(["https"]), "{told}");
    }
    // Without a certificate there is no handshake.
    let refused = shop.lab.run(
        "client",
        &[
            "curl",
            "-sk",
            "--max-time",
            "10",
            "--resolve",
            &format!("none.example:443:[{}]", address(family)),
            "https://none.example/",
        ],
    );
    assert_eq!(refused.status.code(), Some(35), "curl: no TLS connection");
    // HTTP/2 without TLS, by prior knowledge; trailers pass.
    let (status, told) = shop.get(family, "http://shop.example/h2c", &["--http2-prior-knowledge"]);
    assert_eq!((status, &told["target"]), (200, &json!("/h2c")));
}

/// What is no WebSocket: after the answer the connection is a pipe.
fn another_protocol(shop: &Shop, family: &crate::lab::Family) {
    let address = address(family);
    shop.lab.within("client", || {
        let mut stream = TcpStream::connect((address, 80)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let request = "GET /ws HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\n\
                       Upgrade: echo\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        for message in [&b"\x00\x01GET / HTTP/1.1\r\n\r\n"[..], &[7; 20_000]] {
            stream.write_all(message).unwrap();
            let mut echo = vec![0; message.len()];
            stream.read_exact(&mut echo).unwrap();
            assert!(echo == message);
        }
    });
}

/// Two workers, whose queues kernels choose without knowing of flows: what comes to the
/// other one is handed over, clients' packets and pods' alike.
#[test]
fn two_workers_serve_requests() {
    let Some(shop) = Shop::open(&["--queues", "2"], "") else { return };
    shop.lab.write_manifest("ingress.yaml", SHOP);
    let gateway = gateway(&shop);
    for family in &FAMILIES {
        shop.until(family, "http://shop.example/", 200);
        let url = "http://shop.example/bytes/[20001-20040]";
        let more = ["-o", "/dev/null", "-w", "%{http_code} %{size_download}\n", "--no-keepalive"];
        let output = shop.curl(family, url, &[&more[..], &["-H", "Connection: close"]].concat());
        let expected: Vec<_> = (20_001..=20_040).map(|size| format!("200 {size}")).collect();
        let answers: Vec<_> = output.lines().filter(|line| line.starts_with("200 ")).collect();
        assert_eq!(answers, expected, "{}", family.name);
    }
    eventually("both workers have served", || {
        let of =
            |worker: &str| gateway.metric("sluice_l7_tcp_total", &[worker, "event=\"accepted\""]);
        (of("worker=\"0\"") > 0.0 && of("worker=\"1\"") > 0.0).then_some(())
    });
    assert!(gateway.metric("sluice_handoffs_total", &["\"in\""]) > 0.0);
    gateway.stop();
}

/// Endpoints, routes and certificates change under requests: none fails.
#[test]
fn changes_fail_no_request() {
    let Some(shop) = Shop::open(&[], "") else { return };
    shop.certificate("shop", &["secure.example"]);
    shop.lab.write_manifest("ingress.yaml", SHOP);
    let gateway = gateway(&shop);
    let family = &FAMILIES[0];
    shop.until(family, "http://shop.example/", 200);
    eventually("https", || {
        (shop.get(family, "https://secure.example/", &[]).0 == 200).then_some(())
    });
    let load = shop.lab.command(
        "client",
        &[
            "curl",
            "-sk",
            "-Z",
            "--parallel-max",
            "8",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}\n",
            "--resolve",
            &format!("secure.example:443:{}", address(family)),
            "--max-time",
            "20",
            "https://secure.example/bytes/[1-3000]",
        ],
    );
    let mut load = load;
    let load = load.stdout(std::process::Stdio::piped()).spawn().unwrap();
    for round in 0..10 {
        let pods: &[&str] = [&["pod1a"][..], &["pod2a"], &super::shop::PODS][round % 3];
        shop.lab.write_manifest("shop.yaml", &super::shop::services("shop", pods));
        std::thread::sleep(Duration::from_millis(100));
        shop.lab.write_manifest("ingress.yaml", &SHOP.replace("/gone", &format!("/gone{round}")));
        std::thread::sleep(Duration::from_millis(100));
        shop.certificate("shop", &["secure.example"]);
    }
    let output = load.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed: Vec<_> = text.lines().filter(|status| *status != "200").collect();
    assert_eq!((text.lines().count(), failed), (3000, vec![]));
    gateway.stop();
}
