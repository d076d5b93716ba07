use super::KeyExchange;
use super::bounded::Bounded;
use aws_lc_rs::digest::{Context, SHA256};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self as provider, kx_group};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
    danger::ClientCertVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore, ServerConfig};
use sluice_tables::l7::{Certificate, ClientAuth, ClientAuthMode, PrivateKey};
use std::any::Any;
use std::sync::{Arc, OnceLock};

type Digest = [u8; 32];

/// What handshakes with clients are made with, but for what differs from one certificate
/// to another.
pub(super) struct ServerKeys {
    provider: Arc<CryptoProvider>,
    tickets: Arc<dyn ProducesTickets>,
    base: ServerConfig,
}

/// The cryptography of a gateway: nothing goes by the default of the process.
pub(super) fn provider(key_exchange: KeyExchange) -> Arc<CryptoProvider> {
    let mut kx_groups =
        vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    if key_exchange == KeyExchange::Classical {
        kx_groups.remove(0);
    }
    Arc::new(CryptoProvider { kx_groups, ..provider::default_provider() })
}

impl ServerKeys {
    pub fn new(key_exchange: KeyExchange) -> Result<Self, Error> {
        let provider = provider(key_exchange);
        let mut base = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Chosen(None)));
        finish(&mut base);
        Ok(ServerKeys { provider, tickets: provider::Ticketer::new()?, base })
    }

    /// What a handshake is made with that a certificate was chosen for.
    ///
    /// A session goes on only where it began: what tickets hold is bound to the
    /// certificate and to what is asked of clients. Else a session that was begun where no
    /// client certificate is asked for would be one that has shown one elsewhere. Beyond
    /// this rustls sees to it that the name is the same.
    pub fn config(
        &self,
        certificate: &Certificate,
        client_auth: Option<&ClientAuth>,
    ) -> Result<Arc<ServerConfig>, Error> {
        let made = prepared(&certificate.prepared, || self.key(certificate));
        let (key, digest) = made.as_ref().as_ref().map_err(Clone::clone)?;
        let mut scope = Context::new(&SHA256);
        scope.update(digest);
        let mut config = match client_auth {
            None => self.base.clone(),
            Some(auth) => {
                let made = prepared(&auth.prepared, || self.verifier(auth));
                let (verifier, digest) = made.as_ref().as_ref().map_err(Clone::clone)?;
                scope.update(digest);
                let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
                    .with_safe_default_protocol_versions()?
                    .with_client_cert_verifier(Arc::clone(verifier))
                    .with_cert_resolver(Arc::new(Chosen(None)));
                finish(&mut config);
                config
            }
        };
        config.cert_resolver = Arc::new(Chosen(Some(Arc::clone(key))));
        config.ticketer =
            Arc::new(ScopedTickets { tickets: Arc::clone(&self.tickets), scope: finished(scope) });
        Ok(Arc::new(config))
    }

    fn key(&self, certificate: &Certificate) -> Result<(Arc<CertifiedKey>, Digest), Error> {
        let chain = certificate.chain.iter();
        let chain: Vec<_> = chain.map(|der| CertificateDer::from(der.to_vec())).collect();
        let key = match &certificate.key {
            PrivateKey::Pkcs1(der) => PrivateKeyDer::Pkcs1(der.to_vec().into()),
            PrivateKey::Sec1(der) => PrivateKeyDer::Sec1(der.to_vec().into()),
            PrivateKey::Pkcs8(der) => PrivateKeyDer::Pkcs8(der.to_vec().into()),
        };
        let key = self.provider.key_provider.load_private_key(key)?;
        Ok((Arc::new(CertifiedKey::new(chain, key)), digest(&certificate.chain)))
    }

    fn verifier(&self, auth: &ClientAuth) -> Result<(Arc<dyn ClientCertVerifier>, Digest), Error> {
        let roots = Arc::new(roots(&auth.roots)?);
        let builder =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&self.provider));
        let builder = match auth.mode {
            ClientAuthMode::Required => builder,
            ClientAuthMode::Optional => builder.allow_unauthenticated(),
        };
        let verifier = builder.build().map_err(|error| Error::General(error.to_string()))?;
        let verifier = Arc::new(Bounded { verifier, depth_max: usize::from(auth.depth_max) });
        let mut scope = Context::new(&SHA256);
        scope.update(&[auth.mode as u8, auth.depth_max]);
        scope.update(&digest(&auth.roots));
        Ok((verifier, finished(scope)))
    }
}

/// Certificates to be trusted: those that can be read, and one at least.
pub(super) fn roots(ders: &[Box<[u8]>]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let ders = ders.iter().map(|der| CertificateDer::from_slice(der));
    roots.add_parsable_certificates(ders);
    match roots.is_empty() {
        true => Err(Error::General("no certificate to trust".into())),
        false => Ok(roots),
    }
}

/// SHA-256 of some bytes.
pub(super) fn fingerprint(bytes: &[u8]) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    finished(context)
}

fn digest(ders: &[Box<[u8]>]) -> Digest {
    let mut context = Context::new(&SHA256);
    for der in ders {
        context.update(&fingerprint(der));
    }
    finished(context)
}

fn finished(context: Context) -> Digest {
    let mut digest = Digest::default();
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

fn finish(config: &mut ServerConfig) {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
}

/// What is made of a table's row once, and kept there; if something else is kept there, it
/// is made for this once.
fn prepared<T: Send + Sync + 'static>(
    kept: &OnceLock<Arc<dyn Any + Send + Sync>>,
    make: impl Fn() -> Result<T, Error>,
) -> Arc<Result<T, Error>> {
    let kept = Arc::clone(kept.get_or_init(|| Arc::new(make())));
    kept.downcast().unwrap_or_else(|_| Arc::new(make()))
}

/// Gives the certificate that was chosen.
#[derive(Debug)]
struct Chosen(Option<Arc<CertifiedKey>>);

impl ResolvesServerCert for Chosen {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}

/// Tickets that are good for one scope only.
#[derive(Debug)]
struct ScopedTickets {
    tickets: Arc<dyn ProducesTickets>,
    scope: Digest,
}

impl ProducesTickets for ScopedTickets {
    fn enabled(&self) -> bool {
        self.tickets.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.tickets.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.encrypt(&[&self.scope, plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let plain = self.tickets.decrypt(cipher)?;
        plain.strip_prefix(&self.scope).map(<[u8]>::to_vec)
    }
}
