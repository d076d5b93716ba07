//! Who has a path of a host.

use super::{Place, Route};
use crate::cluster::ingress::{Backend, Ingress, PathMatch, Rule};
use crate::diagnostic::{Finding, Reason};
use crate::object::Name;
use hashbrown::HashMap;
use sluice_tables::http_routes::Host;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The paths of a host, as Ingresses come, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// The routes, the first first.
    pub(super) routes: Vec<Route>,
    /// Which of them has a path.
    by_path: HashMap<PathMatch, usize>,
    pub(super) findings: Vec<(Name, Finding)>,
    /// The Ingresses whose default backends are not in force, and whose is.
    pub(super) defaults: BTreeMap<Name, Name>,
}

impl Claims {
    /// Takes the paths of an Ingress, as far as no other one has them.
    pub(super) fn add_paths(&mut self, host: &Host, name: &Name, ingress: &Ingress) {
        for Rule { index: rule, paths, .. } in ingress.rules.iter().filter(|of| of.host == *host) {
            for of in paths.iter().flatten() {
                let place = Place::Path { rule: *rule, path: of.index };
                let route = (host, &of.path, &of.backend);
                let Some(other) = self.add(name, ingress, place, route) else { continue };
                let other = &self.routes[other];
                // Such as `/foo` and `/foo/`.
                if other.ingress == *name && other.backend == of.backend {
                    continue;
                }
                let message = format!(
                    "{} of {} is at {} of {}",
                    text_of_path(&of.path),
                    text_of(host),
                    other.place,
                    self::other(&other.ingress, name),
                );
                let finding = Finding::error(format!("{place}.path"), message)
                    .reason(Reason::Contradiction)
                    .expected("a host and path once");
                self.findings.push((name.clone(), finding));
            }
        }
    }

    /// Takes what no path of the host takes, if an Ingress has rules for it, or the host is
    /// any. All paths are to be there.
    pub(super) fn add_default(&mut self, host: &Host, name: &Name, ingress: &Ingress) {
        let Some(backend) = &ingress.default_backend else { return };
        if *host != Host::Any && !ingress.rules.iter().any(|rule| rule.host == *host) {
            return;
        }
        let all = PathMatch::Prefix("".into());
        let other = self.add(name, ingress, Place::DefaultBackend, (host, &all, backend));
        let Some(other) = other.map(|other| &self.routes[other]) else { return };
        // Rules for all paths leave nothing to a default.
        if other.place == Place::DefaultBackend {
            self.defaults.insert(name.clone(), other.ingress.clone());
        }
    }

    /// Takes a path, or tells which route has it.
    fn add(
        &mut self,
        name: &Name,
        ingress: &Ingress,
        place: Place,
        (host, path, backend): (&Host, &PathMatch, &Backend),
    ) -> Option<usize> {
        let number = self.routes.len();
        let known = *self.by_path.entry(path.clone()).or_insert(number);
        if known != number {
            return Some(known);
        }
        self.routes.push(Route {
            ingress: name.clone(),
            place,
            host: host.clone(),
            path: path.clone(),
            backend: backend.clone(),
            options: ingress.options.clone(),
            client_certificates: None,
        });
        None
    }
}

/// That the default backend of another Ingress is in force at a host.
pub(super) fn lost_default(name: &Name, ingress: &Ingress, host: &Host, other: &Name) -> Finding {
    let message = format!(
        "what no path of {} takes goes to the default backend of {}",
        text_of(host),
        self::other(other, name),
    );
    let path = Place::DefaultBackend.to_string();
    let finding = match ingress.rules.is_empty() {
        true => Finding::error(path, message),
        false => Finding::warning(path, message),
    };
    finding.reason(Reason::Contradiction).expected("one default backend")
}

/// Who has it, as an Ingress is told that lacks it.
pub(super) fn other(other: &Name, than: &Name) -> Cow<'static, str> {
    match other == than {
        true => Cow::Borrowed("this Ingress"),
        false => Cow::Owned(format!("Ingress {other}, which is older or first by name")),
    }
}

/// Hosts as they are written.
pub(super) fn text_of(host: &Host) -> Cow<'_, str> {
    match host {
        Host::Any => Cow::Borrowed("all hosts"),
        Host::Exact(name) => Cow::Borrowed(name),
        Host::OneLabel(suffix) | Host::Labels(suffix) => Cow::Owned(format!("*{suffix}")),
    }
}

fn text_of_path(path: &PathMatch) -> &str {
    match path {
        PathMatch::Prefix(path) if path.is_empty() => "/",
        PathMatch::Exact(path) | PathMatch::Prefix(path) => path,
        PathMatch::Pattern(pattern) => &pattern.text,
    }
}
