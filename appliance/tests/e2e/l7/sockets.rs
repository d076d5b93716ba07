//! WebSockets of a client's, through a library of others: half of them in each family, half
//! of them in TLS. For threads in the client's namespace.

use super::shop::address;
use super::wire::connect;
use crate::lab::FAMILIES;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
};
use std::io::{Read, Write};
use std::sync::Arc;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

/// TCP, or TLS over it.
trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// Open WebSockets.
pub struct Sockets(Vec<WebSocket<Box<dyn Wire>>>);

impl Sockets {
    /// Opens so many to a path of a host, where messages come back.
    pub fn open(host: &'static str, path: &str, count: usize) -> Sockets {
        let tls = Arc::new(config());
        let open = |id: usize| {
            let address = address(&FAMILIES[id % 2]);
            let wire: Box<dyn Wire> = if id % 4 < 2 {
                Box::new(connect(address, 80))
            } else {
                let name = ServerName::try_from(host).unwrap();
                let connection = ClientConnection::new(tls.clone(), name).unwrap();
                Box::new(StreamOwned::new(connection, connect(address, 443)))
            };
            // The scheme says nothing here: the wire is there.
            client(format!("ws://{host}{path}"), wire).expect("a WebSocket").0
        };
        Sockets((0..count).map(open).collect())
    }

    /// Each of them says something of its own, and hears it.
    pub fn echo(&mut self, when: &str) {
        for (id, socket) in self.0.iter_mut().enumerate() {
            let said = socket.send(Message::text(format!("{id} {when}")));
            said.unwrap_or_else(|error| panic!("WebSocket {id}, {when}: {error}"));
        }
        for (id, socket) in self.0.iter_mut().enumerate() {
            let heard = socket.read();
            let heard = heard.unwrap_or_else(|error| panic!("WebSocket {id}, {when}: {error}"));
            assert_eq!(heard, Message::text(format!("{id} {when}")));
        }
    }
}

fn config() -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let any = Any(provider.signature_verification_algorithms);
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(any));
    builder.with_no_client_auth()
}

/// Takes any certificate: those of the shop are signed by themselves.
#[derive(Debug)]
struct Any(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
