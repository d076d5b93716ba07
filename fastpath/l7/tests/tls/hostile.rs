use super::world::{
    Authority, SOURCE, asking, block_on, default_only, drip, handshakes, hello, meet_over, met,
    pipe,
};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ConnectionTrafficSecrets};
use sluice_l7::tls::{Handshakes, Refused, TlsRefusal};
use sluice_tables::l7::{Certificates, ClientAuthMode};
use std::io::ErrorKind;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn start() -> (Handshakes, Arc<Certificates>, Arc<ClientConfig>) {
    let authority = Authority::new("authority");
    let certificates = default_only(&authority.certificate(&["shop.example"]));
    (handshakes(), certificates, Arc::new(authority.client()))
}

/// Why it is refused when a client sends this and hangs up, and what the client is sent.
fn send(
    handshakes: &Handshakes,
    certificates: &Arc<Certificates>,
    bytes: &[u8],
) -> (TlsRefusal, Vec<u8>) {
    let (near, mut far) = pipe(1 << 20);
    block_on(async {
        far.write_all(bytes).await.unwrap();
        far.shutdown().await.unwrap();
        let accepted = handshakes.accept(near, certificates, SOURCE, 0).await;
        let Refused { refusal, stream } = accepted.unwrap_err();
        drop(stream);
        let mut said = Vec::new();
        far.read_to_end(&mut said).await.unwrap();
        (refusal, said)
    })
}

