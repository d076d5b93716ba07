use super::{Conditions, Host, HttpRouteId, HttpRoutes, Request, host};
use crate::http_routes::path::Paths;

/// A match beside others that a request meets: what `sluice explain` tells of it.
#[derive(Clone, Debug)]
pub struct Considered<'a> {
    /// The hosts that it is for.
    pub host: Host,
    /// What its path is.
    pub kind: PathKind,
    /// The path; of a pattern, as it was compiled.
    pub path: &'a str,
    /// What else it asks for.
    pub conditions: &'a Conditions,
    /// Its route.
    pub route: HttpRouteId,
    /// Whether the request is one that it is for.
    pub fit: Fit,
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// This one.
    Exact,
    /// All that begin with its elements.
    Prefix,
    /// Those in which it finds something.
    Pattern,
}

/// Whether a match is for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It is: the first such one has it.
    Fits,
    /// Its path is another.
    OtherPath,
    /// The path is its own, but not what else it asks for.
    OtherConditions,
}

impl HttpRoutes {
    /// All matches of the hosts that a request's host is one of, in the order in which
    /// they are asked. Takes as long as there are many: for who wants to know, not for
    /// who serves.
    pub fn considered<'a>(&'a self, request: &Request<'_>) -> Vec<Considered<'a>> {
        let name = host::normal(request.host);
        let mut all = Vec::new();
        let mut add = |host: Host, paths: &'a Paths| {
            all.extend(paths.considered(request).into_iter().map(|of| of.at(host.clone())));
        };
        if let Some(paths) = self.exact.get(&*name) {
            add(Host::Exact((&*name).into()), paths);
        }
        for (suffix, is_one) in host::suffixes(&name) {
            let Some(wildcard) = self.wildcards.get(suffix) else { continue };
            if let Some(paths) = wildcard.one.as_ref().filter(|_| is_one) {
                add(Host::OneLabel(suffix.into()), paths);
            }
            if let Some(paths) = &wildcard.many {
                add(Host::Labels(suffix.into()), paths);
            }
        }
        if let Some(paths) = &self.any {
            add(Host::Any, paths);
        }
        all
    }
}

/// A match of one host.
pub(super) struct OfPath<'a> {
    pub kind: PathKind,
    pub path: &'a str,
    pub conditions: &'a Conditions,
    pub route: HttpRouteId,
    pub fit: Fit,
}

impl<'a> OfPath<'a> {
    fn at(self, host: Host) -> Considered<'a> {
        let OfPath { kind, path, conditions, route, fit } = self;
        Considered { host, kind, path, conditions, route, fit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_routes::{Match, Path};
    use regex::Regex;

    /// The first one that fits is the one that a lookup finds, whatever is asked: they
    /// share how a path and a condition are looked at, and nothing of how they are found.
    #[test]
    fn the_first_that_fits_is_the_one_that_is_taken() {
        let mut random = fastrand::Rng::with_seed(80);
        let elements = ["a", "b", "ab", ""];
        let path = |random: &mut fastrand::Rng| {
            let parts = (0..random.usize(1..4)).map(|_| elements[random.usize(..elements.len())]);
            format!("/{}", parts.collect::<Vec<_>>().join("/"))
        };
        let hosts = [
            Host::Any,
            Host::Exact("a.b.c".into()),
            Host::OneLabel(".b.c".into()),
            Host::Labels(".b.c".into()),
            Host::Labels(".c".into()),
        ];
        let mut taken = 0;
        for _ in 0..400 {
            let matches = (0..random.u32(..24)).map(|number| {
                let text = path(&mut random);
                let path = match random.u8(..3) {
                    0 => Path::Exact(text.into()),
                    1 => Path::Prefix(text.into()),
                    _ => {
                        let regex = Regex::new(&format!("(?i)^(?:{text})")).unwrap();
                        Path::Pattern { regex, len: text.len() }
                    }
                };
                let conditions = Conditions {
                    method: random.bool().then(|| "POST".into()),
                    ..Conditions::default()
                };
                let host = hosts[random.usize(..hosts.len())].clone();
                Match { host, path, conditions, route: HttpRouteId(number) }
            });
            let routes = HttpRoutes::new(matches.collect::<Vec<_>>()).unwrap();
            for _ in 0..20 {
                let path = path(&mut random);
                let host = ["a.b.c", "x.b.c", "y.x.b.c", "c", "A.B.C:80"][random.usize(..5)];
                let method = ["GET", "POST"][random.usize(..2)];
                let request = Request { method, host, path: &path, ..Request::default() };
                let considered = routes.considered(&request);
                let first = considered.iter().find(|of| of.fit == Fit::Fits);
                let found = routes.find(&request);
                assert_eq!(first.map(|of| of.route), found, "{request:?}: {considered:#?}");
                taken += usize::from(found.is_some());
            }
        }
        assert!(taken > 2_000, "{taken}");
    }

    #[test]
    fn what_does_not_fit_says_why() {
        let of = |path: Path, method: Option<&str>, number| Match {
            host: Host::Exact("shop.example".into()),
            path,
            conditions: Conditions { method: method.map(Into::into), ..Conditions::default() },
            route: HttpRouteId(number),
        };
        let routes = HttpRoutes::new([
            of(Path::Prefix("/".into()), None, 0),
            of(Path::Prefix("/api/".into()), Some("POST"), 1),
            of(Path::Exact("/api".into()), None, 2),
        ]);
        let routes = routes.unwrap();
        let request =
            Request { method: "GET", host: "shop.example", path: "/api/x", ..Request::default() };
        let said: Vec<_> = routes.considered(&request).iter().map(|of| (of.path, of.fit)).collect();
        assert_eq!(
            said,
            [("/api", Fit::OtherPath), ("/api", Fit::OtherConditions), ("", Fit::Fits)]
        );
        assert!(routes.considered(&Request { host: "other.example", ..request }).is_empty());
    }
}
