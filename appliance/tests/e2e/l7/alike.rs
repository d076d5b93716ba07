//! The TCP of the workers and the kernel's sockets: to the same requests the same answers.

/// Requests of HTTP/2.
mod http2;

use super::backend::{Backend, PORT, TLS_PORT};
use super::kernel::{self, at_the_client, give_to_the_kernel};
use super::report::report;
use super::shop::{ADDRESSES, Shop, gateway, services, services_at};
use super::wire::exchange;
use crate::gateway::Gateway;
use crate::lab::FAMILIES;
use fastrand::Rng;
use std::collections::BTreeSet;

/// What requests are made from.
const SEED: u64 = 7_540;

/// Connections of each family.
const CONNECTIONS: usize = 250;

const INGRESS: &str = r#"apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
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
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: all
  namespace: shop
  annotations: {nginx.ingress.kubernetes.io/proxy-body-size: 1k}
spec:
  ingressClassName: sluice
  tls: [{hosts: [secure.example], secretName: shop}]
  rules:
    - host: shop.example
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}
          - {path: /gone, pathType: Exact, backend: {service: {name: gone, port: {number: 80}}}}
          - {path: /locked, pathType: Exact, backend: {service: {name: locked, port: {number: 80}}}}
    - host: secure.example
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}]}
"#;

/// The pod is reached at one of its ports alone.
const LOCK: &str = r#"apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: default, name: lock}
spec:
  podSelector: {matchLabels: {pod: pod1a}}
  policyTypes: [Ingress]
  ingress:
  - ports: [{protocol: TCP, port: 8090}]
"#;

/// Paths that requests are for now and then.
const PATHS: [&str; 15] = [
    "/a/b?c=d&e",
    "/status/404",
    "/status/503",
    "/bytes/0",
    "/bytes/70000",
    "/trailers/x",
    "/old/path?x",
    "/gone",
    "/locked",
    "//a//b",
    "/a/./b/../c",
    "/..",
    "/%2e%2e/a",
    "/%zz",
    "/a%2Fb",
];

/// Targets that no request of HTTP/2 can have.
const ODD_TARGETS: [&str; 6] =
    ["*", "http://shop.example/absolute", "http://other.example/", "/a b", "/\u{e9}", "a"];

#[test]
fn workers_and_the_kernel_answer_alike() {
    let Some(shop) = Shop::open(&[], "") else { return };
    shop.certificate("shop", &["secure.example"]);
    shop.lab.write_manifest("ingress.yaml", INGRESS);
    shop.lab.write_manifest("lock.yaml", LOCK);
    let requests = requests();
    let manifests = [
        ("shop.yaml", services("shop", &["pod1a"])),
        ("locked.yaml", services_at("locked", &["pod1a"], TLS_PORT)),
        ("pod-pod1a.yaml", read(&shop, "pod-pod1a.yaml")),
    ];

    for (file, text) in &manifests {
        shop.lab.write_manifest(file, text);
    }
    let workers = gateway(&shop);
    let of_workers = answers(&shop, ADDRESSES, &requests);
    let streams_of_workers = streams(&shop, ADDRESSES);
    report(&workers, "requests to workers and to the kernel");
    workers.stop();

    let _backend = Backend::start_as(&shop.lab, "client", "pod1a", &[PORT]);
    for (file, text) in &manifests {
        shop.lab.write_manifest(file, &at_the_client(text));
    }
    give_to_the_kernel(&shop);
    let kernel = Gateway::ready(&shop.lab);
    let of_kernel = answers(&shop, kernel::ADDRESSES, &requests);
    let streams_of_kernel = streams(&shop, kernel::ADDRESSES);
    kernel.stop();

    for (request, (ours, theirs)) in requests.iter().zip(of_workers.iter().zip(&of_kernel)) {
        let request = String::from_utf8_lossy(request);
        let [ours, theirs] = [ours, theirs].map(|answer| String::from_utf8_lossy(answer));
        assert_eq!(ours, theirs, "to {request:?}");
    }
    let statuses: BTreeSet<_> = of_workers.iter().flat_map(|answer| statuses(answer)).collect();
    let expected =
        ["200", "308", "400", "403", "404", "413", "501", "503", "505"].map(str::to_owned);
    assert!(statuses.is_superset(&BTreeSet::from(expected)), "{statuses:?}");
    let denied = of_kernel.iter().filter(|answer| answer.ends_with(b"403 policy_denied\n")).count();
    assert!(denied > 0);

    for (ours, theirs) in streams_of_workers.iter().zip(&streams_of_kernel) {
        assert_eq!(ours, theirs);
    }
    for answer in ["\n200 ", "\n308 ", "\n404 ", "\n413 ", "\n503 ", "\n400 "] {
        let is_seen = streams_of_workers.iter().any(|one| one.contains(answer));
        assert!(is_seen, "{answer:?} in {streams_of_workers:?}");
    }
}

/// What random requests of HTTP/2 are answered in both families.
fn streams(shop: &Shop, addresses: [&str; 2]) -> Vec<String> {
    shop.lab.within("client", || {
        let of_family = addresses.iter().zip(SEED..);
        of_family.flat_map(|(address, seed)| http2::answers(address, seed)).collect()
    })
}

