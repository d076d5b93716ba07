//! Names that `expect` lines bind and later lines use.

use std::collections::BTreeMap;

use super::value::Value;

/// The values of `$name` captures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bindings(BTreeMap<String, Value>);

impl Bindings {
    /// No name is bound.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value bound to `name` (without `$`).
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Binds `name` (without `$`), or binds it anew.
    pub fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }
}
