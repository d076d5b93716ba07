//! HttpRoutes against a reference that looks at all of them.

use regex::Regex;
use sluice_tables::http_routes::{Conditions, Host, HttpRouteId, HttpRoutes, Match, Path, Request};
use std::collections::HashMap;

/// Random listeners, and requests of each.
const LISTENERS: u64 = 3000;
const REQUESTS: usize = 40;

/// Whether hosts are for a host, and how specific they are.
fn host_rank(hosts: &Host, host: &str) -> Option<(u8, usize, u8)> {
    let labels = |suffix: &str| host.strip_suffix(suffix).filter(|labels| !labels.is_empty());
    match hosts {
        Host::Any => Some((0, 0, 0)),
        Host::Exact(name) => (**name == *host).then_some((2, 0, 0)),
        Host::OneLabel(suffix) => {
            labels(suffix).filter(|labels| !labels.contains('.')).map(|_| (1, suffix.len(), 1))
        }
        Host::Labels(suffix) => labels(suffix).map(|_| (1, suffix.len(), 0)),
    }
}

/// Whether paths are for a path, and how specific they are.
fn path_rank(paths: &Path, path: &str) -> Option<(bool, usize, bool)> {
    match paths {
        Path::Exact(exact) => (**exact == *path).then_some((true, 0, false)),
        Path::Prefix(prefix) => {
            let elements = |path: &str| -> Vec<String> {
                path.trim_end_matches('/').split('/').map(str::to_owned).collect()
            };
            let is_prefix = elements(path).starts_with(&elements(prefix));
            is_prefix.then(|| (false, prefix.trim_end_matches('/').len(), true))
        }
        Path::Pattern { regex, len } => regex.is_match(path).then_some((false, *len, false)),
    }
}

fn conditions_rank(conditions: &Conditions, request: &Request<'_>) -> Option<(bool, usize, usize)> {
    let Conditions { method, headers, query } = conditions;
    let rank = (method.is_some(), headers.len(), query.len());
    conditions.hold(request).then_some(rank)
}

fn reference(matches: &[Match], request: &Request<'_>) -> Option<HttpRouteId> {
    let ranked = matches.iter().enumerate().filter_map(|(number, of)| {
        let host = host_rank(&of.host, request.host)?;
        let path = path_rank(&of.path, request.path)?;
        let conditions = conditions_rank(&of.conditions, request)?;
        Some(((host, path, conditions, std::cmp::Reverse(number)), of.route))
    });
    ranked.max().map(|(_, route)| route)
}

fn pick<'a>(random: &mut fastrand::Rng, some: &[&'a str]) -> &'a str {
    some[random.usize(0..some.len())]
}

fn path_of(random: &mut fastrand::Rng) -> String {
    let elements = (0..random.usize(0..4)).map(|_| pick(random, &["a", "b", "ab"]));
    let path = elements.fold(String::new(), |path, element| path + "/" + element);
    match random.u8(0..3) {
        0 => path + "/",
        _ if path.is_empty() => "/".to_owned(),
        _ => path,
    }
}

fn host_of(random: &mut fastrand::Rng) -> String {
    let labels: Vec<_> = (0..random.usize(1..4)).map(|_| pick(random, &["a", "b"])).collect();
    labels.join(".")
}

fn match_of(random: &mut fastrand::Rng, number: u32) -> Match {
    let host = host_of(random);
    let host = match random.u8(0..5) {
        0 => Host::Any,
        1 => Host::OneLabel(format!(".{host}").into()),
        2 => Host::Labels(format!(".{host}").into()),
        _ => Host::Exact(host.into()),
    };
    let path = path_of(random);
    let path = match random.u8(0..7) {
        0 | 1 => Path::Exact(path.into()),
        2 => {
            let pattern = pick(random, &["^/a", "^/(a|b)/", "^/[^/]*$", "^/a/.*b", "b$"]);
            // Written without what it is wrapped into.
            let regex = Regex::new(&format!("(?i){pattern}")).unwrap();
            Path::Pattern { regex, len: pattern.len() }
        }
        _ => Path::Prefix(path.into()),
    };
    let pairs = |random: &mut fastrand::Rng| {
        let count = [0, 0, 0, 1, 2][random.usize(0..5)];
        let pairs = (0..count).map(|_| (pick(random, &["x", "y"]), pick(random, &["0", "1"])));
        pairs.map(|(name, value)| (name.into(), value.into())).collect()
    };
    let method = (random.u8(0..4) == 0).then(|| "GET".into());
    let conditions = Conditions { method, headers: pairs(random), query: pairs(random) };
    Match { host, path, conditions, route: HttpRouteId(number) }
}

