//! Annotations of ingress-nginx (kubernetes.github.io/ingress-nginx, "Annotations" and,
//! for defaults, "ConfigMaps").

use super::client_auth::{self, ClientCertificates};
use crate::cluster::annotations::path;
use crate::diagnostic::{Finding, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sluice_tables::http_routes::Rewrite;
use std::sync::Arc;
use std::time::Duration;

/// What all names begin with.
pub(super) const PREFIX: &str = "nginx.ingress.kubernetes.io/";

/// Whether endpoints are told of clients by the PROXY protocol.
const SEND_PROXY_PROTOCOL: &str = "sluice.dev/send-proxy-protocol";

/// What becomes of an Ingress that says who may ask, in a way that is not supported.
pub(super) const NOBODY: &str =
    "requests are answered with 503, rather than that it lets in whom it keeps out";

/// Longest time-out: a year.
const TIMEOUT_S_MAX: u64 = 366 * 24 * 3600;

/// What the annotations of an Ingress say about its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `ssl-redirect`, `force-ssl-redirect`: which requests without TLS are sent to
    /// HTTPS.
    pub https_redirect: HttpsRedirect,
    /// `rewrite-target`: the path that backends are asked for, where `$1` is what the
    /// first group of the path's pattern has found.
    pub rewrite_target: Option<Arc<str>>,
    /// `use-regex`, or a `rewrite-target`: paths of type ImplementationSpecific are
    /// patterns.
    pub has_patterns: bool,
    /// `proxy-body-size`: most bytes of the body of a request; `None`: any.
    pub body_bytes_max: Option<u64>,
    /// `proxy-connect-timeout`: how long a connection to a backend may take.
    pub connect_timeout: Duration,
    /// `proxy-read-timeout`: how long a backend may send nothing.
    pub read_timeout: Duration,
    /// `proxy-send-timeout`: how long a backend may take nothing.
    pub send_timeout: Duration,
    /// `backend-protocol`: what backends speak.
    pub protocol: Protocol,
    /// `sluice.dev/send-proxy-protocol`: connections to backends begin with a PROXY protocol
    /// header, version 2.
    pub sends_proxy_protocol: bool,
    /// `auth-tls-secret`, `auth-tls-verify-client`, `auth-tls-verify-depth`: what clients of
    /// its hosts have to show.
    pub client_certificates: Option<ClientCertificates>,
    /// It says who may ask, in a way that is not supported.
    pub is_restricted: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            https_redirect: HttpsRedirect::WithCertificate,
            rewrite_target: None,
            has_patterns: false,
            body_bytes_max: Some(1 << 20),
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(60),
            send_timeout: Duration::from_secs(60),
            protocol: Protocol::Http,
            sends_proxy_protocol: false,
            client_certificates: None,
            is_restricted: false,
        }
    }
}

/// Which requests without TLS are sent to HTTPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpsRedirect {
    /// None.
    Never,
    /// Those for a host that an Ingress wants a certificate for (`spec.tls`).
    WithCertificate,
    /// All.
    Always,
}

/// What is spoken to backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/1.1 in TLS.
    Https,
    /// HTTP/2, as gRPC needs it, without TLS.
    Grpc,
    /// HTTP/2 in TLS.
    Grpcs,
}

