use super::Cluster;
use super::address;
use super::excess::{Addresses, ENDPOINTS_MAX};
use super::labels;
use super::pod::Pod;
use super::service::{Distribution, Protocol, Service, ServicePort, TargetPort};
use super::slice::{Hints, Slice, SliceEndpoint};
use crate::diagnostic::Finding;
use crate::object::{Key, Kind, Name};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

/// What may be sent to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndpointState {
    /// Nothing new.
    NotReady,
    /// It terminates, but answers: something new only if nobody is ready
    /// (KEP-1669, "ProxyTerminatingEndpoints").
    Draining,
    /// Everything.
    Ready,
}

impl EndpointState {
    fn of(ready: bool, serving: bool, terminating: bool) -> Self {
        match (ready, serving, terminating) {
            (true, ..) => EndpointState::Ready,
            (false, true, true) => EndpointState::Draining,
            _ => EndpointState::NotReady,
        }
    }

    fn of_slice(endpoint: &SliceEndpoint) -> Self {
        Self::of(endpoint.ready, endpoint.serving, endpoint.terminating)
    }

    fn of_pod(service: &Service, pod: &Pod) -> Self {
        let ready = service.publish_not_ready || (pod.is_ready && !pod.is_terminating);
        Self::of(ready, pod.is_ready, pod.is_terminating)
    }
}

/// Where an endpoint is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointFrom<'a> {
    /// In a slice, at this index.
    Slice(&'a Name, usize),
    /// In a pod, at this path.
    Pod(&'a Name, &'a str),
}

impl EndpointFrom<'_> {
    /// The object and the path in it.
    pub fn place(&self) -> (Key, String) {
        match self {
            EndpointFrom::Slice(name, i) => {
                (name.key(Kind::EndpointSlice), format!("endpoints[{i}].addresses[0]"))
            }
            EndpointFrom::Pod(name, path) => (name.key(Kind::Pod), path.to_string()),
        }
    }
}

/// One endpoint of one port of a Service. What it has in common with its slice
/// or pod is borrowed: it is made anew with every change of the Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// What may be sent to it.
    pub state: EndpointState,
    /// The pod behind it.
    pub pod: Option<&'a Arc<str>>,
    /// The node that it is on.
    pub node: Option<&'a Arc<str>>,
    /// The zone that it is in.
    pub zone: Option<&'a Arc<str>>,
    /// Who should use it, if anybody more than others.
    pub hints: Option<Arc<Hints>>,
    /// Its share of new connections, in proportion to the others' weights; 0:
    /// none while others have some.
    pub weight: u16,
    /// Where it is written.
    pub from: EndpointFrom<'a>,
}

/// The endpoints of a Service.
#[derive(Debug, Default)]
pub struct ServiceEndpoints<'a> {
    /// For each of [`Service::ports`], by address and port; [`ENDPOINTS_MAX`]
    /// together at most.
    pub ports: Vec<BTreeMap<(IpAddr, u16), Endpoint<'a>>>,
    /// What is wrong with the Service's ports.
    pub findings: Vec<Finding>,
}

impl<'a> ServiceEndpoints<'a> {
    /// Chooses the addresses that are used, and says so if they are not all.
    fn choose(&mut self, service: &Service, addresses: &Addresses) -> Option<HashSet<IpAddr>> {
        let chosen = addresses.choose()?;
        let (ports, all, used) = (service.ports.len(), addresses.len(), chosen.len());
        let message = format!("has {all} endpoints for {ports} ports; {used} of them are used");
        let expected = format!("at most {ENDPOINTS_MAX} endpoints over all ports");
        self.findings.push(Finding::warning("spec.ports", message).expected(expected));
        Some(chosen)
    }

    fn add(&mut self, port: usize, addr: IpAddr, l4_port: u16, endpoint: Endpoint<'a>) {
        // The same endpoint in two slices, as while one replaces the other:
        // the better news counts.
        match self.ports[port].entry((addr, l4_port)) {
            Entry::Vacant(entry) => drop(entry.insert(endpoint)),
            Entry::Occupied(mut entry) if entry.get().state < endpoint.state => {
                entry.insert(endpoint);
            }
            Entry::Occupied(_) => {}
        }
    }
}

impl Cluster {
    /// The endpoints of a Service: those of its slices; where it has none,
    /// those that Kubernetes' EndpointSlice controller would make of its pods.
    pub fn endpoints<'a>(&'a self, name: &Name, service: &'a Service) -> ServiceEndpoints<'a> {
        let mut result = ServiceEndpoints::default();
        result.ports.resize_with(service.ports.len(), BTreeMap::new);
        if self.slices_of(name).next().is_some() {
            self.collect_slices(name, service, &mut result);
        } else {
            self.collect_pods(name, service, &mut result);
        }
        result
    }

