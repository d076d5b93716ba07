//! From layers to the canonical line.

use super::Defaults;
use super::bindings::Bindings;
use super::decode::{decode, decode_at_most};
use super::layer::{Layer, Note};
use super::literal;
use super::schema::{Default, Kind, Part, Spec, Syntax};
use super::value::{Sum, Term, Value};
use super::{build, grammar};

/// Prints `frame` so that the line builds the same bytes again, always: where a part of it has no
/// exact line, that part is `raw`.
pub(crate) fn frame(frame: &[u8], defaults: &Defaults) -> String {
    let mut layers = decode(frame, defaults);
    loop {
        let text = print(&layers);
        let same = grammar::parse(&text)
            .and_then(|layers| build::frame(&layers, defaults, &Bindings::new()))
            .is_ok_and(|built| built == frame);
        let headers = layers.iter().filter(|layer| !is_bytes(layer.kind)).count();
        if same || headers == 0 {
            return text;
        }
        layers = decode_at_most(frame, defaults, headers - 1);
    }
}

fn is_bytes(kind: Kind) -> bool {
    matches!(kind, Kind::Data | Kind::Raw | Kind::Pad)
}

/// Prints decoded layers, leaving out what the builder makes by itself.
pub(crate) fn print(layers: &[Layer]) -> String {
    let mut line = String::new();
    for (i, layer) in layers.iter().enumerate() {
        let next = layers.get(i + 1).map(|next| next.kind);
        let implied = layer.kind == Kind::Eth
            && layer.fields.iter().all(|field| field.note == Note::Implied)
            && next.is_some_and(|next| !is_bytes(next));
        if implied {
            continue;
        }
        if !line.is_empty() {
            line.push_str(if layer.quoted { " quoting " } else { " / " });
        }
        line.push_str(&print_layer(layer));
    }
    line
}

fn print_layer(layer: &Layer) -> String {
    let schema = layer.kind.schema();
    let mut words = vec![schema.name()];
    let implied_head = layer.kind == Kind::Eth
        && layer.field("src").is_some_and(|field| field.note == Note::Implied);
    for part in schema.head.iter().filter(|_| !implied_head) {
        match part {
            Part::Word(word) => words.push((*word).to_owned()),
            Part::Field(spec) => {
                words
                    .extend(layer.value(spec.name).map(|value| literal::print(value, spec.syntax)));
            }
        }
    }
    for keyword in schema.keywords {
        if keyword.fields.iter().all(|spec| is_silent(layer, spec)) {
            continue;
        }
        words.push(keyword.word.to_owned());
        for spec in keyword.fields.iter().filter(|spec| !matches!(spec.syntax, Syntax::Flag)) {
            words.extend(layer.value(spec.name).map(|value| literal::print(value, spec.syntax)));
        }
    }
    if let (Some(name), Some(field)) = (schema.sum, layer.field("sum"))
        && field.note != Note::Implied
        && let Term::Is(Value::Sum(sum)) = &field.term
    {
        words.push(print_sum(name, *sum));
    }
    words.join(" ")
}

/// Whether the builder makes the field by itself, so that it need not be written.
fn is_silent(layer: &Layer, spec: &Spec) -> bool {
    let Some(field) = layer.field(spec.name) else { return true };
    let default = match (spec.default, &field.term) {
        (Default::Num(default), Term::Is(Value::Num(n))) => *n == default,
        _ => false,
    };
    default || field.note == Note::Implied
}

fn print_sum(name: &str, sum: Sum) -> String {
    let width = if name == "sctp" { 10 } else { 6 };
    match sum {
        Sum::Bad(None) => format!("badsum({name})"),
        Sum::Bad(Some(value)) => format!("badsum({name})={value:#0width$x}"),
        Sum::Is(value) => format!("sum {value:#0width$x}"),
        Sum::Absent => "nosum".to_owned(),
    }
}

/// Prints what a line said or a packet has of one field, for messages.
pub(crate) fn print_term(term: &Term, layer: &Layer, name: &str) -> String {
    let sum = layer.kind.schema().sum.unwrap_or_default();
    let syntax = layer.kind.schema().field(name).map_or(Syntax::Bytes, |spec| spec.syntax);
    match term {
        Term::Is(Value::Sum(value)) => print_sum(sum, *value),
        Term::Is(Value::Num(n)) if matches!(syntax, Syntax::Flag) => {
            if *n == 1 {
                "set".to_owned()
            } else {
                "not set".to_owned()
            }
        }
        Term::Is(value) => literal::print(value, syntax),
        Term::Any => "*".to_owned(),
        Term::Range(low, high) => {
            format!("{}..{}", literal::print(low, syntax), literal::print(high, syntax))
        }
        Term::Capture { name: capture, within: None } => format!("${capture}"),
        Term::Capture { name: capture, within: Some(within) } => {
            format!("${capture}:{}", print_term(within, layer, name))
        }
        Term::Not(unwanted) => format!("!{}", print_term(unwanted, layer, name)),
    }
}
