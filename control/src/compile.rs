use crate::announce::Announce;
use crate::cluster::{Changes, Cluster, Protocol};
use crate::diagnostic::{Finding, Findings};
use crate::domain_names::Addresses;
use crate::object::{Key, Name};
use ipnet::IpNet;
use sluice_config::Config;
use sluice_tables::{OwnerMap, RuleId, ServiceId, Tables};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Stable numbers with a quarantine before reuse.
pub mod ids;

/// Ingresses.
pub mod ingress;

mod epochs;
mod halves;
mod health;
mod l7;
mod local;
mod lookups;
mod node_ports;
mod nodes;
mod policy;
mod pool;
mod rules;
mod servers;
mod services;
mod settle;
mod strays;
mod taken;
mod vips;
mod zones;

use epochs::Epochs;
use ids::{Ids, Moment};
use l7::Requests;
use local::Statics;
use nodes::{Nodes, Rerouting};
use policy::Policies;
use strays::Strays;
use taken::Taken;
use zones::Zones;

pub use halves::{Half, Halves, Member};
pub use health::HealthCheck;
pub(crate) use l7::backend_text;
pub use local::{PortFacts, SetupError};
pub use policy::{Direction, PolicySizes};
pub use rules::Rules;
pub use services::{Programmed, ProgrammedPort};

/// Least time before a number means something else.
pub const QUARANTINE_MIN: Duration = Duration::from_secs(300);

/// What a [`ServiceId`] stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey {
    /// The Service.
    pub service: Name,
    /// The port that clients address.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

/// What a [`BackendId`] stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendKey {
    /// The port of the Service.
    pub service: ServiceId,
    /// The endpoint's address.
    pub addr: IpAddr,
    /// The endpoint's port.
    pub l4_port: u16,
}

/// Turns changes of the cluster into the next tables. It does no I/O and reads
/// no clock.
#[derive(Debug)]
pub struct Compiler {
    statics: Statics,
    tables: Arc<Tables>,
    /// The static part is new: everything has to be looked at.
    is_reset: bool,
    services: BTreeMap<Name, Programmed>,
    nodes: Nodes,
    zones: Zones,
    strays: Strays,
    taken: Taken,
    /// The SNAT pool, where it is the gateway's own node that has it.
    pool: Vec<IpNet>,
    /// The addresses of Services in the tables, in order.
    vips: BTreeSet<IpAddr>,
    /// Which of them this gateway announces, and what it is to be from the next
    /// tables on.
    announce: Announce,
    announce_next: Option<Announce>,
    /// Those that the last tables have begun to announce.
    announced: BTreeSet<IpAddr>,
    /// Addresses that Services have lost and that are VIPs still, and the groups
    /// of those Services: at most all groups for each address.
    former: BTreeMap<IpAddr, BTreeSet<usize>>,
    /// Addresses of Services for whose sake nodes or pods lack something, and
    /// the Services that were said to have them.
    blocked_by: BTreeMap<IpAddr, Name>,
    /// Addresses of pods for whose sake nodes lack something.
    blocked_by_pods: BTreeSet<IpAddr>,
    /// Services that lack an address for the sake of nodes or pods.
    blocked: BTreeSet<Name>,
    /// The addresses of endpoints, and the Services that have them.
    targets: BTreeSet<(IpAddr, Name)>,
    /// Services that depend on where nodes are.
    local: BTreeSet<Name>,
    /// Answers about Services, by the name of each.
    health: BTreeMap<Name, (u16, HealthCheck)>,
    /// Counts the changes of `health`.
    health_version: u64,
    service_ids: Ids<PortKey>,
    /// Numbers of Services that the last tables have given or freed.
    renamed: Vec<ServiceId>,
    backend_ids: Ids<BackendKey>,
    vtep_ids: Ids<Arc<str>>,
    policies: Policies,
    requests: Requests,
    findings: Findings<Subject, (Key, Finding)>,
}

/// What is compiled at once, and has findings about several objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Nodes,
    Pool,
    Policies,
    Stray(IpAddr),
    Service(Name),
    DnsServers,
    Classes,
    Ingress(Name),
    DefaultCertificate,
}

impl Compiler {
    /// A compiler of tables for `config.workers.count` workers. `owner_seed` is
    /// the secret of [`OwnerMap::with_seed`].
    ///
    /// # Errors
    /// When the configuration does not fit the ports that there are.
    pub fn new(config: &Config, facts: &[PortFacts], owner_seed: u64) -> Result<Self, SetupError> {
        let mut tables = Tables::empty(config.workers.count);
        tables.owners = OwnerMap::even(config.workers.count).with_seed(owner_seed);
        let quarantine = quarantine(config);
        let mut policies = Policies::new(quarantine);
        policies.set_cluster_domain(&config.cluster.domain);
        Ok(Compiler {
            statics: Statics::new(config, facts)?,
            tables: Arc::new(tables),
            is_reset: true,
            services: BTreeMap::new(),
            nodes: Nodes::default(),
            zones: Zones::default(),
            strays: Strays::default(),
            taken: Taken::default(),
            pool: Vec::new(),
            vips: BTreeSet::new(),
            announce: Announce::All,
            announce_next: None,
            announced: BTreeSet::new(),
            former: BTreeMap::new(),
            blocked_by: BTreeMap::new(),
            blocked_by_pods: BTreeSet::new(),
            blocked: BTreeSet::new(),
            targets: BTreeSet::new(),
            local: BTreeSet::new(),
            health: BTreeMap::new(),
            health_version: 0,
            service_ids: Ids::new(quarantine),
            renamed: Vec::new(),
            backend_ids: Ids::new(quarantine),
            vtep_ids: Ids::new(quarantine),
            policies,
            requests: Requests::new(quarantine),
            findings: Findings::default(),
        })
    }

