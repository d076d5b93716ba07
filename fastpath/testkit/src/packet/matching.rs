//! Comparing a packet with what a line expects.

use std::fmt;

use super::Defaults;
use super::bindings::Bindings;
use super::decode::decode;
use super::layer::{Field, Layer, Note};
use super::protocols::eth;
use super::schema::Kind;
use super::text;
use super::value::{Sum, Term, Value};

/// Why a packet is not what a line expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The line.
    pub expected: String,
    /// The packet.
    pub actual: String,
    /// What differs, one entry each, such as `ip ttl: expected 63, is 64`.
    pub differences: Vec<String>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "expected: {}", self.expected)?;
        write!(f, "actual:   {}", self.actual)?;
        for difference in &self.differences {
            write!(f, "\ndiffers:  {difference}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mismatch {}

/// Compares `frame` with `pattern`; binds captures only if all of it matches. Returns what
/// differs.
pub(crate) fn compare(
    pattern: &[Layer],
    frame: &[u8],
    defaults: &Defaults,
    bindings: &mut Bindings,
) -> Vec<String> {
    if let [raw] = pattern
        && raw.kind == Kind::Raw
    {
        return compare_whole(raw, frame, bindings);
    }
    let actual = decode(frame, defaults);
    let mut comparison =
        Comparison { actual: &actual, bound: bindings.clone(), differences: Vec::new() };
    let pairs = comparison.pair(pattern);
    for (i, layer) in actual.iter().enumerate() {
        let expected = pairs.iter().find(|(_, at)| *at == i).map(|(expected, _)| *expected);
        if let Some(expected) = expected {
            comparison.compare_fields(expected, layer);
        }
        comparison.check_consistency(i, expected);
        if expected.is_none() && layer.kind == Kind::Eth && defaults.eth_is_checked {
            comparison.check_eth(i, defaults);
        }
    }
    let Comparison { bound, differences, .. } = comparison;
    if differences.is_empty() {
        *bindings = bound;
    }
    differences
}

/// A lone `raw` is the whole frame, whatever it holds.
fn compare_whole(raw: &Layer, frame: &[u8], bindings: &mut Bindings) -> Vec<String> {
    let Some(field) = raw.field("bytes") else { return Vec::new() };
    if matches(&field.term, &Value::Bytes(frame.to_vec()), bindings) {
        return Vec::new();
    }
    vec![format!("the frame's bytes: expected {}", text::print_term(&field.term, raw, "bytes"))]
}

struct Comparison<'a> {
    actual: &'a [Layer],
    bound: Bindings,
    differences: Vec<String>,
}

impl Comparison<'_> {
    /// Finds each expected layer's counterpart. Ethernet headers, payload and padding may be
    /// there unwritten; anything else, including a tag, must be written.
    fn pair<'p>(&mut self, pattern: &'p [Layer]) -> Vec<(&'p Layer, usize)> {
        let mut pairs = Vec::new();
        let mut at = 0;
        for expected in pattern {
            if expected.kind == Kind::Further {
                return pairs;
            }
            let kind_at = |at: usize| self.actual.get(at).map(|layer| layer.kind);
            if expected.kind != Kind::Eth && kind_at(at) == Some(Kind::Eth) {
                at += 1;
            }
            if is_empty(expected) && !kind_at(at).is_some_and(|kind| is_alike(kind, expected.kind))
            {
                continue;
            }
            let found = self.actual.get(at);
            let same = found.is_some_and(|found| {
                is_alike(found.kind, expected.kind) && found.quoted == expected.quoted
            });
            if !same {
                self.differences.push(format!(
                    "expected {}, is {}",
                    layer_name(expected),
                    found.map_or("the end".to_owned(), layer_name)
                ));
                return pairs;
            }
            pairs.push((expected, at));
            at += 1;
        }
        let mut further = self.actual[at..].iter();
        if let Some(unwritten) = further.find(|l| !matches!(l.kind, Kind::Data | Kind::Pad)) {
            self.differences.push(format!("did not expect {}", layer_name(unwritten)));
        }
        pairs
    }

    fn compare_fields(&mut self, expected: &Layer, actual: &Layer) {
        for field in &expected.fields {
            let found = actual.value(field.name);
            let term = found.map_or(field.term.clone(), |found| padded(field, found));
            if found.is_some_and(|value| matches(&term, value, &mut self.bound)) {
                continue;
            }
            let wanted = match &field.term {
                Term::Capture { name, .. } if self.bound.get(name).is_some() => {
                    let value = self.bound.get(name).cloned().unwrap_or(Value::Num(0));
                    let value = text::print_term(&Term::Is(value), actual, field.name);
                    format!("{value} (${name})")
                }
                term => text::print_term(term, expected, field.name),
            };
            let found = match found {
                Some(value) => text::print_term(&Term::Is(value.clone()), actual, field.name),
                None => "absent".to_owned(),
            };
            let name = actual.kind.schema().name();
            self.differences.push(format!("{name} {}: expected {wanted}, is {found}", field.name));
        }
    }

    /// Checksums must be right, and lengths consistent, unless the line speaks of them.
    fn check_consistency(&mut self, at: usize, expected: Option<&Layer>) {
        let layer = &self.actual[at];
        let name = layer.kind.schema().name();
        let written = |field: &str| expected.is_some_and(|layer| layer.field(field).is_some());
        for field in &layer.fields {
            if field.note != Note::Wrong || written(field.name) {
                continue;
            }
            let found = text::print_term(&field.term, layer, field.name);
            self.differences.push(match field.name {
                "sum" => format!("{name} checksum is wrong: {found}"),
                field => format!("{name} {field} {found} contradicts the packet"),
            });
        }
        let absent = layer.value("sum") == Some(&Value::Sum(Sum::Absent));
        if absent && expected.is_some() && !written("sum") && !self.may_lack_checksum(at) {
            self.differences.push(format!("{name} has no checksum (`nosum` allows it)"));
        }
    }

    /// The Ethernet header that the line leaves out must have the default addresses.
    fn check_eth(&mut self, at: usize, defaults: &Defaults) {
        let inner = self.actual[..at].iter().any(|layer| layer.kind == Kind::Vxlan);
        let (src, dst) = defaults.addresses(inner);
        let dst = eth::default_dst(&self.actual[at + 1..], dst);
        let header = &self.actual[at];
        for (name, expected) in [("src", src), ("dst", dst)] {
            if let Some(found) = header.mac(name).filter(|found| *found != expected) {
                let depth = if inner { "inner eth" } else { "eth" };
                self.differences.push(format!("{depth} {name}: expected {expected}, is {found}"));
            }
        }
    }

    /// VXLAN over IPv4 should have a zero UDP checksum (RFC 7348 section 5).
    fn may_lack_checksum(&self, at: usize) -> bool {
        let tunnel = self.actual.get(at + 1).is_some_and(|next| next.kind == Kind::Vxlan);
        let mut around = self.actual[..at].iter().rev().map(|layer| layer.kind);
        tunnel && around.find(|kind| matches!(kind, Kind::Ip | Kind::Ip6)) == Some(Kind::Ip)
    }
}

