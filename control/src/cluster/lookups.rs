//! What can be asked of a cluster.

use super::ingress::Classes;
use super::{
    Cluster, Ingress, Namespace, NetworkPolicy, Node, NodePort, Pod, Secret, Service, Share, Slice,
    labels,
};
use crate::diagnostic::Finding;
use crate::object::{Key, Kind, Name, Origin};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

impl Cluster {
    /// The Services, in order.
    pub fn services(&self) -> impl Iterator<Item = (&Name, &Arc<Service>)> {
        self.services.iter()
    }

    /// One Service.
    pub fn service(&self, name: &Name) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    /// The nodes, in order.
    pub fn nodes(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Node>)> {
        self.nodes.iter()
    }

    /// One node.
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(name)
    }

    /// One pod.
    pub fn pod(&self, name: &Name) -> Option<&Arc<Pod>> {
        self.pods.get(name)
    }

    /// The pods, in order.
    pub fn pods(&self) -> impl Iterator<Item = (&Name, &Arc<Pod>)> {
        self.pods.iter()
    }

    /// The Namespaces, in order. Pods may be in others, too, where manifests have
    /// none for theirs.
    pub fn namespaces(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Namespace>)> {
        self.namespaces.iter()
    }

    /// One Namespace.
    pub fn namespace(&self, name: &str) -> Option<&Arc<Namespace>> {
        self.namespaces.get(name)
    }

    /// The network policies of both kinds, in order.
    pub fn network_policies(&self) -> impl Iterator<Item = (&Key, &Arc<NetworkPolicy>)> {
        self.network_policies.iter()
    }

    /// One network policy.
    pub fn network_policy(&self, key: &Key) -> Option<&Arc<NetworkPolicy>> {
        self.network_policies.get(key)
    }

    /// The classes of Ingresses.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// The Ingresses, in order.
    pub fn ingresses(&self) -> impl Iterator<Item = (&Name, &Arc<Ingress>)> {
        self.ingresses.iter()
    }

    /// One Ingress.
    pub fn ingress(&self, name: &Name) -> Option<&Arc<Ingress>> {
        self.ingresses.get(name)
    }

    /// One Secret with a certificate.
    pub fn secret(&self, name: &Name) -> Option<&Arc<Secret>> {
        self.secrets.get(name)
    }

    /// The pods on a node, in order.
    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = &Name> {
        self.pods_by_node.get(node).into_iter().flatten()
    }

    /// Who has an address that Services claim, as of [`Cluster::take_changes`].
    pub fn share(&self, addr: IpAddr) -> Option<Share<'_>> {
        self.claims.share(addr)
    }

    /// The addresses in a range that Services claim, and a Service that has
    /// each, as of [`Cluster::take_changes`].
    pub fn claims_in(&self, net: &IpNet) -> impl Iterator<Item = (IpAddr, &Name)> {
        self.claims.in_range(net)
    }

    /// The Service that has a node port, as of [`Cluster::take_changes`].
    pub fn node_port_holder(&self, port: NodePort) -> Option<&Name> {
        self.node_ports.holder(port)
    }

    /// Addresses that Services claim, as of [`Cluster::take_changes`].
    pub fn claimed_len(&self) -> usize {
        self.claims.len()
    }

    /// Where an object was read.
    pub fn origin(&self, key: &Key) -> Option<&Origin> {
        self.origins.get(key)
    }

    /// What is wrong with objects by themselves.
    pub fn findings(&self) -> impl Iterator<Item = (&Key, &Finding)> {
        self.findings.iter()
    }

    /// The findings that there were not when this was last called.
    pub fn take_new_findings(&mut self) -> Vec<(Key, Finding)> {
        self.findings.take_new()
    }

    /// Objects by kind.
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Namespace => self.namespaces.len(),
            Kind::Node => self.nodes.len(),
            Kind::Service => self.services.len(),
            Kind::EndpointSlice => self.slices.len(),
            Kind::Pod => self.pods.len(),
            Kind::IpamBlock => self.blocks.len(),
            Kind::IpPool => self.pools.len(),
            Kind::IngressClass => self.classes.len(),
            Kind::Ingress => self.ingresses.len(),
            Kind::Secret => self.secrets.len(),
            Kind::NetworkPolicy | Kind::ClusterNetworkPolicy => {
                self.network_policies.keys().filter(|key| key.kind == kind).count()
            }
        }
    }

    /// The slices of a Service, in order.
    pub(super) fn slices_of(&self, service: &Name) -> impl Iterator<Item = (&Name, &Arc<Slice>)> {
        let names = self.slices_by_service.get(service).into_iter().flatten();
        names.filter_map(|name| self.slices.get_key_value(name))
    }

    /// The pods that a selector selects, in order.
    pub(super) fn selected<'a>(
        &'a self,
        namespace: &Arc<str>,
        selector: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'a Name, &'a Arc<Pod>)> {
        let names = self.labels.candidates(namespace, selector).into_iter().flatten();
        names
            .filter_map(|name| self.pods.get_key_value(name))
            .filter(|(_, pod)| labels::matches(selector, &pod.labels))
    }
}