impl Options {
    /// What the annotations say. One that cannot be is ignored, and becomes a finding;
    /// so does each that is not supported.
    pub fn reduce(
        namespace: &Arc<str>,
        metadata: &ObjectMeta,
        findings: &mut Vec<Finding>,
    ) -> Self {
        let mut options = Options::default();
        match client_auth::reduce(namespace, metadata, findings) {
            Ok(certificates) => options.client_certificates = certificates,
            Err(client_auth::Unsupported) => options.is_restricted = true,
        }
        let (mut redirect, mut force, mut use_regex) = (None, None, None);
        for (key, text) in metadata.annotations.iter().flatten() {
            let text = text.trim();
            if key == SEND_PROXY_PROTOCOL {
                match boolean(text) {
                    Some(switch) => options.sends_proxy_protocol = switch,
                    None => {
                        let message = format!("{text:?} cannot be; it is ignored");
                        let finding = Finding::error(path(key), message);
                        findings.push(finding.expected("\"true\" or \"false\""));
                    }
                }
            }
            let Some(name) = key.strip_prefix(PREFIX) else { continue };
            let mut bad = |expected: String| {
                let message = format!("{text:?} cannot be; it is ignored");
                findings.push(Finding::error(path(key), message).expected(expected));
            };
            let switch = boolean(text);
            let is_switch = match name {
                "ssl-redirect" => set(&mut redirect, switch),
                "force-ssl-redirect" => set(&mut force, switch),
                "use-regex" => set(&mut use_regex, switch),
                // One that is marked as a canary is left out: see `is_canary`.
                "canary" if is_canary(metadata) => continue,
                _ => false,
            };
            let time = match name {
                "proxy-connect-timeout" => Some(&mut options.connect_timeout),
                "proxy-read-timeout" => Some(&mut options.read_timeout),
                "proxy-send-timeout" => Some(&mut options.send_timeout),
                _ => None,
            };
            if let Some(time) = time {
                match text.parse().ok().filter(|s| (1..=TIMEOUT_S_MAX).contains(s)) {
                    Some(s) => *time = Duration::from_secs(s),
                    None => bad(format!("seconds without a unit, 1 to {TIMEOUT_S_MAX}")),
                }
                continue;
            }
            match name {
                _ if is_switch && switch.is_some() => {}
                _ if is_switch => bad("\"true\" or \"false\"".to_owned()),
                "rewrite-target" => match Rewrite::new(None, text) {
                    Ok(_) => options.rewrite_target = Some(text.into()),
                    Err(error) => {
                        let message = format!("{text:?} {error}; it is ignored");
                        let expected = "a path, in which `$1` to `$9` stand for groups";
                        findings.push(Finding::error(path(key), message).expected(expected));
                    }
                },
                "proxy-body-size" => match bytes(text) {
                    Some(size) => options.body_bytes_max = Some(size).filter(|size| *size > 0),
                    None => bad("bytes, perhaps with k, m or g, such as 8m; 0: any".to_owned()),
                },
                "backend-protocol" => match protocol(text) {
                    Some(protocol) => options.protocol = protocol,
                    None => {
                        let message = format!("{text:?} is not supported; HTTP is spoken");
                        let finding = Finding::error(path(key), message);
                        findings.push(finding.expected("HTTP, HTTPS, GRPC or GRPCS"));
                    }
                },
                _ if client_auth::NAMES.contains(&name) => {}
                _ if restricts(name) => {
                    options.is_restricted = true;
                    let message = format!("{name} is not supported: {NOBODY}");
                    let finding = Finding::error(path(key), message);
                    findings.push(finding.reason(Reason::UnsupportedAnnotation));
                }
                _ => {
                    let message = format!("{name} is not supported; it is ignored");
                    let finding = Finding::warning(path(key), message);
                    findings.push(finding.reason(Reason::UnsupportedAnnotation));
                }
            }
        }
        options.https_redirect = match (force, redirect) {
            (Some(true), _) => HttpsRedirect::Always,
            (_, Some(false)) => HttpsRedirect::Never,
            _ => HttpsRedirect::WithCertificate,
        };
        options.has_patterns = use_regex == Some(true) || options.rewrite_target.is_some();
        options
    }
}

/// Whether an Ingress is a canary of another one, of the same hosts and paths: nothing of
/// it can be served by itself.
pub(super) fn is_canary(metadata: &ObjectMeta) -> bool {
    let annotations = metadata.annotations.iter().flatten();
    let mut canary = annotations.filter(|(key, _)| key.strip_prefix(PREFIX) == Some("canary"));
    canary.any(|(_, text)| boolean(text.trim()) == Some(true))
}

/// Whether an annotation that is not supported says who may ask.
fn restricts(name: &str) -> bool {
    matches!(name, "whitelist-source-range" | "allowlist-source-range" | "denylist-source-range")
        || name.starts_with("auth-") && !client_auth::TELLS.contains(&name)
}

/// The key path of an annotation of ingress-nginx.
pub(super) fn path_of(name: &str) -> String {
    path(&format!("{PREFIX}{name}"))
}

fn set<T>(of: &mut Option<T>, value: Option<T>) -> bool {
    *of = value;
    true
}

/// As Go reads it (`strconv.ParseBool`).
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Bytes as nginx reads them ("Configuration file measurement units").
fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()?.to_ascii_lowercase() {
        b'k' => (&text[..text.len() - 1], 10),
        b'm' => (&text[..text.len() - 1], 20),
        b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number = digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?;
    number.and_then(|number: u64| number.checked_mul(1 << shift))
}