fn read(shop: &Shop, manifest: &str) -> String {
    std::fs::read_to_string(shop.lab.folder.join("manifests").join(manifest)).unwrap()
}

/// What each connection is answered, first all of them in one family, then in the other;
/// without what differs from time to time.
fn answers(shop: &Shop, addresses: [&str; 2], requests: &[Vec<u8>]) -> Vec<Vec<u8>> {
    shop.lab.within("client", || {
        for address in addresses {
            crate::lab::eventually("an answer", || {
                let (head, _) = super::wire::get(address, "shop.example", "/");
                head.starts_with("HTTP/1.1 200 ").then_some(())
            });
        }
        let asked = requests.iter().enumerate();
        asked.map(|(at, request)| still(exchange(addresses[at / CONNECTIONS], request))).collect()
    })
}

/// An answer without its times and the ids of requests.
fn still(mut answer: Vec<u8>) -> Vec<u8> {
    let is_id = |id: &[u8]| {
        id.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    };
    for at in 0..answer.len().saturating_sub(35) {
        if is_id(&answer[at..at + 36]) {
            answer[at..at + 36].fill(b'0');
        }
    }
    let is_time = |line: &&[u8]| line.len() > 5 && line[..5].eq_ignore_ascii_case(b"date:");
    let lines = answer.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_time(line));
    lines.collect::<Vec<_>>().concat()
}

/// The statuses of the answers of a connection.
fn statuses(answer: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answer);
    let heads = text.split("HTTP/1.1 ").skip(1).chain(text.split("HTTP/1.0 ").skip(1));
    heads.map(|rest| rest.chars().take(3).collect()).collect()
}

/// What clients send, a connection each.
fn requests() -> Vec<Vec<u8>> {
    let mut random = Rng::with_seed(SEED);
    let connection = |_| {
        let count = 1 + random.usize(..3);
        (0..count).flat_map(|_| request(&mut random)).collect()
    };
    (0..CONNECTIONS * FAMILIES.len()).map(connection).collect()
}

/// A request: mostly one that is served, with all that may be wrong now and then.
fn request(random: &mut Rng) -> Vec<u8> {
    let method =
        rarely(random, "GET", &["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get", "CONNECT"]);
    let target = match random.u8(..12) {
        0..3 => *one(random, &ODD_TARGETS),
        _ => rarely(random, "/", &PATHS),
    };
    let version = if random.u8(..8) > 0 {
        "HTTP/1.1"
    } else {
        *one(random, &["HTTP/1.0", "HTTP/2.0", "http/1.1"])
    };
    let mut head = format!("{method} {target} {version}\r\n");
    head += match random.u8(..10) {
        0 => "Host: other.example\r\n",
        1 => "Host: SECURE.example:80\r\n",
        2 => *one(random, &["", "Host:\r\n", "Host: a\r\nHost: b\r\n", "Host: a/b\r\n"]),
        _ => "Host: shop.example\r\n",
    };
    for _ in 0..random.usize(..4) {
        head += rarely(
            random,
            "Accept: */*\r\n",
            &[
                "X-Forwarded-For: 198.51.100.1\r\n",
                "X-Real-IP: 198.51.100.1\r\n",
                "Forwarded: for=198.51.100.1\r\n",
                "X-Request-ID: mine\r\n",
                "Connection: close, x-hop\r\nX-Hop: 1\r\n",
                "Connection: host\r\n",
                "Cookie: a=b\r\nCookie: c=d\r\n",
                "Expect: something\r\n",
                "X-Empty:\r\n",
                "X-Space : a\r\n",
                "X-Folded: a\r\n b\r\n",
                "X-Control: \u{1}\r\n",
                "X-Bare: a\n",
                "TE: trailers\r\n",
                "Keep-Alive: 5\r\n",
                "Proxy-Connection: keep-alive\r\n",
            ],
        );
    }
    let body = "x".repeat(random.usize(..1500));
    let len = body.len();
    let (framing, body) = match random.u8(..16) {
        0 => (format!("Content-Length: {len}\r\n"), body),
        1 => ("Transfer-Encoding: chunked\r\n".into(), format!("{len:x}\r\n{body}\r\n0\r\n\r\n")),
        2 => ("Transfer-Encoding: chunked\r\n".into(), "3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n".into()),
        3 => ("Transfer-Encoding: chunked\r\n".into(), "3 \r\nabc\r\n0\r\n\r\n".into()),
        4 => ("Transfer-Encoding: gzip, chunked\r\n".into(), String::new()),
        5 => ("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n".into(), "0\r\n\r\n".into()),
        6 => ("Content-Length: -1\r\n".into(), String::new()),
        _ => (String::new(), String::new()),
    };
    format!("{head}{framing}\r\n{body}").into_bytes()
}

fn one<'a, T>(random: &mut Rng, of: &'a [T]) -> &'a T {
    &of[random.usize(..of.len())]
}

/// What is usual half of the time, else one of the others.
fn rarely<'a>(random: &mut Rng, usual: &'a str, others: &'a [&'a str]) -> &'a str {
    if random.bool() { usual } else { others[random.usize(..others.len())] }
}
