use crate::cluster::Cluster;
use crate::compile::{Compiler, PortKey};
use crate::object::Name;
use sluice_tables::{RuleId, ServiceId, Vtep, VtepId};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

/// What a number in counters and flows stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceLabel {
    /// The Service's namespace.
    pub namespace: Arc<str>,
    /// The Service's name.
    pub name: Arc<str>,
    /// The port that clients address.
    pub port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: &'static str,
}

/// Labels by number; `None`: the number is not in use.
type Labels = Arc<Vec<Option<ServiceLabel>>>;

/// The names of Services by their numbers, for metrics. Clones share.
#[derive(Clone, Debug, Default)]
pub struct ServiceNames {
    labels: Arc<RwLock<Labels>>,
}

impl ServiceNames {
    /// All names, by number, as of the last publication.
    pub fn snapshot(&self) -> Arc<Vec<Option<ServiceLabel>>> {
        self.labels.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One name.
    pub fn get(&self, id: ServiceId) -> Option<ServiceLabel> {
        self.snapshot().get(id.0 as usize).cloned().flatten()
    }

    /// Takes what the last tables of `compiler` have named anew. To be called
    /// for all of them.
    pub fn update(&self, compiler: &Compiler) {
        if compiler.renamed().is_empty() {
            return;
        }
        let mut labels = self.labels.write().unwrap_or_else(PoisonError::into_inner);
        let labels = Arc::make_mut(&mut labels);
        for &id in compiler.renamed() {
            let index = id.0 as usize;
            if labels.len() <= index {
                labels.resize(index + 1, None);
            }
            labels[index] = compiler.service_port(id).map(ServiceLabel::of);
        }
        let used = labels.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        labels.truncate(used);
    }
}

impl ServiceLabel {
    pub(crate) fn of(key: &PortKey) -> Self {
        ServiceLabel {
            namespace: key.service.namespace.clone(),
            name: key.service.name.clone(),
            port: key.port,
            protocol: key.protocol.as_str(),
        }
    }
}

/// The names of pods by their addresses, for what is told of single packets. Clones
/// share. Pods that use their node's addresses are left out: the addresses do not
/// tell them apart.
#[derive(Clone, Debug, Default)]
pub struct PodNames {
    pods: Arc<RwLock<Pods>>,
}

#[derive(Debug, Default)]
struct Pods {
    by_addr: HashMap<IpAddr, Name>,
    /// What each pod has in `by_addr`, or had before another took it over.
    addrs: HashMap<Name, Vec<IpAddr>>,
}

impl PodNames {
    /// The pod that has an address.
    pub fn get(&self, addr: IpAddr) -> Option<Name> {
        self.pods.read().unwrap_or_else(PoisonError::into_inner).by_addr.get(&addr).cloned()
    }

    /// Takes pods that have changed.
    pub fn update(&self, cluster: &Cluster, changed: &BTreeSet<Name>) {
        if changed.is_empty() {
            return;
        }
        let mut pods = self.pods.write().unwrap_or_else(PoisonError::into_inner);
        let Pods { by_addr, addrs } = &mut *pods;
        // Those that leave go first: their addresses may be others' by now.
        for name in changed {
            for addr in addrs.remove(name).unwrap_or_default() {
                if by_addr.get(&addr) == Some(name) {
                    by_addr.remove(&addr);
                }
            }
        }
        for name in changed {
            let Some(pod) = cluster.pod(name).filter(|pod| !pod.is_host_network) else { continue };
            let own: Vec<IpAddr> = pod.ips.iter().map(|(_, addr)| *addr).collect();
            if own.is_empty() {
                continue;
            }
            by_addr.extend(own.iter().map(|addr| (*addr, name.clone())));
            addrs.insert(name.clone(), own);
        }
    }
}

/// The names of nodes by their tunnels' numbers. Clones share.
#[derive(Clone, Debug, Default)]
pub struct NodeNames {
    vteps: Arc<RwLock<Arc<Vec<Option<Vtep>>>>>,
}

impl NodeNames {
    /// The node that has a tunnel.
    pub fn get(&self, vtep: VtepId) -> Option<Arc<str>> {
        let vteps = self.vteps.read().unwrap_or_else(PoisonError::into_inner);
        vteps.get(vtep.0 as usize)?.as_ref().map(|vtep| vtep.name.clone())
    }

