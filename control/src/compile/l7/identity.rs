//! What network policies take the gateway for, where it opens connections itself.

use crate::cluster::Pod;
use crate::object::Name;
use sluice_config::Config;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The pod that policies take the gateway for.
#[derive(Clone, Debug)]
pub(in crate::compile) struct Identity {
    /// No pod has the name.
    name: Name,
    labels: BTreeMap<String, String>,
}

impl Identity {
    /// `None`: it opens no connections.
    pub(in crate::compile) fn of(config: &Config) -> Option<Self> {
        let identity = &config.l7.as_ref()?.identity;
        let name = Name::new(&identity.namespace, "");
        Some(Identity { name, labels: identity.labels.clone() })
    }

    /// The pod, with the addresses that connections are opened from.
    pub(in crate::compile) fn pod(&self, addresses: impl Iterator<Item = IpAddr>) -> (Name, Pod) {
        let path: Arc<str> = "snat.addresses".into();
        let pod = Pod {
            created: None,
            labels: self.labels.clone(),
            ips: addresses.map(|addr| (path.clone(), addr)).collect(),
            node: None,
            is_host_network: false,
            is_ready: true,
            is_terminating: false,
            ports: Vec::new(),
            weight: None,
        };
        (self.name.clone(), pod)
    }
}
