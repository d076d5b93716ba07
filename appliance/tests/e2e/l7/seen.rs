//! What a gateway tells of requests, beside what it does with them.

use super::shop::{Shop, address, gateway, services};
use crate::gateway::{Gateway, SLUICE};
use crate::lab::{FAMILIES, Family, eventually, succeeded};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

const INGRESS: &str = r#"apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  namespace: shop
  annotations:
    nginx.ingress.kubernetes.io/proxy-connect-timeout: "1"
    nginx.ingress.kubernetes.io/proxy-read-timeout: "2"
spec:
  ingressClassName: sluice
  tls: [{hosts: [secure.example], secretName: shop}]
  rules:
    - host: shop.example
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}
          - {path: /gone, pathType: Prefix, backend: {service: {name: gone, port: {number: 80}}}}
          - {path: /locked, pathType: Prefix, backend: {service: {name: locked, port: {number: 80}}}}
    - host: secure.example
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: shop, port: {name: http}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: old
  namespace: shop
  annotations: {nginx.ingress.kubernetes.io/rewrite-target: /in/$2}
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

/// Nobody but some client outside reaches the pod.
const LOCK: &str = r#"apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: default, name: lock}
spec:
  podSelector: {matchLabels: {pod: pod2a}}
  policyTypes: [Ingress]
  ingress:
  - from: [{ipBlock: {cidr: 198.51.100.0/24}}]
"#;

#[test]
fn what_is_told_of_requests_is_what_becomes_of_them() {
    let Some(shop) = Shop::open(&[], "") else { return };
    shop.certificate("shop", &["secure.example"]);
    shop.lab.write_manifest("locked.yaml", &services("locked", &["pod2a"]));
    shop.lab.write_manifest("ingress.yaml", INGRESS);
    let gateway = gateway(&shop);
    for family in &FAMILIES {
        shop.until(family, "http://shop.example/", 200);
        explained(&shop, &gateway, family);
        connections(&gateway, &shop, family);
    }
    listeners_and_routes(&gateway);
    certificates(&shop, &gateway);
    locked(&shop, &gateway);
    gateway.stop();
}

/// What a running gateway explains of a request of the client's.
fn live(gateway: &Gateway<'_>, family: &Family, url: &str, more: &[&str]) -> Value {
    let to = address(family);
    let arguments = ["explain", url, "--from", family.client, "--to", to, "-o", "json"];
    let text = succeeded(&gateway.ask(&[&arguments, more].concat()), url);
    serde_json::from_str(&text).unwrap()
}

/// What its manifests alone explain.
fn offline(shop: &Shop, family: &Family, url: &str) -> Value {
    let config = shop.lab.config().display().to_string();
    let arguments = ["--from", family.client, "--to", address(family), "--offline"];
    let command = [&[SLUICE, "explain", url, "-o", "json", "--config", &config], &arguments[..]];
    serde_json::from_str(&shop.lab.ok("gw", &command.concat())).unwrap()
}

