//! Secrets with certificates, reduced. What they keep is told in no message.

use crate::object::{self, Name};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use sluice_tables::l7::{Certificate, PrivateKey};
use std::sync::{Arc, OnceLock};
use x509_parser::parse_x509_certificate;

/// Most certificates of a chain.
const CHAIN_MAX: usize = 32;

/// Most certificates of those who are trusted.
const AUTHORITIES_MAX: usize = 256;

/// A Secret with a certificate.
#[derive(Clone, Debug)]
pub struct Secret {
    /// Its last good version; `None`: there was none.
    pub certificate: Option<Arc<Certificate>>,
    /// The begin of the certificate's time, in seconds since 1970.
    pub not_before: i64,
    /// What is wrong with the version that it has, if something is.
    pub error: Option<&'static str>,
    /// Those whose certificates are to be trusted, each in DER; else why there are none. No
    /// version of before stays: it may have been replaced since somebody is not trusted any
    /// more.
    pub authorities: Result<Arc<[Box<[u8]>]>, &'static str>,
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        // Those that are the same are kept once.
        let at = |secret: &Secret| secret.certificate.as_ref().map(Arc::as_ptr);
        at(self) == at(other) && self.error == other.error && self.authorities == other.authorities
    }
}

impl Secret {
    /// Reads a Secret. A certificate that cannot be used leaves that of the `last` version of
    /// it in force.
    pub fn read(name: &Name, secret: &object::Secret, last: Option<&Secret>) -> Self {
        let authorities = authorities(secret);
        if secret.type_.as_deref() != Some(object::TLS_SECRET) {
            let error = Some("is none of type kubernetes.io/tls");
            return Secret { certificate: None, not_before: 0, error, authorities };
        }
        let parsed = match parse(name, secret) {
            Ok(parsed) => parsed,
            Err(error) => {
                let certificate = last.and_then(|last| last.certificate.clone());
                let not_before = last.map_or(0, |last| last.not_before);
                return Secret { certificate, not_before, error: Some(error), authorities };
            }
        };
        let (certificate, not_before) = parsed;
        let is_same =
            |old: &&Arc<Certificate>| old.chain == certificate.chain && old.key == certificate.key;
        let known = last.and_then(|last| last.certificate.as_ref()).filter(is_same);
        let certificate = known.cloned().unwrap_or_else(|| Arc::new(certificate));
        Secret { certificate: Some(certificate), not_before, error: None, authorities }
    }
}

/// Those whose certificates are to be trusted.
fn authorities(secret: &object::Secret) -> Result<Arc<[Box<[u8]>]>, &'static str> {
    let pem = secret.authorities().map_err(|_| "has no `ca.crt`")?;
    let ders: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .take(AUTHORITIES_MAX + 1)
        .collect::<Result<_, _>>()
        .map_err(|_| "has no PEM in `ca.crt`")?;
    if ders.is_empty() {
        return Err("has no certificate in `ca.crt`");
    }
    if ders.len() > AUTHORITIES_MAX {
        return Err("has too many certificates in `ca.crt`");
    }
    // One that cannot be read may be that of somebody whom clients are to be known by.
    let mut roots = RootCertStore::empty();
    for der in &ders {
        roots.add(der.clone()).map_err(|_| "has something in `ca.crt` that is no certificate")?;
    }
    Ok(ders.iter().map(|der| Box::from(&**der)).collect())
}

/// The certificate, and the begin of its time.
fn parse(name: &Name, secret: &object::Secret) -> Result<(Certificate, i64), &'static str> {
    let pem = secret.certificate().map_err(|_| "has no `tls.crt`")?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .take(CHAIN_MAX + 1)
        .collect::<Result<_, _>>()
        .map_err(|_| "has no PEM in `tls.crt`")?;
    if chain.is_empty() {
        return Err("has no certificate in `tls.crt`");
    }
    if chain.len() > CHAIN_MAX {
        return Err("has too many certificates in `tls.crt`");
    }
    let pem = secret.key().map_err(|_| "has no `tls.key`")?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| "has no key in `tls.key`")?;
    let parsed = chain.iter().map(|one| parse_x509_certificate(one).map(|(_, parsed)| parsed));
    let parsed: Vec<_> = parsed.collect::<Result<_, _>>().map_err(|_| NO_CERTIFICATE)?;
    let validity = parsed[0].validity();
    let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let signing = any_supported_type(&key).map_err(|_| "has a key of a type that is not known")?;
    match CertifiedKey::new(chain.clone(), signing).keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(Error::InconsistentKeys(_)) => {
            return Err("has a key that is not that of its certificate");
        }
        Err(_) => return Err(NO_CERTIFICATE),
    }
    let key = match &key {
        PrivateKeyDer::Pkcs1(der) => PrivateKey::Pkcs1(der.secret_pkcs1_der().into()),
        PrivateKeyDer::Sec1(der) => PrivateKey::Sec1(der.secret_sec1_der().into()),
        PrivateKeyDer::Pkcs8(der) => PrivateKey::Pkcs8(der.secret_pkcs8_der().into()),
        _ => return Err("has a key of a type that is not known"),
    };
    let certificate = Certificate {
        name: format!("Secret {name}").into(),
        not_after,
        chain: chain.iter().map(|der| Box::from(&**der)).collect(),
        key,
        prepared: OnceLock::new(),
    };
    Ok((certificate, not_before))
}

