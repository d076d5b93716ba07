use super::address;
use super::annotations::{self, HEADLESS, PROXY_NAME, label};
use super::policy::Policy;
use super::service::Protocol;
use crate::diagnostic::Finding;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointHints, EndpointSlice};
use std::net::IpAddr;
use std::sync::Arc;

/// The label that names the Service of a slice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// An EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The Service that it belongs to, of the same namespace.
    pub service: Option<Arc<str>>,
    /// The proxy that it is meant for.
    proxy_name: Option<String>,
    /// It is marked as a headless Service's.
    is_headless: bool,
    /// The weight of its endpoints, where their pods have none.
    pub weight: Option<u16>,
    /// Ports of protocols that are understood: name, protocol, number.
    pub ports: Vec<(String, Protocol, u16)>,
    /// Endpoints with usable addresses.
    pub endpoints: Vec<SliceEndpoint>,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Its index in `endpoints`.
    pub index: usize,
    /// Its first address; the others are equivalent to it.
    pub addr: IpAddr,
    /// May have new connections. Told nothing means yes.
    pub ready: bool,
    /// Answers, even while it terminates. Told nothing means yes.
    pub serving: bool,
    /// Is about to go.
    pub terminating: bool,
    /// The pod behind it.
    pub pod: Option<Arc<str>>,
    /// The node that it is on.
    pub node: Option<Arc<str>>,
    /// The zone that it is in.
    pub zone: Option<Arc<str>>,
    /// Who should use it, if anybody more than others.
    pub hints: Option<Arc<Hints>>,
}

/// Who should use an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Clients on these nodes.
    pub nodes: Vec<Arc<str>>,
    /// Clients in these zones.
    pub zones: Vec<Arc<str>>,
}

impl Hints {
    fn reduce(hints: &EndpointHints) -> Option<Arc<Self>> {
        let nodes = hints.for_nodes.iter().flatten().map(|node| node.name.as_str().into());
        let zones = hints.for_zones.iter().flatten().map(|zone| zone.name.as_str().into());
        let hints = Hints { nodes: nodes.collect(), zones: zones.collect() };
        (hints != Hints::default()).then(|| Arc::new(hints))
    }
}

impl Slice {
    /// Whether its endpoints count: it is not meant for another proxy.
    pub fn is_used(&self, policy: &Policy) -> bool {
        let is_meant = self.proxy_name.is_none() || policy.serves(self.proxy_name.as_deref());
        is_meant && !self.is_headless
    }

    /// Shares what it has in common with what it was.
    pub(super) fn share(&mut self, old: &Self) {
        for (new, old) in self.endpoints.iter_mut().zip(&old.endpoints) {
            new.share(old);
        }
    }

    /// Reduces a slice; endpoints that are left out become findings.
    pub fn reduce(slice: &EndpointSlice, findings: &mut Vec<Finding>) -> Self {
        let service = label(&slice.metadata, SERVICE_NAME);
        if service.is_none() {
            let message = "belongs to no Service; it is not used";
            let expected = format!("the label `{SERVICE_NAME}`");
            findings.push(Finding::warning("metadata.labels", message).expected(expected));
        }
        if slice.address_type == "FQDN" {
            let message = "FQDN endpoints are not used, as in kube-proxy";
            findings.push(Finding::warning("addressType", message).expected("IPv4 or IPv6"));
        }
        let ports = slice.ports.iter().flatten().filter_map(|port| {
            let protocol = Protocol::of(port.protocol.as_deref())?;
            let number = u16::try_from(port.port?).ok()?;
            Some((port.name.clone().unwrap_or_default(), protocol, number))
        });
        let weight = annotations::weight(&slice.metadata, findings);
        let endpoints = slice.endpoints.iter().flatten().enumerate().filter_map(|(i, endpoint)| {
            SliceEndpoint::reduce(endpoint, i, &slice.address_type, findings)
        });
        Slice {
            service: service.map(Into::into),
            proxy_name: label(&slice.metadata, PROXY_NAME).map(str::to_owned),
            is_headless: label(&slice.metadata, HEADLESS).is_some(),
            weight,
            endpoints: endpoints.collect(),
            ports: ports.collect(),
        }
    }
}

impl SliceEndpoint {
    /// Shares what it has in common with what it was: who compares them sees it
    /// at once.
    fn share(&mut self, old: &Self) {
        if self.pod == old.pod {
            self.pod.clone_from(&old.pod);
        }
        if self.hints == old.hints {
            self.hints.clone_from(&old.hints);
        }
    }

    fn reduce(
        endpoint: &Endpoint,
        index: usize,
        address_type: &str,
        findings: &mut Vec<Finding>,
    ) -> Option<Self> {
        if address_type == "FQDN" {
            return None;
        }
        let mut left_out = |path: String, message: String| {
            let message = format!("{message}; this endpoint is left out");
            let expected = format!("a unicast {address_type} address of a pod");
            findings.push(Finding::error(path, message).expected(expected));
            None
        };
        let Some(text) = endpoint.addresses.first() else {
            return left_out(format!("endpoints[{index}].addresses"), "is empty".to_owned());
        };
        let path = format!("endpoints[{index}].addresses[0]");
        let Ok(addr) = text.parse::<IpAddr>() else {
            return left_out(path, format!("{text:?} is no IP address"));
        };
        if address::family(addr) != address_type {
            return left_out(path, format!("{text} is an {} address", address::family(addr)));
        }
        if let Some(reason) = address::unusable(addr) {
            return left_out(path, format!("{text} is {reason}"));
        }
        let conditions = endpoint.conditions.clone().unwrap_or_default();
        let target = endpoint.target_ref.as_ref();
        let pod = target.filter(|target| target.kind.as_deref() == Some("Pod"));
        Some(SliceEndpoint {
            index,
            addr,
            ready: conditions.ready.unwrap_or(true),
            serving: conditions.serving.unwrap_or(true),
            terminating: conditions.terminating.unwrap_or(false),
            pod: pod.and_then(|pod| pod.name.as_deref()).map(Into::into),
            node: endpoint.node_name.as_deref().map(Into::into),
            zone: endpoint.zone.as_deref().map(Into::into),
            hints: endpoint.hints.as_ref().and_then(Hints::reduce),
        })
    }
}
