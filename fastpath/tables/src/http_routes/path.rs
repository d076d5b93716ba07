use super::considered::{Fit, OfPath, PathKind};
use super::{Conditions, HttpRouteId, Request};
use hashbrown::HashMap;
use regex::{Regex, RegexSet, RegexSetBuilder};
use std::borrow::Cow;

/// Bytes that the compiled patterns of one host may have.
const PATTERNS_BYTES_MAX: usize = 10 << 20;

/// The paths of a route.
#[derive(Clone, Debug)]
pub enum Path {
    /// This one.
    Exact(Box<str>),
    /// Those that begin with these elements: `/foo` and `/foo/` are for `/foo`, `/foo/`
    /// and `/foo/bar`, and not for `/foobar` (Kubernetes, Ingress, "Path types").
    Prefix(Box<str>),
    /// Those in which a pattern finds something.
    Pattern {
        /// The pattern.
        regex: Regex,
        /// How long it is as people have written it, in bytes: what it is told apart by
        /// from other paths.
        len: usize,
    },
}

/// Patterns that cannot be compiled together.
#[derive(Debug)]
pub struct PathError(regex::Error);

impl std::fmt::Display for PathError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::error::Error for PathError {}

impl Path {
    /// A path as routes and those behind have it: what needs no percent sign has none
    /// (RFC 3986 section 6.2.2.2), and there are no dot segments (section 5.2.4), so
    /// that nobody gets past a prefix and is told of another path behind. `None`: the
    /// dots lead out of the root, or it has a percent sign without two digits.
    pub fn normal(path: &str) -> Option<Cow<'_, str>> {
        if !path.contains('%') && !path.contains("/.") {
            return Some(Cow::Borrowed(path));
        }
        let decoded = decoded(path)?;
        let mut elements: Vec<&str> = Vec::new();
        let mut rest = decoded.split('/').skip(1).peekable();
        while let Some(element) = rest.next() {
            let is_last = rest.peek().is_none();
            match element {
                "." => {}
                ".." => drop(elements.pop()?),
                _ => {
                    elements.push(element);
                    continue;
                }
            }
            if is_last {
                elements.push("");
            }
        }
        Some(Cow::Owned(format!("/{}", elements.join("/"))))
    }
}