    fn collect_slices<'a>(
        &'a self,
        name: &Name,
        service: &Service,
        result: &mut ServiceEndpoints<'a>,
    ) {
        let mut is_known = vec![false; service.ports.len()];
        let used = self.slices_of(name).filter(|(_, slice)| slice.is_used(&self.policy));
        let slices: Vec<SliceShare<'_>> = used
            .map(|(slice_name, slice)| {
                let weighed = slice.endpoints.iter();
                let weighed = weighed.map(|e| (e, self.weight(name, service, slice, e)));
                SliceShare { name: slice_name, slice, endpoints: weighed.collect() }
            })
            .collect();
        let has_endpoints = slices.iter().any(|share| !share.endpoints.is_empty());
        let chosen = choose_of_slices(service, &slices, result);
        let is_chosen = |addr| chosen.as_ref().is_none_or(|chosen| chosen.contains(&addr));
        for SliceShare { name: slice_name, slice, mut endpoints } in slices {
            endpoints.retain(|(endpoint, _)| is_chosen(endpoint.addr));
            let numbers = numbers(slice);
            for (i, port) in service.ports.iter().enumerate() {
                let number = numbers.get(&(port.name.as_str(), port.protocol));
                let Some(&number) = number else { continue };
                is_known[i] = true;
                for (endpoint, weight) in &endpoints {
                    let endpoint_of = Endpoint {
                        state: EndpointState::of_slice(endpoint),
                        pod: endpoint.pod.as_ref(),
                        node: endpoint.node.as_ref(),
                        zone: endpoint.zone.as_ref(),
                        hints: endpoint.hints.clone(),
                        weight: *weight,
                        from: EndpointFrom::Slice(slice_name, endpoint.index),
                    };
                    result.add(i, endpoint.addr, number, endpoint_of);
                }
            }
        }
        for (port, _) in service.ports.iter().zip(is_known).filter(|(_, k)| has_endpoints && !k) {
            let path = format!("spec.ports[{}].name", port.index);
            let protocol = port.protocol.as_str();
            let message = format!(
                "no EndpointSlice of the Service has a {protocol} port named {:?}; \
                 connections to port {} are refused",
                port.name, port.port
            );
            let expected = "the name of a port of the slices";
            result.findings.push(Finding::error(path, message).expected(expected));
        }
    }

    /// The weight of an endpoint of a slice: its pod's, if the Service selects
    /// that, else the slice's, else 1.
    fn weight(&self, name: &Name, service: &Service, slice: &Slice, of: &SliceEndpoint) -> u16 {
        // Few clusters have any.
        let pod = of.pod.as_ref().filter(|_| !self.weighted.is_empty()).and_then(|pod| {
            let name = Name { namespace: name.namespace.clone(), name: pod.clone() };
            self.pods.get(&name)
        });
        let pod = pod.filter(|pod| labels::matches(&service.selector, &pod.labels));
        pod.and_then(|pod| pod.weight).or(slice.weight).unwrap_or(1)
    }

    fn collect_pods<'a>(
        &'a self,
        name: &Name,
        service: &'a Service,
        result: &mut ServiceEndpoints<'a>,
    ) {
        let mut has_pods = false;
        let mut is_known = vec![false; service.ports.len()];
        let pods: Vec<_> = self.selected(&name.namespace, &service.selector).collect();
        let chosen = choose_of_pods(service, &pods, result);
        let is_chosen = |addr: &IpAddr| chosen.as_ref().is_none_or(|chosen| chosen.contains(addr));
        for (pod_name, pod) in pods {
            let state = EndpointState::of_pod(service, pod);
            has_pods |= !pod.ips.is_empty();
            let node = pod.node.as_ref().and_then(|node| self.nodes.get(node));
            let zone = node.and_then(|node| node.zone.as_ref());
            let hints = hints(service, pod.node.as_ref(), zone);
            let ips: Vec<_> = used_ips(service, pod).filter(|(_, ip)| is_chosen(ip)).collect();
            for (i, port) in service.ports.iter().enumerate() {
                let number = target(port, pod);
                let Some(number) = number else { continue };
                is_known[i] = true;
                for (path, ip) in &ips {
                    let endpoint = Endpoint {
                        state,
                        pod: Some(&pod_name.name),
                        node: pod.node.as_ref(),
                        zone,
                        hints: hints.clone(),
                        weight: pod.weight.unwrap_or(1),
                        from: EndpointFrom::Pod(pod_name, path),
                    };
                    result.add(i, *ip, number, endpoint);
                }
            }
        }
        for (port, _) in service.ports.iter().zip(is_known).filter(|(_, k)| has_pods && !k) {
            let TargetPort::Name(target) = &port.target else { continue };
            let message = format!(
                "no pod of the Service has a {} port named {target:?}; connections to port {} \
                 are refused",
                port.protocol.as_str(),
                port.port
            );
            let path = format!("spec.ports[{}].targetPort", port.index);
            let expected = "a number, or the name of a container port";
            result.findings.push(Finding::error(path, message).expected(expected));
        }
    }
}

