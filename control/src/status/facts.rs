use super::allocator::{Family, Request, Sharing};
use crate::cluster::Protocol;
use crate::diagnostic::Finding;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// The addresses that a Service asks for: at most one of a family, with commas.
const ADDRESSES: &str = "sluice.dev/load-balancer-ips";

/// The pool that a Service's addresses are to come from.
const POOL: &str = "sluice.dev/address-pool";

/// Services with the same value may share an address.
const SHARING: &str = "sluice.dev/allow-shared-ip";

/// The condition that tells whether a Service has the addresses it wants.
pub const CONDITION: &str = "sluice.dev/AddressAllocated";

/// Longest sharing key in bytes: as long as names are.
const SHARING_MAX: usize = 253;

/// Longest piece of an object's text in a message, in characters.
const QUOTE_MAX: usize = 64;

/// A Service, reduced to what its addresses depend on and what was written
/// back before.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// `metadata.resourceVersion`.
    pub resource_version: Arc<str>,
    /// `spec.type` is LoadBalancer.
    pub is_balancer: bool,
    /// `spec.loadBalancerClass`.
    pub class: Option<Arc<str>>,
    /// The proxy that it is meant for.
    pub proxy_name: Option<Arc<str>>,
    /// What it wants.
    pub request: Request,
    /// `status.loadBalancer.ingress`.
    pub ingress: Vec<LoadBalancerIngress>,
    /// The condition [`CONDITION`].
    pub condition: Option<Condition>,
}

impl Facts {
    /// `None` if the Service neither has a load balancer nor was written to.
    pub fn of(service: &Service) -> Option<Facts> {
        let spec = service.spec.as_ref()?;
        let status = service.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_deref());
        let condition = conditions.unwrap_or_default().iter().find(|one| one.type_ == CONDITION);
        let is_balancer = spec.type_.as_deref() == Some("LoadBalancer");
        if !is_balancer && condition.is_none() {
            return None;
        }
        let balancer = status.and_then(|status| status.load_balancer.as_ref());
        let ingress = balancer.and_then(|balancer| balancer.ingress.clone()).unwrap_or_default();
        let metadata = &service.metadata;
        let label = |name: &str| metadata.labels.as_ref()?.get(name).map(|value| &**value);
        Some(Facts {
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            resource_version: metadata.resource_version.as_deref().unwrap_or_default().into(),
            is_balancer,
            class: spec.load_balancer_class.as_deref().map(Into::into),
            proxy_name: label(crate::cluster::PROXY_NAME).map(Into::into),
            request: request(service, spec, &ingress),
            ingress,
            condition: condition.cloned(),
        })
    }

    /// Whether it is older than `other`, as far as can be told.
    pub fn is_older_than(&self, other: &Facts) -> bool {
        is_older(&self.resource_version, &other.resource_version)
    }
}

/// Whether a resource version is older than another, as far as can be told: they
/// are numbers that grow (KEP-5504).
pub fn is_older(version: &str, other: &str) -> bool {
    let number = |version: &str| version.parse::<u64>().ok();
    number(version).zip(number(other)).is_some_and(|(this, other)| this < other)
}

/// What a Service of type LoadBalancer asks for and cannot be read.
pub fn check(service: &Service, findings: &mut Vec<Finding>) {
    let Some(spec) = &service.spec else { return };
    if spec.type_.as_deref() == Some("LoadBalancer")
        && annotation(service, ADDRESSES).is_some_and(|text| of_annotation(text).is_err())
    {
        let text = quote(annotation(service, ADDRESSES).unwrap_or_default());
        let message = format!("{text} is no list of addresses; none is allocated");
        let finding = Finding::error(format!("metadata.annotations.{ADDRESSES}"), message);
        findings.push(finding.expected(EXPECTED));
    }
}

/// What the annotation of addresses looks like.
const EXPECTED: &str = "at most one IPv4 and one IPv6 address, separated by a comma";

