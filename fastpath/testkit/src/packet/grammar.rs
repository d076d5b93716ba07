//! From words to layers.

use std::iter::Peekable;
use std::slice;

use super::error::{ParseError, Result};
use super::layer::{Field, Layer, Note};
use super::literal;
use super::schema::{Kind, Part, SCHEMAS, Schema, Spec, Syntax};
use super::tokens::{self, Token, Words};
use super::value::{Sum, Term, Value};

/// `$port:!80` is two deep; nothing needs more than `!$port:!80`.
const TERM_DEPTH_MAX: usize = 3;

/// Bounds how deep the builder nests.
pub(crate) const LAYERS_MAX: usize = 64;

type Tokens<'a, 't> = Peekable<slice::Iter<'t, Token<'a>>>;

/// Reads a line of layers, as written: nothing is filled in.
pub(crate) fn parse(line: &str) -> Result<Vec<Layer>> {
    let mut layers: Vec<Layer> = Vec::new();
    for words in tokens::layers(line)? {
        if layers.len() == LAYERS_MAX {
            let message = format!("a packet has {LAYERS_MAX} layers at most");
            return Err(ParseError::new(words.column, message));
        }
        let layer = parse_layer(&words)?;
        let before = layers.last().map(|layer| layer.kind);
        let can_quote = before.is_some_and(Kind::quotes);
        if layer.quoted && !can_quote {
            return Err(ParseError::new(words.column, "only an ICMP error can quote a packet"));
        }
        if !layer.quoted && can_quote && matches!(layer.kind, Kind::Ip | Kind::Ip6) {
            let message = "the packet in an ICMP error stands after `quoting`, not after `/`";
            return Err(ParseError::new(words.column, message));
        }
        layers.push(layer);
    }
    Ok(layers)
}

fn parse_layer(words: &Words<'_>) -> Result<Layer> {
    let schema = find(words)?;
    let mut layer =
        Layer { kind: schema.kind, quoted: words.quoted, column: words.column, fields: Vec::new() };
    let end = words.tokens.last().map_or(1, |t| t.column + t.text.chars().count());
    let mut rest = words.tokens[schema.words.len()..].iter().peekable();
    parse_head(schema, &mut rest, end, &mut layer)?;
    while let Some(token) = rest.next() {
        parse_keyword(schema, token, &mut rest, end, &mut layer)?;
    }
    Ok(layer)
}

fn find(words: &Words<'_>) -> Result<&'static Schema> {
    let texts: Vec<&str> = words.tokens.iter().map(|token| token.text).collect();
    if let Some(schema) = SCHEMAS.iter().find(|schema| texts.starts_with(schema.words)) {
        return Ok(schema);
    }
    let first = texts.first().copied().unwrap_or_default();
    let seconds: Vec<&str> = SCHEMAS
        .iter()
        .filter_map(|schema| (schema.words[0] == first).then(|| schema.words.get(1).copied())?)
        .collect();
    if seconds.is_empty() {
        let mut names: Vec<&str> = SCHEMAS.iter().map(|schema| schema.words[0]).collect();
        names.dedup();
        let message = format!("expected a layer ({}), found `{first}`", names.join(", "));
        return Err(ParseError::new(words.column, message));
    }
    let found = texts.get(1).map_or("nothing".to_owned(), |text| format!("`{text}`"));
    let message = format!("expected {} after `{first}`, found {found}", seconds.join(", "));
    Err(ParseError::new(words.column, message))
}

/// The fields by position; a pattern may leave them out.
fn parse_head(
    schema: &Schema,
    rest: &mut Tokens<'_, '_>,
    end: usize,
    layer: &mut Layer,
) -> Result<()> {
    // `tcp S`: a pattern may leave out the ports and write the flags all the same.
    if let (Some(token), Some(Part::Field(spec))) = (rest.peek().copied(), schema.head.last())
        && matches!(spec.syntax, Syntax::TcpFlags)
        && literal::read(token.text, spec.syntax).is_ok()
    {
        rest.next();
        return push(layer, spec, token, parse_term(token, spec.syntax)?);
    }
    for part in schema.head {
        let Some(token) = rest.peek().copied() else {
            return match part {
                Part::Word(word) if !layer.fields.is_empty() => {
                    Err(ParseError::new(end, format!("expected `{word}` here")))
                }
                _ => Ok(()),
            };
        };
        match part {
            Part::Word(word) if token.text == *word => {}
            Part::Word(_) if layer.fields.is_empty() => return Ok(()),
            Part::Word(word) => {
                let message = format!("expected `{word}`, found `{}`", token.text);
                return Err(ParseError::new(token.column, message));
            }
            Part::Field(_) if is_keyword(schema, token.text) => return Ok(()),
            Part::Field(spec) => push(layer, spec, token, parse_term(token, spec.syntax)?)?,
        }
        rest.next();
    }
    Ok(())
}

fn is_keyword(schema: &Schema, text: &str) -> bool {
    let sum =
        schema.sum.is_some() && (text == "sum" || text == "nosum" || text.starts_with("badsum"));
    let word = text.strip_prefix("no-").unwrap_or(text);
    sum || schema.keywords.iter().any(|keyword| keyword.word == word)
}

fn parse_keyword<'a>(
    schema: &Schema,
    token: &Token<'a>,
    rest: &mut Tokens<'a, '_>,
    end: usize,
    layer: &mut Layer,
) -> Result<()> {
    if let Some(name) = schema.sum
        && let Some(term) = parse_sum(name, token, rest, end)?
    {
        const SUM: Spec = super::schema::computed("sum", Syntax::Flag);
        return push(layer, &SUM, token, term);
    }
    let keyword = |word: &str| schema.keywords.iter().find(|keyword| keyword.word == word);
    let flag = |spec: &Spec| matches!(spec.syntax, Syntax::Flag);
    if let Some(keyword) = keyword(token.text) {
        for spec in keyword.fields {
            let term = if flag(spec) {
                Term::Is(Value::Num(1))
            } else {
                let expected = || ParseError::new(end, format!("`{}` needs a value", token.text));
                parse_term(rest.next().ok_or_else(expected)?, spec.syntax)?
            };
            push(layer, spec, token, term)?;
        }
        return Ok(());
    }
    if let Some(word) = token.text.strip_prefix("no-")
        && let Some([spec]) = keyword(word).map(|keyword| keyword.fields)
        && flag(spec)
    {
        return push(layer, spec, token, Term::Is(Value::Num(0)));
    }
    let mut known: Vec<&str> = schema.keywords.iter().map(|keyword| keyword.word).collect();
    if schema.sum.is_some() {
        known.push("badsum");
    }
    let known = if known.is_empty() { "nothing more".to_owned() } else { known.join(", ") };
    let message = format!("`{}` does not know `{}`; expected {known}", schema.name(), token.text);
    Err(ParseError::new(token.column, message))
}

