use super::{Control, unix_s};
use crate::cluster::Policy;
use crate::compile::{PortFacts, SetupError};
use crate::diagnostic::{Diagnostic, Severity};
use crate::publish::{DumpId, Finished, FlowFilter};
use crate::source::kubernetes::SourceHealth;
use crate::status::StatusConfig;
use crate::view::{
    self, BackendView, CertificateView, ControlMetrics, DomainNameView, FlowQuery, FlowsView,
    HttpRouteView, ListenerView, Names, NamesQuery, NeighborsView, RequestedQuery, RequestedView,
    RouteView, ServiceView, StatusView, TunnelView, VersionsView, WorkerView,
};
use crossbeam_channel::Sender;
use sluice_config::Config;
use sluice_tables::{Observe, ServiceId, Tables};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long workers may take to answer.
const DUMP_TIMEOUT: Duration = Duration::from_secs(5);

/// A question or an order. The answer goes to `reply`; if nobody waits for it
/// any more, it is dropped. Give `reply` room for one message.
#[derive(Debug)]
pub enum Request {
    /// How control is.
    Status {
        /// Where the answer goes.
        reply: Sender<StatusView>,
    },
    /// All Services.
    Services {
        /// Where the answer goes.
        reply: Sender<Vec<ServiceView>>,
    },
    /// All endpoints.
    Backends {
        /// Where the answer goes.
        reply: Sender<Vec<BackendView>>,
    },
    /// Flows; answered within 5 seconds with what has come by then.
    Flows {
        /// Which.
        query: FlowQuery,
        /// Where the answer goes.
        reply: Sender<FlowsView>,
    },
    /// Neighbors; answered within 5 seconds with what has come by then.
    Neighbors {
        /// Where the answer goes.
        reply: Sender<NeighborsView>,
    },
    /// All routes.
    Routes {
        /// Where the answer goes.
        reply: Sender<Vec<RouteView>>,
    },
    /// All tunnels.
    Tunnels {
        /// Where the answer goes.
        reply: Sender<Vec<TunnelView>>,
    },
    /// The tables that were published last.
    Tables {
        /// Where the answer goes.
        reply: Sender<Arc<Tables>>,
    },
    /// What numbers and addresses in the tables stand for.
    Names {
        /// Which.
        query: NamesQuery,
        /// Where the answer goes.
        reply: Sender<Names>,
    },
    /// Where requests are listened for.
    Listeners {
        /// Where the answer goes.
        reply: Sender<Vec<ListenerView>>,
    },
    /// All routes of requests.
    HttpRoutes {
        /// Where the answer goes.
        reply: Sender<Vec<HttpRouteView>>,
    },
    /// All certificates.
    Certificates {
        /// Where the answer goes.
        reply: Sender<Vec<CertificateView>>,
    },
    /// What is known of a request's way beside the tables.
    Requested {
        /// Which.
        query: RequestedQuery,
        /// Where the answer goes.
        reply: Sender<RequestedView>,
    },
    /// What domain names stand for.
    DomainNames {
        /// Where the answer goes.
        reply: Sender<Vec<DomainNameView>>,
    },
    /// Everything that is wrong.
    Diagnostics {
        /// Where the answer goes.
        reply: Sender<Vec<Diagnostic>>,
    },
    /// How far the tables are.
    Versions {
        /// Where the answer goes.
        reply: Sender<VersionsView>,
    },
    /// Numbers for metrics.
    Metrics {
        /// Where the answer goes.
        reply: Sender<ControlMetrics>,
    },
    /// Have the workers tell this of single packets, and nothing else.
    Observe {
        /// What.
        observe: Arc<Observe>,
        /// Told once it is on its way to them.
        reply: Sender<()>,
    },
    /// Use another configuration.
    Reload {
        /// The configuration.
        config: Box<Config>,
        /// The devices of its ports, in order.
        facts: Vec<PortFacts>,
        /// Where the answer goes. After an error everything is as before.
        reply: Sender<Result<(), SetupError>>,
    },
    /// Tell the workers to finish, and return from [`Control::run`].
    Stop {
        /// Told once the workers have been told.
        reply: Sender<()>,
    },
}