fn request(service: &Service, spec: &ServiceSpec, ingress: &[LoadBalancerIngress]) -> Request {
    let policy = spec.ip_family_policy.as_deref();
    let mut families = families(spec);
    if policy.is_none_or(|policy| policy == "SingleStack") {
        families.truncate(1);
    }
    let key = annotation(service, SHARING).filter(|key| !key.is_empty());
    let addresses = match key {
        Some(key) if key.len() > SHARING_MAX => Err(format!(
            "metadata.annotations.{SHARING}: {} is too long: expected at most {SHARING_MAX} bytes",
            quote(key)
        )),
        _ => addresses(service, spec),
    };
    let is_local = spec.external_traffic_policy.as_deref() == Some("Local");
    let sharing = key
        .filter(|key| key.len() <= SHARING_MAX)
        .map(|key| Sharing { key: key.into(), backend: is_local.then(|| selector(spec).into()) });
    let ports = spec.ports.iter().flatten().filter_map(|port| {
        Some((u16::try_from(port.port).ok()?, Protocol::of(port.protocol.as_deref())?))
    });
    let ip = |ingress: &LoadBalancerIngress| ingress.ip.as_ref()?.parse().ok();
    Request {
        created: service.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second()),
        families,
        needs_all: policy == Some("RequireDualStack"),
        pool: annotation(service, POOL)
            .map(|name| name.chars().take(QUOTE_MAX).collect::<String>().into()),
        addresses,
        sharing,
        ports: ports.collect(),
        current: ingress.iter().filter_map(ip).collect(),
    }
}

/// `spec.ipFamilies`, else those of the ClusterIPs, else IPv4.
fn families(spec: &ServiceSpec) -> Vec<Family> {
    let named = spec
        .ip_families
        .iter()
        .flatten()
        .filter_map(|name| Family::ALL.into_iter().find(|family| family.as_str() == name));
    let addresses = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    let given = addresses.filter_map(|ip| ip.parse().ok().map(Family::of));
    let mut families = Vec::new();
    for (family, is_named) in named.map(|f| (f, true)).chain(given.map(|f| (f, false))) {
        if !families.contains(&family) && (is_named || spec.ip_families.is_none()) {
            families.push(family);
        }
    }
    if families.is_empty() {
        families.push(Family::V4);
    }
    families
}

/// `spec.loadBalancerIP` and the annotation together.
fn addresses(service: &Service, spec: &ServiceSpec) -> Result<Vec<IpAddr>, String> {
    let mut addresses = match annotation(service, ADDRESSES) {
        None => Vec::new(),
        Some(text) => of_annotation(text).map_err(|()| {
            let quoted = quote(text);
            format!("metadata.annotations.{ADDRESSES}: {quoted} is none: expected {EXPECTED}")
        })?,
    };
    if let Some(text) = spec.load_balancer_ip.as_deref().filter(|text| !text.is_empty()) {
        let Ok(addr) = text.parse::<IpAddr>() else {
            return Err(format!("spec.loadBalancerIP: {} is no IP address", quote(text)));
        };
        match addresses.iter().find(|other| Family::of(**other) == Family::of(addr)) {
            Some(other) if *other != addr => {
                let message = "expected the same address in both";
                return Err(format!(
                    "spec.loadBalancerIP is {addr}, the annotation {ADDRESSES} says {other}: \
                     {message}"
                ));
            }
            Some(_) => {}
            None => addresses.push(addr),
        }
    }
    Ok(addresses)
}

fn of_annotation(text: &str) -> Result<Vec<IpAddr>, ()> {
    let mut seen = BTreeSet::new();
    let mut addresses = Vec::new();
    for part in text.split(',') {
        let addr: IpAddr = part.trim().parse().map_err(|_| ())?;
        if !seen.insert(Family::of(addr)) {
            return Err(());
        }
        addresses.push(addr);
    }
    Ok(addresses)
}

fn selector(spec: &ServiceSpec) -> String {
    let pairs = spec.selector.iter().flatten();
    pairs.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

fn annotation<'a>(service: &'a Service, name: &str) -> Option<&'a str> {
    service.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// The beginning of a text that may be long.