const NO_CERTIFICATE: &str = "has something in `tls.crt` that is no certificate";

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn pair(host: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn read(certificate: &str, key: &str, last: Option<&Secret>) -> Secret {
        let value = serde_json::json!({
            "metadata": {"name": "a"}, "type": object::TLS_SECRET,
            "stringData": {"tls.crt": certificate, "tls.key": key},
        });
        match object::decode(object::Kind::Secret, &value) {
            Ok(object::Object::Secret(secret)) => Secret::read(&Name::new("x", "a"), &secret, last),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_certificate_is_read_with_its_chain_key_and_time() {
        let ((certificate, key), (parent, _)) = (pair("a.example"), pair("ca.example"));
        let secret = read(&format!("{certificate}{parent}"), &key, None);
        assert_eq!((secret.error, secret.not_before), (None, 1_577_836_800));
        let of = secret.certificate.unwrap();
        assert_eq!((&*of.name, of.not_after, of.chain.len()), ("Secret x/a", 1_609_459_200, 2));
        assert!(matches!(of.key, PrivateKey::Pkcs8(_)));
    }

    #[test]
    fn what_cannot_be_used_leaves_the_last_good_version_in_force() {
        let ((certificate, key), (_, other)) = (pair("a.example"), pair("b.example"));
        let torn = &certificate[..certificate.len() / 2];
        let der = "-----BEGIN CERTIFICATE-----\neA==\n-----END CERTIFICATE-----\n";
        let good = read(&certificate, &key, None);
        for (certificate, key, error) in [
            (certificate.as_str(), other.as_str(), "has a key that is not that of its certificate"),
            (torn, &key, "has no PEM in `tls.crt`"),
            (der, &key, NO_CERTIFICATE),
            (&key, &key, "has no certificate in `tls.crt`"),
            (&certificate, &certificate, "has no key in `tls.key`"),
            (&certificate.repeat(CHAIN_MAX + 1), &key, "has too many certificates in `tls.crt`"),
        ] {
            let alone = read(certificate, key, None);
            assert_eq!((alone.certificate.is_some(), alone.error), (false, Some(error)));
            let after = read(certificate, key, Some(&good));
            assert!(Arc::ptr_eq(&after.certificate.unwrap(), good.certificate.as_ref().unwrap()));
            assert_eq!(after.error, Some(error));
        }
    }

    #[test]
    fn who_is_trusted_is_read_from_secrets_of_any_type_and_no_version_of_before_stays() {
        let ((one, _), (other, key)) = (pair("one"), pair("other"));
        let of = |type_: &str, authorities: &str, last: Option<&Secret>| {
            let value = serde_json::json!({
                "metadata": {"name": "a"}, "type": type_,
                "stringData": {"tls.crt": other, "tls.key": key, "ca.crt": authorities},
            });
            match object::decode(object::Kind::Secret, &value) {
                Ok(object::Object::Secret(secret)) => {
                    Secret::read(&Name::new("x", "a"), &secret, last)
                }
                other => panic!("{other:?}"),
            }
        };
        let both = of("Opaque", &format!("{one}{other}"), None);
        assert_eq!(both.authorities.as_ref().map(|all| all.len()), Ok(2));
        assert!(both.certificate.is_none());
        assert_eq!(both.error, Some("is none of type kubernetes.io/tls"));
        assert_eq!(both, of("Opaque", &format!("{one}{other}"), None));
        let tls = of(object::TLS_SECRET, &one, None);
        assert!(
            tls.certificate.is_some() && tls.authorities.as_ref().is_ok_and(|all| all.len() == 1)
        );
        let torn = &one[..one.len() / 2];
        let der = "-----BEGIN CERTIFICATE-----\neA==\n-----END CERTIFICATE-----\n";
        for (text, error) in [
            ("", "has no `ca.crt`"),
            (torn, "has no PEM in `ca.crt`"),
            (&key, "has no certificate in `ca.crt`"),
            (&format!("{one}{der}"), "has something in `ca.crt` that is no certificate"),
            (&der.repeat(AUTHORITIES_MAX + 1), "has too many certificates in `ca.crt`"),
        ] {
            for type_ in ["Opaque", object::TLS_SECRET] {
                let read = of(type_, text, Some(&tls));
                assert_eq!(read.authorities, Err(error), "{type_}");
                assert_eq!(read.certificate.is_some(), type_ == object::TLS_SECRET);
            }
        }
    }

    #[test]
    fn the_same_certificate_is_kept_once() {
        let (certificate, key) = pair("a.example");
        let first = read(&certificate, &key, None);
        let second = read(&certificate, &key, Some(&first));
        assert_eq!(first, second);
        assert_ne!(first, read(&certificate, &key, None));
    }
}
