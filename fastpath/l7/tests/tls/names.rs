use super::world::{Authority, block_on, default_only, handshakes, meet, met, refused, row};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls::version::{TLS12, TLS13};
use sluice_l7::Alpn;
use sluice_l7::tls::{
    CipherSuite, Handshakes, KeyExchange, NamedGroup, ProtocolVersion, TlsConfig, TlsRefusal,
};
use sluice_tables::l7::Certificates;
use std::sync::Arc;

#[test]
fn the_certificate_is_the_one_of_the_name() {
    let authority = Authority::new("authority");
    let exact = authority.certificate(&["shop.example"]);
    let wildcard = authority.certificate(&["*.shop.example"]);
    let default = authority.certificate(&["other.example", "192.0.2.1"]);
    let mut certificates = Certificates { default: Some(default.clone()), ..Default::default() };
    certificates.exact.insert("shop.example".into(), exact.clone());
    certificates.wildcards.insert(".shop.example".into(), wildcard.clone());
    let (certificates, client) = (Arc::new(certificates), Arc::new(authority.client()));
    let handshakes = handshakes();
    block_on(async {
        for (name, told, expected) in [
            ("shop.example", Some("shop.example"), &exact),
            ("Shop.EXAMPLE", Some("shop.example"), &exact),
            ("a.shop.example", Some("a.shop.example"), &wildcard),
            ("other.example", Some("other.example"), &default),
            ("192.0.2.1", None, &default),
        ] {
            let (_stream, agreed, connected) = met(&handshakes, &certificates, &client, name).await;
            assert_eq!(agreed.server_name.as_deref(), told);
            let shown = &connected.get_ref().1.peer_certificates().unwrap()[0];
            assert_eq!(**shown, *expected.chain[0], "{name}");
        }
    });
    let counters = handshakes.counters();
    assert_eq!((counters.clients.done, counters.clients.resumed), (5, 0));
    assert_eq!(counters.clients.refused_all(), 0);
    assert!(counters.helper_ns > 0);
}

#[test]
fn an_unknown_name_is_told_so() {
    let authority = Authority::new("authority");
    let mut certificates = Certificates::default();
    certificates.exact.insert("shop.example".into(), authority.certificate(&["shop.example"]));
    let (certificates, handshakes) = (Arc::new(certificates), handshakes());
    for version in [&TLS12, &TLS13] {
        let client = Arc::new(authority.client_with(version));
        for name in ["other.example", "a.shop.example", "192.0.2.1"] {
            let (refusal, said) = block_on(refused(&handshakes, &certificates, &client, name));
            assert_eq!(refusal, TlsRefusal::UnknownName);
            assert!(said.contains("UnrecognisedName"), "{said}");
        }
    }
    assert_eq!(handshakes.counters().clients.refused(TlsRefusal::UnknownName), 6);
}

#[test]
fn the_protocol_is_the_one_that_both_speak() {
    let authority = Authority::new("authority");
    let certificates = default_only(&authority.certificate(&["shop.example"]));
    let handshakes = handshakes();
    for (offered, expected) in [
        (&["h2", "http/1.1"][..], Some(Alpn::H2)),
        (&["http/1.1", "h2"], Some(Alpn::H2)),
        (&["http/1.1"], Some(Alpn::Http11)),
        (&["http/1.0", "http/1.1"], Some(Alpn::Http11)),
        (&[], None),
    ] {
        let mut client = authority.client();
        client.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let client = Arc::new(client);
        let (_, agreed, connected) =
            block_on(met(&handshakes, &certificates, &client, "shop.example"));
        assert_eq!(agreed.alpn, expected, "{offered:?}");
        let seen = connected.get_ref().1.alpn_protocol();
        assert_eq!(seen, expected.map(|alpn| alpn.name().as_bytes()));
    }
    let mut client = authority.client();
    client.alpn_protocols = vec![b"smtp".to_vec()];
    let (refusal, said) =
        block_on(refused(&handshakes, &certificates, &Arc::new(client), "shop.example"));
    assert_eq!(refusal, TlsRefusal::NoAlpn);
    assert!(said.contains("NoApplicationProtocol"), "{said}");
}

#[test]
fn both_versions_and_both_kinds_of_keys() {
    let authority = Authority::new("authority");
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_RSA_SHA256] {
        let issued = authority.issue_with(&["shop.example"], 2100, algorithm);
        let (certificates, handshakes) = (default_only(&row(issued)), handshakes());
        for (version, expected) in
            [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)]
        {
            let client = Arc::new(authority.client_with(version));
            let (_, agreed, connected) =
                block_on(met(&handshakes, &certificates, &client, "shop.example"));
            assert_eq!(agreed.version, expected);
            let cipher = connected.get_ref().1.negotiated_cipher_suite().unwrap();
            assert_eq!(agreed.cipher, cipher.suite());
            assert_ne!(agreed.cipher, CipherSuite::Unknown(0));
        }
    }
}

#[test]
fn keys_are_agreed_on_as_configured() {
    let authority = Authority::new("authority");
    let certificates = default_only(&authority.certificate(&["shop.example"]));
    let client = Arc::new(authority.client());
    for (key_exchange, expected) in [
        (KeyExchange::Hybrid, NamedGroup::X25519MLKEM768),
        (KeyExchange::Classical, NamedGroup::X25519),
    ] {
        let config = TlsConfig { key_exchange, ..TlsConfig::default() };
        let handshakes = Handshakes::start(config).unwrap();
        let (_, agreed, _) = block_on(met(&handshakes, &certificates, &client, "shop.example"));
        assert_eq!(agreed.key_exchange, Some(expected));
    }
}

#[test]
fn a_key_that_cannot_be_used_ends_handshakes_and_nothing_else() {
    let authority = Authority::new("authority");
    let (der, _) = authority.issue(&["shop.example"]);
    let broken = rustls::pki_types::PrivateKeyDer::Pkcs8(vec![1, 2, 3].into());
    let mut certificates = Certificates::default();
    certificates.exact.insert("broken.example".into(), row((der, broken)));
    certificates.default = Some(authority.certificate(&["shop.example"]));
    let (certificates, client) = (Arc::new(certificates), Arc::new(authority.client()));
    let handshakes = handshakes();
    block_on(async {
        for _ in 0..2 {
            let (refusal, said) =
                refused(&handshakes, &certificates, &client, "broken.example").await;
            assert_eq!(refusal, TlsRefusal::Internal);
            assert!(said.contains("InternalError"), "{said}");
        }
        let (accepted, connected) = meet(&handshakes, &certificates, &client, "shop.example").await;
        assert!(accepted.is_ok() && connected.is_ok());
    });
}
