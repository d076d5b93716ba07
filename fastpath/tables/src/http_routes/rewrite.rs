use super::Path;
use regex::Regex;
use std::fmt;

/// Most captures that a target may name: what is made of a path is at most so many
/// times as long as it.
const CAPTURES_MAX: usize = 16;

/// Another path in place of that of a request, before it is sent on (ingress-nginx,
/// "Rewrite Target").
#[derive(Clone, Debug)]
pub struct Rewrite {
    pattern: Option<Regex>,
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    /// What a group of the pattern has found.
    Capture(usize),
}

/// Why a target is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewriteError {
    /// It does not begin with a slash.
    NotAbsolute,
    /// It has a character that no path has.
    Character(char),
    /// A dollar sign that no digit follows.
    Dollar,
    /// It names more than 16 captures.
    Captures,
}

impl fmt::Display for RewriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RewriteError::NotAbsolute => f.write_str("does not begin with `/`"),
            RewriteError::Character(of) => write!(f, "has {of:?}, which is in no path"),
            RewriteError::Dollar => f.write_str("has `$` without the number of a group"),
            RewriteError::Captures => write!(f, "names more than {CAPTURES_MAX} groups"),
        }
    }
}

impl std::error::Error for RewriteError {}

impl Rewrite {
    /// A rewrite to a target, in which `$1` to `$9` stand for what groups of the pattern
    /// find; where they find nothing, and where there is no pattern, for nothing.
    ///
    /// # Errors
    /// A target that is no path.
    pub fn new(pattern: Option<Regex>, target: &str) -> Result<Self, RewriteError> {
        if !target.starts_with('/') {
            return Err(RewriteError::NotAbsolute);
        }
        let mut parts = Vec::new();
        let (mut text, mut captures) = (String::new(), 0);
        let mut rest = target.chars();
        while let Some(one) = rest.next() {
            if one != '$' {
                if !is_of_path(one) {
                    return Err(RewriteError::Character(one));
                }
                text.push(one);
                continue;
            }
            let digit = rest.next().and_then(|digit| digit.to_digit(10)).filter(|digit| *digit > 0);
            let group = digit.ok_or(RewriteError::Dollar)? as usize;
            captures += 1;
            if captures > CAPTURES_MAX {
                return Err(RewriteError::Captures);
            }
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text).into()));
            }
            parts.push(Part::Capture(group));
        }
        if !text.is_empty() {
            parts.push(Part::Text(text.into()));
        }
        Ok(Rewrite { pattern, parts: parts.into() })
    }

    /// The groups that the target names and the pattern has not.
    pub fn missing(&self) -> impl Iterator<Item = usize> {
        let groups = self.pattern.as_ref().map_or(0, |pattern| pattern.captures_len() - 1);
        self.parts.iter().filter_map(move |part| match part {
            Part::Capture(group) if *group > groups => Some(*group),
            _ => None,
        })
    }

    /// What becomes of a path that is as [`Path::normal`] leaves it, and is so again.
    /// `None`: what has been found in it is put together to dots that lead out of the
    /// root, or to a percent sign without two digits.
    pub fn path(&self, path: &str) -> Option<String> {
        let captures = self.pattern.as_ref().and_then(|pattern| pattern.captures(path));
        let found = |group| captures.as_ref()?.get(group).map(|found| found.as_str());
        let path = self.parts.iter().fold(String::new(), |path, part| match part {
            Part::Text(text) => path + text,
            Part::Capture(group) => path + found(*group).unwrap_or_default(),
        });
        Some(Path::normal(&path)?.into_owned())
    }
}

/// Whether a character may be in a path (RFC 3986 section 3.3), one of a percent sign
/// and two digits included.
fn is_of_path(one: char) -> bool {
    one.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/%".contains(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(pattern: &str, target: &str, path: &str) -> Option<String> {
        let pattern = Regex::new(&format!("(?i)^(?:{pattern})")).unwrap();
        Rewrite::new(Some(pattern), target).unwrap().path(path)
    }

    /// The first ones are those of ingress-nginx' documentation ("Rewrite").
    #[test]
    fn groups_stand_for_what_they_find() {
        for (pattern, target, path, expected) in [
            ("/something(/|$)(.*)", "/$2", "/something", Some("/")),
            ("/something(/|$)(.*)", "/$2", "/something/", Some("/")),
            ("/something(/|$)(.*)", "/$2", "/something/new", Some("/new")),
            ("/something(/|$)(.*)", "/$2", "/SomeThing/New", Some("/New")),
            ("/something/?(.*)", "/$1", "/something/a/b", Some("/a/b")),
            ("/(a)/(b)", "/$2/$1/$2", "/a/b/c", Some("/b/a/b")),
            ("/(a)|/(b)", "/x$1-$2", "/b", Some("/x-b")),
            ("/a", "/$1", "/a/b", Some("/")),
            ("/a", "/b", "/a/c", Some("/b")),
            // What was no dot segment becomes one.
            ("/a(.*)", "/b/.$1/c", "/a.", Some("/c")),
            ("/([^/]*)/(.*)", "/$1$2", "/./.", None),
            ("/(.*)", "/%$1", "/zz", None),
        ] {
            assert_eq!(
                rewritten(pattern, target, path).as_deref(),
                expected,
                "{pattern} {target} {path}"
            );
        }
        assert_eq!(Rewrite::new(None, "/x$1").unwrap().path("/y").as_deref(), Some("/x"));
    }

    #[test]
    fn groups_that_are_not_there_are_told() {
        let of = |pattern: Option<&str>, target| -> Vec<_> {
            let pattern = pattern.map(|pattern| Regex::new(pattern).unwrap());
            Rewrite::new(pattern, target).unwrap().missing().collect()
        };
        assert_eq!(of(Some("(a)(b)"), "/$1/$2/$3"), [3]);
        assert_eq!(of(None, "/$1"), [1]);
        assert_eq!(of(Some("a"), "/"), []);
    }

    #[test]
    fn targets_that_are_no_paths_are_told() {
        let many = format!("/{}", "$1".repeat(CAPTURES_MAX + 1));
        for (target, expected) in [
            ("", RewriteError::NotAbsolute),
            ("a", RewriteError::NotAbsolute),
            ("https://shop.example/", RewriteError::NotAbsolute),
            ("/a b", RewriteError::Character(' ')),
            ("/a?b=c", RewriteError::Character('?')),
            ("/a\r\n", RewriteError::Character('\r')),
            ("/\u{e9}", RewriteError::Character('\u{e9}')),
            ("/$", RewriteError::Dollar),
            ("/$0", RewriteError::Dollar),
            ("/$uri", RewriteError::Dollar),
            (&many, RewriteError::Captures),
        ] {
            assert_eq!(Rewrite::new(None, target).unwrap_err(), expected, "{target}");
        }
        assert!(Rewrite::new(None, &many[..many.len() - 2]).is_ok());
    }
}
