//! The keys of one mapping, checked against its section of the schema.

use super::{Located, Reader, Reported, Spot, closest};
use crate::schema::{Default, Key, Section, section_of};
use crate::yaml::{Entry, Node, Scalar, Value};

/// A value to read, and where it stands.
#[derive(Clone)]
pub(crate) struct Field<'n> {
    pub node: &'n Node,
    pub spot: Spot,
}

impl<'n> Field<'n> {
    /// The text below a key of this mapping, if it is one and has it. Nothing is judged.
    pub(crate) fn text_of(&self, name: &str) -> Option<&'n str> {
        let Value::Map(entries) = &self.node.value else { return None };
        let entry = entries.iter().find(|entry| &*entry.key == name)?;
        match &entry.value.value {
            Value::Scalar(scalar) => Some(&*scalar.text),
            _ => None,
        }
    }
}

/// The keys of one mapping. Asking for a key that the section does not list is a mistake in this
/// crate, which the tests of the schema find.
pub(crate) struct Fields<'n> {
    section: &'static Section,
    spot: Spot,
    entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    /// Opens a mapping and reports the keys that its section does not know.
    pub(crate) fn open(
        reader: &mut Reader<'_>,
        field: Field<'n>,
        section: &'static Section,
    ) -> Result<Self, Reported> {
        let Field { node, spot } = field;
        let Value::Map(entries) = &node.value else {
            let expected = format!("a mapping with {}", section.key_names());
            return Err(reader.error(&spot, format!("found {}", node.describe()), &*expected));
        };
        let fields = Self { section, spot, entries };
        for entry in entries.iter().filter(|entry| section.key(&entry.key).is_none()) {
            fields.report_unknown(reader, entry);
        }
        Ok(fields)
    }

    fn report_unknown(&self, reader: &mut Reader<'_>, entry: &Entry) {
        let known = self.section.keys.iter().map(|key| key.name);
        let help = match (closest(&entry.key, known), section_of(&entry.key)) {
            (Some(name), _) => Some(format!("did you mean `{name}`?")),
            (None, Some(section)) => {
                Some(format!("`{}` is a key of `{}`", entry.key, section.path))
            }
            (None, None) => None,
        };
        let spot = self.spot.key(&entry.key, entry.key_span);
        let expected = self.section.key_names();
        reader.error_with_help(&spot, "unknown key", &*expected, help);
    }

    /// Where the mapping stands.
    pub(crate) fn spot(&self) -> &Spot {
        &self.spot
    }

    fn key(&self, name: &str) -> &'static Key {
        self.section.key(name).unwrap_or_else(|| panic!("{}: no key {name}", self.section.path))
    }

    /// The value of a key; nothing if it is absent or null.
    pub(crate) fn get(&self, name: &str) -> Option<Field<'n>> {
        let key = self.key(name);
        let entry = self.entries.iter().find(|entry| &*entry.key == key.name)?;
        let spot = self.spot.key(name, entry.value.span);
        (!entry.value.is_null()).then_some(Field { node: &entry.value, spot })
    }

    /// Reads a key that must be there.
    pub(crate) fn required<T>(
        &self,
        reader: &mut Reader<'_>,
        name: &str,
        read: impl FnOnce(&mut Reader<'_>, Field<'n>) -> Result<T, Reported>,
    ) -> Result<Located<T>, Reported> {
        match self.get(name) {
            Some(field) => located(reader, field, read),
            None => Err(self.report_missing(reader, name)),
        }
    }

    /// Reports that a key is missing.
    pub(crate) fn report_missing(&self, reader: &mut Reader<'_>, name: &str) -> Reported {
        let key = self.key(name);
        let present = self.entries.iter().find(|entry| &*entry.key == key.name);
        let span = present.map_or(self.spot.span, |entry| entry.key_span);
        let spot = self.spot.key(name, span);
        reader.error(&spot, "missing", &*format!("{}: {}", key.kind, key.meaning))
    }

    /// Reads a key that may be absent.
    pub(crate) fn optional<T>(
        &self,
        reader: &mut Reader<'_>,
        name: &str,
        read: impl FnOnce(&mut Reader<'_>, Field<'n>) -> Result<T, Reported>,
    ) -> Result<Option<Located<T>>, Reported> {
        self.get(name).map(|field| located(reader, field, read)).transpose()
    }

    /// Reads a key, or else the default that the schema documents for it.
    pub(crate) fn defaulted<T>(
        &self,
        reader: &mut Reader<'_>,
        name: &str,
        read: impl FnOnce(&mut Reader<'_>, Field<'_>) -> Result<T, Reported>,
    ) -> Result<Located<T>, Reported> {
        if let Some(field) = self.get(name) {
            return located(reader, field, read);
        }
        let Default::Value(text) = self.key(name).default else {
            return Err(self.report_missing(reader, name));
        };
        let value = Value::Scalar(Scalar { text: text.into(), plain: true });
        let spot = self.spot.key(name, self.spot.span);
        located(reader, Field { node: &Node { span: spot.span, value }, spot }, read)
    }

    /// The mapping below a key; one without entries if the key is absent.
    pub(crate) fn section(
        &self,
        reader: &mut Reader<'_>,
        name: &str,
        section: &'static Section,
    ) -> Result<Self, Reported> {
        match self.get(name) {
            Some(field) => Self::open(reader, field, section),
            None => {
                let spot = self.spot.key(name, self.spot.span);
                Ok(Self { section, spot, entries: &[] })
            }
        }
    }
}

fn located<'n, T>(
    reader: &mut Reader<'_>,
    field: Field<'n>,
    read: impl FnOnce(&mut Reader<'_>, Field<'n>) -> Result<T, Reported>,
) -> Result<Located<T>, Reported> {
    let spot = field.spot.clone();
    read(reader, field).map(|value| Located { value, spot })
}
