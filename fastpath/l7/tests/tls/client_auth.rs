use super::world::{Authority, block_on, builder, default_only, handshakes, met, refused};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};
use sluice_l7::tls::TlsRefusal;
use sluice_tables::l7::{Certificates, ClientAuth, ClientAuthMode};
use std::sync::{Arc, OnceLock};

type Issued = (CertificateDer<'static>, PrivateKeyDer<'static>);

fn asks(authority: &Authority, client_auth: Arc<ClientAuth>) -> Arc<Certificates> {
    let certificates = default_only(&authority.certificate(&["shop.example"]));
    Arc::new(Certificates { client_auth: Some(client_auth), ..Certificates::clone(&certificates) })
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
            let client_auth = Arc::new(ClientAuth { mode, roots, prepared: OnceLock::new() });
            let certificates = asks(&authority, client_auth);
            let client = client(&authority, &TLS13, None);
            let (refusal, _) =
                block_on(refused(&handshakes(), &certificates, &client, "shop.example"));
            assert_eq!(refusal, TlsRefusal::Internal);
        }
    }
}