/// Answers that wait for workers or for the end.
#[derive(Debug, Default)]
pub(super) struct Pending {
    flows: BTreeMap<DumpId, Sender<FlowsView>>,
    neighbors: BTreeMap<DumpId, Sender<NeighborsView>>,
    stop: Vec<Sender<()>>,
}

impl Pending {
    pub(super) fn is_stopping(&self) -> bool {
        !self.stop.is_empty()
    }

    /// Tells those who wait for the end.
    pub(super) fn finish(&mut self) {
        self.stop.drain(..).for_each(|reply| give(&reply, ()));
    }
}

/// Replies never block: one without room is one that nobody waits for.
fn give<T>(reply: &Sender<T>, answer: T) {
    let _ = reply.try_send(answer);
}

impl Control {
    pub(super) fn request(&mut self, request: Request) {
        match request {
            Request::Status { reply } => give(&reply, self.status()),
            Request::Services { reply } => {
                give(&reply, view::services(&self.cluster, &self.compiler));
            }
            Request::Backends { reply } => {
                give(&reply, view::backends(&self.cluster, &self.compiler));
            }
            Request::Flows { query, reply } => self.flows(query, reply),
            Request::Neighbors { reply } => {
                let limit = self.config.neighbors.max as usize;
                let deadline = self.clock.now() + DUMP_TIMEOUT;
                let id = self.publisher.dump_neighbors(limit, deadline);
                self.pending.neighbors.insert(id, reply);
            }
            Request::Routes { reply } => give(&reply, view::routes(self.compiler.tables())),
            Request::Tunnels { reply } => give(&reply, view::tunnels(self.compiler.tables())),
            Request::Tables { reply } => give(&reply, self.compiler.shared_tables()),
            Request::Names { query, reply } => {
                let names = view::names(&self.cluster, &self.compiler, &self.pod_names, &query);
                give(&reply, names);
            }
            Request::Listeners { reply } => {
                let unix_s = unix_s(self.clock.wall());
                give(&reply, view::listeners(&self.cluster, &self.compiler, unix_s));
            }
            Request::HttpRoutes { reply } => {
                give(&reply, view::http_routes(&self.cluster, &self.compiler));
            }
            Request::Certificates { reply } => {
                let unix_s = unix_s(self.clock.wall());
                give(&reply, view::certificates(&self.cluster, &self.compiler, unix_s));
            }
            Request::Requested { query, reply } => {
                give(&reply, view::requested(&self.cluster, &self.compiler, &query));
            }
            Request::DomainNames { reply } => give(&reply, self.names_view()),
            Request::Diagnostics { reply } => give(&reply, self.diagnostics()),
            Request::Versions { reply } => give(&reply, self.versions()),
            Request::Metrics { reply } => give(&reply, self.metrics()),
            Request::Observe { observe, reply } => {
                self.publisher.observe(observe);
                give(&reply, ());
            }
            Request::Reload { config, facts, reply } => {
                let result = self.reload(*config, &facts);
                give(&reply, result);
            }
            Request::Stop { reply } => self.pending.stop.push(reply),
        }
    }

    fn flows(&mut self, query: FlowQuery, reply: Sender<FlowsView>) {
        let services = query.service.as_ref().map(|name| -> BTreeSet<ServiceId> {
            let ports = self.compiler.service_ports();
            ports.filter(|(_, key)| key.service.to_string() == *name).map(|(id, _)| id).collect()
        });
        let filter = FlowFilter { services, addr: query.address, protocol: query.protocol };
        let deadline = self.clock.now() + DUMP_TIMEOUT;
        let id = self.publisher.dump_flows(filter, query.limit, deadline);
        self.pending.flows.insert(id, reply);
    }

