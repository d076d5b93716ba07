use super::requests::{LABEL, Requests, lease_of};
use super::{Lease, Machine};
use crate::kubernetes::pauses::pauses as backoff;
use backon::ExponentialBackoff;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use k8s_openapi::api::coordination::v1::Lease as Object;
use kube::runtime::watcher::{self, Event, watcher};
use std::collections::BTreeMap;
use std::time::Duration;

/// Pauses after failures of the watch: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Leases of one list; more are left out.
const LEASES_MAX: usize = 4096;

/// The Leases of the election, all through one watch, so that they come in the
/// order in which they were written.
pub struct Watch {
    requests: Requests,
    events: BoxStream<'static, watcher::Result<Event<Object>>>,
    /// A list that is not complete.
    listed: BTreeMap<String, Lease>,
    /// When something came last.
    heard: Duration,
    /// The last that came was a failure.
    has_failed: bool,
}

impl Watch {
    /// Begins to watch.
    pub fn new(requests: Requests) -> Self {
        let events = events(&requests);
        Watch {
            requests,
            events,
            listed: BTreeMap::new(),
            heard: Duration::ZERO,
            has_failed: false,
        }
    }

    /// The next event or failure.
    pub async fn next(&mut self) -> Option<watcher::Result<Event<Object>>> {
        self.events.next().await
    }

    /// Takes in what came. When that tells whether the watch works: why not, or
    /// `None` if it does.
    pub fn take(
        &mut self,
        event: watcher::Result<Event<Object>>,
        machine: &mut Machine,
        now: Duration,
    ) -> Option<Option<String>> {
        match event {
            Ok(event) => {
                // A list says nothing of the watch that follows.
                let is_change = matches!(event, Event::Apply(_) | Event::Delete(_));
                self.apply(event, machine, now);
                (is_change && std::mem::take(&mut self.has_failed)).then_some(None)
            }
            Err(error) => {
                let text = error.to_string();
                if !std::mem::replace(&mut self.has_failed, true) {
                    tracing::warn!(error = text, "the watch of Leases fails; it is tried on");
                }
                Some(Some(text))
            }
        }
    }

    fn apply(&mut self, event: Event<Object>, machine: &mut Machine, now: Duration) {
        self.heard = now;
        match event {
            Event::Apply(object) => {
                if let Some((name, lease)) = lease_of(object) {
                    machine.view().apply(now, &name, lease);
                }
            }
            Event::Delete(object) => {
                if let Some((name, _)) = lease_of(object) {
                    machine.view().delete(now, &name);
                }
            }
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                if let Some((name, lease)) =
                    lease_of(object).filter(|_| self.listed.len() < LEASES_MAX)
                {
                    self.listed.insert(name, lease);
                }
            }
            Event::InitDone => {
                machine.view().replace(now, std::mem::take(&mut self.listed));
            }
        }
    }

    /// Begins anew if a member, whose own renewals should come by the watch, has
    /// heard nothing for long: the connection is dead, and nobody says so.
    pub fn look_after(&mut self, is_member: bool, patience: Duration, now: Duration) {
        if !is_member {
            self.heard = now;
        } else if now.saturating_sub(self.heard) > patience {
            tracing::warn!("the watch of Leases says nothing; it is begun anew");
            self.events = events(&self.requests);
            self.listed.clear();
            self.heard = now;
        }
    }
}

/// Events and failures, without end; each failure is paused after.
fn events(requests: &Requests) -> BoxStream<'static, watcher::Result<Event<Object>>> {
    let config = watcher::Config::default().labels(LABEL);
    let state = (watcher(requests.leases(), config).boxed(), None, false);
    unfold(state, |(mut stream, mut pauses, has_failed)| async move {
        if let Some(pauses) = pauses.as_mut().filter(|_| has_failed) {
            tokio::time::sleep(ExponentialBackoff::next(pauses).unwrap_or(PAUSE.1)).await;
        }
        let event = stream.next().await?;
        match &event {
            // Each try of a list begins with it.
            Ok(Event::Init) => {}
            Ok(_) => pauses = None,
            Err(_) => drop(pauses.get_or_insert_with(|| backoff(PAUSE.0, PAUSE.1))),
        }
        let has_failed = event.is_err();
        Some((event, (stream, pauses, has_failed)))
    })
    .boxed()
}