#[test]
fn the_most_specific_route_takes_a_request() {
    let mut taken = 0;
    for seed in 0..LISTENERS {
        let random = &mut fastrand::Rng::with_seed(seed);
        let matches: Vec<_> = (0..random.u32(0..30)).map(|n| match_of(random, n)).collect();
        let routes = HttpRoutes::new(matches.iter().cloned()).unwrap();
        for _ in 0..REQUESTS {
            let (host, path) = (host_of(random), path_of(random));
            let query = pick(random, &["", "x=0", "y=1&x=1", "x=1&x=0", "x"]);
            let headers = [("x", pick(random, &["0", "1", "0,1"])), ("y", "1")];
            let headers = &headers[..random.usize(0..3)];
            let method = pick(random, &["GET", "POST"]);
            let request = Request { method, host: &host, path: &path, query, headers };
            let expected = reference(&matches, &request);
            assert_eq!(routes.find(&request), expected, "seed {seed}: {request:?}: {matches:#?}");
            taken += usize::from(expected.is_some());
        }
    }
    let asked = LISTENERS as usize * REQUESTS;
    assert!(taken > asked / 4 && taken < asked * 9 / 10, "{taken} of {asked}");
}

#[test]
fn what_is_changed_host_by_host_is_as_if_it_were_new() {
    for seed in 0..LISTENERS / 10 {
        let random = &mut fastrand::Rng::with_seed(seed);
        let mut by_host: HashMap<Host, Vec<Match>> = HashMap::new();
        let mut routes = HttpRoutes::default();
        for _ in 0..10 {
            let before = (routes.clone(), by_host.clone());
            let host = match_of(random, 0).host;
            let matches = (0..random.u32(0..5)).map(|number| {
                let number = HttpRouteId(random.u32(0..1000) * 10 + number);
                Match { host: host.clone(), route: number, ..match_of(random, 0) }
            });
            let matches: Vec<_> = matches.collect();
            let parts = |of: &Match| (of.path.clone(), of.conditions.clone(), of.route);
            routes.set_host(&host, matches.iter().map(parts)).unwrap();
            by_host.insert(host, matches);
            for (routes, by_host) in [before, (routes.clone(), by_host.clone())] {
                let anew = HttpRoutes::new(by_host.values().flatten().cloned()).unwrap();
                for _ in 0..REQUESTS / 4 {
                    let (host, path) = (host_of(random), path_of(random));
                    let request = Request { host: &host, path: &path, ..Request::default() };
                    assert_eq!(routes.find(&request), anew.find(&request), "seed {seed}");
                }
            }
        }
    }
}

/// The table of examples of the documentation (Kubernetes, Ingress, "Examples").
#[test]
fn path_types_mean_what_the_documentation_says() {
    for (kind, route, path, is_for) in [
        ("Prefix", "/", "/any/path", true),
        ("Exact", "/foo", "/foo", true),
        ("Exact", "/foo", "/bar", false),
        ("Exact", "/foo", "/foo/", false),
        ("Exact", "/foo/", "/foo", false),
        ("Prefix", "/foo", "/foo", true),
        ("Prefix", "/foo", "/foo/", true),
        ("Prefix", "/foo/", "/foo", true),
        ("Prefix", "/foo/", "/foo/", true),
        ("Prefix", "/aaa/bb", "/aaa/bbb", false),
        ("Prefix", "/aaa/bbb", "/aaa/bbb", true),
        ("Prefix", "/aaa/bbb/", "/aaa/bbb", true),
        ("Prefix", "/aaa/bbb", "/aaa/bbb/", true),
        ("Prefix", "/aaa/bbb", "/aaa/bbb/ccc", true),
        ("Prefix", "/aaa/bbb", "/aaa/bbbxyz", false),
    ] {
        let paths = match kind {
            "Exact" => Path::Exact(route.into()),
            _ => Path::Prefix(route.into()),
        };
        let conditions = Conditions::default();
        let of = Match { host: Host::Any, path: paths, conditions, route: HttpRouteId(7) };
        let found = HttpRoutes::new([of]).unwrap().find(&Request { path, ..Request::default() });
        assert_eq!(found.is_some(), is_for, "{kind} {route} for {path}");
    }
}
