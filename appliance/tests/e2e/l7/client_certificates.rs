//! Certificates that clients show, asked for by annotations of ingress-nginx.

use super::shop::{Shop, WEB, gateway, ingress};
use crate::gateway::Gateway;
use crate::lab::{FAMILIES, Family, eventually};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::Value;
use std::path::PathBuf;

/// Two Ingresses that ask clients, of which one serves those, too, who show nothing.
const ASKING: [(&str, &[(&str, &str)]); 2] = [
    ("vault", &[("auth-tls-secret", "shop/clients")]),
    (
        "lobby",
        &[
            ("auth-tls-secret", "shop/clients"),
            ("auth-tls-verify-client", "optional"),
            ("auth-tls-pass-certificate-to-upstream", "true"),
        ],
    ),
];

const VAULT: &str = "https://vault.shop.example/";
const LOBBY: &str = "https://lobby.shop.example/";
const OPEN: &str = "https://shop.example/";

/// Who vouches for clients.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate that is good until a year, and its key: a file of both.
    fn issue(&self, shop: &Shop, name: &str, year: i32) -> PathBuf {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        let path = shop.lab.folder.join("certificates").join(format!("{name}.client"));
        std::fs::write(&path, format!("{pem}{}", key.serialize_pem())).unwrap();
        path
    }

    /// Has it, and nobody else, vouch for the clients of the shop.
    fn trust(&self, shop: &Shop) {
        trust(shop, &self.pem);
    }
}

fn trust(shop: &Shop, pem: &str) {
    shop.lab.write_manifest(
        "clients.yaml",
        &format!(
            "apiVersion: v1\nkind: Secret\ntype: Opaque\n\
             metadata: {{name: clients, namespace: shop}}\n\
             stringData:\n  ca.crt: {}\n",
            Value::from(pem)
        ),
    );
}

/// The status of a request; `None`: there is no connection, or no answer.
fn status(shop: &Shop, family: &Family, url: &str, more: &[&str]) -> Option<u16> {
    let text = shop.try_curl(family, url, more);
    text.split(' ').nth(1)?.parse().ok()
}

#[test]
fn clients_show_certificates_of_those_who_are_trusted() {
    let Some(shop) = Shop::open(&[], "") else { return };
    shop.certificate("shop", &["shop.example", "*.shop.example"]);
    let [ones, others] = ["ones", "others"].map(Authority::new);
    ones.trust(&shop);
    shop.lab.write_manifest("web.yaml", WEB);
    for (name, annotations) in ASKING {
        let host = format!("{name}.shop.example");
        let ingress = ingress(name, &host, "shop", Some("shop"), annotations);
        shop.lab.write_manifest(&format!("{name}.yaml"), &ingress);
    }
    let files = [(&ones, "one", 2100), (&others, "other", 2100), (&ones, "old", 2001)]
        .map(|(of, name, year)| of.issue(&shop, name, year));
    let [one, other, old] = files.each_ref().map(|file| ["--cert", file.to_str().unwrap()]);
    let gateway = gateway(&shop);
    for family in &FAMILIES {
        shop.until(family, OPEN, 200);
        eventually("an answer to who is trusted", || {
            (status(&shop, family, VAULT, &one) == Some(200)).then_some(())
        });
        for version in ["--tlsv1.2", "--tlsv1.3"] {
            let max = ["--tls-max", &version[6..]];
            for http in ["--http1.1", "--http2"] {
                let ask = |url: &str, more: &[&str]| {
                    let all = [&[version, http][..], &max, more].concat();
                    status(&shop, family, url, &all)
                };
                let when = format!("{} {version} {http}", family.name);
                // Both ask; without a certificate only one has an answer.
                for (url, bare) in [(VAULT, None), (LOBBY, Some(200))] {
                    assert_eq!(ask(url, &one), Some(200), "{url} {when}");
                    assert_eq!(ask(url, &[]), bare, "{url} {when}");
                    assert_eq!(ask(url, &other), None, "{url} {when}: another authority's");
                    assert_eq!(ask(url, &old), None, "{url} {when}: one that has expired");
                }
                // Another name in the handshake is no way round.
                let hosts = ["Host: vault.shop.example", "Host: VAULT.shop.example:443"];
                for host in hosts {
                    for url in [OPEN, LOBBY] {
                        assert_eq!(ask(url, &["-H", host]), Some(421), "{url} {host} {when}");
                        let shown = [&one[..], &["-H", host]].concat();
                        assert_eq!(ask(url, &shown), Some(421), "{url} {host} {when}");
                    }
                }
                assert_eq!(
                    ask(VAULT, &[&one[..], &["-H", "Host: shop.example"]].concat()),
                    Some(200)
                );
            }
        }
        let (status, told) = shop.get(family, LOBBY, &["-H", "ssl-client-verify: SUCCESS"]);
        assert_eq!((status, told["headers"].get("ssl-client-verify")), (200, None), "{told}");
        assert_eq!(self::status(&shop, family, "http://vault.shop.example/", &[]), Some(308));
    }
    the_authority_changes(&shop, &others, &one, &other);
    what_is_told(&gateway);
    gateway.stop();
}

/// Other clients are let in, and then nobody.
fn the_authority_changes(shop: &Shop, others: &Authority, one: &[&str], other: &[&str]) {
    others.trust(shop);
    for family in &FAMILIES {
        eventually("an answer to who is trusted now", || {
            (status(shop, family, VAULT, other) == Some(200)).then_some(())
        });
        assert_eq!(status(shop, family, VAULT, one), None, "{}", family.name);
    }
    // It cannot be read, or is not there.
    for is_there in [true, false] {
        others.trust(shop);
        let family = &FAMILIES[0];
        eventually("an answer", || (status(shop, family, VAULT, other) == Some(200)).then_some(()));
        match is_there {
            true => trust(shop, "nobody"),
            false => shop.lab.remove_manifest("clients.yaml"),
        }
        for family in &FAMILIES {
            eventually("nobody to be let in", || {
                status(shop, family, VAULT, other).is_none().then_some(())
            });
            assert_eq!(status(shop, family, LOBBY, &[]), None, "{}", family.name);
            assert_eq!(status(shop, family, OPEN, &[]), Some(200), "{}", family.name);
        }
    }
}

fn what_is_told(gateway: &Gateway<'_>) {
    let told = gateway.ask(&["status"]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    for expected in [
        "Secret shop/clients: it is not there, or has no `ca.crt`; nobody is let in",
        "auth-tls-pass-certificate-to-upstream is not supported",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let refused = gateway.metric("sluice_l7_tls_refusals_total", &["side=\"client\""]);
    assert!(refused > 0.0);
    let misdirected = gateway.metric("sluice_l7_refusals_total", &["misdirected_request"]);
    assert!(misdirected > 0.0);
}
