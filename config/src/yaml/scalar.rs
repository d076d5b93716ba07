//! Scalars and their types by YAML 1.2's core schema (section 10.3.2).

use std::rc::Rc;

/// Characters of a scalar that a message repeats.
const SHOWN_MAX: usize = 60;

/// A scalar as written.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    /// The text without quotes, escapes resolved.
    pub text: Rc<str>,
    /// Whether it stands without quotes, so that it may be other than a string.
    pub plain: bool,
}

/// What a scalar stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Boolean(bool),
    /// Saturated where it does not fit.
    Integer(i128),
    Float,
    String,
}

impl Scalar {
    /// What the scalar stands for.
    pub(crate) fn kind(&self) -> Kind {
        if !self.plain {
            return Kind::String;
        }
        match &*self.text {
            "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
            "true" | "True" | "TRUE" => Kind::Boolean(true),
            "false" | "False" | "FALSE" => Kind::Boolean(false),
            text => {
                integer(text).unwrap_or(if is_float(text) { Kind::Float } else { Kind::String })
            }
        }
    }

    /// What this is, for "found ...".
    pub(crate) fn describe(&self) -> String {
        let kind = match self.kind() {
            Kind::Null => return "nothing".to_owned(),
            Kind::Boolean(_) => "boolean",
            Kind::Integer(_) => "integer",
            Kind::Float => "number",
            Kind::String => "string",
        };
        format!("{kind} {}", quote(&self.text))
    }
}

/// Text for a message: in backquotes, printable, cut where it is long.
pub(crate) fn quote(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(SHOWN_MAX)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push_str("...");
    }
    format!("`{shown}`")
}

fn integer(text: &str) -> Option<Kind> {
    let parse = |digits: &str, radix: u32, negative: bool| {
        let valid = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
        let value = i128::from_str_radix(digits, radix).unwrap_or(i128::MAX);
        valid.then_some(Kind::Integer(if negative { -value } else { value }))
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return parse(digits, 16, false);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return parse(digits, 8, false);
    }
    match text.strip_prefix('-') {
        Some(digits) => parse(digits, 10, true),
        None => parse(text.strip_prefix('+').unwrap_or(text), 10, false),
    }
}

fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let digits_and_marks = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.chars().all(digits_and_marks)
        && unsigned.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::{Kind, Scalar};

    fn kind(text: &str) -> Kind {
        Scalar { text: text.into(), plain: true }.kind()
    }

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for (text, expected) in [
            ("", Kind::Null),
            ("~", Kind::Null),
            ("true", Kind::Boolean(true)),
            ("yes", Kind::String),
            ("007", Kind::Integer(7)),
            ("-12", Kind::Integer(-12)),
            ("+12", Kind::Integer(12)),
            ("0x1F", Kind::Integer(31)),
            ("0o17", Kind::Integer(15)),
            ("0x", Kind::String),
            ("1_000", Kind::String),
            ("--1", Kind::String),
            ("1e3", Kind::Float),
            ("-.5", Kind::Float),
            (".inf", Kind::Float),
            (".nan", Kind::Float),
            (".", Kind::String),
            ("10.0", Kind::Float),
            ("10.0.0.1", Kind::String),
            ("::1", Kind::String),
            ("infinity", Kind::String),
            ("99999999999999999999999999999999999999999", Kind::Integer(i128::MAX)),
        ] {
            assert_eq!(kind(text), expected, "{text:?}");
        }
    }

    #[test]
    fn quoted_scalars_are_strings() {
        assert_eq!(Scalar { text: "12".into(), plain: false }.kind(), Kind::String);
    }

    #[test]
    fn messages_show_no_control_characters_and_are_short() {
        let text = format!("a\x1b[31m{}", "b".repeat(500));
        let shown = Scalar { text: text.into(), plain: false }.describe();
        assert!(!shown.contains('\x1b') && shown.len() < 90, "{shown}");
    }
}