    /// Answers those who wait for dumps.
    pub(super) fn answer(&mut self, finished: Vec<Finished>) {
        for dump in finished {
            match dump {
                Finished::Flows { id, flows, is_complete } => {
                    let Some(reply) = self.pending.flows.remove(&id) else { continue };
                    let view = |(worker, flow)| view::flow_view(&self.compiler, worker, &flow);
                    let flows = flows.into_iter().map(view).collect();
                    give(&reply, FlowsView { flows, complete: is_complete });
                }
                Finished::Neighbors { id, neighbors, is_complete } => {
                    let Some(reply) = self.pending.neighbors.remove(&id) else { continue };
                    let tables = self.compiler.tables();
                    give(&reply, view::neighbors_view(tables, neighbors, is_complete));
                }
            }
        }
    }

    fn reload(&mut self, config: Config, facts: &[PortFacts]) -> Result<(), SetupError> {
        for (key, is_same) in [
            ("source", config.source == self.config.source),
            ("workers", config.workers == self.config.workers),
            ("l7", is_l7_as_started(&config, &self.config)),
        ] {
            if !is_same {
                return Err(SetupError::Restart { key });
            }
        }
        self.compiler.reconfigure(&config, facts)?;
        self.cluster.set_policy(Policy::of(&config.services));
        if let Some(board) = &self.board {
            board.configure(StatusConfig::of(&config));
        }
        self.config = config;
        self.event_at.get_or_insert(self.clock.now());
        Ok(())
    }

    fn versions(&self) -> VersionsView {
        let workers = self.publisher.progress().into_iter();
        VersionsView {
            published: self.compiler.tables().version,
            live: self.publisher.live(),
            published_unix_ms: self.published_unix_ms,
            workers: workers
                .map(|w| WorkerView { sent: w.sent, live: w.live, gone: w.is_gone })
                .collect(),
        }
    }

    fn status(&self) -> StatusView {
        StatusView {
            source: self.source.description.clone(),
            synced: self.source.is_synced,
            api: self.source.health.as_ref().map(SourceHealth::view),
            election: self.election_view(),
            versions: self.versions(),
            objects: self.objects(),
            diagnostics: self.diagnostics(),
        }
    }

    fn metrics(&self) -> ControlMetrics {
        let mut diagnostics: BTreeMap<String, usize> =
            ["error", "warning", "info"].map(|severity| (severity.to_owned(), 0)).into();
        let alone = self.cluster.findings().map(|(_, finding)| finding);
        let together = self.compiler.findings().map(|(_, finding)| finding);
        let of_objects = alone.chain(together).map(|finding| finding.severity);
        let refusals = std::iter::repeat_n(Severity::Warning, self.health.refusals_len());
        let of_source = self.source.diagnostics.iter().map(|diagnostic| diagnostic.severity);
        for severity in of_source.chain(of_objects).chain(refusals) {
            *diagnostics.entry(severity.to_string()).or_default() += 1;
        }
        let kinds = ["service", "backend", "vtep"].map(str::to_owned);
        let certificates = self.compiler.certificate_ends(view::CERTIFICATES_MAX).into_iter();
        ControlMetrics {
            synced: self.source.is_synced,
            api: self.source.health.as_ref().map(SourceHealth::view),
            election: self.election_view(),
            tellings_left_out: self.publisher.telling().left_out,
            objects: self.objects(),
            diagnostics,
            publications: self.publisher.published(),
            version: self.compiler.tables().version,
            live_version: self.publisher.live(),
            compile: self.compile.clone(),
            event_to_live: self.publisher.event_to_live().clone(),
            names: self.names_metrics(),
            quarantined: kinds.into_iter().zip(self.compiler.quarantined()).collect(),
            policy: self.compiler.policy_sizes(),
            certificates: certificates.map(|(name, end)| (name.to_string(), end)).collect(),
        }
    }
}

/// Who has connections is decided at the start, as is what is watched.
fn is_l7_as_started(new: &Config, old: &Config) -> bool {
    let io = |config: &Config| config.l7.as_ref().map(|l7| l7.io);
    io(new) == io(old) && new.has_ingresses() == old.has_ingresses()
}
