use super::world::{Authority, asking, block_on, builder, default_only, handshakes, met, refused};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};
use sluice_l7::tls::TlsRefusal;
use sluice_tables::l7::{Certificates, ClientAuth, ClientAuthMode, ClientAuths};
use std::sync::{Arc, OnceLock};

type Issued = (CertificateDer<'static>, PrivateKeyDer<'static>);

fn asks(authority: &Authority, client_auth: Arc<ClientAuth>) -> Arc<Certificates> {
    asking(&default_only(&authority.certificate(&["shop.example"])), client_auth)
}

/// A client that has a certificate, or none.
fn client(
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
    shown: Option<&Issued>,
) -> Arc<ClientConfig> {
    let builder = builder(&[version]).with_root_certificates(authority.roots());
    Arc::new(match shown {
        None => builder.with_no_client_auth(),
        Some((der, key)) => {
            builder.with_client_auth_cert(vec![der.clone()], key.clone_key()).unwrap()
        }
    })
}

#[test]
fn a_certificate_that_is_asked_for_is_shown_and_told() {
    let (authority, clients) = (Authority::new("authority"), Authority::new("clients"));
    let shown = clients.issue(&["client"]);
    let handshakes = handshakes();
    for mode in [ClientAuthMode::Optional, ClientAuthMode::Required] {
        let certificates = asks(&authority, clients.client_auth(mode));
        for version in [&TLS12, &TLS13] {
            let client = client(&authority, version, Some(&shown));
            let (_stream, agreed, _connected) =
                block_on(met(&handshakes, &certificates, &client, "shop.example"));
            let told = agreed.client.unwrap();
            assert_eq!(*told.der, *shown.0);
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &shown.0);
            assert_eq!(told.sha256, digest.as_ref());
        }
    }
}

#[test]
fn without_one_a_client_is_let_in_only_where_it_may() {
    let (authority, clients) = (Authority::new("authority"), Authority::new("clients"));
    let handshakes = handshakes();
    for version in [&TLS12, &TLS13] {
        let client = client(&authority, version, None);
        let optional = asks(&authority, clients.client_auth(ClientAuthMode::Optional));
        let (_stream, agreed, _connected) =
            block_on(met(&handshakes, &optional, &client, "shop.example"));
        assert_eq!(agreed.client, None);
        let required = asks(&authority, clients.client_auth(ClientAuthMode::Required));
        let (refusal, said) = block_on(refused(&handshakes, &required, &client, "shop.example"));
        assert_eq!(refusal, TlsRefusal::Certificate);
        assert!(said.contains("CertificateRequired"), "{said}");
    }
}

#[test]
fn one_that_is_not_to_be_trusted_is_refused_even_where_none_is_needed() {
    let (authority, clients) = (Authority::new("authority"), Authority::new("clients"));
    let foreign = Authority::new("others").issue(&["client"]);
    let expired = clients.issue_until(&["client"], 2001);
    let handshakes = handshakes();
    for mode in [ClientAuthMode::Optional, ClientAuthMode::Required] {
        let certificates = asks(&authority, clients.client_auth(mode));
        for version in [&TLS12, &TLS13] {
            for (shown, expected) in [(&foreign, "UnknownCA"), (&expired, "CertificateExpired")] {
                let client = client(&authority, version, Some(shown));
                let (refusal, said) =
                    block_on(refused(&handshakes, &certificates, &client, "shop.example"));
                assert_eq!(refusal, TlsRefusal::Certificate);
                assert!(said.contains(expected), "{said}");
            }
        }
    }
}

