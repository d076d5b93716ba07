use crate::cluster::Cluster;
use crate::compile::Compiler;
use crate::object::Name;
use serde::{Deserialize, Serialize};
use sluice_tables::http_routes::Host;
use sluice_tables::l7::{Certificate, Listener};
use sluice_tables::{Family, FamilyTables, V4, V6};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// A certificate that Ingresses name, or that all other hosts have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    /// The Secret, as `namespace/name`.
    pub secret: String,
    /// The Ingresses that name it.
    pub ingresses: Vec<String>,
    /// It is that of hosts which no Ingress gives one.
    pub is_default: bool,
    /// The hosts that have it; `*` for all others.
    pub hosts: Vec<String>,
    /// The names that it is made out to.
    pub names: Vec<String>,
    /// Who vouches for it.
    pub issuer: String,
    /// The begin of its time, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before_unix_s: Option<i64>,
    /// The end of its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after_unix_s: Option<i64>,
    /// The seconds that it has left; less than 0 once it has expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_s: Option<i64>,
    /// Where it is shown, as `ADDRESS:PORT`.
    pub listeners: Vec<String>,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// All certificates, by their Secrets.
pub(crate) fn certificates(
    cluster: &Cluster,
    compiler: &Compiler,
    unix_s: i64,
) -> Vec<CertificateView> {
    let default = compiler.default_certificate();
    let secrets = compiler.secrets().into_iter();
    let view = |(name, ingresses): (Name, BTreeSet<Name>)| {
        let secret = cluster.secret(&name);
        let certificate = secret.and_then(|secret| secret.certificate.as_ref());
        let (hosts, listeners) = certificate.map(|of| shown(compiler, of)).unwrap_or_default();
        let (names, issuer) = certificate.and_then(|of| parsed(of)).unwrap_or_default();
        let not_before = secret.filter(|_| certificate.is_some()).map(|of| of.not_before);
        CertificateView {
            secret: name.to_string(),
            ingresses: ingresses.iter().map(Name::to_string).collect(),
            is_default: default == Some(&name),
            hosts,
            names,
            issuer,
            not_before_unix_s: not_before,
            not_after_unix_s: certificate.map(|of| of.not_after),
            left_s: certificate.map(|of| of.not_after.saturating_sub(unix_s)),
            listeners,
            problem: compiler.secret_problem(cluster, &name, unix_s),
        }
    };
    secrets.map(view).collect()
}

/// The hosts that have a certificate, and where it is shown.
fn shown(compiler: &Compiler, of: &Arc<Certificate>) -> (Vec<String>, Vec<String>) {
    let tables = compiler.tables();
    let mut hosts = BTreeSet::new();
    let mut has = |listener: &Listener| {
        let Some(all) = &listener.certificates else { return false };
        let is_it = |one: &Arc<Certificate>| Arc::ptr_eq(one, of);
        let exact = all.exact.iter().filter(|(_, one)| is_it(one));
        hosts.extend(exact.map(|(name, _)| name.to_string()));
        let wildcards = all.wildcards.iter().filter(|(_, one)| is_it(one));
        hosts.extend(wildcards.map(|(suffix, _)| format!("*{suffix}")));
        if all.default.as_ref().is_some_and(is_it) {
            hosts.insert(super::host_text(&Host::Any));
        }
        !hosts.is_empty()
    };
    let listeners = tables.l7.listeners.iter();
    let having: Vec<bool> =
        listeners.map(|of| of.as_ref().is_some_and(|listener| has(listener))).collect();
    let mut at = addresses::<V4>(&tables.v4, &having);
    at.extend(addresses::<V6>(&tables.v6, &having));
    at.sort();
    (hosts.into_iter().collect(), at.iter().map(SocketAddr::to_string).collect())
}

fn addresses<F: Family>(tables: &FamilyTables<F>, having: &[bool]) -> Vec<SocketAddr> {
    let all = tables.listeners.iter();
    let having = all.filter(|(_, id)| having.get(usize::from(id.0)).is_some_and(|has| *has));
    having.map(|((addr, port), _)| SocketAddr::new(F::to_ip(*addr), *port)).collect()
}

/// The names that a certificate is made out to, and its issuer.
fn parsed(of: &Certificate) -> Option<(Vec<String>, String)> {
    let (_, parsed) = parse_x509_certificate(of.chain.first()?).ok()?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.escape_debug().to_string()),
        GeneralName::IPAddress(octets) => ip_text(octets),
        _ => None,
    });
    let issuer = match parsed.issuer() == parsed.subject() {
        true => "itself".to_owned(),
        false => parsed.issuer().to_string().escape_debug().to_string(),
    };
    Some((names.collect(), issuer))
}

fn ip_text(octets: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(octets).map(|octets| V4::to_ip(octets).to_string());
    let v6 = || <[u8; 16]>::try_from(octets).map(|octets| V6::to_ip(octets).to_string());
    v4.or_else(|_| v6()).ok()
}
