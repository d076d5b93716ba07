//! The one list of keys: what the reader accepts, the defaults it fills in, and the reference
//! table of the README.

use std::fmt::Write as _;

/// One mapping of the file.
#[derive(Debug)]
pub struct Section {
    /// Key path, `[]` for an element of a list; empty for the file as a whole.
    pub path: &'static str,
    /// Its keys in the order of the documentation.
    pub keys: &'static [Key],
}

/// One key of a mapping.
#[derive(Debug)]
pub struct Key {
    /// The key as written.
    pub name: &'static str,
    /// What its value is.
    pub kind: &'static str,
    /// What stands in for it.
    pub default: Default,
    /// What it is for.
    pub meaning: &'static str,
}

/// What stands in for a key that is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// Nothing: the key must be there.
    Required,
    /// This value, as it would be written. The reader fills in this very text.
    Value(&'static str),
    /// What these words say.
    Words(&'static str),
}

impl Section {
    /// The key of that name.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The keys' names, for a message.
    pub(crate) fn key_names(&self) -> String {
        let names: Vec<String> = self.keys.iter().map(|key| format!("`{}`", key.name)).collect();
        match &names[..] {
            [one] => format!("the key {one}"),
            names => format!("the keys {}", names.join(", ")),
        }
    }
}

/// Every section, in the order of the documentation.
pub static SECTIONS: &[&Section] = &[
    &crate::document::SECTION,
    &crate::ports::SECTION,
    &crate::workers::SECTION,
    &crate::workers::IDLE,
    &crate::io::SECTION,
    &crate::io::DPDK_SECTION,
    &crate::overlay::SECTION,
    &crate::overlay::VXLAN,
    &crate::routes::SECTION,
    &crate::snat::SECTION,
    &crate::snat::PORTS,
    &crate::node::SECTION,
    &crate::cluster::SECTION,
    &crate::services::SECTION,
    &crate::policy::SECTION,
    &crate::announce::SECTION,
    &crate::announce::LEASES,
    &crate::load_balancer::SECTION,
    &crate::load_balancer::POOL,
    &crate::l7::SECTION,
    &crate::l7::INGRESS,
    &crate::l7::IDENTITY,
    &crate::l7::LIMITS,
    &crate::l7::ACCESS_LOG,
    &crate::source::SECTION,
    &crate::source::MANIFESTS,
    &crate::source::KUBERNETES,
    &crate::source::SNAPSHOT,
    &crate::flows::SECTION,
    &crate::flows::LIMITS,
    &crate::flows::TIMEOUTS,
    &crate::fragments::SECTION,
    &crate::neighbors::SECTION,
    &crate::icmp::SECTION,
    &crate::observe::METRICS,
    &crate::observe::ADMIN,
    &crate::observe::LOGGING,
    &crate::flow_log::SECTION,
    &crate::flow_log::FLOW_LOG,
    &crate::drain::SECTION,
];

/// The section that has a key of that name, if it is the only one.
pub(crate) fn section_of(name: &str) -> Option<&'static Section> {
    let mut holders = SECTIONS.iter().filter(|section| section.key(name).is_some());
    let first = holders.next()?;
    (holders.next().is_none() && !first.path.is_empty()).then_some(*first)
}

/// The reference of every key as Markdown tables, one per section.
pub fn markdown() -> String {
    let mut out = String::new();
    for section in SECTIONS {
        let title = if section.path.is_empty() { "The file" } else { section.path };
        let ticks = if section.path.is_empty() { "" } else { "`" };
        let _ = writeln!(out, "### {ticks}{title}{ticks}\n");
        let _ = writeln!(out, "| key | type | default | meaning |\n|---|---|---|---|");
        for key in section.keys {
            let default = match key.default {
                Default::Required => "required".to_owned(),
                Default::Value(text) => format!("`{text}`"),
                Default::Words(words) => words.to_owned(),
            };
            let Key { name, kind, meaning, .. } = key;
            let _ = writeln!(out, "| `{name}` | {kind} | {default} | {meaning} |");
        }
        out.push('\n');
    }
    out
}
