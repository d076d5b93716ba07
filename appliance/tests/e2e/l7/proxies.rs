//! Proxies in front: whom the gateway believes about clients.

use super::report::report;
use super::shop::{ADDRESSES, Shop, gateway};
use super::wire::exchange;
use crate::lab::{FAMILIES, Family, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};

/// Addresses of the client's that nobody trusts.
const STRANGERS: [&str; 2] = ["192.0.2.11", "2001:db8:1::11"];

/// Clients of the proxy, and where they meant to go.
const CLIENTS: [&str; 2] = ["198.51.100.7", "2001:db8:7::7"];

const INGRESS: &str = r#"apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop}
spec:
  ingressClassName: sluice
  tls: [{hosts: [secure.example], secretName: shop}]
  rules:
    - host: shop.example
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}]}
    - host: secure.example
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}]}
"#;

/// Headers, then the PROXY protocol, which a reload of the configuration turns on.
#[test]
fn only_trusted_proxies_are_believed() {
    let trusted = "  trusted_proxies: [192.0.2.10/32, \"2001:db8:1::10/128\"]\n";
    let Some(shop) = Shop::open(&[], trusted) else { return };
    shop.certificate("shop", &["secure.example"]);
    shop.lab.write_manifest("ingress.yaml", INGRESS);
    for (address, more) in STRANGERS.iter().zip([&[][..], &["nodad", "preferred_lft", "0"]]) {
        let len = if address.contains(':') { 64 } else { 24 };
        let address = format!("{address}/{len}");
        let add = ["ip", "address", "add", &address, "dev", "eth0"];
        shop.lab.ok("client", &[&add[..], more].concat());
    }
    let gateway = gateway(&shop);
    for (family, stranger) in FAMILIES.iter().zip(STRANGERS) {
        shop.until(family, "http://shop.example/", 200);
        headers(&shop, family, stranger);
    }
    let config = "  trusted_proxies:";
    shop.lab.edit_config(config, &format!("  proxy_protocol: true\n{config}"));
    gateway.signal(Signal::HUP);
    for (family, stranger) in FAMILIES.iter().zip(STRANGERS) {
        // Without its header the proxy is no longer let in.
        shop.until(family, "http://shop.example/", 400);
        proxy_protocol(&shop, family, stranger);
    }
    eventually("what was refused is counted", || {
        let refused = gateway.metric("sluice_l7_refusals_total", &["bad_proxy_header"]);
        (refused >= 2.0 * (1.0 + NO_HEADERS.len() as f64)).then_some(())
    });
    report(&gateway, "proxies in front");
    gateway.stop();
}

/// What a request with headers of a proxy's comes to, sent from an address.
fn asked(shop: &Shop, family: &Family, from: &str, url: &str) -> (u16, Value) {
    let more = [
        ["--interface", from],
        ["-H", "X-Forwarded-For: 203.0.113.200, 198.51.100.1"],
        ["-H", "X-Forwarded-Proto: https"],
        ["-H", "X-Forwarded-Host: told.example"],
        ["-H", "X-Forwarded-Port: 8443"],
        ["-H", "X-Request-ID: told"],
    ];
    shop.get(family, url, &more.concat())
}

