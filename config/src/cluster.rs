//! `cluster`: the address ranges of the Kubernetes cluster.

use ipnet::IpNet;

use crate::read::{Fields, Located, Reader, Reported, list, pool_prefix};
use crate::schema::{self, Key, Section};

/// The address ranges of the Kubernetes cluster; empty where not told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Ranges of pod addresses, host bits zero.
    pub pod_cidrs: Vec<IpNet>,
    /// Ranges of ClusterIPs, host bits zero.
    pub service_cidrs: Vec<IpNet>,
}

/// Most prefixes of one kind.
const CIDRS_MAX: usize = 256;

pub(crate) static SECTION: Section = Section {
    path: "cluster",
    keys: &[
        Key {
            name: "pod_cidrs",
            kind: "list of prefixes",
            default: schema::Default::Words("none told"),
            meaning: "ranges of pod addresses",
        },
        Key {
            name: "service_cidrs",
            kind: "list of prefixes",
            default: schema::Default::Words("none told"),
            meaning: "ranges of ClusterIPs",
        },
    ],
};

/// The ranges as read, not yet checked against the rest of the file.
#[derive(Default)]
pub(crate) struct RawCluster {
    pub pod_cidrs: Vec<Located<IpNet>>,
    pub service_cidrs: Vec<Located<IpNet>>,
}

impl RawCluster {
    /// Reads `cluster`.
    pub(crate) fn read(reader: &mut Reader<'_>, root: &Fields<'_>) -> Result<Self, Reported> {
        let fields = root.section(reader, "cluster", &SECTION)?;
        let mut cidrs = |name| {
            let list = fields.optional(reader, name, list(0..=CIDRS_MAX, pool_prefix));
            list.ok().flatten().map(|list| list.value).unwrap_or_default()
        };
        Ok(Self { pod_cidrs: cidrs("pod_cidrs"), service_cidrs: cidrs("service_cidrs") })
    }

    /// The ranges as they will be used.
    pub(crate) fn build(self) -> Cluster {
        let values = |cidrs: Vec<Located<IpNet>>| cidrs.into_iter().map(|net| net.value).collect();
        Cluster { pod_cidrs: values(self.pod_cidrs), service_cidrs: values(self.service_cidrs) }
    }
}
