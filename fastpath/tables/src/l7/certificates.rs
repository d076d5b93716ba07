use super::ClientAuths;
use hashbrown::HashMap;
use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The certificates of a listener, by the name that a client asks for (SNI, RFC 6066
/// section 3).
#[derive(Clone, Debug, Default)]
pub struct Certificates {
    /// By a whole name, in lower case.
    pub exact: HashMap<Box<str>, Arc<Certificate>>,
    /// By what follows the asterisk of a wildcard, the point included: for names with one
    /// label before it (RFC 6125 section 6.4.3).
    pub wildcards: HashMap<Box<str>, Arc<Certificate>>,
    /// For all other names, and for clients that tell none.
    pub default: Option<Arc<Certificate>>,
    /// What clients have to show.
    pub client_auths: Arc<ClientAuths>,
}

impl Certificates {
    /// The certificate for a client that asks for a name.
    pub fn find(&self, name: Option<&str>) -> Option<&Arc<Certificate>> {
        let of_name = name.and_then(|name| by_name(&self.exact, &self.wildcards, name));
        of_name.or(self.default.as_ref())
    }
}

/// What there is for a name: by itself, or by a wildcard in place of its first label.
pub(super) fn by_name<'a, T>(
    exact: &'a HashMap<Box<str>, T>,
    wildcards: &'a HashMap<Box<str>, T>,
    name: &str,
) -> Option<&'a T> {
    let name = match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    };
    let name = name.strip_suffix('.').unwrap_or(&name);
    let wildcard = || {
        let at = name.find('.').filter(|at| *at > 0)?;
        wildcards.get(&name[at..])
    };
    exact.get(name).or_else(wildcard)
}

/// A certificate and its key. Control has seen that they belong together.
pub struct Certificate {
    /// Where it is from, such as `Secret shop/tls`.
    pub name: Arc<str>,
    /// The end of its time, in seconds since 1970.
    pub not_after: i64,
    /// The certificate, then those that vouch for it, each in DER.
    pub chain: Box<[Box<[u8]>]>,
    /// Its key.
    pub key: PrivateKey,
    /// What whoever uses it has made of it.
    pub prepared: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Certificate { name, not_after, .. } = self;
        f.debug_struct("Certificate")
            .field("name", name)
            .field("not_after", not_after)
            .finish_non_exhaustive()
    }
}

/// A private key in DER. It is not shown.
#[derive(Clone, PartialEq, Eq)]
pub enum PrivateKey {
    /// PKCS #1.
    Pkcs1(Box<[u8]>),
    /// SEC 1.
    Sec1(Box<[u8]>),
    /// PKCS #8.
    Pkcs8(Box<[u8]>),
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str) -> Arc<Certificate> {
        Arc::new(Certificate {
            name: name.into(),
            not_after: 0,
            chain: Box::default(),
            key: PrivateKey::Pkcs8(Box::default()),
            prepared: OnceLock::new(),
        })
    }

    #[test]
    fn a_name_has_its_own_certificate_then_that_of_its_wildcard_then_the_default() {
        let mut all = Certificates::default();
        all.exact.insert("shop.example".into(), certificate("exact"));
        all.wildcards.insert(".shop.example".into(), certificate("wildcard"));
        let find = |all: &Certificates, name| all.find(name).map(|found| found.name.to_string());
        assert_eq!(find(&all, Some("other.example")), None);
        assert_eq!(find(&all, None), None);
        all.default = Some(certificate("default"));
        for (name, expected) in [
            (Some("shop.example"), "exact"),
            (Some("Shop.Example."), "exact"),
            (Some("a.shop.example"), "wildcard"),
            (Some("b.a.shop.example"), "default"),
            (Some(".shop.example"), "default"),
            (Some("example"), "default"),
            (Some(""), "default"),
            (None, "default"),
        ] {
            assert_eq!(find(&all, name).as_deref(), Some(expected), "{name:?}");
        }
    }

    #[test]
    fn keys_are_not_shown() {
        let key = PrivateKey::Pkcs8(Box::new([7; 32]));
        assert_eq!(format!("{key:?}"), "PrivateKey");
        assert!(!format!("{:?}", certificate("a")).contains('7'));
    }
}
