//! `node`: the gateway as a Node of the cluster.

use crate::read::{Fields, Reader, Reported, boolean};
use crate::schema::{Default, Key, Section};
use crate::source::Source;

/// What Sluice writes about its own Node, with `source.kubernetes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Sluice keeps the annotations that tell nodes where its tunnels end.
    pub annotate: bool,
    /// Sluice makes the Node, and keeps it ready: there is no kubelet of that name.
    pub register: bool,
}

pub(crate) static SECTION: Section = Section {
    path: "node",
    keys: &[
        Key {
            name: "annotate",
            kind: "boolean",
            default: Default::Value("true"),
            meaning: "with an overlay and `source.kubernetes`: write on the gateway's Node where \
                      its tunnels end, as the overlay's nodes read it",
        },
        Key {
            name: "register",
            kind: "boolean",
            default: Default::Value("false"),
            meaning: "make the Node and keep it ready, where no kubelet does: it then gets pod \
                      ranges; needs `source.kubernetes`",
        },
    ],
};

impl Node {
    /// Reads `node`.
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        root: &Fields<'_>,
        source: &Result<Source, Reported>,
    ) -> Result<Self, Reported> {
        let fields = root.section(reader, "node", &SECTION)?;
        let annotate = fields.defaulted(reader, "annotate", boolean);
        let register = fields.defaulted(reader, "register", boolean)?;
        if register.value && matches!(source, Ok(Source::Manifests(_))) {
            let message = "there is no API to make a Node in";
            return Err(reader.error(&register.spot, message, "`false`, or `source.kubernetes`"));
        }
        Ok(Node { annotate: annotate?.value, register: register.value })
    }
}
