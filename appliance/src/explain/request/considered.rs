use super::view::ConsideredView;
use sluice_control::view::host_text;
use sluice_l7::http::{ProxyOptions, Supposed, considered};
use sluice_tables::http_routes::{Considered, Fit, PathKind};
use sluice_tables::l7::{HttpRoute, L7, ListenerId};
use std::sync::Arc;

/// Routes that one explanation shows.
const CONSIDERED_MAX: usize = 16;

/// The routes of a request's host, with why each is not taken, and how many more there are:
/// the one that is taken is among those that are shown.
pub(super) fn views(
    l7: &L7,
    listener: ListenerId,
    options: &ProxyOptions,
    of: &Supposed<'_>,
    taken: Option<&Arc<HttpRoute>>,
) -> (Vec<ConsideredView>, usize) {
    let all = considered(l7, listener, options, of);
    let is_taken = |route: &Arc<HttpRoute>| taken.is_some_and(|taken| Arc::ptr_eq(taken, route));
    let at = all.iter().position(|(_, route)| is_taken(route));
    let taken = at.map(|at| &all[at].0);
    let path = of.target.split('?').next().unwrap_or_default();
    let view = |(at_most, (considered, route)): (usize, &(Considered<'_>, &Arc<HttpRoute>))| {
        let is_shown = at_most < CONSIDERED_MAX || Some(at_most) == at;
        is_shown.then(|| ConsideredView {
            host: host_text(&considered.host),
            path: path_text(considered).to_owned(),
            path_type: match considered.kind {
                PathKind::Exact => "Exact",
                PathKind::Prefix => "Prefix",
                PathKind::Pattern => "Pattern",
            }
            .to_owned(),
            object: route.object.to_string(),
            place: route.place.to_string(),
            why_not: (Some(at_most) != at).then(|| why_not(considered, taken, of, path)),
        })
    };
    let shown: Vec<_> = all.iter().enumerate().filter_map(view).collect();
    let left_out = all.len() - shown.len();
    (shown, left_out)
}

/// A path as people write it.
fn path_text<'a>(of: &Considered<'a>) -> &'a str {
    match of.kind {
        PathKind::Prefix if of.path.is_empty() => "/",
        PathKind::Exact | PathKind::Prefix => of.path,
        // What a pattern is compiled in.
        PathKind::Pattern => {
            let inner = of.path.strip_prefix("(?i)^(?:").and_then(|path| path.strip_suffix(')'));
            inner.unwrap_or(of.path)
        }
    }
}

fn why_not(
    of: &Considered<'_>,
    taken: Option<&Considered<'_>>,
    asked: &Supposed<'_>,
    path: &str,
) -> String {
    match (of.fit, taken) {
        (Fit::OtherPath, _) => match of.kind {
            PathKind::Exact => "the path is another".to_owned(),
            PathKind::Prefix if path.starts_with(of.path) => {
                "the path begins with it, but not as a whole element".to_owned()
            }
            PathKind::Prefix => "the path does not begin with it".to_owned(),
            PathKind::Pattern => "the pattern does not find itself in the path".to_owned(),
        },
        (Fit::OtherConditions, _) => conditions(of, asked),
        (Fit::Fits, Some(taken)) if taken.host != of.host => {
            format!("{} is the more specific host", host_text(&taken.host))
        }
        (Fit::Fits, Some(taken)) if taken.kind == PathKind::Exact && of.kind != taken.kind => {
            "an exact path goes first".to_owned()
        }
        (Fit::Fits, Some(taken)) if taken.path == of.path => {
            "another one of the same path asks for more, or was first".to_owned()
        }
        (Fit::Fits, _) => "a longer one goes first".to_owned(),
    }
}

/// What else a route asks for that a request has not.
fn conditions(of: &Considered<'_>, asked: &Supposed<'_>) -> String {
    let asks = of.conditions;
    if let Some(method) = asks.method.as_deref().filter(|method| *method != asked.method) {
        return format!("the method is not {method}");
    }
    let mut headers = asks.headers.iter();
    let lacks = |(name, value): &&(Box<str>, Box<str>)| {
        !asked.headers.iter().any(|(has, of)| *has == **name && *of == **value)
    };
    match headers.find(lacks) {
        Some((name, value)) => format!("the header {name} is not {value:?}"),
        None => "a query parameter is another".to_owned(),
    }
}
