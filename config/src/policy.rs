//! `policy`: what of network policies is a matter of the gateway.

use ipnet::IpNet;

use crate::read::{Fields, Located, Reader, Reported, is_label, list, pool_prefix, text};
use crate::schema::{Default, Key, Section};

/// Most prefixes of DNS servers.
const PREFIXES_MAX: usize = 256;

/// Most Services of DNS servers.
const SERVICES_MAX: usize = 16;

/// What of network policies is a matter of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The Services whose endpoints' answers say which addresses a domain name has: namespace and
    /// name.
    pub dns_services: Vec<(String, String)>,
    /// Other DNS servers that are believed.
    pub dns_servers: Vec<IpNet>,
}

pub(crate) static SECTION: Section = Section {
    path: "policy",
    keys: &[
        Key {
            name: "dns_services",
            kind: "list of at most 16 Services, `namespace/name`",
            default: Default::Words("`[kube-system/kube-dns]`"),
            meaning: "Services whose endpoints are DNS servers that say which addresses the \
                      `domainNames` of policies have; as their endpoints come and go",
        },
        Key {
            name: "dns_servers",
            kind: "list of at most 256 prefixes",
            default: Default::Words("none"),
            meaning: "addresses of DNS servers that are believed as well, as they answer: behind \
                      a Service its endpoints; with an empty `dns_services` they alone",
        },
    ],
};

impl Policy {
    /// Reads `policy`.
    pub(crate) fn read(reader: &mut Reader<'_>, root: &Fields<'_>) -> Result<Self, Reported> {
        let fields = root.section(reader, "policy", &SECTION)?;
        let services = list(0..=SERVICES_MAX, service);
        let dns_services = fields.optional(reader, "dns_services", services);
        let prefixes = list(0..=PREFIXES_MAX, pool_prefix);
        let dns_servers = fields.optional(reader, "dns_servers", prefixes);
        let kube_dns = || vec![("kube-system".to_owned(), "kube-dns".to_owned())];
        Ok(Self {
            dns_services: dns_services?.map_or_else(kube_dns, |list| values(list.value)),
            dns_servers: dns_servers?.map(|list| values(list.value)).unwrap_or_default(),
        })
    }
}

fn values<T>(list: Vec<Located<T>>) -> Vec<T> {
    list.into_iter().map(|located| located.value).collect()
}

/// Reads the namespace and the name of a Service.
fn service(
    reader: &mut Reader<'_>,
    field: crate::read::Field<'_>,
) -> Result<(String, String), Reported> {
    let read = text("a Service, such as kube-system/kube-dns", |text| {
        let is_name = |text: &str| text.len() <= 63 && is_label(text);
        match text.split_once('/') {
            Some((namespace, name)) if is_name(namespace) && is_name(name) => {
                Ok((namespace.to_owned(), name.to_owned()))
            }
            _ => Err(String::new()),
        }
    });
    read(reader, field)
}

#[cfg(test)]
mod tests {
    fn policy(text: &str) -> super::Policy {
        let text = format!(
            "ports: [{{name: a, device: eth1, addresses: [192.0.2.1/24]}}]
snat: {{addresses: [10.244.255.0/28]}}
source: {{manifests: {{path: x}}}}
{text}"
        );
        let loaded = crate::parse("test.yaml", &text);
        loaded.unwrap_or_else(|errors| panic!("{errors}")).config.policy
    }

    #[test]
    fn the_clusters_dns_is_believed_and_whom_the_file_names() {
        let kube_dns = ("kube-system".to_owned(), "kube-dns".to_owned());
        for text in ["", "policy: {}", "policy: {dns_servers: []}"] {
            let read = policy(text);
            assert_eq!(
                (&*read.dns_services, &*read.dns_servers),
                (&[kube_dns.clone()][..], &[][..])
            );
        }
        let read = policy("policy: {dns_servers: [10.244.2.0/24, 192.0.2.53, 'fd00::53']}");
        let told: Vec<String> = read.dns_servers.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["10.244.2.0/24", "192.0.2.53/32", "fd00::53/128"]);
        assert_eq!(read.dns_services, [kube_dns]);
        assert_eq!(policy("policy: {dns_services: []}").dns_services, []);
        let read = policy("policy: {dns_services: [openshift-dns/dns-default]}");
        assert_eq!(read.dns_services, [("openshift-dns".to_owned(), "dns-default".to_owned())]);
    }
}