fn headers(shop: &Shop, family: &Family, stranger: &str) {
    let (status, told) = asked(shop, family, family.client, "http://shop.example/");
    assert_eq!(status, 200);
    let headers = &told["headers"];
    let chain: Vec<_> = headers["x-forwarded-for"].as_array().unwrap().iter().collect();
    let chain = chain.iter().map(|value| value.as_str().unwrap()).collect::<Vec<_>>().join(", ");
    assert_eq!(chain, format!("203.0.113.200, 198.51.100.1, {}", family.client), "{told}");
    for (header, value) in [
        // The last one who is no proxy that is trusted.
        ("x-real-ip", "198.51.100.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "told.example"),
        ("x-forwarded-port", "8443"),
        ("x-request-id", "told"),
    ] {
        assert_eq!(headers[header], json!([value]), "{header}: {told}");
    }
    // It came to the proxy in TLS: it is not sent there again.
    assert_eq!(asked(shop, family, family.client, "http://secure.example/").0, 200);

    let (status, told) = asked(shop, family, stranger, "http://shop.example/");
    assert_eq!(status, 200);
    for (header, value) in [
        ("x-forwarded-for", stranger),
        ("x-real-ip", stranger),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "shop.example"),
        ("x-forwarded-port", "80"),
    ] {
        assert_eq!(told["headers"][header], json!([value]), "{header}: {told}");
    }
    assert_ne!(told["headers"]["x-request-id"], json!(["told"]));
    assert_eq!(asked(shop, family, stranger, "http://secure.example/").0, 308);
}

/// What a proxy may not begin with.
const NO_HEADERS: [&str; 3] =
    ["PROXY TCP4 198.51.100.7\r\n", "PROXY TCP9 a b 1 2\r\n", "\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0"];

fn proxy_protocol(shop: &Shop, family: &Family, stranger: &str) {
    let is_v6 = family.client.contains(':');
    let (address, client) = (ADDRESSES[usize::from(is_v6)], CLIENTS[usize::from(is_v6)]);
    let send = |header: &[u8]| {
        let request = b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
        let bytes = [header, request].concat();
        let answer = shop.lab.within("client", || exchange(address, &bytes));
        String::from_utf8_lossy(&answer).into_owned()
    };
    let line = format!("PROXY TCP{} {client} {address} 4711 80\r\n", if is_v6 { 6 } else { 4 });
    let ends = [(client, 4711), (address, 80)]
        .map(|(address, port)| SocketAddr::new(address.parse().unwrap(), port));
    for (header, expected) in [
        (line.as_bytes(), client),
        (&version_2(ends)[..], client),
        // The proxy speaks for itself.
        (b"PROXY UNKNOWN\r\n", family.client),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", family.client),
    ] {
        let answer = send(header);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{header:?}: {answer}");
        let expected = format!("\"x-forwarded-for\":[\"{expected}\"]");
        assert!(answer.contains(&expected), "{expected}: {answer}");
    }
    for header in NO_HEADERS {
        let answer = send(header.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{header:?}: {answer}");
        assert!(answer.ends_with("400 bad_proxy_header\n"), "{header:?}: {answer}");
    }
    // A client that speaks it, also before TLS.
    let spoken = ["--interface", family.client, "--haproxy-protocol"];
    for (url, proto) in [("http://shop.example/", "http"), ("https://secure.example/", "https")] {
        let (status, told) = shop.get(family, url, &spoken);
        assert_eq!(status, 200, "{url}: {told}");
        assert_eq!(told["headers"]["x-forwarded-for"], json!([family.client]));
        assert_eq!(told["headers"]["x-forwarded-proto"], json!([proto]));
    }
    // Who is no proxy has no header, and may not claim to be one.
    let from = ["--interface", stranger];
    let (status, told) = shop.get(family, "http://shop.example/", &from);
    assert_eq!((status, &told["headers"]["x-real-ip"]), (200, &json!([stranger])));
    let claim = ["--interface", stranger, "--haproxy-protocol"];
    assert_eq!(shop.get(family, "http://shop.example/", &claim).0, 400);
}

/// A header of version 2 (HAProxy, "The PROXY protocol", section 2.2).
fn version_2(ends: [SocketAddr; 2]) -> Vec<u8> {
    let mut rest = Vec::new();
    for end in ends {
        match end.ip() {
            IpAddr::V4(address) => rest.extend(address.octets()),
            IpAddr::V6(address) => rest.extend(address.octets()),
        }
    }
    rest.extend(ends.iter().flat_map(|end| end.port().to_be_bytes()));
    let family = if ends[0].is_ipv4() { 0x11 } else { 0x21 };
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x21, family], &len, &rest].concat()
}
