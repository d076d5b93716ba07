//! One layer of a packet: its kind and what is known of its fields.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::error::{ParseError, Result};
use super::schema::{Default, Kind};
use super::value::{Mac, Sum, Term, Value};

/// How a decoded field stands to what the builder would have made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    /// Written in a line, or decoded and worth printing unless it is the default.
    Plain,
    /// What the builder makes by itself: not printed.
    Implied,
    /// Contradicts the rest of the packet: a wrong checksum or length.
    Wrong,
}

/// A field's name and term.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) term: Term,
    pub(crate) note: Note,
    pub(crate) column: usize,
}

/// A layer.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) kind: Kind,
    /// Begins the packet that the ICMP error before it quotes.
    pub(crate) quoted: bool,
    /// Where the line says so.
    pub(crate) column: usize,
    pub(crate) fields: Vec<Field>,
}

impl Layer {
    pub(crate) fn new(kind: Kind) -> Self {
        Layer { kind, quoted: false, column: 1, fields: Vec::new() }
    }

    /// The field called `name`, if anything is said about it.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    pub(crate) fn field_mut(&mut self, name: &str) -> Option<&mut Field> {
        self.fields.iter_mut().find(|field| field.name == name)
    }

    /// Adds what was decoded.
    pub(crate) fn push(&mut self, name: &'static str, value: Value, note: Note) {
        self.fields.push(Field { name, term: Term::Is(value), note, column: 1 });
    }

    /// Adds a decoded number, printed unless it is the default.
    pub(crate) fn push_num(&mut self, name: &'static str, value: impl Into<u64>) {
        self.push(name, Value::Num(value.into()), Note::Plain);
    }

    /// Marks the field `name` as what the builder makes by itself.
    pub(crate) fn imply(&mut self, name: &str) {
        if let Some(field) = self.field_mut(name) {
            field.note = Note::Implied;
        }
    }

    /// The exact value of `name`, from the line or decoded.
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        match &self.field(name)?.term {
            Term::Is(value) => Some(value),
            _ => None,
        }
    }

    /// The number of `name`: what is written, else the fixed default, else nothing.
    pub(crate) fn num(&self, name: &str) -> Option<u64> {
        match (self.value(name), self.kind.schema().field(name)?.default) {
            (Some(Value::Num(n)), _) => Some(*n),
            (_, Default::Num(n)) => Some(n),
            _ => None,
        }
    }

    /// The number of `name`, or zero where neither the line nor a default gives one.
    pub(crate) fn num_or_zero(&self, name: &str) -> u64 {
        self.num(name).unwrap_or(0)
    }

    /// The number of `name`, which the line must give.
    pub(crate) fn need_num(&self, name: &str) -> Result<u64> {
        self.num(name).ok_or_else(|| self.missing(name))
    }

    pub(crate) fn mac(&self, name: &str) -> Option<Mac> {
        match self.value(name) {
            Some(Value::Mac(mac)) => Some(*mac),
            _ => None,
        }
    }

    pub(crate) fn need_mac(&self, name: &str) -> Result<Mac> {
        self.mac(name).ok_or_else(|| self.missing(name))
    }

    pub(crate) fn ip4(&self, name: &str) -> Option<Ipv4Addr> {
        match self.value(name) {
            Some(Value::Ip4(address)) => Some(*address),
            _ => None,
        }
    }

    pub(crate) fn need_ip4(&self, name: &str) -> Result<Ipv4Addr> {
        self.ip4(name).ok_or_else(|| self.missing(name))
    }

    pub(crate) fn ip6(&self, name: &str) -> Option<Ipv6Addr> {
        match self.value(name) {
            Some(Value::Ip6(address)) => Some(*address),
            _ => None,
        }
    }

    pub(crate) fn need_ip6(&self, name: &str) -> Result<Ipv6Addr> {
        self.ip6(name).ok_or_else(|| self.missing(name))
    }

    /// The bytes of `name`; none where nothing is said.
    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        match self.value(name) {
            Some(Value::Bytes(bytes)) => bytes,
            _ => &[],
        }
    }

    /// The checksum to put into the packet, given the right one.
    pub(crate) fn sum(&self, right: u16) -> u16 {
        self.written_sum(right.into(), super::checksum::bad(right).into()) as u16
    }

    /// [`Layer::sum`] of 32 bits.
    pub(crate) fn sum32(&self, right: u32) -> u32 {
        self.written_sum(right, super::crc32c::bad(right))
    }

    fn written_sum(&self, right: u32, bad: u32) -> u32 {
        match self.value("sum") {
            Some(Value::Sum(Sum::Bad(None))) => bad,
            Some(Value::Sum(Sum::Bad(Some(value)) | Sum::Is(value))) => *value,
            Some(Value::Sum(Sum::Absent)) => 0,
            _ => right,
        }
    }

    /// Adds the checksum `found`, where `right` is the builder's; `complete` says whether all
    /// the bytes that it covers are there.
    pub(crate) fn push_sum(&mut self, found: u16, right: u16, complete: bool) {
        let same = |a: u16, b: u16| a == b || (a == 0 && b == 0xffff) || (a == 0xffff && b == 0);
        let (sum, note) = if found == right {
            (Sum::Is(found.into()), Note::Implied)
        } else if same(found, right) || !complete {
            (Sum::Is(found.into()), Note::Plain)
        } else {
            let unusual = (found != super::checksum::bad(right)).then_some(found.into());
            (Sum::Bad(unusual), Note::Wrong)
        };
        self.push("sum", Value::Sum(sum), note);
    }

    /// [`Layer::push_sum`] of 32 bits.
    pub(crate) fn push_sum32(&mut self, found: u32, right: u32, complete: bool) {
        let (sum, note) = if found == right {
            (Sum::Is(found), Note::Implied)
        } else if !complete {
            (Sum::Is(found), Note::Plain)
        } else {
            let unusual = (found != super::crc32c::bad(right)).then_some(found);
            (Sum::Bad(unusual), Note::Wrong)
        };
        self.push("sum", Value::Sum(sum), note);
    }

    fn missing(&self, name: &str) -> ParseError {
        let schema = self.kind.schema();
        ParseError::new(self.column, format!("`{}` needs {name} here", schema.name()))
    }
}
