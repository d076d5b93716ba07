use super::facts::Facts;
use super::ingress::IngressFacts;
use super::metrics::StatusMetrics;
use crate::object::{Key, Name};
use sluice_config::{Config, LoadBalancer};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Most Events that wait until they are taken.
const NOTICES_MAX: usize = 1024;

/// How long an Event may wait. A gateway that does not lead keeps them for when it
/// does, since a leader that ends may not have told the last ones; what is older
/// has been told, or is mended.
const NOTICE_AGE_MAX: Duration = Duration::from_secs(60);

/// What of the configuration matters to what is written back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatusConfig {
    /// Which Services are given addresses; `None`: none.
    pub load_balancer: Option<LoadBalancer>,
    /// The proxy name of the Services that are served; `None`: those that name
    /// no proxy.
    pub proxy_name: Option<String>,
    /// Where Ingresses are served; none: they are not.
    pub ingress_addresses: Arc<[IpAddr]>,
}

impl StatusConfig {
    /// The part of a configuration.
    pub fn of(config: &Config) -> Self {
        let ingress = config.l7.as_ref().and_then(|l7| l7.ingress.as_ref());
        StatusConfig {
            load_balancer: config.load_balancer.clone(),
            proxy_name: config.services.proxy_name.clone(),
            ingress_addresses: ingress.map_or(&[][..], |of| &of.addresses).into(),
        }
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
    /// The Ingresses that have changed: what they are now.
    pub(super) ingresses: BTreeMap<Name, Option<IngressFacts>>,
    /// The Ingresses that have become this gateway's, or another's.
    pub(super) ours: BTreeMap<Name, bool>,
    pub(super) config: Option<StatusConfig>,
    /// Every Service has been told once.
    pub(super) is_synced: bool,
    /// When each was told last.
    pub(super) notices: BTreeMap<Notice, Instant>,
    pub(super) is_closed: bool,
}

impl Board {
    /// A Service is new or has changed; `None`: it is gone, or its addresses
    /// are no matter.
    pub fn service(&self, name: &Name, facts: Option<Facts>) {
        self.change(|pending| drop(pending.services.insert(name.clone(), facts)));
    }

    /// An Ingress is new or has changed; `None`: it is gone.
    pub fn ingress(&self, name: &Name, facts: Option<IngressFacts>) {
        self.change(|pending| drop(pending.ingresses.insert(name.clone(), facts)));
    }

    /// An Ingress has become this gateway's, or is not any more.
    pub fn serves(&self, name: Name, is_ours: bool) {
        self.change(|pending| {
            pending.ours.insert(name, is_ours);
        });
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
        self.tell(Notice { key, kind, reason: reason.to_owned(), note: note.to_owned() });
    }

    /// The same, as one has it.
    pub fn tell(&self, notice: Notice) {
        self.notice(notice, Instant::now());
    }

    fn notice(&self, notice: Notice, now: Instant) {
        let metrics = &self.shared.metrics;
        self.change(|pending| {
            let is_full = pending.notices.len() >= NOTICES_MAX;
            let is_there = pending.notices.contains_key(&notice);
            if is_full || is_there {
                metrics.suppressed();
            }
            if !is_full || is_there {
                pending.notices.insert(notice, now);
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

    /// Takes what has come. Events stay unless `with_notices`, but no longer than
    /// they may wait.
    pub(super) fn take(&self, with_notices: bool) -> Pending {
        self.take_at(with_notices, Instant::now())
    }

    fn take_at(&self, with_notices: bool, now: Instant) -> Pending {
        let mut pending = self.lock();
        pending.notices.retain(|_, at| {
            let is_fresh = now.saturating_duration_since(*at) <= NOTICE_AGE_MAX;
            if !is_fresh {
                self.shared.metrics.suppressed();
            }
            is_fresh
        });
        let notices = match with_notices {
            true => std::mem::take(&mut pending.notices),
            false => BTreeMap::new(),
        };
        Pending {
            services: std::mem::take(&mut pending.services),
            ingresses: std::mem::take(&mut pending.ingresses),
            ours: std::mem::take(&mut pending.ours),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Kind;

    fn notice(note: usize) -> Notice {
        Notice {
            key: Name::new("default", "a").key(Kind::Service),
            kind: NoticeKind::Warning,
            reason: "Test".to_owned(),
            note: note.to_string(),
        }
    }

    #[test]
    fn who_begins_to_lead_tells_nothing_old() {
        let board = Board::default();
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        (0..2).for_each(|note| board.notice(notice(note), at(0)));
        // It is so still.
        board.notice(notice(0), at(50));
        assert_eq!(board.take_at(false, at(60)).notices.len(), 0, "they stay");
        let taken: Vec<_> = board.take_at(true, at(61)).notices.into_keys().collect();
        assert_eq!(taken, [notice(0)]);
        assert_eq!(board.metrics().events_suppressed(), 2, "one again, and one that is old");
    }

    #[test]
    fn old_notices_make_room_while_nobody_leads() {
        let board = Board::default();
        let start = Instant::now();
        (0..NOTICES_MAX + 1).for_each(|note| board.notice(notice(note), start));
        assert_eq!(board.metrics().events_suppressed(), 1);
        let later = start + NOTICE_AGE_MAX + Duration::from_secs(1);
        assert!(board.take_at(false, later).notices.is_empty());
        board.notice(notice(NOTICES_MAX), later);
        assert_eq!(board.take_at(true, later).notices.len(), 1);
    }
}
