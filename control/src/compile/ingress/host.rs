//! One host: the Ingresses that name it, and what follows for it.

use super::claims::{self, Claims};
use super::patterns;
use super::{Certificate, Route, Touched};
use crate::cluster::ingress::{Backend, ClientCertificates, Ingress, client_auth};
use crate::diagnostic::{Finding, Reason};
use crate::object::Name;
use sluice_tables::http_routes::Host;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is known of a host.
#[derive(Debug, Default)]
pub(super) struct OfHost {
    /// The Ingresses that name it, the first first: the oldest, those of no known age last.
    named_by: BTreeSet<(bool, Option<i64>, Name)>,
    /// The numbers of its routes, the first first.
    pub(super) numbers: Vec<u32>,
    /// Where its certificate is.
    pub(super) certificate: Option<Certificate>,
    findings: BTreeMap<Name, Vec<Finding>>,
    /// The Ingresses whose default backends are not in force here, and whose is.
    defaults: BTreeMap<Name, Name>,
}

impl OfHost {
    pub(super) fn add(&mut self, name: &Name, ingress: Option<&Ingress>) {
        let created = ingress.and_then(|ingress| ingress.created);
        self.named_by.insert((created.is_none(), created, name.clone()));
    }

    pub(super) fn remove(&mut self, name: &Name, ingress: Option<&Ingress>) {
        let created = ingress.and_then(|ingress| ingress.created);
        self.named_by.remove(&(created.is_none(), created, name.clone()));
    }

    /// True when no Ingress names it.
    pub(super) fn is_empty(&self) -> bool {
        self.named_by.is_empty()
    }

    /// What is wrong with an Ingress for the sake of this host.
    pub(super) fn findings(&self, name: &Name) -> &[Finding] {
        self.findings.get(name).map_or(&[], Vec::as_slice)
    }

    /// Who has what no path takes here, if an Ingress wants that and does not have it.
    pub(super) fn default_of(&self, name: &Name) -> Option<&Name> {
        self.defaults.get(name)
    }

    /// Makes it anew from its Ingresses; the routes are returned, the first first, and what
    /// its clients have to show.
    pub(super) fn make(
        &mut self,
        host: &Host,
        ours: &BTreeMap<Name, Arc<Ingress>>,
        touched: &mut Touched,
    ) -> (Vec<Route>, Option<ClientCertificates>) {
        let mut claims = Claims::default();
        let named_by: Vec<(&Name, &Arc<Ingress>)> =
            self.named_by.iter().filter_map(|(_, _, name)| ours.get_key_value(name)).collect();
        for (name, ingress) in &named_by {
            claims.add_paths(host, name, ingress);
        }
        for (name, ingress) in &named_by {
            claims.add_default(host, name, ingress);
        }
        let Claims { routes, mut findings, defaults, .. } = claims;
        let mut routes = patterns::fitting(host, routes, &mut findings);
        let asked = asked(host, &named_by, &mut findings);
        for route in &mut routes {
            // Left to what another Ingress asks, its requests would be those of others' clients.
            let own = &route.options.client_certificates;
            if own.is_some() && *own != asked {
                route.backend = Backend::Unsupported;
            }
            route.client_certificates = asked.clone();
        }
        let certificate = certificate(host, &named_by, &mut findings);
        let mut by_ingress: BTreeMap<Name, Vec<Finding>> = BTreeMap::new();
        for (name, finding) in findings {
            by_ingress.entry(name).or_default().push(finding);
        }
        note_others(&self.findings, &by_ingress, touched);
        note_others(&self.defaults, &defaults, touched);
        if certificate != self.certificate {
            touched.certificates.insert(host.clone());
        }
        (self.findings, self.defaults, self.certificate) = (by_ingress, defaults, certificate);
        (routes, asked)
    }
}

/// Notes the Ingresses of which something else is said.
fn note_others<T: PartialEq>(
    old: &BTreeMap<Name, T>,
    new: &BTreeMap<Name, T>,
    touched: &mut Touched,
) {
    let is_other = |name: &&Name| old.get(*name) != new.get(*name);
    let names = old.keys().chain(new.keys()).filter(is_other);
    touched.ingresses.extend(names.cloned());
}

/// What clients of a host have to show: what the first Ingress says that has rules for it and
/// says something, whichever paths are its.
fn asked(
    host: &Host,
    named_by: &[(&Name, &Arc<Ingress>)],
    findings: &mut Vec<(Name, Finding)>,
) -> Option<ClientCertificates> {
    let mut known: Option<(&ClientCertificates, &Name)> = None;
    for (name, ingress) in named_by {
        let has_rules = ingress.rules.iter().any(|rule| rule.host == *host)
            || *host == Host::Any && ingress.default_backend.is_some();
        let asked = ingress.options.client_certificates.as_ref().filter(|_| has_rules);
        let Some(asked) = asked else { continue };
        let (first, other) = *known.get_or_insert((asked, name));
        if first == asked {
            continue;
        }
        let message = format!(
            "what clients of {} have to show is said by {}; 503 is answered",
            claims::text_of(host),
            claims::other(other, name),
        );
        let finding = Finding::error(client_auth::place(), message)
            .reason(Reason::Contradiction)
            .expected("the same of all Ingresses of a host");
        findings.push(((*name).clone(), finding));
    }
    known.map(|(asked, _)| asked.clone())
}

/// Where the certificate of a host is: the first Ingress that tells one has it.
fn certificate(
    host: &Host,
    named_by: &[(&Name, &Arc<Ingress>)],
    findings: &mut Vec<(Name, Finding)>,
) -> Option<Certificate> {
    let mut known: Option<Certificate> = None;
    for (name, ingress) in named_by {
        for tls in &ingress.tls {
            let of_rules = ingress.rules.iter().map(|rule| (None, &rule.host));
            let named = tls.hosts.iter().map(|(index, host)| (Some(*index), host));
            let hosts = of_rules.filter(|_| tls.hosts.is_empty()).chain(named);
            for (index, _) in hosts.filter(|(_, of)| *of == host) {
                let Some(other) = &known else {
                    let (secret, ingress) = (tls.secret.clone(), (*name).clone());
                    known = Some(Certificate { secret, ingress });
                    continue;
                };
                if other.secret == tls.secret {
                    continue;
                }
                let at = match index {
                    Some(index) => format!("spec.tls[{}].hosts[{index}]", tls.index),
                    None => format!("spec.tls[{}]", tls.index),
                };
                let message = format!(
                    "{} has the certificate of {}",
                    claims::text_of(host),
                    claims::other(&other.ingress, name),
                );
                let finding = Finding::error(at, message)
                    .reason(Reason::Contradiction)
                    .expected("one Secret for each host");
                findings.push(((*name).clone(), finding));
            }
        }
    }
    known
}
