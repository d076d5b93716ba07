//! TLS with clients and with endpoints, and clients that speak HTTP/2 alone.

use super::backend::TLS_PORT;
use super::report::report;
use super::shop::{PODS, Shop, authority, gateway, services_at};
use crate::gateway::Gateway;
use crate::lab::{FAMILIES, Family, eventually};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

/// Ingresses of a host each: what they are called, what their endpoints are to speak, and
/// the Service.
const INGRESSES: [(&str, &str, &str); 4] = [
    ("shop", "HTTP", "shop"),
    ("https", "HTTPS", "vault"),
    ("grpcs", "GRPCS", "vault"),
    // Its endpoints speak no TLS.
    ("mute", "HTTPS", "shop"),
];

#[test]
fn clients_and_endpoints_speak_tls() {
    let Some(shop) = Shop::open(&[], "") else { return };
    let chain = shop.certificate("shop", &["shop.example", "*.shop.example"]);
    shop.lab.write_manifest("vault.yaml", &services_at("vault", &PODS, TLS_PORT));
    for (name, protocol, service) in INGRESSES {
        shop.lab.write_manifest(&format!("ingress-{name}.yaml"), &ingress(name, protocol, service));
    }
    let gateway = gateway(&shop);
    for family in &FAMILIES {
        for (name, ..) in INGRESSES {
            let status = if name == "mute" { 502 } else { 200 };
            shop.until(family, &format!("http://{name}.shop.example/"), status);
        }
        shop.until(family, "https://shop.example/", 200);
        endpoints(&shop, family);
        s_client(&shop, family, &chain);
        nghttp(&shop, family);
    }
    what_is_counted(&gateway);
    report(&gateway, "TLS");
    gateway.stop();
}

fn ingress(name: &str, protocol: &str, service: &str) -> String {
    let path = format!(
        "{{path: /, pathType: Prefix, backend: {{service: {{name: {service}, port: {{number: 80}}}}}}}}"
    );
    let host = |host: &str| format!("  - host: {host}\n    http: {{paths: [{path}]}}\n");
    let first = if name == "shop" { host("shop.example") } else { String::new() };
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\n\
         metadata:\n  name: {name}\n  namespace: shop\n  annotations:\n    \
         nginx.ingress.kubernetes.io/ssl-redirect: \"false\"\n    \
         nginx.ingress.kubernetes.io/backend-protocol: {protocol}\n\
         spec:\n  ingressClassName: sluice\n  \
         tls: [{{hosts: [shop.example, \"*.shop.example\"], secretName: shop}}]\n  rules:\n\
         {first}{}",
        host(&format!("{name}.shop.example"))
    )
}

/// What endpoints speak, whatever clients do.
fn endpoints(shop: &Shop, family: &Family) {
    for (name, is_encrypted, version) in
        [("shop", false, "HTTP/1.1"), ("https", true, "HTTP/1.1"), ("grpcs", true, "HTTP/2.0")]
    {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{name}.shop.example/a?b=c");
            let (status, told) = shop.get(family, &url, &[]);
            assert_eq!(status, 200, "{url}");
            assert_eq!(told["tls"], json!(is_encrypted), "{url}: {told}");
            assert_eq!(told["version"], version, "{url}: {told}");
            assert_eq!(told["target"].as_str().unwrap().rsplit('/').next(), Some("a?b=c"));
            assert_eq!(told["headers"]["x-forwarded-proto"], json!([scheme]));
        }
    }
    let text = shop.curl(family, "https://mute.shop.example/", &[]);
    assert!(text.ends_with("502 upstream_tls\n"), "{text}");
}

/// Asks with `openssl s_client`; what it says, then what it is answered.
fn ask(shop: &Shop, family: &Family, name: &str, more: &[&str]) -> Output {
    let end = format!("{}:443", authority(family));
    let ask = ["openssl", "s_client", "-ign_eof", "-connect", &end, "-servername", name];
    let mut client = shop.lab.command("client", &[&ask[..], more].concat());
    let client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = client.spawn().unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    // Who is refused may have gone.
    let _ = client.stdin.take().unwrap().write_all(request.as_bytes());
    client.wait_with_output().unwrap()
}

fn s_client(shop: &Shop, family: &Family, chain: &Path) {
    let chain = chain.to_str().unwrap();
    let session = shop.lab.folder.join("session");
    let session = session.to_str().unwrap();
    for (version, option) in [("TLSv1.2", "-tls1_2"), ("TLSv1.3", "-tls1_3")] {
        for name in ["shop.example", "shop.shop.example"] {
            let verify = ["-CAfile", chain, "-verify_return_error", "-verify_hostname", name];
            let alpn = ["-alpn", "http/1.1"];
            let mut sessions = ["-sess_out", session];
            for is_resumed in [false, true] {
                let output =
                    ask(shop, family, name, &[&verify[..], &alpn, &sessions, &[option]].concat());
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let begun = if is_resumed { "Reused" } else { "New" };
                for expected in [
                    &format!("{begun}, {version}, "),
                    "Verify return code: 0 (ok)",
                    "ALPN protocol: http/1.1",
                    "\nHTTP/1.1 200 OK\r\n",
                    "\"x-forwarded-proto\":[\"https\"]",
                ] {
                    assert!(text.contains(expected), "{name} {version}: no {expected:?}\n{text}");
                }
                sessions = ["-sess_in", session];
            }
        }
    }
    for (name, more) in [
        // A wildcard stands for one label.
        ("a.b.shop.example", &["-tls1_3"][..]),
        ("other.example", &["-tls1_2"]),
        ("shop.example", &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]),
    ] {
        let output = ask(shop, family, name, more);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && !text.contains("HTTP/1.1 "), "{name} {more:?}\n{text}");
    }
}

/// HTTP/2 with TLS and without, many requests at a time, trailers.
fn nghttp(shop: &Shop, family: &Family) {
    let host = authority(family);
    for scheme in ["http", "https"] {
        let run = |path: &str, more: &[&str]| {
            let url = format!("{scheme}://{host}{path}");
            let all = ["nghttp", "--header=:authority: grpcs.shop.example"];
            shop.lab.ok("client", &[&all[..], more, &[&url]].concat())
        };
        let told: Value = serde_json::from_str(&run("/x", &[])).unwrap();
        assert_eq!(told["version"], "HTTP/2.0", "{told}");
        assert_eq!(told["headers"]["x-forwarded-proto"], json!([scheme]), "{told}");
        let text = run("/trailers/x", &["--verbose", "--no-dep"]);
        assert!(text.contains("grpc-status: 0"), "{text}");
        let text = run("/bytes/5000", &["--null-out", "--stat", "--multiply=50", "--no-dep"]);
        let answered = text.lines().filter(|line| line.contains(" 200 ")).count();
        assert_eq!(answered, 50, "{text}");
    }
}

fn what_is_counted(gateway: &Gateway<'_>) {
    let families = FAMILIES.len() as f64;
    for (name, labels, least) in [
        ("sluice_l7_tls_handshakes_total", &["side=\"client\"", "kind=\"resumed\""][..], 4.0),
        ("sluice_l7_tls_handshakes_total", &["side=\"endpoint\""], 0.5),
        ("sluice_l7_tls_refusals_total", &["side=\"client\""], 3.0),
        ("sluice_l7_tls_refusals_total", &["side=\"endpoint\""], 1.0),
        ("sluice_l7_refusals_total", &["reason=\"upstream_tls\""], 1.0),
    ] {
        eventually(&format!("{name} {labels:?}"), || {
            (gateway.metric(name, labels) >= least * families).then_some(())
        });
    }
}
