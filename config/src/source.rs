//! `source`: where the cluster's state comes from.

use std::path::PathBuf;

use crate::read::{Fields, Reader, Reported, path};
use crate::schema::{Default, Key, Section};

/// Where the cluster's state comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A folder of Kubernetes manifests.
    Manifests(Manifests),
}

/// A folder of Kubernetes manifests.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifests {
    /// The folder; a relative path in the file is taken from the configuration file's folder.
    pub path: PathBuf,
}

pub(crate) static SECTION: Section = Section {
    path: "source",
    keys: &[Key {
        name: "manifests",
        kind: "section",
        default: Default::Required,
        meaning: "read Kubernetes manifests from a folder",
    }],
};

pub(crate) static MANIFESTS: Section = Section {
    path: "source.manifests",
    keys: &[Key {
        name: "path",
        kind: "path",
        default: Default::Required,
        meaning: "the folder; a relative path is taken from this file's folder",
    }],
};

impl Source {
    /// Reads `source`.
    pub(crate) fn read(reader: &mut Reader<'_>, root: &Fields<'_>) -> Result<Self, Reported> {
        let Some(source) = root.get("source") else {
            return Err(root.report_missing(reader, "source"));
        };
        let source = Fields::open(reader, source, &SECTION)?;
        let Some(manifests) = source.get("manifests") else {
            return Err(source.report_missing(reader, "manifests"));
        };
        let manifests = Fields::open(reader, manifests, &MANIFESTS)?;
        let path = manifests.required(reader, "path", path)?.value;
        Ok(Self::Manifests(Manifests { path }))
    }
}
