use super::requests::{LABEL, Requests, lease_of};
use super::{Lease, Machine};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use k8s_openapi::api::coordination::v1::Lease as Object;
use kube::runtime::watcher::{self, Event, watcher};
use std::collections::BTreeMap;
use std::time::Duration;

/// Pause after a failure of the watch.
const PAUSE: Duration = Duration::from_millis(200);

/// Leases of one list; more are left out.
const LEASES_MAX: usize = 4096;

/// The Leases of the election, all through one watch, so that they come in the
/// order in which they were written.
pub struct Watch {
    requests: Requests,
    events: BoxStream<'static, Event<Object>>,
    /// A list that is not complete.
    listed: BTreeMap<String, Lease>,
    /// When something came last.
    heard: Duration,
}

impl Watch {
    /// Begins to watch.
    pub fn new(requests: Requests) -> Self {
        let events = events(&requests);
        Watch { requests, events, listed: BTreeMap::new(), heard: Duration::ZERO }
    }

    /// The next event, whatever comes between.
    pub async fn next(&mut self) -> Option<Event<Object>> {
        self.events.next().await
    }

    /// Takes an event in.
    pub fn take(&mut self, event: Event<Object>, machine: &mut Machine, now: Duration) {
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

fn events(requests: &Requests) -> BoxStream<'static, Event<Object>> {
    let config = watcher::Config::default().labels(LABEL);
    let stream = watcher(requests.leases(), config).boxed();
    let state = (stream, false);
    unfold(state, |(mut stream, mut has_failed)| async move {
        loop {
            match stream.next().await? {
                Ok(event) => return Some((event, (stream, false))),
                Err(error) => {
                    if !std::mem::replace(&mut has_failed, true) {
                        tracing::warn!(%error, "the watch of Leases fails; it is tried on");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    })
    .boxed()
}