#[test]
fn with_nobody_to_trust_nobody_is_let_in() {
    let authority = Authority::new("authority");
    for roots in [Vec::new(), vec![vec![1, 2, 3].into()]] {
        for mode in [ClientAuthMode::Optional, ClientAuthMode::Required] {
            let roots = roots.clone().into();
            let prepared = OnceLock::new();
            let client_auth = Arc::new(ClientAuth { mode, depth_max: 1, roots, prepared });
            let certificates = asks(&authority, client_auth);
            let client = client(&authority, &TLS13, None);
            let (refusal, _) =
                block_on(refused(&handshakes(), &certificates, &client, "shop.example"));
            assert_eq!(refusal, TlsRefusal::Internal);
        }
    }
}

#[test]
fn so_many_may_stand_between_a_certificate_and_whom_is_trusted() {
    let (authority, top) = (Authority::new("authority"), Authority::new("top"));
    let middle = top.below("middle");
    let bottom = middle.below("bottom");
    let (der, key) = bottom.issue(&["client"]);
    let handshakes = handshakes();
    let shown = [&middle.der, &bottom.der].map(|der| CertificateDer::from(der.to_vec()));
    let [middle, bottom] = shown;
    for (depth_max, chain, is_taken) in [
        (2, vec![bottom.clone(), middle.clone()], true),
        (1, vec![bottom.clone(), middle.clone()], false),
        (0, vec![bottom.clone(), middle.clone()], false),
        // One is missing, however many there may be.
        (9, vec![bottom.clone()], false),
    ] {
        let auth = top.client_auth(ClientAuthMode::Required);
        let (roots, prepared) = (auth.roots.clone(), OnceLock::new());
        let auth = ClientAuth { mode: auth.mode, depth_max, roots, prepared };
        let certificates = asks(&authority, Arc::new(auth));
        for version in [&TLS12, &TLS13] {
            let chain = [vec![der.clone()], chain.clone()].concat();
            let client = builder(&[version]).with_root_certificates(authority.roots());
            let client = client.with_client_auth_cert(chain, key.clone_key()).unwrap();
            let client = Arc::new(client);
            if is_taken {
                let (_stream, agreed, _connected) =
                    block_on(met(&handshakes, &certificates, &client, "shop.example"));
                assert!(agreed.client.is_some());
            } else {
                let (refusal, said) =
                    block_on(refused(&handshakes, &certificates, &client, "shop.example"));
                assert_eq!(refusal, TlsRefusal::Certificate, "{depth_max}");
                assert!(said.contains("UnknownCA"), "{said}");
            }
        }
    }
}

#[test]
fn each_name_asks_for_what_is_its_own() {
    let authority = Authority::new("authority");
    let [ones, others] = ["ones", "others"].map(Authority::new);
    let required = |of: &Authority| Some(of.client_auth(ClientAuthMode::Required));
    let client_auths = Arc::new(ClientAuths {
        exact: [("a.example".into(), required(&ones)), ("open.example".into(), None)].into(),
        wildcards: [(".example".into(), required(&others))].into(),
        default: None,
    });
    let names = ["a.example", "open.example", "b.example", "c.b.example"];
    let certificates = default_only(&authority.certificate(&names));
    let certificates =
        Arc::new(Certificates { client_auths, ..Certificates::clone(&certificates) });
    let handshakes = handshakes();
    for (name, asked) in [
        ("a.example", Some(&ones)),
        ("b.example", Some(&others)),
        ("open.example", None),
        ("c.b.example", None),
    ] {
        for who in [&ones, &others] {
            let client = client(&authority, &TLS13, Some(&who.issue(&["client"])));
            if asked.is_none_or(|asked| asked.der == who.der) {
                let (_stream, agreed, _connected) =
                    block_on(met(&handshakes, &certificates, &client, name));
                assert_eq!(agreed.client.is_some(), asked.is_some(), "{name}");
                let found = certificates.client_auths.find(Some(name));
                assert_eq!(agreed.client_auth.as_ref(), found, "{name}");
            } else {
                let (refusal, _) = block_on(refused(&handshakes, &certificates, &client, name));
                assert_eq!(refusal, TlsRefusal::Certificate, "{name}");
            }
        }
    }
}
