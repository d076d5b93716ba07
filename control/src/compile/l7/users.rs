//! Which Ingresses name what.

use crate::cluster::ingress::{Backend, Ingress};
use crate::object::Name;
use std::collections::{BTreeMap, BTreeSet};

/// The Ingresses of this gateway by what they name.
#[derive(Debug, Default)]
pub(super) struct Users {
    by_service: BTreeSet<(Name, Name)>,
    by_secret: BTreeSet<(Name, Name)>,
    of: BTreeMap<Name, Named>,
}

/// What an Ingress names.
#[derive(Debug, Default)]
struct Named {
    services: BTreeSet<Name>,
    secrets: BTreeSet<Name>,
}

impl Users {
    /// Sets what an Ingress names; `None`: it is not this gateway's.
    pub(super) fn set(&mut self, name: &Name, ingress: Option<&Ingress>) {
        let new = ingress.map(|ingress| Named {
            services: backends(ingress).filter_map(service_of).cloned().collect(),
            secrets: secrets(ingress).cloned().collect(),
        });
        let pair = |of: &Name| (of.clone(), name.clone());
        if let Some(old) = self.of.remove(name) {
            for service in &old.services {
                self.by_service.remove(&pair(service));
            }
            for secret in &old.secrets {
                self.by_secret.remove(&pair(secret));
            }
        }
        if let Some(new) = new {
            self.by_service.extend(new.services.iter().map(pair));
            self.by_secret.extend(new.secrets.iter().map(pair));
            self.of.insert(name.clone(), new);
        }
    }

    /// The Ingresses that name a Service.
    pub(super) fn of_service(&self, service: &Name) -> impl Iterator<Item = Name> {
        of(&self.by_service, service)
    }

    /// The Ingresses that name a Secret.
    pub(super) fn of_secret(&self, secret: &Name) -> impl Iterator<Item = Name> {
        of(&self.by_secret, secret)
    }
}

fn of(pairs: &BTreeSet<(Name, Name)>, name: &Name) -> impl Iterator<Item = Name> {
    let first = (name.clone(), Name::new("", ""));
    let name = name.clone();
    pairs.range(first..).take_while(move |(of, _)| *of == name).map(|(_, user)| user.clone())
}

fn backends(ingress: &Ingress) -> impl Iterator<Item = &Backend> {
    let paths = ingress.rules.iter().flat_map(|rule| rule.paths.iter().flatten());
    paths.map(|path| &path.backend).chain(&ingress.default_backend)
}

fn secrets(ingress: &Ingress) -> impl Iterator<Item = &Name> {
    let of_clients = ingress.options.client_certificates.iter().map(|asked| &asked.secret);
    ingress.tls.iter().filter_map(|tls| tls.secret.as_ref()).chain(of_clients)
}

fn service_of(backend: &Backend) -> Option<&Name> {
    match backend {
        Backend::Service { service, .. } => Some(service),
        Backend::Unsupported => None,
    }
}
