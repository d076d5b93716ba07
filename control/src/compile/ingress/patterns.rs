//! The patterns of a host have a bound together: those of the youngest Ingresses are
//! left out where there are more.

use super::Route;
use crate::cluster::ingress::PathMatch;
use crate::diagnostic::Finding;
use crate::object::Name;
use sluice_tables::http_routes::{Conditions, Host, HttpRouteId, HttpRoutes, Path, PathError};

/// Sets the routes of a host, of which the first go first.
///
/// # Errors
/// All patterns together are too large.
pub(super) fn set<'a>(
    matches: &mut HttpRoutes,
    host: &Host,
    routes: impl Iterator<Item = (HttpRouteId, &'a Route)>,
) -> Result<(), PathError> {
    let path = |route: &Route| match &route.path {
        PathMatch::Exact(path) => Path::Exact(path.clone()),
        PathMatch::Prefix(path) => Path::Prefix(path.clone()),
        PathMatch::Pattern(pattern) => {
            Path::Pattern { regex: pattern.regex.clone(), len: pattern.text.len() }
        }
    };
    let routes = routes.map(|(id, route)| (path(route), Conditions::default(), id));
    matches.set_host(host, routes)
}

/// The routes of a host without the patterns that are too much.
pub(super) fn fitting(
    host: &Host,
    routes: Vec<Route>,
    findings: &mut Vec<(Name, Finding)>,
) -> Vec<Route> {
    let patterns: Vec<&Route> = routes.iter().filter(|route| is_pattern(route)).collect();
    let fits = |count: usize| {
        let routes = (0..).map(HttpRouteId).zip(patterns[..count].iter().copied());
        count == 0 || set(&mut HttpRoutes::default(), host, routes).is_ok()
    };
    if fits(patterns.len()) {
        return routes;
    }
    let (mut fit, mut not) = (0, patterns.len());
    while not - fit > 1 {
        let middle = fit.midpoint(not);
        if fits(middle) { fit = middle } else { not = middle }
    }
    let mut left = fit;
    let mut is_left_in = |route: &Route| {
        if !is_pattern(route) {
            return true;
        }
        if let Some(less) = left.checked_sub(1) {
            left = less;
            return true;
        }
        let message = "all patterns of the host are too large together; the path is left out";
        let finding = Finding::error(format!("{}.path", route.place), message);
        let finding = finding.expected("fewer patterns, or such with small classes and counts");
        findings.push((route.ingress.clone(), finding));
        false
    };
    routes.into_iter().filter(|route| is_left_in(route)).collect()
}

fn is_pattern(route: &Route) -> bool {
    matches!(route.path, PathMatch::Pattern(_))
}
