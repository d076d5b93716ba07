use super::deadline::{REQUEST_MAX, within};
use super::desired::Desired;
use super::events::Bucket;
use super::facts::is_older;
use super::metrics::{StatusMetrics, WriteResult};
use super::statement::{Identified, Statement};
use crate::kubernetes::pauses::pauses;
use crate::object::Name;
use backon::ExponentialBackoff;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use k8s_openapi::Metadata;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who writes, for the API's field ownership.
const MANAGER: &str = "sluice";

/// Writes under way at once.
const WRITES_MAX: usize = 8;

/// Writes: at once, and then one in this time.
const BURST: u32 = 200;
const EVERY: Duration = Duration::from_millis(5);

/// Writes of one object: at once, and then one in this time. Another controller
/// that answers each write with its own is not answered at its pace.
const OBJECT_BURST: u32 = 10;
const OBJECT_EVERY: Duration = Duration::from_secs(10);

/// First and longest pause after a failure; each is varied at random.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

/// Longest pause after a conflict: the watch brings what was missed soon.
const CONFLICT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// What became of one write.
pub struct Written<D: Statement = Desired> {
    /// The object.
    pub name: Name,
    /// What was to be written.
    pub desired: D,
    /// What the object was before, as far as was known.
    pub before: D::Facts,
    result: Result<D::Object, kube::Error>,
}

/// The objects of a kind, and writes of their status: one at a time for each, the last
/// word only.
pub struct Writer<D: Statement = Desired> {
    client: Client,
    records: BTreeMap<Name, Record<D>>,
    /// When to write what.
    due: BTreeSet<(Duration, Name)>,
    under_way: FuturesUnordered<BoxFuture<'static, Written<D>>>,
    rate: Bucket,
    metrics: StatusMetrics,
    /// The failure that was logged last.
    logged: String,
}

/// What is known of an object. One that is made anew under the name of another
/// has a record of its own.
struct Record<D: Statement> {
    facts: D::Facts,
    /// What is to be written, and when.
    task: Option<(D, Duration)>,
    is_under_way: bool,
    /// The pauses that follow, after a failure.
    pauses: Option<ExponentialBackoff>,
    rate: Bucket,
}

impl<D: Statement> Record<D> {
    fn new(facts: D::Facts) -> Self {
        let rate = Bucket::new(OBJECT_BURST, OBJECT_EVERY);
        Record { facts, task: None, is_under_way: false, pauses: None, rate }
    }
}

impl<D: Statement> Writer<D> {
    /// Nothing to write yet.
    pub fn new(client: Client, metrics: StatusMetrics) -> Self {
        Writer {
            client,
            records: BTreeMap::new(),
            due: BTreeSet::new(),
            under_way: FuturesUnordered::new(),
            rate: Bucket::new(BURST, EVERY),
            metrics,
            logged: String::new(),
        }
    }

    /// Notes what an object is now; false if that is known already.
    pub fn set(&mut self, name: &Name, facts: Option<D::Facts>) -> bool {
        let Some(facts) = facts else { return self.forget(name) };
        match self.records.get_mut(name) {
            // What was written is known before the watch tells of it.
            Some(record) if facts.is_older_than(&record.facts) => return false,
            Some(record) if record.facts.uid() == facts.uid() => record.facts = facts,
            _ => {
                self.forget(name);
                self.records.insert(name.clone(), Record::new(facts));
            }
        }
        true
    }

    /// Whether there was something to forget.
    fn forget(&mut self, name: &Name) -> bool {
        self.cancel(name);
        self.records.remove(name).is_some()
    }

    /// What an object is.
    pub fn facts(&self, name: &Name) -> Option<&D::Facts> {
        self.records.get(name).map(|record| &record.facts)
    }