/// Payload is payload, whether anything understood it as such or not.
fn is_alike(a: Kind, b: Kind) -> bool {
    let is_payload = |kind: Kind| matches!(kind, Kind::Data | Kind::Raw);
    a == b || (is_payload(a) && is_payload(b))
}

/// `data 0`, `pad 0x`: no such layer.
fn is_empty(layer: &Layer) -> bool {
    matches!(layer.kind, Kind::Data | Kind::Raw | Kind::Pad)
        && layer.value("bytes") == Some(&Value::Bytes(Vec::new()))
}

fn layer_name(layer: &Layer) -> String {
    let name = layer.kind.schema().name();
    if layer.quoted { format!("quoted `{name}`") } else { format!("`{name}`") }
}

/// Options as the builder would fill them up with zeros.
fn padded(field: &Field, found: &Value) -> Term {
    match (&field.term, found) {
        (Term::Is(Value::Bytes(written)), Value::Bytes(found))
            if field.name != "bytes"
                && (written.len()..written.len() + 8).contains(&found.len()) =>
        {
            let mut written = written.clone();
            written.resize(found.len(), 0);
            Term::Is(Value::Bytes(written))
        }
        (term, _) => term.clone(),
    }
}

fn matches(term: &Term, value: &Value, bindings: &mut Bindings) -> bool {
    match term {
        Term::Any => true,
        Term::Is(Value::Sum(Sum::Bad(None))) => matches!(value, Value::Sum(Sum::Bad(_))),
        Term::Is(expected) => expected == value,
        Term::Range(low, high) => low <= value && value <= high,
        Term::Not(unwanted) => !matches(unwanted, value, &mut bindings.clone()),
        Term::Capture { name, within } => {
            if let Some(bound) = bindings.get(name) {
                return bound == value;
            }
            let fits = within.as_deref().is_none_or(|within| matches(within, value, bindings));
            if fits {
                bindings.set(name, value.clone());
            }
            fits
        }
    }
}