#[test]
fn plain_http_can_be_answered_in_its_own_words() {
    let (handshakes, certificates, _) = start();
    let (near, mut far) = pipe(4096);
    block_on(async {
        far.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").await.unwrap();
        let accepted = handshakes.accept(near, &certificates, SOURCE, 0).await;
        let Refused { refusal, mut stream } = accepted.unwrap_err();
        assert_eq!(refusal, TlsRefusal::NotTls);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        drop(stream);
        let mut said = String::new();
        far.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    assert_eq!(handshakes.counters().clients.refused(TlsRefusal::NotTls), 1);
}

#[test]
fn what_is_no_client_hello_is_refused() {
    let (handshakes, certificates, _) = start();
    // A hello without an end, in one record and in many; it says how long it is.
    let mut long = vec![22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xf0];
    long.resize(16_389, 7);
    let many: Vec<u8> = (0..6_000u32).flat_map(|_| [22, 3, 1, 0, 1, 1]).collect();
    let empty: Vec<u8> = (0..1_000).flat_map(|_| [22, 3, 1, 0, 0]).collect();
    let mut slow = vec![22, 3, 1, 0, 4, 1, 0, 0xff, 0xf0];
    slow.extend((0..6_000u32).flat_map(|_| [22, 3, 1, 0, 1, 7]));
    let decode_error = vec![21, 3, 3, 0, 2, 2, 50];
    let long = [long.clone(), long].concat();
    for (bytes, expected, alert) in [
        (&long[..], TlsRefusal::HelloTooLong, Some(&decode_error)),
        (&slow, TlsRefusal::HelloTooLong, Some(&decode_error)),
        (&many, TlsRefusal::Protocol, Some(&decode_error)),
        (&empty, TlsRefusal::Protocol, Some(&decode_error)),
        (&[0x80, 0x2e, 1, 3, 1], TlsRefusal::NotTls, None),
        (&[0; 100], TlsRefusal::NotTls, None),
        (&[22, 3, 1, 0, 5, 1, 0, 0, 1, 0], TlsRefusal::Protocol, Some(&decode_error)),
        (&[22, 3, 1, 0xff, 0xff, 1], TlsRefusal::Protocol, Some(&decode_error)),
        (&[], TlsRefusal::Closed, None),
        (&[22], TlsRefusal::Closed, None),
    ] {
        let (refusal, said) = send(&handshakes, &certificates, bytes);
        assert_eq!(refusal, expected, "{:?}", &bytes[..bytes.len().min(16)]);
        assert_eq!(said, alert.cloned().unwrap_or_default(), "{refusal:?}");
    }
    assert_eq!(handshakes.counters().helper_ns, 0, "no helper has seen any of it");
}

#[test]
fn a_handshake_without_end_is_given_up() {
    let authority = Authority::new("authority");
    let certificates = default_only(&authority.certificate(&["shop.example"]));
    let certificates = asking(&certificates, authority.client_auth(ClientAuthMode::Required));
    let client = Arc::new(authority.client_with(&TLS12));
    let handshakes = handshakes();
    let (near, far) = pipe(64 << 10);
    let (mut heard, mut say) = tokio::io::split(far);
    let (refusal, said, _) = block_on(async {
        tokio::join!(
            async {
                let accepted = handshakes.accept(near, &certificates, SOURCE, 0).await;
                accepted.unwrap_err().refusal
            },
            async {
                say.write_all(&hello(&client, "shop.example")).await?;
                // A certificate that is as long as may be, a byte a record.
                say.write_all(&[22, 3, 3, 0, 4, 11, 0, 0xff, 0xf0]).await?;
                for _ in 0..0xfff0 {
                    say.write_all(&[22, 3, 3, 0, 1, 0]).await?;
                }
                Ok::<_, std::io::Error>(())
            },
            async {
                let mut all = Vec::new();
                heard.read_to_end(&mut all).await
            },
        )
    });
    assert_eq!(refusal, TlsRefusal::Protocol);
    assert_eq!(said.unwrap_err().kind(), ErrorKind::BrokenPipe, "it was not read to its end");
}

#[test]
fn a_client_that_hangs_up_anywhere_in_its_hello_has_closed() {
    let (handshakes, certificates, client) = start();
    let hello = hello(&client, "shop.example");
    for len in 0..=hello.len() {
        let (refusal, _) = send(&handshakes, &certificates, &hello[..len]);
        assert_eq!(refusal, TlsRefusal::Closed, "{len}");
    }
}

#[test]
fn damaged_hellos_are_refused_and_nothing_panics() {
    let (handshakes, certificates, client) = start();
    let whole = hello(&client, "shop.example");
    let mut random = fastrand::Rng::with_seed(7);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2_000 {
        let mut bytes = whole.clone();
        for _ in 0..random.usize(1..6) {
            // Most of the hello is random anyway: what has structure is at its two ends.
            let at = match random.bool() {
                true => random.usize(0..bytes.len().min(160)),
                false => random.usize(0..bytes.len()),
            };
            bytes[at] = random.u8(..);
        }
        seen.insert(send(&handshakes, &certificates, &bytes).0);
    }
    for expected in [TlsRefusal::NotTls, TlsRefusal::Protocol, TlsRefusal::Incompatible] {
        assert!(seen.contains(&expected), "{seen:?}");
    }
    let counters = handshakes.counters();
    assert_eq!((counters.panics, counters.clients.refused_all()), (0, 2_000));
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    let authority = Authority::new("authority");
    let certificates = default_only(&authority.certificate(&["shop.example"]));
    let handshakes = handshakes();
    for version in [&TLS12, &TLS13] {
        let client = Arc::new(authority.client_with(version));
        let (accepted, connected) =
            block_on(meet_over(drip(), &handshakes, &certificates, &client, "shop.example"));
        assert!(accepted.is_ok() && connected.is_ok());
    }
}

#[test]
fn key_updates_without_end_are_an_error_and_a_few_are_none() {
    let (handshakes, certificates, client) = start();
    for (updates, is_fine) in [(20, true), (200, false)] {
        block_on(async {
            let (mut stream, _, mut connected) =
                met(&handshakes, &certificates, &client, "shop.example").await;
            for _ in 0..updates {
                connected.get_mut().1.refresh_traffic_keys().unwrap();
            }
            connected.write_all(b"x").await.unwrap();
            connected.flush().await.unwrap();
            let read = stream.read_u8().await;
            assert_eq!(read.as_ref().is_ok_and(|byte| *byte == b'x'), is_fine, "{read:?}");
            if let Err(error) = read {
                assert_eq!(error.kind(), ErrorKind::InvalidData);
            }
        });
    }
}

#[test]
fn empty_records_without_end_are_an_error() {
    let authority = Authority::new("authority");
    let certificates = default_only(&authority.certificate(&["shop.example"]));
    let mut client = authority.client_with(&TLS13);
    client.enable_secret_extraction = true;
    let (client, handshakes) = (Arc::new(client), handshakes());
    for (records, is_fine) in [(20, true), (200, false)] {
        block_on(async {
            let (mut stream, agreed, connected) =
                met(&handshakes, &certificates, &client, "shop.example").await;
            assert_eq!(agreed.cipher, rustls::CipherSuite::TLS13_AES_256_GCM_SHA384);
            let (mut far, connected) = connected.into_inner();
            let (mut number, secrets) = connected.dangerous_extract_secrets().unwrap().tx;
            let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else {
                panic!("another cipher");
            };
            let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap());
            // Nothing, records times, then a byte (RFC 8446 section 5.2).
            for content in std::iter::repeat_n(&b""[..], records).chain([&b"x"[..]]) {
                let mut nonce: [u8; 12] = iv.as_ref().try_into().unwrap();
                for (byte, of_number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
                    *byte ^= of_number;
                }
                number += 1;
                let mut record = [content, &[23]].concat();
                let header = [23, 3, 3, 0, (record.len() + 16) as u8];
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.seal_in_place_append_tag(nonce, Aad::from(header), &mut record).unwrap();
                far.write_all(&header).await.unwrap();
                far.write_all(&record).await.unwrap();
            }
            let read = stream.read_u8().await;
            assert_eq!(read.as_ref().is_ok_and(|byte| *byte == b'x'), is_fine, "{read:?}");
        });
    }
}

#[test]
fn a_damaged_record_is_an_error_and_the_client_is_told() {
    let (handshakes, certificates, client) = start();
    block_on(async {
        let (mut stream, _, mut connected) =
            met(&handshakes, &certificates, &client, "shop.example").await;
        let damaged = [23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0];
        connected.get_mut().0.write_all(&damaged).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), ErrorKind::InvalidData);
        assert!(stream.write_all(b"x").await.is_err());
        let said = connected.read_u8().await.unwrap_err().to_string();
        assert!(said.contains("BadRecordMac"), "{said}");
    });
}