    /// The objects.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.records.keys()
    }

    /// Sees to it that an object says this.
    pub fn want(&mut self, name: &Name, desired: D, now: Duration) {
        let Some(record) = self.records.get_mut(name) else { return };
        if desired.is_said_by(Some(&record.facts)) {
            record.pauses = None;
            self.cancel(name);
            return;
        }
        // After a failure the pause goes on, whatever is to be written then.
        let at = match &record.task {
            Some((_, at)) => *at,
            None => now + record.rate.wait(now),
        };
        record.task = Some((desired, at));
        if !record.is_under_way {
            self.due.insert((at, name.clone()));
        }
        self.metrics.set_pending(D::KIND, self.due.len() + self.under_way.len());
    }

    /// Writes nothing more, until told so.
    pub fn cancel_all(&mut self) {
        self.due.clear();
        for record in self.records.values_mut() {
            record.task = None;
        }
        self.metrics.set_pending(D::KIND, self.under_way.len());
    }

    fn cancel(&mut self, name: &Name) {
        let task = self.records.get_mut(name).and_then(|record| record.task.take());
        if let Some((_, at)) = task {
            self.due.remove(&(at, name.clone()));
        }
        self.metrics.set_pending(D::KIND, self.due.len() + self.under_way.len());
    }

    /// Starts what is due.
    pub fn start(&mut self, now: Duration) {
        while self.under_way.len() < WRITES_MAX
            && self.due.first().is_some_and(|(at, _)| *at <= now)
            && self.rate.take(now)
        {
            let Some((_, name)) = self.due.pop_first() else { return };
            let Some(record) = self.records.get_mut(&name) else { continue };
            let Some((desired, _)) = record.task.take() else { continue };
            record.is_under_way = true;
            record.rate.take(now);
            let (client, before) = (self.client.clone(), record.facts.clone());
            self.under_way.push(Box::pin(write(client, name, desired, before)));
        }
        self.metrics.set_pending(D::KIND, self.due.len() + self.under_way.len());
    }

    /// How long until something is due.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        let (at, _) = self.due.first()?;
        let is_busy = self.under_way.len() >= WRITES_MAX;
        (!is_busy).then(|| at.saturating_sub(now).max(self.rate.wait(now)))
    }

    /// What has been written; `None`: nothing is under way.
    pub async fn next(&mut self) -> Option<Written<D>> {
        self.under_way.next().await
    }

    /// Takes note of what became of a write; true if it is written, and its object
    /// is still there.
    pub fn done(&mut self, written: &Written<D>, now: Duration) -> bool {
        let result = match &written.result {
            Ok(_) => WriteResult::Written,
            Err(kube::Error::Api(status)) if status.code == 404 => WriteResult::Gone,
            Err(kube::Error::Api(status)) if status.code == 409 => WriteResult::Conflict,
            Err(kube::Error::Api(status)) if status.code < 500 && status.code != 429 => {
                WriteResult::Refused
            }
            Err(_) => WriteResult::Failed,
        };
        self.metrics.wrote(result);
        let is_said = match &written.result {
            Ok(object) => written.desired.is_said_by(D::Facts::of(object).as_ref()),
            Err(_) => false,
        };
        match &written.result {
            Ok(_) if !is_said => self.log(&written.name, "the API server has not kept all of it"),
            Err(error) if matches!(result, WriteResult::Refused | WriteResult::Failed) => {
                self.log(&written.name, &error.to_string());
            }
            _ => {}
        }
        // A late answer says nothing of another object that has the name by now.
        let record = self.records.get(&written.name);
        let is_same = record.is_some_and(|record| record.facts.uid() == written.before.uid());
        if is_same {
            self.note(written, result, is_said, now);
        }
        self.metrics.set_pending(D::KIND, self.due.len() + self.under_way.len());
        is_same && is_said
    }

    /// What a write means for its object, and for what is written next.
    fn note(&mut self, written: &Written<D>, result: WriteResult, is_said: bool, now: Duration) {
        let name = &written.name;
        let Some(record) = self.records.get_mut(name) else { return };
        let is_gone = match &written.result {
            Ok(object) => match D::Facts::of(object) {
                Some(facts) if facts.is_older_than(&record.facts) => false,
                Some(facts) => {
                    record.facts = facts;
                    false
                }
                None => {
                    let version = object.metadata().resource_version.as_deref().unwrap_or_default();
                    !is_older(version, record.facts.resource_version())
                }
            },
            // The watch will say so.
            Err(_) => result == WriteResult::Gone,
        };
        if is_gone {
            self.forget(name);
            return;
        }
        record.is_under_way = false;
        let mut task = record.task.take();
        if let Some((_, at)) = &task {
            self.due.remove(&(*at, name.clone()));
        }
        if is_said {
            record.pauses = None;
        } else {
            let longest = match result {
                WriteResult::Conflict => CONFLICT_PAUSE_MAX,
                _ => PAUSE.1,
            };
            let pauses = record.pauses.get_or_insert_with(|| pauses(PAUSE.0, PAUSE.1));
            let at = now + pauses.next().unwrap_or(longest).min(longest);
            task = Some((task.map_or_else(|| written.desired.clone(), |(desired, _)| desired), at));
        }
        if let Some((_, at)) = &task {
            self.due.insert((*at, name.clone()));
        }
        record.task = task;
    }

    /// Logs a failure, unless it was logged last.
    fn log(&mut self, name: &Name, trouble: &str) {
        // Texts of the API server name the object.
        let text = trouble.replace(&*name.name, "NAME");
        if text != self.logged {
            let object = name.key(D::KIND);
            tracing::warn!(%object, "the status cannot be written, and will be tried again: {trouble}");
            self.logged = text;
        }
    }
}

async fn write<D: Statement>(
    client: Client,
    name: Name,
    desired: D,
    before: D::Facts,
) -> Written<D> {
    let api: Api<D::Object> = Api::namespaced(client, &name.namespace);
    let object = desired.to_apply(&name.namespace, &name.name, &before);
    // What another has written there is not its to write.
    let parameters = PatchParams::apply(MANAGER).force();
    let patch = Patch::Apply(object);
    let result = within(REQUEST_MAX, api.patch_status(&name.name, &parameters, &patch)).await;
    Written { name, desired, before, result }
}

#[cfg(test)]
pub(super) mod tests;
