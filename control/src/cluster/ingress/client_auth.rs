//! Certificates of clients (ingress-nginx, "Annotations", "Client Certificate
//! Authentication").

use super::options::{NOBODY, PREFIX, boolean};
use crate::cluster::annotations::{annotation, path};
use crate::diagnostic::{Finding, Reason};
use crate::object::Name;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sluice_tables::l7::ClientAuthMode;
use std::sync::Arc;

const SECRET: &str = "auth-tls-secret";
const VERIFY: &str = "auth-tls-verify-client";
const DEPTH: &str = "auth-tls-verify-depth";
const TO_UPSTREAM: &str = "auth-tls-pass-certificate-to-upstream";

/// The annotations that are read here.
pub(super) const NAMES: [&str; 4] = [SECRET, VERIFY, DEPTH, TO_UPSTREAM];

/// Those of certificates of clients that do not say who may ask.
pub(super) const TELLS: [&str; 1] = ["auth-tls-error-page"];

/// Most certificates between a client's and one that is trusted: the library that looks at
/// them goes no further.
const DEPTH_MAX: u8 = 6;

/// What clients have to show.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientCertificates {
    /// `auth-tls-secret`: has those whose certificates are taken.
    pub secret: Name,
    /// `auth-tls-verify-client`: whether there has to be one.
    pub mode: ClientAuthMode,
    /// `auth-tls-verify-depth`: most certificates between a client's and one of the Secret.
    pub depth_max: u8,
}

/// What is asked for is not supported.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsupported;

/// What the annotations say of clients; `None`: they have to show nothing.
///
/// # Errors
/// What cannot be asked of them, which is a finding.
pub(super) fn reduce(
    namespace: &Arc<str>,
    metadata: &ObjectMeta,
    findings: &mut Vec<Finding>,
) -> Result<Option<ClientCertificates>, Unsupported> {
    let get = |name: &str| annotation(metadata, &format!("{PREFIX}{name}")).map(str::trim);
    let at = |name: &str| path(&format!("{PREFIX}{name}"));
    if get(TO_UPSTREAM).is_some_and(|text| boolean(text) != Some(false)) {
        let message = format!("{TO_UPSTREAM} is not supported; backends are told nothing");
        let finding = Finding::warning(at(TO_UPSTREAM), message);
        findings.push(finding.reason(Reason::UnsupportedAnnotation));
    }
    let mut is_wrong = false;
    let mut bad = |name: &str, text: &str, expected: &str| {
        is_wrong = true;
        let message = format!("{text:?} is not supported: {NOBODY}");
        let finding = Finding::error(at(name), message).expected(expected);
        findings.push(finding.reason(Reason::UnsupportedAnnotation));
    };
    let mode = match get(VERIFY) {
        None | Some("on") => Some(ClientAuthMode::Required),
        Some("optional") => Some(ClientAuthMode::Optional),
        Some("off") => None,
        Some(text) => {
            bad(VERIFY, text, "on, off or optional");
            None
        }
    };
    let depth = get(DEPTH).map(|text| (text, text.parse().ok().filter(|of| *of <= DEPTH_MAX)));
    if let Some((text, None)) = depth {
        bad(DEPTH, text, &format!("a number, 0 to {DEPTH_MAX}"));
    }
    let secret = get(SECRET).map(|text| (text, name(namespace, text)));
    match secret {
        Some((text, None)) => {
            bad(SECRET, text, "NAMESPACE/NAME of a Secret of the same namespace");
        }
        // Who is to be trusted is not said.
        None if get(VERIFY).or(get(DEPTH)).is_some() && mode.is_some() => {
            bad(SECRET, "", "NAMESPACE/NAME of a Secret of the same namespace");
        }
        _ => {}
    }
    if is_wrong {
        return Err(Unsupported);
    }
    let depth_max = depth.and_then(|(_, depth)| depth).unwrap_or(1);
    let asked = secret.and_then(|(_, secret)| secret).zip(mode);
    Ok(asked.map(|(secret, mode)| ClientCertificates { secret, mode, depth_max }))
}

