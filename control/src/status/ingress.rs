//! What the status of an Ingress should say: where it is served.

use super::statement::{Identified, Statement};
use crate::object::Kind;
use k8s_openapi::api::networking::v1::{Ingress, IngressLoadBalancerIngress};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;

/// An Ingress, reduced to what was written back before.
#[derive(Clone, Debug, PartialEq)]
pub struct IngressFacts {
    uid: Arc<str>,
    resource_version: Arc<str>,
    /// `status.loadBalancer.ingress`.
    ingress: Vec<IngressLoadBalancerIngress>,
}

impl IngressFacts {
    /// Of an Ingress.
    pub fn of(ingress: &Ingress) -> Self {
        let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let metadata = &ingress.metadata;
        IngressFacts {
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            resource_version: metadata.resource_version.as_deref().unwrap_or_default().into(),
            ingress: balancer.and_then(|balancer| balancer.ingress.clone()).unwrap_or_default(),
        }
    }
}

impl Identified<Ingress> for IngressFacts {
    fn of(ingress: &Ingress) -> Option<Self> {
        Some(IngressFacts::of(ingress))
    }

    fn uid(&self) -> &Arc<str> {
        &self.uid
    }

    fn resource_version(&self) -> &Arc<str> {
        &self.resource_version
    }
}

/// What the status of an Ingress should say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The Ingress is this gateway's; if not, nothing of what was written stays.
    pub is_ours: bool,
    /// Where Ingresses are served.
    pub addresses: Arc<[IpAddr]>,
}

impl Statement for Served {
    type Object = Ingress;
    type Facts = IngressFacts;
    const KIND: Kind = Kind::Ingress;

    fn is_said_by(&self, facts: Option<&IngressFacts>) -> bool {
        let Some(facts) = facts else { return true };
        let ip = |of: &IngressLoadBalancerIngress| of.ip.as_deref()?.parse::<IpAddr>().ok();
        let mut said = facts.ingress.iter().map(ip);
        if !self.is_ours {
            // What another controller has written is its own.
            return !said.flatten().any(|addr| self.addresses.contains(&addr));
        }
        let mut ours = self.addresses.iter().map(|addr| Some(*addr));
        facts.ingress.iter().all(|of| of.hostname.is_none() && of.ports.is_none())
            && facts.ingress.len() == self.addresses.len()
            && said.all(|addr| ours.next() == Some(addr))
    }

    fn to_apply(&self, namespace: &str, name: &str, facts: &IngressFacts) -> Value {
        let addresses = self.addresses.iter().map(|addr| json!({"ip": addr.to_string()}));
        let status = match self.is_ours {
            true => json!({"loadBalancer": {"ingress": addresses.collect::<Vec<_>>()}}),
            false => json!({}),
        };
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {
                "namespace": namespace,
                "name": name,
                "uid": &*facts.uid,
                "resourceVersion": &*facts.resource_version,
            },
            "status": status,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(ingress: Value) -> IngressFacts {
        let object = json!({
            "metadata": {"name": "a", "uid": "u", "resourceVersion": "7"},
            "status": {"loadBalancer": {"ingress": ingress}},
        });
        IngressFacts::of(&serde_json::from_value(object).unwrap())
    }

    fn served(is_ours: bool) -> Served {
        let addresses = ["203.0.113.80", "2001:db8::80"].map(|addr| addr.parse().unwrap());
        Served { is_ours, addresses: addresses.into() }
    }

    #[test]
    fn an_ingress_is_told_where_it_is_served_and_what_was_told_of_others_goes() {
        let ours = json!([{"ip": "203.0.113.80"}, {"ip": "2001:db8:0:0::80"}]);
        let other = json!([{"ip": "192.0.2.1"}, {"hostname": "a.example"}]);
        for (ingress, is_said, is_gone) in [
            (json!(null), false, true),
            (ours.clone(), true, false),
            (json!([{"ip": "203.0.113.80"}]), false, false),
            (other, false, true),
        ] {
            let facts = facts(ingress.clone());
            assert_eq!(served(true).is_said_by(Some(&facts)), is_said, "{ingress}");
            assert_eq!(served(false).is_said_by(Some(&facts)), is_gone, "{ingress}");
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let before = facts(json!([]));
        let object = served(true).to_apply("shop", "web", &before);
        let written: Ingress = serde_json::from_value(object.clone()).unwrap();
        assert!(served(true).is_said_by(Some(&IngressFacts::of(&written))));
        assert_eq!(object["metadata"]["resourceVersion"], "7");
        assert_eq!(served(false).to_apply("shop", "web", &before)["status"], json!({}));
    }
}
