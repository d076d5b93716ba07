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

mod host;
mod path;
mod request;
mod rewrite;

pub use host::Host;
pub use path::{Path, PathError};
pub use request::{Conditions, Request};
pub use rewrite::{Rewrite, RewriteError};

use hashbrown::HashMap;
use path::Paths;

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

/// All routes of a listener, compiled.
#[derive(Debug, Default)]
pub struct HttpRoutes {
    exact: HashMap<Box<str>, Paths>,
    /// By what follows the asterisk, the point included.
    wildcards: HashMap<Box<str>, Wildcard>,
    any: Paths,
}

#[derive(Debug, Default)]
struct Wildcard {
    /// For hosts with one label in place of the asterisk.
    one: Paths,
    /// For those with one or more.
    many: Paths,
}

impl HttpRoutes {
    /// Compiles matches, of which the first go first.
    ///
    /// # Errors
    /// A pattern that cannot be compiled; all together are too large.
    pub fn new(matches: impl IntoIterator<Item = Match>) -> Result<Self, PathError> {
        let mut routes = HttpRoutes::default();
        for Match { host, path, conditions, route } in matches {
            let paths = match host {
                Host::Any => &mut routes.any,
                Host::Exact(name) => routes.exact.entry(name).or_default(),
                Host::OneLabel(suffix) => &mut routes.wildcards.entry(suffix).or_default().one,
                Host::Labels(suffix) => &mut routes.wildcards.entry(suffix).or_default().many,
            };
            paths.add(path, conditions, route);
        }
        routes.all_mut().try_for_each(Paths::finish)?;
        Ok(routes)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Paths> {
        let wildcards = self.wildcards.values_mut().flat_map(|w| [&mut w.one, &mut w.many]);
        self.exact.values_mut().chain(wildcards).chain([&mut self.any])
    }

    /// The route that a request takes.
    pub fn find(&self, request: &Request<'_>) -> Option<HttpRouteId> {
        let host = host::normal(request.host);
        if let Some(route) = self.exact.get(&*host).and_then(|paths| paths.find(request)) {
            return Some(route);
        }
        for (suffix, is_one) in host::suffixes(&host) {
            let Some(wildcard) = self.wildcards.get(suffix) else { continue };
            let one = if is_one { wildcard.one.find(request) } else { None };
            if let Some(route) = one.or_else(|| wildcard.many.find(request)) {
                return Some(route);
            }
        }
        self.any.find(request)
    }
}