fn quote(text: &str) -> String {
    match text.char_indices().nth(QUOTE_MAX) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn facts(annotations: Value, mut spec: Value) -> Facts {
        spec["type"] = json!("LoadBalancer");
        let metadata = json!({"name": "a", "uid": "u", "annotations": annotations});
        let service = json!({"metadata": metadata, "spec": spec});
        let service: Service = serde_json::from_value(service).expect("a Service");
        let facts = Facts::of(&service).expect("a load balancer");
        let mut findings = Vec::new();
        check(&service, &mut findings);
        let is_bad = facts.request.addresses.is_err();
        assert!(findings.is_empty() || is_bad, "{findings:?}");
        facts
    }

    #[test]
    fn families_follow_the_policy() {
        let of = |spec| facts(json!({}), spec).request;
        let both = json!(["IPv6", "IPv4"]);
        let single = of(json!({"ipFamilies": both, "ipFamilyPolicy": "SingleStack"}));
        assert_eq!((single.families, single.needs_all), (vec![Family::V6], false));
        let prefer = of(json!({"ipFamilies": both, "ipFamilyPolicy": "PreferDualStack"}));
        assert_eq!((prefer.families, prefer.needs_all), (vec![Family::V6, Family::V4], false));
        let require = of(json!({"ipFamilies": both, "ipFamilyPolicy": "RequireDualStack"}));
        assert_eq!((require.families.len(), require.needs_all), (2, true));
        let told = of(json!({"clusterIPs": ["fd00::1"]}));
        assert_eq!(told.families, [Family::V6]);
        assert_eq!(of(json!({})).families, [Family::V4]);
    }

    #[test]
    fn addresses_come_from_the_field_and_the_annotation() {
        let of = |text: &str, ip: &str| {
            facts(json!({ADDRESSES: text}), json!({"loadBalancerIP": ip})).request.addresses
        };
        let ok = of("192.0.2.1, 2001:db8::1", "").expect("two addresses");
        assert_eq!(ok.len(), 2);
        assert_eq!(of("192.0.2.1", "2001:db8::1").map(|all| all.len()), Ok(2));
        assert_eq!(of("192.0.2.1", "192.0.2.1").map(|all| all.len()), Ok(1));
        for (text, ip, part) in [
            ("192.0.2.1,192.0.2.2", "", "expected at most one IPv4"),
            ("", "", "expected at most one IPv4"),
            ("192.0.2.1", "192.0.2.2", "the same address in both"),
            ("192.0.2.1", "gateway", "\"gateway\" is no IP address"),
            (&"x,".repeat(100_000), "", "...  is none"),
        ] {
            let error = of(text, ip).expect_err(text);
            let part = part.replace("  ", " ");
            assert!(error.contains(&part) && error.len() < 300, "{error}");
        }
    }

    #[test]
    fn sharing_is_by_key_and_with_local_by_selector() {
        let of = |key: &str, policy: &str| {
            let spec = json!({
                "externalTrafficPolicy": policy,
                "selector": {"b": "2", "a": "1"},
                "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}],
            });
            facts(json!({SHARING: key}), spec).request
        };
        let shared = of("dns", "Cluster");
        assert_eq!(shared.sharing, Some(Sharing { key: "dns".into(), backend: None }));
        assert_eq!(shared.ports, BTreeSet::from([(53, Protocol::Tcp), (53, Protocol::Udp)]));
        let local = of("dns", "Local").sharing.and_then(|sharing| sharing.backend);
        assert_eq!(local.as_deref(), Some("a=1,b=2"));
        assert_eq!(of("", "Cluster").sharing, None);
        let long = of(&"x".repeat(100_000), "Cluster");
        assert!(long.addresses.is_err_and(|error| error.contains("too long")));
        assert_eq!(long.sharing, None);
    }

    #[test]
    fn other_services_are_no_matter() {
        let service = json!({"metadata": {"name": "a"}, "spec": {"type": "ClusterIP"}});
        let service: Service = serde_json::from_value(service).expect("a Service");
        assert_eq!(Facts::of(&service), None);
    }
}
