//! `cluster`: the address ranges of the Kubernetes cluster.

use ipnet::IpNet;

use crate::read::{Fields, Located, Reader, Reported, is_subdomain, list, pool_prefix, text};
use crate::schema::{self, Key, Section};

/// The address ranges of the Kubernetes cluster, empty where not told, and its domain.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Ranges of pod addresses, host bits zero.
    pub pod_cidrs: Vec<IpNet>,
    /// Ranges of ClusterIPs, host bits zero.
    pub service_cidrs: Vec<IpNet>,
    /// The domain of the cluster's own names, in lower case and without dots at the ends.
    pub domain: String,
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
        Key {
            name: "domain",
            kind: "domain name",
            default: schema::Default::Value("cluster.local"),
            meaning: "domain of the cluster's own DNS names: only names below it have addresses \
                      of pods, where policies name peers by domain names",
        },
    ],
};

/// The ranges as read, not yet checked against the rest of the file.
#[derive(Default)]
pub(crate) struct RawCluster {
    pub pod_cidrs: Vec<Located<IpNet>>,
    pub service_cidrs: Vec<Located<IpNet>>,
    domain: String,
}

impl RawCluster {
    /// Reads `cluster`.
    pub(crate) fn read(reader: &mut Reader<'_>, root: &Fields<'_>) -> Result<Self, Reported> {
        let fields = root.section(reader, "cluster", &SECTION)?;
        let mut cidrs = |name| {
            let list = fields.optional(reader, name, list(0..=CIDRS_MAX, pool_prefix));
            list.ok().flatten().map(|list| list.value).unwrap_or_default()
        };
        let (pod_cidrs, service_cidrs) = (cidrs("pod_cidrs"), cidrs("service_cidrs"));
        let domain = text("a domain name in lower case, such as cluster.local", |text| {
            if is_subdomain(text) { Ok(text.to_owned()) } else { Err(String::new()) }
        });
        let domain = fields.defaulted(reader, "domain", domain)?.value;
        Ok(Self { pod_cidrs, service_cidrs, domain })
    }

    /// The ranges as they will be used.
    pub(crate) fn build(self) -> Cluster {
        let values = |cidrs: Vec<Located<IpNet>>| cidrs.into_iter().map(|net| net.value).collect();
        Cluster {
            pod_cidrs: values(self.pod_cidrs),
            service_cidrs: values(self.service_cidrs),
            domain: self.domain,
        }
    }
}
