//! The patterns of a host have a bound together: those of the youngest Ingresses are
//! left out where there are more.

use super::Route;
use crate::cluster::ingress::PathMatch;
use crate::diagnostic::Finding;
use crate::object::Name;
use hashbrown::HashMap;
use sluice_tables::http_routes::{
    Conditions, Host, HttpRouteId, HttpRoutes, Match, Path, PathError,
};

/// Compiles routes, of which the first go first, and numbers them.
pub(super) fn build(
    mut routes: Vec<Route>,
    findings: &mut Vec<(Name, Finding)>,
) -> (HttpRoutes, Vec<Route>) {
    let mut built = tables(routes.iter());
    if built.is_err() {
        routes = fitting(routes, findings);
        built = tables(routes.iter());
    }
    match built {
        Ok(tables) => (tables, routes),
        // Not after every host has been looked at; without patterns nothing can fail.
        Err(_) => {
            routes.retain(|route| !is_pattern(route));
            (tables(routes.iter()).unwrap_or_default(), routes)
        }
    }
}

fn tables<'a>(routes: impl Iterator<Item = &'a Route>) -> Result<HttpRoutes, PathError> {
    HttpRoutes::new((0..).zip(routes).map(|(number, route)| Match {
        host: route.host.clone(),
        path: match &route.path {
            PathMatch::Exact(path) => Path::Exact(path.clone()),
            PathMatch::Prefix(path) => Path::Prefix(path.clone()),
            PathMatch::Pattern(pattern) => {
                Path::Pattern { regex: pattern.regex.clone(), len: pattern.text.len() }
            }
        },
        conditions: Conditions::default(),
        route: HttpRouteId(number),
    }))
}

fn is_pattern(route: &Route) -> bool {
    matches!(route.path, PathMatch::Pattern(_))
}

/// Without the patterns that are too much.
fn fitting(routes: Vec<Route>, findings: &mut Vec<(Name, Finding)>) -> Vec<Route> {
    let mut by_host: HashMap<&Host, Vec<&Route>> = HashMap::new();
    for route in routes.iter().filter(|route| is_pattern(route)) {
        by_host.entry(&route.host).or_default().push(route);
    }
    // How many patterns of a host fit.
    let mut left: HashMap<Host, usize> = HashMap::new();
    for (host, patterns) in by_host {
        let (mut fit, mut not) = (0, patterns.len() + 1);
        while not - fit > 1 {
            let middle = fit.midpoint(not);
            match tables(patterns[..middle].iter().copied()) {
                Ok(_) => fit = middle,
                Err(_) => not = middle,
            }
        }
        left.insert(host.clone(), fit);
    }
    let mut fits = |route: &Route| {
        let Some(left) = left.get_mut(&route.host).filter(|_| is_pattern(route)) else {
            return true;
        };
        if let Some(less) = left.checked_sub(1) {
            *left = less;
            return true;
        }
        let message = "all patterns of the host are too large together; the path is left out";
        let finding = Finding::error(format!("{}.path", route.place), message);
        let finding = finding.expected("fewer patterns, or such with small classes and counts");
        findings.push((route.ingress.clone(), finding));
        false
    };
    routes.into_iter().filter(|route| fits(route)).collect()
}
