//! Who has a path of a host.

use super::{Place, Route};
use crate::cluster::ingress::{Backend, Ingress, PathMatch, Rule};
use crate::diagnostic::Finding;
use crate::object::Name;
use hashbrown::HashMap;
use sluice_tables::http_routes::{Host, Rewrite};
use std::borrow::Cow;

/// The paths of hosts, as Ingresses come, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// The routes, the first first.
    pub(super) routes: Vec<Route>,
    /// Which of them has a path of a host.
    by_path: HashMap<(Host, PathMatch), usize>,
    pub(super) findings: Vec<(Name, Finding)>,
}

impl Claims {
    /// Takes the paths of an Ingress, as far as no other one has them.
    pub(super) fn add_paths(&mut self, name: &Name, ingress: &Ingress) {
        for Rule { index: rule, host, paths } in &ingress.rules {
            for of in paths.iter().flatten() {
                let place = Place::Path { rule: *rule, path: of.index };
                let Some(other) = self.add(name, ingress, place, host, &of.path, &of.backend)
                else {
                    continue;
                };
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
                let finding = Finding::error(format!("{place}.path"), message);
                self.findings.push((name.clone(), finding.expected("a host and path once")));
            }
        }
    }

    /// Takes what no path takes, at the hosts of an Ingress and everywhere. All paths are
    /// to be there.
    pub(super) fn add_default(&mut self, name: &Name, ingress: &Ingress) {
        let Some(backend) = &ingress.default_backend else { return };
        let all = PathMatch::Prefix("".into());
        let hosts = ingress.rules.iter().map(|rule| &rule.host).chain([&Host::Any]);
        let mut taken: Option<(&Host, usize)> = None;
        for host in hosts {
            let other = self.add(name, ingress, Place::DefaultBackend, host, &all, backend);
            // Rules for all paths leave nothing to a default.
            let other = other.filter(|other| {
                let other = &self.routes[*other];
                other.place == Place::DefaultBackend && other.ingress != *name
            });
            taken = taken.or(other.map(|other| (host, other)));
        }
        let Some((host, other)) = taken else { return };
        let message = format!(
            "what no path of {} takes goes to the default backend of {}",
            text_of(host),
            self::other(&self.routes[other].ingress, name),
        );
        let path = Place::DefaultBackend.to_string();
        let finding = match ingress.rules.is_empty() {
            true => Finding::error(path, message),
            false => Finding::warning(path, message),
        };
        self.findings.push((name.clone(), finding.expected("one default backend")));
    }

    /// Takes a path, or tells which route has it.
    fn add(
        &mut self,
        name: &Name,
        ingress: &Ingress,
        place: Place,
        host: &Host,
        path: &PathMatch,
        backend: &Backend,
    ) -> Option<usize> {
        let number = self.routes.len();
        let known = *self.by_path.entry((host.clone(), path.clone())).or_insert(number);
        if known != number {
            return Some(known);
        }
        self.routes.push(Route {
            ingress: name.clone(),
            place,
            host: host.clone(),
            path: path.clone(),
            backend: backend.clone(),
            rewrite: rewrite(ingress, path),
            options: ingress.options.clone(),
        });
        None
    }
}

/// The target has been read when the Ingress was.
fn rewrite(ingress: &Ingress, path: &PathMatch) -> Option<Rewrite> {
    let target = ingress.options.rewrite_target.as_deref()?;
    let regex = match path {
        PathMatch::Pattern(pattern) => Some(pattern.regex.clone()),
        PathMatch::Exact(_) | PathMatch::Prefix(_) => None,
    };
    Rewrite::new(regex, target).ok()
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