    /// Takes another configuration; the next [`Compiler::compile`] looks at
    /// everything. The number of workers stays.
    ///
    /// # Errors
    /// As with [`Compiler::new`]; nothing has changed then.
    pub fn reconfigure(&mut self, config: &Config, facts: &[PortFacts]) -> Result<(), SetupError> {
        self.statics = Statics::new(config, facts)?;
        for ids in [
            &mut self.service_ids as &mut dyn ids::Quarantined,
            &mut self.backend_ids,
            &mut self.vtep_ids,
            self.policies.rule_ids(),
            self.requests.upstream_ids(),
        ] {
            ids.set_quarantine(quarantine(config));
        }
        self.policies.set_cluster_domain(&self.statics.cluster_domain);
        self.is_reset = true;
        Ok(())
    }

    /// The next tables; `None` if nothing is different. `live` is the version
    /// that every worker has reached.
    pub fn compile(
        &mut self,
        cluster: &Cluster,
        changes: &Changes,
        now: Duration,
        live: u64,
    ) -> Option<Arc<Tables>> {
        self.settle_pool(cluster, changes);
        let mut next = (*self.tables).clone();
        next.version += 1;
        self.renamed.clear();
        self.announced.clear();
        let at = Moment { now, live, version: next.version };
        let mut epochs = Epochs::default();
        let all;
        let mut rerouted = BTreeSet::new();
        let is_reset = std::mem::take(&mut self.is_reset);
        let changes = if is_reset {
            self.statics.put(&mut next);
            epochs.route();
            // What is deleted is no longer in the cluster.
            let mut everything = cluster.everything();
            everything.services.extend(changes.services.iter().cloned());
            everything.pods.extend(changes.pods.iter().cloned());
            everything.nodes.extend(changes.nodes.iter().cloned());
            everything.policies.extend(changes.policies.iter().cloned());
            everything.namespaces.extend(changes.namespaces.iter().cloned());
            everything.ingresses.extend(changes.ingresses.iter().cloned());
            everything.secrets.extend(changes.secrets.iter().cloned());
            all = everything;
            &all
        } else {
            changes
        };
        self.compile_announce(cluster, &mut next, &mut epochs);
        let mut services = changes.services.clone();
        let change = Rerouting { is_reset, changes, rerouted: &mut rerouted };
        if self.compile_nodes(cluster, change, &mut next, &mut epochs, at) {
            services.extend(self.blocked.iter().cloned());
        }
        let mut endpoints = changes.endpoints.clone();
        if self.nodes.take_moved() {
            endpoints.extend(self.local.iter().cloned());
        }
        endpoints.extend(self.at_other_nodes(&next));
        let services =
            self.compile_services(cluster, services, endpoints, &mut next, &mut epochs, at);
        let requests = (changes, is_reset);
        self.compile_requests(cluster, requests, &services, &mut next, &mut epochs, at);
        self.compile_health(cluster, services, &rerouted, &next);
        self.compile_servers(cluster, changes, is_reset, &mut next, &mut epochs);
        if is_reset {
            let identity = self.statics.identity.as_ref();
            let addresses = self.statics.snat_addresses();
            self.policies.set_gateway(identity.map(|identity| identity.pod(addresses)));
        }
        self.policies.update(cluster, changes, &mut next, &mut epochs, at);
        self.warn_of_no_dns_server(&next);
        self.findings.set(Subject::Policies, self.policies.findings());
        if !epochs.is_changed() {
            return None;
        }
        epochs.bump(&mut next);
        if is_reset {
            next.v4.lay_together();
            next.v6.lay_together();
        }
        self.tables = Arc::new(next);
        Some(self.tables.clone())
    }

    /// The findings that there were not when this was last called.
    pub fn take_new_findings(&mut self) -> Vec<(Key, Finding)> {
        self.findings.take_new().into_iter().map(|(_, finding)| finding).collect()
    }

    /// The rules that have got numbers since this was last called, and what each
    /// stands for.
    pub fn take_renamed_rules(&mut self) -> Vec<(RuleId, Arc<str>)> {
        self.policies.take_renamed()
    }

    /// Takes the addresses that a domain name has now, in lower case and without
    /// the final dot, for the next [`Compiler::compile`]; none: it is forgotten.
    pub fn set_name(&mut self, name: &str, addresses: Addresses) {
        self.policies.set_name(name, addresses);
    }
}

/// An idle flow looks at its endpoint's number again only when its next packet
/// comes, so a number rests for as long as the most patient flow does.
fn quarantine(config: &Config) -> Duration {
    let t = &config.flows.timeouts;
    [
        t.tcp_established,
        t.tcp_close_wait,
        t.tcp_syn_sent,
        t.tcp_syn_recv,
        t.tcp_fin_wait,
        t.tcp_last_ack,
        t.tcp_time_wait,
        t.tcp_close,
        t.sctp_init,
        t.sctp_cookie,
        t.sctp_established,
        t.sctp_shutdown,
        t.sctp_closed,
        t.udp,
        t.udp_stream,
        t.icmp,
        t.generic,
    ]
    .into_iter()
    .fold(QUARANTINE_MIN, Duration::max)
}

#[cfg(test)]
mod tests;