fn protocol(text: &str) -> Option<Protocol> {
    match text.to_ascii_uppercase().as_str() {
        "HTTP" => Some(Protocol::Http),
        "HTTPS" => Some(Protocol::Https),
        "GRPC" => Some(Protocol::Grpc),
        "GRPCS" => Some(Protocol::Grpcs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(annotations: &[(&str, &str)]) -> (Options, Vec<Finding>) {
        let annotations = annotations.iter().map(|(key, text)| (PREFIX.to_owned() + key, text));
        let annotations = annotations.map(|(key, text)| (key, (*text).to_owned())).collect();
        let metadata = ObjectMeta { annotations: Some(annotations), ..ObjectMeta::default() };
        let mut findings = Vec::new();
        (Options::reduce(&"shop".into(), &metadata, &mut findings), findings)
    }

    #[test]
    fn without_annotations_all_is_as_ingress_nginx_has_it() {
        assert_eq!(of(&[]), (Options::default(), vec![]));
        let others = [("kubernetes.io/ingress.class".to_owned(), "x".to_owned())];
        let annotations = Some(others.into_iter().collect());
        let metadata = ObjectMeta { annotations, ..ObjectMeta::default() };
        let reduced = Options::reduce(&"shop".into(), &metadata, &mut Vec::new());
        assert_eq!(reduced, Options::default());
    }

    #[test]
    fn what_can_be_is_taken() {
        let seconds = Duration::from_secs;
        let (options, findings) = of(&[
            ("ssl-redirect", "false"),
            ("rewrite-target", "/$2"),
            ("proxy-body-size", "8m"),
            ("proxy-connect-timeout", "1"),
            ("proxy-read-timeout", "3600"),
            ("proxy-send-timeout", " 120 "),
            ("backend-protocol", "grpcs"),
        ]);
        let expected = Options {
            https_redirect: HttpsRedirect::Never,
            rewrite_target: Some("/$2".into()),
            has_patterns: true,
            body_bytes_max: Some(8 << 20),
            connect_timeout: seconds(1),
            read_timeout: seconds(3600),
            send_timeout: seconds(120),
            protocol: Protocol::Grpcs,
            ..Options::default()
        };
        assert_eq!((options, findings), (expected, vec![]));
    }

    #[test]
    fn who_is_sent_to_https() {
        use HttpsRedirect::{Always, Never, WithCertificate};
        for (annotations, expected) in [
            (&[] as &[_], WithCertificate),
            (&[("ssl-redirect", "true")], WithCertificate),
            (&[("ssl-redirect", "0")], Never),
            (&[("force-ssl-redirect", "True")], Always),
            (&[("force-ssl-redirect", "false")], WithCertificate),
            (&[("force-ssl-redirect", "true"), ("ssl-redirect", "false")], Always),
        ] {
            assert_eq!(of(annotations).0.https_redirect, expected, "{annotations:?}");
        }
    }

    #[test]
    fn sizes_are_read_as_nginx_reads_them() {
        for (text, expected) in [
            ("0", Some(None)),
            ("1", Some(Some(1))),
            ("10K", Some(Some(10 << 10))),
            ("3g", Some(Some(3 << 30))),
            ("0m", Some(None)),
            ("", None),
            ("m", None),
            ("1.5m", None),
            ("-1", None),
            ("+1", None),
            ("8Mi", None),
            ("99999999999999999999", None),
            ("18446744073709551615k", None),
            ("1\u{e9}", None),
        ] {
            let (options, findings) = of(&[("proxy-body-size", text)]);
            let expected_size = expected.unwrap_or(Some(1 << 20));
            assert_eq!(options.body_bytes_max, expected_size, "{text}");
            assert_eq!(findings.len(), usize::from(expected.is_none()), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_is_named_and_ignored() {
        for (name, text) in [
            ("ssl-redirect", "yes"),
            ("force-ssl-redirect", ""),
            ("use-regex", "on"),
            ("rewrite-target", "https://shop.example/"),
            ("proxy-body-size", "large"),
            ("proxy-connect-timeout", "5s"),
            ("proxy-read-timeout", "0"),
            ("proxy-send-timeout", "99999999999"),
            ("backend-protocol", "FCGI"),
            ("canary-weight", "10"),
            ("canary", "false"),
            ("server-snippet", "x"),
            ("auth-url", "http://auth.example/"),
            ("auth-tls-match-cn", "CN=x"),
            ("whitelist-source-range", "10.0.0.0/8"),
        ] {
            let (options, findings) = of(&[(name, text)]);
            let is_restricted = restricts(name);
            assert_eq!(options, Options { is_restricted, ..Options::default() }, "{name}");
            let paths: Vec<_> = findings.iter().map(|finding| finding.path.as_str()).collect();
            assert_eq!(paths, [format!("metadata.annotations.{PREFIX}{name}")]);
        }
    }
}