/// `badsum`, `badsum(NAME)`, `badsum(NAME)=0xHHHH`, `sum TERM`, `nosum`.
fn parse_sum<'a>(
    name: &str,
    token: &Token<'a>,
    rest: &mut Tokens<'a, '_>,
    end: usize,
) -> Result<Option<Term>> {
    let width = if name == "sctp" { super::schema::HEX32 } else { super::schema::HEX16 };
    let wrong = |column, message: String| ParseError::new(column, message);
    let sum = match token.text {
        "nosum" if name == "udp" => Sum::Absent,
        "sum" => {
            let value = rest.next().ok_or_else(|| wrong(end, "`sum` needs a value".to_owned()))?;
            if value.text == "*" {
                return Ok(Some(Term::Any));
            }
            match literal::read(value.text, width).map_err(|m| wrong(value.column, m))? {
                Value::Num(n) => Sum::Is(n as u32),
                _ => return Ok(None),
            }
        }
        text => {
            let Some(which) = text.strip_prefix("badsum") else { return Ok(None) };
            let (which, value) = which.split_once('=').unwrap_or((which, ""));
            if !which.is_empty() && which != format!("({name})") {
                let message = format!("expected badsum({name}) here, found `{text}`");
                return Err(wrong(token.column, message));
            }
            match value {
                "" => Sum::Bad(None),
                value => match literal::read(value, width).map_err(|m| wrong(token.column, m))? {
                    Value::Num(n) => Sum::Bad(Some(n as u32)),
                    _ => Sum::Bad(None),
                },
            }
        }
    };
    Ok(Some(Term::Is(Value::Sum(sum))))
}

fn push(layer: &mut Layer, spec: &Spec, token: &Token<'_>, term: Term) -> Result<()> {
    if layer.field(spec.name).is_some() {
        return Err(ParseError::new(token.column, format!("{} is written twice", spec.name)));
    }
    let column = token.column;
    layer.fields.push(Field { name: spec.name, term, note: Note::Plain, column });
    Ok(())
}

fn parse_term(token: &Token<'_>, syntax: Syntax) -> Result<Term> {
    term(token.text, syntax, 0).map_err(|message| ParseError::new(token.column, message))
}

fn term(text: &str, syntax: Syntax, depth: usize) -> std::result::Result<Term, String> {
    if depth > TERM_DEPTH_MAX {
        return Err(format!("too many `!` and `$name:` in one term, at `{text}`"));
    }
    if text == "*" {
        return Ok(Term::Any);
    }
    if let Some(capture) = text.strip_prefix('$') {
        let (name, within) = match capture.split_once(':') {
            Some((name, within)) => (name, Some(Box::new(term(within, syntax, depth + 1)?))),
            None => (capture, None),
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(legal) {
            return Err(format!(
                "expected a name of letters, digits and _ after $, found `{text}`"
            ));
        }
        return Ok(Term::Capture { name: name.to_owned(), within });
    }
    if let Some(unwanted) = text.strip_prefix('!') {
        return Ok(Term::Not(Box::new(term(unwanted, syntax, depth + 1)?)));
    }
    let ranges = matches!(syntax, Syntax::Num { .. } | Syntax::Code(_) | Syntax::Ip4 | Syntax::Ip6);
    if ranges && let Some((low, high)) = text.split_once("..") {
        let (low, high) = (literal::read(low, syntax)?, literal::read(high, syntax)?);
        if low > high {
            return Err(format!("this range is empty: `{text}`"));
        }
        return Ok(Term::Range(low, high));
    }
    literal::read(text, syntax).map(Term::Is)
}