/// The key path of the annotation that says whose certificates are taken.
pub(crate) fn place() -> String {
    path(&format!("{PREFIX}{SECRET}"))
}

/// A Secret of this namespace: those of others may be for others, as in ingress-nginx
/// without `allow-cross-namespace-resources`.
fn name(namespace: &Arc<str>, text: &str) -> Option<Name> {
    let (of, name) = text.split_once('/').unwrap_or((namespace, text));
    let is_name = of == &**namespace && !name.is_empty() && !name.contains('/');
    is_name.then(|| Name { namespace: namespace.clone(), name: name.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        annotations: &[(&str, &str)],
    ) -> (Result<Option<ClientCertificates>, Unsupported>, Vec<String>) {
        let annotations = annotations.iter().map(|(key, text)| (PREFIX.to_owned() + key, text));
        let annotations = annotations.map(|(key, text)| (key, (*text).to_owned())).collect();
        let metadata = ObjectMeta { annotations: Some(annotations), ..ObjectMeta::default() };
        let mut findings = Vec::new();
        let reduced = reduce(&"shop".into(), &metadata, &mut findings);
        let at = |finding: &Finding| finding.path.rsplit('/').next().unwrap().to_owned();
        (reduced, findings.iter().map(at).collect())
    }

    #[test]
    fn what_can_be_is_taken() {
        use ClientAuthMode::{Optional, Required};
        let secret = (SECRET, "shop/ca");
        for (more, expected) in [
            (&[][..], Some((Required, 1))),
            (&[(VERIFY, "on"), (DEPTH, "3")], Some((Required, 3))),
            (&[(VERIFY, "optional"), (DEPTH, "0")], Some((Optional, 0))),
            (&[(VERIFY, "off")], None),
            (&[(TO_UPSTREAM, "false")], Some((Required, 1))),
        ] {
            let expected = expected.map(|(mode, depth_max)| ClientCertificates {
                secret: Name::new("shop", "ca"),
                mode,
                depth_max,
            });
            assert_eq!(of(&[&[secret], more].concat()), (Ok(expected), vec![]), "{more:?}");
        }
        let bare = of(&[(SECRET, "ca")]).0.unwrap().unwrap();
        assert_eq!(bare.secret, Name::new("shop", "ca"));
        assert_eq!(of(&[]), (Ok(None), vec![]));
        assert_eq!(of(&[(VERIFY, "off"), (DEPTH, "2")]), (Ok(None), vec![]));
    }

    #[test]
    fn what_cannot_be_is_named_and_lets_nobody_in() {
        let secret = (SECRET, "shop/ca");
        for (annotations, named) in [
            (&[(SECRET, "other/ca")][..], SECRET),
            (&[(SECRET, "")], SECRET),
            (&[(SECRET, "shop/")], SECRET),
            (&[(SECRET, "shop/ca/x")], SECRET),
            (&[(VERIFY, "on")], SECRET),
            (&[(DEPTH, "1")], SECRET),
            (&[secret, (VERIFY, "optional_no_ca")], VERIFY),
            (&[secret, (VERIFY, "")], VERIFY),
            (&[secret, (DEPTH, "7")], DEPTH),
            (&[secret, (DEPTH, "-1")], DEPTH),
            (&[secret, (DEPTH, "one")], DEPTH),
        ] {
            assert_eq!(
                of(annotations),
                (Err(Unsupported), vec![named.to_owned()]),
                "{annotations:?}"
            );
        }
    }

    #[test]
    fn that_backends_are_to_be_told_is_named_and_ignored() {
        let (reduced, named) = of(&[(SECRET, "shop/ca"), (TO_UPSTREAM, "true")]);
        assert!(reduced.is_ok_and(|asked| asked.is_some()));
        assert_eq!(named, [TO_UPSTREAM]);
    }
}