/// Without the percent signs of what needs none; the others in upper case.
fn decoded(path: &str) -> Option<String> {
    let (mut out, mut rest) = (String::with_capacity(path.len()), path);
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let digits = rest.get(at + 1..at + 3)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(digits, 16).ok()?;
        match byte {
            b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => out.push(byte.into()),
            _ => {
                out.push('%');
                out.push_str(&digits.to_ascii_uppercase());
            }
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    Some(out)
}

/// HttpRoutes of one path, the first first.
type Candidates = Vec<(Conditions, HttpRouteId)>;

/// The routes of one host by their paths.
#[derive(Debug, Default)]
pub(super) struct Paths {
    exact: HashMap<Box<str>, Candidates>,
    /// Without a slash at their end.
    prefixes: HashMap<Box<str>, Candidates>,
    /// How long prefixes are, the longest first.
    lengths: Vec<usize>,
    /// With how long they are written, the longest first.
    patterns: Vec<(Regex, usize, Candidates)>,
    set: Option<RegexSet>,
}

impl Paths {
    pub(super) fn add(&mut self, path: Path, conditions: Conditions, route: HttpRouteId) {
        let candidates = match path {
            Path::Exact(path) => self.exact.entry(path).or_default(),
            Path::Prefix(path) => {
                let path = path.strip_suffix('/').unwrap_or(&path).into();
                self.prefixes.entry(path).or_default()
            }
            Path::Pattern { regex, len } => {
                let same = |known: &(Regex, _, _)| known.0.as_str() == regex.as_str();
                let at = self.patterns.iter().position(same).unwrap_or_else(|| {
                    self.patterns.push((regex, len, Vec::new()));
                    self.patterns.len() - 1
                });
                &mut self.patterns[at].2
            }
        };
        candidates.push((conditions, route));
    }

    /// Puts everything into its order.
    pub(super) fn finish(&mut self) -> Result<(), PathError> {
        let patterns = self.patterns.iter_mut().map(|(_, _, candidates)| candidates);
        let prefixes = self.prefixes.values_mut();
        for candidates in self.exact.values_mut().chain(prefixes).chain(patterns) {
            candidates.sort_by_key(|(conditions, _)| std::cmp::Reverse(conditions.weight()));
        }
        self.lengths = self.prefixes.keys().map(|prefix| prefix.len()).collect();
        self.lengths.sort_unstable_by_key(|len| std::cmp::Reverse(*len));
        self.lengths.dedup();
        self.patterns.sort_by_key(|(_, len, _)| std::cmp::Reverse(*len));
        if !self.patterns.is_empty() {
            let patterns = self.patterns.iter().map(|(regex, _, _)| regex.as_str());
            let set = RegexSetBuilder::new(patterns).size_limit(PATTERNS_BYTES_MAX).build();
            self.set = Some(set.map_err(PathError)?);
        }
        Ok(())
    }

    pub(super) fn find(&self, request: &Request<'_>) -> Option<HttpRouteId> {
        let first = |candidates: &Candidates| {
            let mut candidates = candidates.iter();
            candidates.find(|(conditions, _)| conditions.hold(request)).map(|(_, route)| *route)
        };
        let path = request.path;
        if let Some(route) = self.exact.get(path).and_then(first) {
            return Some(route);
        }
        let mut prefixes = self
            .lengths
            .iter()
            .filter_map(|len| Some((*len, first(self.prefixes.get(elements(path, *len)?)?)?)));
        let prefix = prefixes.next();
        // Patterns and prefixes are told apart by how long they are written.
        let longer = |at: &usize| prefix.is_none_or(|(len, _)| self.patterns[*at].1 > len);
        let patterns = self.set.as_ref().map(|set| set.matches(path));
        let pattern = patterns.iter().flat_map(|set| set.iter()).take_while(longer);
        let mut pattern = pattern.filter_map(|at| first(&self.patterns[at].2));
        pattern.next().or(prefix.map(|(_, route)| route))
    }

    /// All routes, in the order in which a request meets them, and whether they are for it.
    pub(super) fn considered(&self, request: &Request<'_>) -> Vec<OfPath<'_>> {
        let path = request.path;
        let exact = self.exact.iter();
        let exact = exact.map(|(of, all)| (PathKind::Exact, &**of, usize::MAX, all, **of == *path));
        let prefixes = self.prefixes.iter().map(|(of, all)| {
            let is_path = elements(path, of.len()) == Some(of);
            (PathKind::Prefix, &**of, of.len(), all, is_path)
        });
        let patterns = self.patterns.iter().map(|(regex, len, all)| {
            (PathKind::Pattern, regex.as_str(), *len, all, regex.is_match(path))
        });
        let mut paths: Vec<_> = exact.chain(prefixes).collect();
        paths.sort_by_key(|(_, text, ..)| *text);
        // Patterns are in their order already, which a stable sort leaves.
        paths.extend(patterns);
        paths.sort_by_key(|(_, _, len, ..)| std::cmp::Reverse(*len));
        let mut all = Vec::new();
        for (kind, path, _, candidates, is_path) in paths {
            all.extend(candidates.iter().map(|(conditions, route)| {
                let fit = match (is_path, conditions.hold(request)) {
                    (true, true) => Fit::Fits,
                    (true, false) => Fit::OtherConditions,
                    (false, _) => Fit::OtherPath,
                };
                OfPath { kind, path, conditions, route: *route, fit }
            }));
        }
        all
    }
}

/// So many bytes of a path, if they are whole elements of it.
fn elements(path: &str, len: usize) -> Option<&str> {
    let is_element = matches!(path.as_bytes().get(len), None | Some(b'/'));
    path.get(..len).filter(|_| is_element)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_same_however_it_is_written() {
        for (written, expected) in [
            ("/", Some("/")),
            ("/a/b", Some("/a/b")),
            ("/a/./b", Some("/a/b")),
            ("/a/../b", Some("/b")),
            ("/a/b/..", Some("/a/")),
            ("/a/b/.", Some("/a/b/")),
            ("/a/%2e%2E/b", Some("/b")),
            ("/..", None),
            ("/a/../../b", None),
            ("/%2e%2e/b", None),
            ("/a/..b/.c", Some("/a/..b/.c")),
            ("/%61%7e%2D", Some("/a~-")),
            ("/a%2fb", Some("/a%2Fb")),
            ("/a%00", Some("/a%00")),
            ("/a%", None),
            ("/a%2", None),
            ("/a%zz", None),
            ("/a%\u{e9}", None),
            ("/a//b", Some("/a//b")),
            ("/.//a/..", Some("//")),
        ] {
            assert_eq!(Path::normal(written).as_deref(), expected, "{written}");
        }
    }
}