/// What a slice has for a Service.
struct SliceShare<'a> {
    name: &'a Name,
    slice: &'a Slice,
    /// With their weights.
    endpoints: Vec<(&'a SliceEndpoint, u16)>,
}

/// The addresses that are used of slices; `None`: all.
fn choose_of_slices(
    service: &Service,
    slices: &[SliceShare<'_>],
    result: &mut ServiceEndpoints<'_>,
) -> Option<HashSet<IpAddr>> {
    let endpoints: usize = slices.iter().map(|share| share.endpoints.len()).sum();
    if endpoints.saturating_mul(service.ports.len()) <= ENDPOINTS_MAX {
        return None;
    }
    let mut addresses = Addresses::default();
    for SliceShare { slice, endpoints, .. } in slices {
        let numbers = numbers(slice);
        let is_there = |port: &&ServicePort| numbers.contains_key(&(&*port.name, port.protocol));
        let ports = service.ports.iter().filter(is_there).count();
        for (endpoint, weight) in endpoints {
            addresses.add(endpoint.addr, EndpointState::of_slice(endpoint), *weight, ports);
        }
    }
    result.choose(service, &addresses)
}

/// The addresses that are used of pods; `None`: all.
fn choose_of_pods(
    service: &Service,
    pods: &[(&Name, &Arc<Pod>)],
    result: &mut ServiceEndpoints<'_>,
) -> Option<HashSet<IpAddr>> {
    // One of each family.
    let endpoints = pods.len().saturating_mul(2);
    if endpoints.saturating_mul(service.ports.len()) <= ENDPOINTS_MAX {
        return None;
    }
    let mut addresses = Addresses::default();
    for (_, pod) in pods {
        let ports = service.ports.iter().filter(|port| target(port, pod).is_some()).count();
        let state = EndpointState::of_pod(service, pod);
        for (_, ip) in used_ips(service, pod) {
            addresses.add(*ip, state, pod.weight.unwrap_or(1), ports);
        }
    }
    result.choose(service, &addresses)
}

/// The port of a pod that a Service's port leads to.
fn target(port: &ServicePort, pod: &Pod) -> Option<u16> {
    match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(name) => {
            let mut ports = pod.ports.iter();
            ports.find(|(n, protocol, _)| n == name && *protocol == port.protocol).map(|p| p.2)
        }
    }
}

/// The addresses of a pod that are a Service's endpoints, and where they are
/// written: the first of each family that it wants.
fn used_ips<'a>(service: &Service, pod: &'a Pod) -> impl Iterator<Item = &'a (Arc<str>, IpAddr)> {
    let families = ["IPv4", "IPv6"].into_iter().zip(service.families);
    families
        .filter(|(_, wanted)| *wanted)
        .filter_map(|(family, _)| pod.ips.iter().find(|(_, ip)| address::family(*ip) == family))
}

/// The ports of a slice by name; the first of a name counts.
fn numbers(slice: &Slice) -> HashMap<(&str, Protocol), u16> {
    slice.ports.iter().rev().map(number).collect()
}

fn number((name, protocol, number): &(String, Protocol, u16)) -> ((&str, Protocol), u16) {
    ((name.as_str(), *protocol), *number)
}

/// The hints that the EndpointSlice controller would give to an endpoint
/// (`staging/src/k8s.io/endpointslice/trafficdist`).
fn hints(
    service: &Service,
    node: Option<&Arc<str>>,
    zone: Option<&Arc<str>>,
) -> Option<Arc<Hints>> {
    let is_same_node = service.distribution? == Distribution::SameNode;
    let nodes: Vec<_> = node.filter(|_| is_same_node).into_iter().cloned().collect();
    let zones: Vec<_> = zone.into_iter().cloned().collect();
    let has_some = !(nodes.is_empty() && zones.is_empty());
    has_some.then(|| Arc::new(Hints { nodes, zones }))
}
