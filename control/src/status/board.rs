use super::facts::Facts;
use super::metrics::StatusMetrics;
use crate::object::{Key, Name};
use sluice_config::{Config, LoadBalancer};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Most Events that wait until they are taken.
const NOTICES_MAX: usize = 1024;

/// What of the configuration matters to what is written back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatusConfig {
    /// Which Services are given addresses; `None`: none.
    pub load_balancer: Option<LoadBalancer>,
    /// The proxy name of the Services that are served; `None`: those that name
    /// no proxy.
    pub proxy_name: Option<String>,
}

impl StatusConfig {
    /// The part of a configuration.
    pub fn of(config: &Config) -> Self {
        let load_balancer = config.load_balancer.clone();
        StatusConfig { load_balancer, proxy_name: config.services.proxy_name.clone() }
    }
}

/// How bad what an Event tells is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoticeKind {
    /// All is well.
    Normal,
    /// Something that was asked for is not in force.
    Warning,
}

/// Something that who looks at an object should see.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Notice {
    /// The object.
    pub key: Key,
    /// How bad it is.
    pub kind: NoticeKind,
    /// One word for it, in CamelCase.
    pub reason: String,
    /// What it is.
    pub note: String,
}

/// Where control leaves what is to be written back. Never waits; what nobody
/// has taken yet is replaced by what is newer. Clones share.
#[derive(Clone, Debug, Default)]
pub struct Board {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    notify: Notify,
    metrics: StatusMetrics,
}

/// What nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The Services that have changed: what they are now.
    pub(super) services: BTreeMap<Name, Option<Facts>>,
    pub(super) config: Option<StatusConfig>,
    /// Every Service has been told once.
    pub(super) is_synced: bool,
    pub(super) notices: BTreeSet<Notice>,
    pub(super) is_closed: bool,
}

impl Board {
    /// A Service is new or has changed; `None`: it is gone, or its addresses
    /// are no matter.
    pub fn service(&self, name: &Name, facts: Option<Facts>) {
        self.change(|pending| drop(pending.services.insert(name.clone(), facts)));
    }

    /// Every Service has been told, as the API has it. Nothing is allocated
    /// before: an address could be taken from who has it.
    pub fn synced(&self) {
        self.change(|pending| pending.is_synced = true);
    }

    /// Another configuration is in force.
    pub fn configure(&self, config: StatusConfig) {
        self.change(|pending| pending.config = Some(config));
    }

    /// Something is to be seen at an object.
    pub fn event(&self, key: Key, kind: NoticeKind, reason: &str, note: &str) {
        let notice = Notice { key, kind, reason: reason.to_owned(), note: note.to_owned() };
        let metrics = &self.shared.metrics;
        self.change(|pending| {
            let is_full = pending.notices.len() >= NOTICES_MAX;
            if is_full || !pending.notices.insert(notice) {
                metrics.suppressed();
            }
        });
    }

    /// Nothing more will come: who writes back may end.
    pub fn close(&self) {
        self.change(|pending| pending.is_closed = true);
    }

    /// What is written back, in numbers.
    pub fn metrics(&self) -> &StatusMetrics {
        &self.shared.metrics
    }

    /// Takes what has come. Events stay unless `with_notices`.
    pub(super) fn take(&self, with_notices: bool) -> Pending {
        let mut pending = self.lock();
        let notices = match with_notices {
            true => std::mem::take(&mut pending.notices),
            false => BTreeSet::new(),
        };
        Pending {
            services: std::mem::take(&mut pending.services),
            config: pending.config.take(),
            is_synced: pending.is_synced,
            notices,
            is_closed: pending.is_closed,
        }
    }

    /// Returns once something has come since [`Board::take`].
    pub(super) async fn changed(&self) {
        self.shared.notify.notified().await;
    }

    fn change(&self, change: impl FnOnce(&mut Pending)) {
        change(&mut self.lock());
        self.shared.notify.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
