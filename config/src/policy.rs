//! `policy`: what of network policies is a matter of the gateway.

use ipnet::IpNet;

use crate::read::{Fields, Reader, Reported, list, pool_prefix};
use crate::schema::{Default, Key, Section};

/// Most prefixes of DNS servers.
const PREFIXES_MAX: usize = 256;

/// What of network policies is a matter of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The DNS servers whose answers say which addresses a domain name has; `None`: all pods.
    pub dns_servers: Option<Vec<IpNet>>,
}

pub(crate) static SECTION: Section = Section {
    path: "policy",
    keys: &[Key {
        name: "dns_servers",
        kind: "list of at most 256 prefixes",
        default: Default::Words("all pods"),
        meaning: "DNS servers whose answers say which addresses the `domainNames` of policies \
                  have; as they answer, behind any Service; pods are believed only if they are \
                  named then; an empty list: nobody",
    }],
};

impl Policy {
    /// Reads `policy`.
    pub(crate) fn read(reader: &mut Reader<'_>, root: &Fields<'_>) -> Result<Self, Reported> {
        let fields = root.section(reader, "policy", &SECTION)?;
        let prefixes = list(0..=PREFIXES_MAX, pool_prefix);
        let dns_servers = fields.optional(reader, "dns_servers", prefixes)?;
        let values = |list: Vec<crate::read::Located<IpNet>>| {
            list.into_iter().map(|net| net.value).collect()
        };
        Ok(Self { dns_servers: dns_servers.map(|list| values(list.value)) })
    }
}

#[cfg(test)]
mod tests {
    fn servers(text: &str) -> Option<Vec<String>> {
        let text = format!(
            "ports: [{{name: a, device: eth1, addresses: [192.0.2.1/24]}}]
snat: {{addresses: [10.244.255.0/28]}}
source: {{manifests: {{path: x}}}}
{text}"
        );
        let loaded = crate::parse("test.yaml", &text);
        let policy = loaded.unwrap_or_else(|errors| panic!("{errors}")).config.policy;
        policy.dns_servers.map(|nets| nets.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn pods_are_believed_unless_servers_are_named() {
        assert_eq!(servers(""), None);
        assert_eq!(servers("policy: {}"), None);
        assert_eq!(servers("policy: {dns_servers: []}"), Some(Vec::new()));
        let told = servers("policy: {dns_servers: [10.244.2.0/24, 192.0.2.53, 'fd00::53']}");
        let expected = ["10.244.2.0/24", "192.0.2.53/32", "fd00::53/128"];
        assert_eq!(told.unwrap(), expected);
    }
}
