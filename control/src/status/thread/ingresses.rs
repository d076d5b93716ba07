//! The Ingresses, and what their status is to say.

use crate::object::Name;
use crate::status::ingress::{IngressFacts, Served};
use crate::status::metrics::StatusMetrics;
use crate::status::writer::{Writer, Written};
use kube::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What has changed: what Ingresses are, and whether they are this gateway's.
pub(super) type Changed = (BTreeMap<Name, Option<IngressFacts>>, BTreeMap<Name, bool>);

/// The Ingresses, and what their status is to say.
pub(super) struct Ingresses {
    pub(super) writer: Writer<Served>,
    ours: BTreeSet<Name>,
    /// Where they are served, while this gateway writes.
    addresses: Option<Arc<[IpAddr]>>,
}

impl Ingresses {
    pub(super) fn new(client: Client, metrics: StatusMetrics) -> Self {
        let writer = Writer::new(client, metrics);
        Ingresses { writer, ours: BTreeSet::new(), addresses: None }
    }

    /// Takes what has changed. Nothing is written without `addresses`, nor where there are
    /// none.
    pub(super) fn take(
        &mut self,
        (facts, ours): Changed,
        addresses: Option<Arc<[IpAddr]>>,
        now: Duration,
    ) {
        let mut names = BTreeSet::new();
        for (name, facts) in facts {
            if self.writer.set(&name, facts) {
                names.insert(name);
            }
        }
        for (name, is_ours) in ours {
            if is_ours {
                self.ours.insert(name.clone());
            } else {
                self.ours.remove(&name);
            }
            names.insert(name);
        }
        let addresses = addresses.filter(|addresses| !addresses.is_empty());
        if addresses != self.addresses {
            self.addresses = addresses;
            names.extend(self.writer.names().cloned());
        }
        if self.addresses.is_none() {
            self.writer.cancel_all();
            return;
        }
        for name in names {
            self.want(&name, now);
        }
    }

    /// Takes note of what became of a write.
    pub(super) fn written(&mut self, written: &Written<Served>, now: Duration) {
        self.writer.done(written, now);
        if self.addresses.is_none() {
            // Another writes now: what failed is not tried again.
            self.writer.cancel_all();
        }
        self.want(&written.name, now);
    }

    fn want(&mut self, name: &Name, now: Duration) {
        let Some(addresses) = self.addresses.clone() else { return };
        self.writer.want(name, Served { is_ours: self.ours.contains(name), addresses }, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::writer::tests::client;
    use serde_json::json;

    fn facts(version: u32, ips: &[&str]) -> Option<IngressFacts> {
        let ingress: Vec<_> = ips.iter().map(|ip| json!({"ip": ip})).collect();
        let object = json!({
            "metadata": {"name": "a", "uid": "u", "resourceVersion": version.to_string()},
            "status": {"loadBalancer": {"ingress": ingress}},
        });
        Some(IngressFacts::of(&serde_json::from_value(object).unwrap()))
    }

    #[tokio::test]
    async fn who_leads_writes_what_is_not_said() {
        let metrics = StatusMetrics::default();
        let mut ingresses = Ingresses::new(client(), metrics.clone());
        let name = Name::new("shop", "web");
        let addresses: Option<Arc<[IpAddr]>> = Some(["203.0.113.80".parse().unwrap()].into());
        let mut take = |of: Option<IngressFacts>, ours: Option<bool>, leads: bool| {
            let facts = of.map(|of| (name.clone(), Some(of))).into_iter().collect();
            let ours = ours.map(|is| (name.clone(), is)).into_iter().collect();
            let addresses = addresses.clone().filter(|_| leads);
            ingresses.take((facts, ours), addresses, Duration::ZERO);
            metrics.pending()
        };
        assert_eq!(take(facts(1, &[]), Some(true), false), 0, "it does not lead");
        assert_eq!(take(None, None, true), 1);
        assert_eq!(take(None, None, false), 0);
        assert_eq!(take(None, None, true), 1);
        assert_eq!(take(facts(2, &["203.0.113.80"]), None, true), 0, "it is said");
        assert_eq!(take(None, Some(false), true), 1, "what was written is to go");
        assert_eq!(take(facts(3, &["192.0.2.1"]), None, true), 0, "another has written it");
    }
}
