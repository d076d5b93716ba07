//! What clients of hosts have to show.

use crate::cluster::Cluster;
use crate::cluster::ingress::ClientCertificates;
use crate::compile::ingress::Ingresses;
use sluice_tables::http_routes::Host;
use sluice_tables::l7::{ClientAuth, ClientAuths};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

/// Which hosts ask clients for certificates, and for whose.
#[derive(Debug, Default)]
pub(super) struct Asking {
    made: BTreeMap<ClientCertificates, Arc<ClientAuth>>,
    table: Arc<ClientAuths>,
}

impl Asking {
    /// By the names that clients ask for.
    pub(super) fn table(&self) -> &Arc<ClientAuths> {
        &self.table
    }

    /// What clients have to show, as Secrets have it now.
    pub(super) fn get(&self, of: &ClientCertificates) -> Option<&Arc<ClientAuth>> {
        self.made.get(of)
    }

    /// Looks at all hosts. `None`: nothing is different; else those hosts of which other
    /// certificates are taken, though their Ingresses say what they said.
    pub(super) fn update(
        &mut self,
        ingresses: &Ingresses,
        cluster: &Cluster,
    ) -> Option<BTreeSet<Host>> {
        let mut made: BTreeMap<ClientCertificates, Arc<ClientAuth>> = BTreeMap::new();
        for asked in ingresses.asking().values() {
            if !made.contains_key(asked) {
                let auth = make(asked, cluster);
                // The same is kept once: workers have made something of it.
                let old = self.made.get(asked).filter(|old| ***old == auth);
                made.insert(asked.clone(), old.cloned().unwrap_or_else(|| Arc::new(auth)));
            }
        }
        let table = table(ingresses, &made);
        if table == *self.table {
            self.made = made;
            return None;
        }
        let is_other = |asked: &ClientCertificates| {
            self.made.get(asked).is_some_and(|old| made.get(asked) != Some(old))
        };
        let asking = ingresses.asking().iter();
        let hosts = asking.filter(|(_, asked)| is_other(asked)).map(|(host, _)| host.clone());
        let hosts = hosts.collect();
        (self.made, self.table) = (made, Arc::new(table));
        Some(hosts)
    }
}

/// Nobody is let in while the Secret does not say who is trusted.
fn make(asked: &ClientCertificates, cluster: &Cluster) -> ClientAuth {
    let authorities = cluster.secret(&asked.secret).map(|secret| secret.authorities.clone());
    ClientAuth {
        mode: asked.mode,
        depth_max: asked.depth_max,
        roots: authorities.and_then(Result::ok).unwrap_or_else(|| Arc::new([])),
        prepared: OnceLock::new(),
    }
}

fn table(
    ingresses: &Ingresses,
    made: &BTreeMap<ClientCertificates, Arc<ClientAuth>>,
) -> ClientAuths {
    let asking = ingresses.asking();
    let mut table = ClientAuths::default();
    let mut set = |host: &Host, auth: Option<Arc<ClientAuth>>| match host {
        Host::Any => table.default = auth,
        Host::Exact(name) => drop(table.exact.insert(name.clone(), auth)),
        Host::OneLabel(suffix) | Host::Labels(suffix) => {
            table.wildcards.insert(suffix.clone(), auth);
        }
    };
    for (host, asked) in asking {
        set(host, made.get(asked).cloned());
    }
    // Those that have routes of their own and do not ask are no part of what asks.
    if asking.keys().any(|host| !matches!(host, Host::Exact(_))) {
        let others = ingresses.hosts().filter(|host| !asking.contains_key(*host));
        let others = others.filter(|host| !ingresses.routes_of(host).is_empty());
        others.for_each(|host| set(host, None));
    }
    table
}