    /// Takes the tunnels of the last tables.
    pub fn update(&self, vteps: &Arc<Vec<Option<Vtep>>>) {
        *self.vteps.write().unwrap_or_else(PoisonError::into_inner) = vteps.clone();
    }
}

/// The names of rules by their numbers, as a person looks for them. Clones share.
#[derive(Clone, Debug, Default)]
pub struct RuleNames {
    names: Arc<RwLock<HashMap<RuleId, Arc<str>>>>,
}

impl RuleNames {
    /// The name of a rule; `None` for [`RuleId::NONE`] and for numbers that were never
    /// given. One that has gone keeps its name until its number is another's.
    pub fn get(&self, rule: RuleId) -> Option<Arc<str>> {
        self.names.read().unwrap_or_else(PoisonError::into_inner).get(&rule).cloned()
    }

    /// Takes rules that have got numbers.
    pub fn update(&self, changed: impl IntoIterator<Item = (RuleId, Arc<str>)>) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.extend(changed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Object;
    use k8s_openapi::api::core::v1::{Pod, PodIP, PodSpec, PodStatus};

    fn pod(name: &str, ips: &[&str], host_network: bool) -> Object {
        let mut pod = Pod::default();
        pod.metadata.namespace = Some("shop".to_owned());
        pod.metadata.name = Some(name.to_owned());
        pod.spec = Some(PodSpec { host_network: Some(host_network), ..PodSpec::default() });
        let pod_ips = ips.iter().map(|ip| PodIP { ip: (*ip).to_owned() }).collect();
        pod.status = Some(PodStatus { pod_ips: Some(pod_ips), ..PodStatus::default() });
        Object::Pod(Box::new(pod))
    }

    #[test]
    fn addresses_name_the_pod_that_has_them_now() {
        let (names, mut cluster) = (PodNames::default(), Cluster::default());
        let name = |ip: &str| names.get(ip.parse().unwrap()).map(|name| name.to_string());
        let mut apply = |objects: &[Object], gone: &[Object]| {
            objects.iter().for_each(|object| cluster.apply(object, None));
            gone.iter().for_each(|object| cluster.delete(&object.key()));
            let pods = cluster.take_changes().pods;
            names.update(&cluster, &pods);
        };
        let old = pod("old", &["10.1.0.7", "fd00::7"], false);
        let host = pod("host", &["192.0.2.1"], true);
        apply(&[old.clone(), host], &[]);
        assert_eq!(name("10.1.0.7").as_deref(), Some("shop/old"));
        assert_eq!(name("fd00::7").as_deref(), Some("shop/old"));
        assert_eq!(name("192.0.2.1"), None, "its node's");
        // The address is another's before the old pod's end is seen.
        apply(&[pod("new", &["10.1.0.7"], false)], &[]);
        apply(&[], &[old]);
        assert_eq!(name("10.1.0.7").as_deref(), Some("shop/new"));
        assert_eq!(name("fd00::7"), None);
        apply(&[pod("new", &["10.1.0.8"], false)], &[]);
        assert_eq!((name("10.1.0.7"), name("10.1.0.8").as_deref()), (None, Some("shop/new")));
    }

    #[test]
    fn a_rule_has_its_name_until_another_has_its_number() {
        let names = RuleNames::default();
        names.update([(RuleId(3), "shop/web ingress[0]".into())]);
        names.update([(RuleId(4), "shop/web ingress[1]".into())]);
        assert_eq!(names.get(RuleId(3)).as_deref(), Some("shop/web ingress[0]"));
        names.update([(RuleId(3), "shop/db ingress[0]".into())]);
        assert_eq!(names.get(RuleId(3)).as_deref(), Some("shop/db ingress[0]"));
        assert_eq!((names.get(RuleId(5)), names.get(RuleId::NONE)), (None, None));
    }
}
