//! Free of who asks: routes of Ingresses and of Gateways are matched alike, by host, path
//! and what else a request says.
//!
//! Of the routes that match a request the first by these takes it (Gateway API,
//! `HTTPRouteRule.matches`; Kubernetes, Ingress, "Multiple matches"):
//!
//! 1. the most specific host: itself, then the longest wildcard, then any;
//! 2. the path: exact, then the longest pattern or prefix;
//! 3. a method, then the most headers, then the most query parameters;
//! 4. the one that was given first.
//!
//! A lookup does not look at all routes: at a host's paths of each length that its prefixes
//! have, at its patterns all at once, and of those that fit at what else they ask for.

mod considered;
mod host;
mod path;
mod request;
mod rewrite;

pub use considered::{Considered, Fit, PathKind};
pub use host::Host;
pub use path::{Path, PathError};
pub use request::{Conditions, Request};
pub use rewrite::{Rewrite, RewriteError};

use hashbrown::HashMap;
use path::Paths;
use std::sync::Arc;

/// The number of a route, as whoever makes [`HttpRoutes`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpRouteId(pub u32);

/// What a request has to be, and the route that it takes then.
#[derive(Clone, Debug)]
pub struct Match {
    /// The hosts.
    pub host: Host,
    /// The paths.
    pub path: Path,
    /// What else is asked of it.
    pub conditions: Conditions,
    /// The route.
    pub route: HttpRouteId,
}

/// All routes of a listener, compiled. A clone shares the paths of all hosts, and a change
/// ([`HttpRoutes::set_host`]) is one of the paths of its host alone.
#[derive(Clone, Debug, Default)]
pub struct HttpRoutes {
    exact: HashMap<Arc<str>, Arc<Paths>>,
    /// By what follows the asterisk, the point included.
    wildcards: HashMap<Arc<str>, Wildcard>,
    any: Option<Arc<Paths>>,
}

#[derive(Clone, Debug, Default)]
struct Wildcard {
    /// For hosts with one label in place of the asterisk.
    one: Option<Arc<Paths>>,
    /// For those with one or more.
    many: Option<Arc<Paths>>,
}

impl HttpRoutes {
    /// Compiles matches, of which the first go first.
    ///
    /// # Errors
    /// A pattern that cannot be compiled; all together are too large.
    pub fn new(matches: impl IntoIterator<Item = Match>) -> Result<Self, PathError> {
        let mut routes = HttpRoutes::default();
        let mut by_host: HashMap<Host, Vec<_>> = HashMap::new();
        for Match { host, path, conditions, route } in matches {
            by_host.entry(host).or_default().push((path, conditions, route));
        }
        for (host, of_host) in by_host {
            routes.set_host(&host, of_host)?;
        }
        Ok(routes)
    }

    /// Sets the routes of a host, of which the first go first, in place of those that it had.
    ///
    /// # Errors
    /// A pattern that cannot be compiled; all together are too large. Nothing has changed then.
    pub fn set_host(
        &mut self,
        host: &Host,
        matches: impl IntoIterator<Item = (Path, Conditions, HttpRouteId)>,
    ) -> Result<(), PathError> {
        let mut paths = Paths::default();
        let mut is_empty = true;
        for (path, conditions, route) in matches {
            paths.add(path, conditions, route);
            is_empty = false;
        }
        paths.finish()?;
        let paths = (!is_empty).then(|| Arc::new(paths));
        match (host, paths) {
            (Host::Any, paths) => self.any = paths,
            (Host::Exact(name), Some(paths)) => drop(self.exact.insert((&**name).into(), paths)),
            (Host::Exact(name), None) => drop(self.exact.remove(&**name)),
            (Host::OneLabel(suffix), paths) => self.set_wildcard(suffix, |of| of.one = paths),
            (Host::Labels(suffix), paths) => self.set_wildcard(suffix, |of| of.many = paths),
        }
        Ok(())
    }

    fn set_wildcard(&mut self, suffix: &str, set: impl FnOnce(&mut Wildcard)) {
        let mut of = self.wildcards.remove(suffix).unwrap_or_default();
        set(&mut of);
        if of.one.is_some() || of.many.is_some() {
            self.wildcards.insert(suffix.into(), of);
        }
    }

    /// The route that a request takes.
    pub fn find(&self, request: &Request<'_>) -> Option<HttpRouteId> {
        let host = host::normal(request.host);
        if let Some(route) = self.exact.get(&*host).and_then(|paths| paths.find(request)) {
            return Some(route);
        }
        for (suffix, is_one) in host::suffixes(&host) {
            let Some(wildcard) = self.wildcards.get(suffix) else { continue };
            let find = |paths: &Option<Arc<Paths>>| paths.as_ref()?.find(request);
            let one = if is_one { find(&wildcard.one) } else { None };
            if let Some(route) = one.or_else(|| find(&wildcard.many)) {
                return Some(route);
            }
        }
        self.any.as_ref()?.find(request)
    }
}