/// Each request has the answer that is explained, from an endpoint that is named.
fn explained(shop: &Shop, gateway: &Gateway<'_>, family: &Family) {
    for (url, more) in [
        ("http://shop.example/a?b=c", &[][..]),
        ("http://shop.example/old/x", &[]),
        ("http://shop.example/gone/x", &[]),
        ("http://shop.example/locked", &[]),
        ("http://other.example/", &[]),
        ("http://secure.example/x", &[]),
        ("https://secure.example/y", &[]),
        ("http://shop.example/", &["-X", "DELETE"]),
    ] {
        let (status, told) = shop.get(family, url, more);
        let of = live(gateway, family, url, more);
        match of["answer"]["status"].as_u64() {
            Some(explained) => assert_eq!(u64::from(status), explained, "{url}: {of:#}"),
            None => {
                assert_eq!((status, &of["answer"]["by"]), (200, &json!("endpoint")), "{url}");
                assert_eq!(told["target"], of["answer"]["target"], "{url}: {of:#}");
                assert_eq!(told["method"], of["request"]["method"], "{url}: {of:#}");
                let endpoints = of["upstream"]["endpoints"].as_array().unwrap();
                let is_reached = |of: &&Value| of["connection"]["verdict"] == "forwarded";
                assert_eq!(endpoints.iter().filter(is_reached).count(), endpoints.len(), "{of:#}");
            }
        }
        let alone = offline(shop, family, url);
        for key in ["listener", "certificate", "route", "considered", "answer"] {
            assert_eq!(alone[key], of[key], "{key} of {url}: {alone:#}");
        }
        assert_eq!(endpoints(&alone), endpoints(&of), "{url}");
    }
    let wrong = gateway.ask(&["explain", "http://shop.example:99/"]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && said.contains("nothing listens at port 99"), "{said}");
    for wrong in [&["ftp://x/"][..], &["http://x/", "-H", "nothing"]] {
        let output = gateway.ask(&[&["explain"], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}

/// The endpoints of an explanation, and what becomes of connections to them.
fn endpoints(of: &Value) -> Vec<String> {
    let all = of["upstream"]["endpoints"].as_array();
    let text = |of: &Value| format!("{} {}", of["address"], of["connection"]["verdict"]);
    all.into_iter().flatten().map(text).collect()
}

/// A connection is shown with what it does, and not any more once it has ended.
fn connections(gateway: &Gateway<'_>, shop: &Shop, family: &Family) {
    let show = |more: &[&str]| {
        let what = [&["connections", "--client", family.client], more].concat();
        gateway.show(&what)
    };
    let streams = shop.lab.within("client", || {
        [(); 3].map(|()| {
            let mut stream = TcpStream::connect((address(family), 80)).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let request = b"GET /bytes/7 HTTP/1.1\r\nHost: shop.example\r\n\r\n";
            stream.write_all(request).unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"xxxxxxx") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                answer.push(byte[0]);
            }
            stream
        })
    });
    let ports: Vec<_> = streams.each_ref().map(|s| s.local_addr().unwrap().port()).into();
    let of = |view: &Value, port: u16| {
        let all = view["connections"].as_array().unwrap();
        let is_it = |of: &&Value| of["client"].as_str().unwrap().ends_with(&format!(":{port}"));
        all.iter().find(is_it).cloned()
    };
    let view = show(&[]);
    for port in &ports {
        let of = of(&view, *port).unwrap_or_else(|| panic!("{port} is not in {view:#}"));
        for (key, expected) in [
            ("listener", json!("ingress-http")),
            ("protocol", json!("HTTP/1.1")),
            ("state", json!("idle")),
            ("requests", json!(1)),
            ("bytes_in", json!(45)),
        ] {
            assert_eq!(of[key], expected, "{key} of {of:#}");
        }
        assert!(of["bytes_out"].as_u64().unwrap() > 7, "{of:#}");
        assert_eq!(
            of["address"],
            json!(std::net::SocketAddr::new(address(family).parse().unwrap(), 80))
        );
    }
    let bounded = show(&["--limit", "1"]);
    assert_eq!(bounded["connections"].as_array().unwrap().len(), 1);
    assert!(bounded["left_out"].as_u64().unwrap() >= 2, "{bounded}");
    let [mut first, rest @ ..] = streams;
    first.write_all(b"GET /half HTTP/1.1\r\n").unwrap();
    eventually("half a head", || (of(&show(&[]), ports[0])?["state"] == "reading").then_some(()));
    drop((first, rest));
    eventually("the ends of connections", || {
        let view = show(&[]);
        ports.iter().all(|port| of(&view, *port).is_none()).then_some(())
    });
    let none = gateway.show(&["connections", "--client", "198.51.100.99"]);
    assert_eq!((&none["connections"], &none["left_out"]), (&json!([]), &json!(0)));
}

fn listeners_and_routes(gateway: &Gateway<'_>) {
    let listeners = gateway.show(&["listeners"]);
    let said: Vec<_> = listeners
        .as_array()
        .unwrap()
        .iter()
        .map(|of| format!("{} {} {} {}", of["address"], of["port"], of["protocol"], of["state"]))
        .collect();
    let [v4, v6] = super::shop::ADDRESSES;
    let expected: Vec<_> = [v4, v6]
        .iter()
        .flat_map(|at| {
            [(80, "HTTP"), (443, "HTTPS")]
                .map(|(port, protocol)| format!("\"{at}\" {port} \"{protocol}\" \"ready\""))
        })
        .collect();
    assert_eq!(said, expected);
    let routes = gateway.show(&["http-routes"]);
    let row = |path: &str| {
        let all = routes.as_array().unwrap();
        all.iter().find(|of| of["path"] == path && of["host"] == "shop.example").unwrap().clone()
    };
    let root = row("/");
    assert_eq!((&root["backend"], &root["endpoints"]), (&json!("shop/shop:80"), &json!(4)));
    assert_eq!(root["options"]["connect_ms"], 1_000);
    let gone = row("/gone");
    assert_eq!(gone["findings"], json!(["there is no Service shop/gone; 503 is answered"]));
    assert_eq!(row("/old(/|$)(.*)")["options"]["rewrite"], "/in/$2");
}

/// A Secret whose key is another one's says so; what it had before is still served.
fn certificates(shop: &Shop, gateway: &Gateway<'_>) {
    let shown = || gateway.show(&["certificates"])[0].clone();
    let of = shown();
    assert_eq!((&of["secret"], &of["ingresses"]), (&json!("shop/shop"), &json!(["shop/web"])));
    assert_eq!((&of["names"], &of["problem"]), (&json!(["secure.example"]), &Value::Null));
    assert!((1..=30 * 86_400).contains(&of["left_s"].as_i64().unwrap()), "{of}");
    shop.certificate("other", &["other.example"]);
    let text = |file: &str| {
        let path = shop.lab.folder.join("certificates").join(file);
        Value::from(std::fs::read_to_string(Path::new(&path)).unwrap())
    };
    shop.lab.write_manifest(
        "secret-shop.yaml",
        &format!(
            "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\n\
             metadata: {{name: shop, namespace: shop}}\n\
             stringData:\n  tls.crt: {}\n  tls.key: {}\n",
            text("shop.pem"),
            text("other.key")
        ),
    );
    let why = eventually("the wrong key", || shown()["problem"].as_str().map(str::to_owned));
    assert!(why.contains("its last good version stays in force"), "{why}");
    let impaired = gateway.show(&["listeners"]);
    assert_eq!(impaired[1]["state"], "impaired", "{impaired:#}");
    assert_eq!(shop.get(&FAMILIES[0], "https://secure.example/", &[]).0, 200);
}

/// A policy keeps clients out of a pod: what is explained of that is what clients see.
fn locked(shop: &Shop, gateway: &Gateway<'_>) {
    shop.lab.write_manifest("lock.yaml", LOCK);
    for family in &FAMILIES {
        let url = "http://shop.example/locked";
        let of = eventually("a locked pod", || {
            let of = live(gateway, family, url, &[]);
            (of["answer"]["reason"] == "policy_denied").then_some(of)
        });
        let connection = &of["upstream"]["endpoints"][0]["connection"];
        assert_eq!(connection["reason"], "policy_denied", "{of:#}");
        assert_eq!(
            connection["ingress"]["rule"],
            "NetworkPolicy default/lock default deny ingress"
        );
        eventually("the answer that is explained", || {
            let text = shop.curl(family, url, &[]);
            let is_it = text.starts_with("HTTP/1.1 403 ") && text.ends_with("policy_denied\n");
            is_it.then_some(())
        });
    }
}
