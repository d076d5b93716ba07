use super::world::{Authority, End, SOURCE, block_on, handshakes};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls::pki_types::PrivateKeyDer;
use sluice_l7::Alpn;
use sluice_l7::tls::{Connector, NamedGroup, ProtocolVersion, Verify};
use sluice_tables::l7::{Certificate, Certificates, PrivateKey};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A file of PEM in a folder of this test.
fn pem(folder: &tempfile::TempDir, name: &str, label: &str, der: &[u8]) -> String {
    let text = base64(der);
    let path = folder.path().join(name);
    let mut file = std::fs::File::create(&path).unwrap();
    writeln!(file, "-----BEGIN {label}-----").unwrap();
    for line in text.as_bytes().chunks(64) {
        writeln!(file, "{}", std::str::from_utf8(line).unwrap()).unwrap();
    }
    writeln!(file, "-----END {label}-----").unwrap();
    path.to_str().unwrap().to_owned()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let word = three.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        let word = word << (8 * (3 - three.len()));
        for n in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * n)) as usize % 64] as char;
            text.push(if n > three.len() { '=' } else { digit });
        }
    }
    text
}

/// A process that ends with the test.
struct Openssl(Child);

impl Openssl {
    fn run(arguments: &[&str]) -> Self {
        let mut command = Command::new("openssl");
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        Openssl(command.stderr(Stdio::null()).spawn().expect("openssl runs"))
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn s_client_trusts_the_gateway_and_both_hear_each_other() {
    let authority = Authority::new("authority");
    let folder = tempfile::tempdir().unwrap();
    let roots = pem(&folder, "roots.pem", "CERTIFICATE", &authority.der);
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_RSA_SHA256] {
        let certificate =
            super::world::row(authority.issue_with(&["shop.example"], 2100, algorithm));
        let mut certificates = Certificates::default();
        certificates.exact.insert("shop.example".into(), certificate);
        let (certificates, handshakes) = (Arc::new(certificates), handshakes());
        for (option, group, version, agreed_group) in [
            ("-tls1_3", "X25519", ProtocolVersion::TLSv1_3, NamedGroup::X25519),
            ("-tls1_3", "P-384", ProtocolVersion::TLSv1_3, NamedGroup::secp384r1),
            ("-tls1_2", "P-256", ProtocolVersion::TLSv1_2, NamedGroup::secp256r1),
        ] {
            block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap().to_string();
                let arguments = ["s_client", "-quiet", "-verify_return_error", "-CAfile", &roots];
                let more = ["-connect", &address, "-servername", "shop.example"];
                let rest = ["-alpn", "http/1.1", "-groups", group, option];
                let mut client = Openssl::run(&[&arguments[..], &more, &rest].concat());
                client.0.stdin.as_mut().unwrap().write_all(b"hello\n").unwrap();
                let (io, _) = listener.accept().await.unwrap();
                let near = End { io, step: usize::MAX };
                let accepted = handshakes.accept(near, &certificates, SOURCE, 0).await;
                let (mut stream, agreed) = accepted.map_err(|refused| refused.refusal).unwrap();
                assert_eq!(agreed.alpn, Some(Alpn::Http11));
                assert_eq!(agreed.server_name.as_deref(), Some("shop.example"));
                assert_eq!(agreed.version, version);
                assert_eq!(agreed.key_exchange, Some(agreed_group));
                let mut heard = [0; 6];
                stream.read_exact(&mut heard).await.unwrap();
                assert_eq!(&heard, b"hello\n");
                stream.write_all(b"well heard\n").await.unwrap();
                stream.shutdown().await.unwrap();
                let mut said = String::new();
                BufReader::new(client.0.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
                assert_eq!(said, "well heard\n");
            });
        }
    }
}

#[test]
fn s_server_is_a_backend() {
    let authority = Authority::new("authority");
    let folder = tempfile::tempdir().unwrap();
    let (der, key) = authority.issue_with(&["shop.example"], 2100, &PKCS_RSA_SHA256);
    let certificate = pem(&folder, "tls.pem", "CERTIFICATE", &der);
    let key = pem(&folder, "key.pem", "PRIVATE KEY", key.secret_der());
    let handshakes = handshakes();
    let verify = Verify::Roots(Box::new([authority.der.clone()]));
    let verifying = Connector::new(&handshakes, &verify).unwrap();
    let other = Connector::new(&handshakes, &Verify::Nothing).unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = ["s_server", "-accept", "127.0.0.1:0", "-cert", &certificate, "-key", &key];
        let mut server = Openssl::run(&[&arguments[..], &["-www", version]].concat());
        let lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
        let address = lines
            .map(Result::unwrap)
            .find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned))
            .expect("s_server listens");
        for (connector, name) in [(&verifying, Some("shop.example")), (&other, None)] {
            block_on(async {
                let io = TcpStream::connect(&address).await.unwrap();
                let near = End { io, step: usize::MAX };
                let mut stream = connector.connect(near, name, Alpn::Http11).await.unwrap();
                stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer).await;
                assert!(answer.starts_with(b"HTTP/1.0 200 ok\r\n"), "{version}");
            });
        }
    }
}

#[test]
fn keys_come_in_all_the_forms_that_openssl_writes() {
    let authority = Authority::new("authority");
    let folder = tempfile::tempdir().unwrap();
    for (algorithm, form) in [
        (&PKCS_ECDSA_P256_SHA256, (|der| PrivateKey::Sec1(der)) as fn(Box<[u8]>) -> PrivateKey),
        (&PKCS_RSA_SHA256, |der| PrivateKey::Pkcs1(der)),
    ] {
        let (der, key) = authority.issue_with(&["shop.example"], 2100, algorithm);
        let PrivateKeyDer::Pkcs8(pkcs8) = &key else { panic!("rcgen gives PKCS #8") };
        let path = pem(&folder, "key.pem", "PRIVATE KEY", pkcs8.secret_pkcs8_der());
        let mut command = Command::new("openssl");
        command.args(["pkey", "-traditional", "-outform", "DER", "-in", &path]);
        let output = command.output().expect("openssl runs");
        assert!(output.status.success());
        let certificate = Certificate {
            name: "Secret shop/tls".into(),
            not_after: 0,
            chain: Box::new([der.to_vec().into()]),
            key: form(output.stdout.into()),
            prepared: OnceLock::new(),
        };
        let certificates = super::world::default_only(&Arc::new(certificate));
        let (client, handshakes) = (Arc::new(authority.client()), handshakes());
        let (accepted, connected) =
            block_on(super::world::meet(&handshakes, &certificates, &client, "shop.example"));
        assert!(accepted.is_ok() && connected.is_ok());
    }
}
