use super::desired::Desired;
use super::events::Bucket;
use super::facts::Facts;
use super::metrics::{StatusMetrics, WriteResult};
use crate::kubernetes::pauses::pauses;
use crate::object::Name;
use backon::ExponentialBackoff;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::Service;
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

/// First and longest pause after a failure; each is varied at random.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

/// What became of one write.
pub struct Written {
    /// The Service.
    pub name: Name,
    /// What was to be written.
    pub desired: Desired,
    /// What the Service was before, as far as was known.
    pub before: Facts,
    result: Result<Service, kube::Error>,
}

/// The Services, and writes of their status: one at a time for each, the last
/// word only.
pub struct Writer {
    client: Client,
    records: BTreeMap<Name, Record>,
    /// When to write what.
    due: BTreeSet<(Duration, Name)>,
    under_way: FuturesUnordered<BoxFuture<'static, Written>>,
    rate: Bucket,
    metrics: StatusMetrics,
    /// The failure that was logged last.
    logged: String,
}

/// What is known of a Service.
struct Record {
    facts: Facts,
    /// What is to be written, and when.
    task: Option<(Desired, Duration)>,
    is_under_way: bool,
    /// The pauses that follow, after a failure.
    pauses: Option<ExponentialBackoff>,
}

impl Writer {
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

    /// Notes what a Service is now; false if that is known already.
    pub fn set(&mut self, name: &Name, facts: Option<Facts>) -> bool {
        let Some(facts) = facts else {
            self.cancel(name);
            return self.records.remove(name).is_some();
        };
        match self.records.get_mut(name) {
            // What was written is known before the watch tells of it.
            Some(record) if facts.is_older_than(&record.facts) => return false,
            Some(record) => record.facts = facts,
            None => {
                let record = Record { facts, task: None, is_under_way: false, pauses: None };
                self.records.insert(name.clone(), record);
            }
        }
        true
    }

    /// What a Service is.
    pub fn facts(&self, name: &Name) -> Option<&Facts> {
        self.records.get(name).map(|record| &record.facts)
    }

    /// The Services.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.records.keys()
    }

    /// Sees to it that a Service says this.
    pub fn want(&mut self, name: &Name, desired: Desired, now: Duration) {
        let Some(record) = self.records.get_mut(name) else { return };
        if desired.is_said_by(&record.facts) {
            record.pauses = None;
            self.cancel(name);
            return;
        }
        // After a failure the pause goes on, whatever is to be written then.
        let at = record.task.as_ref().map_or(now, |(_, at)| *at);
        record.task = Some((desired, at));
        if !record.is_under_way {
            self.due.insert((at, name.clone()));
        }
        self.metrics.set_pending(self.due.len() + self.under_way.len());
    }

    /// Writes nothing more, until told so.
    pub fn cancel_all(&mut self) {
        self.due.clear();
        for record in self.records.values_mut() {
            record.task = None;
        }
        self.metrics.set_pending(self.under_way.len());
    }

    fn cancel(&mut self, name: &Name) {
        let task = self.records.get_mut(name).and_then(|record| record.task.take());
        if let Some((_, at)) = task {
            self.due.remove(&(at, name.clone()));
        }
        self.metrics.set_pending(self.due.len() + self.under_way.len());
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
            let (client, before) = (self.client.clone(), record.facts.clone());
            self.under_way.push(Box::pin(write(client, name, desired, before)));
        }
        self.metrics.set_pending(self.due.len() + self.under_way.len());
    }

    /// How long until something is due.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        let (at, _) = self.due.first()?;
        let is_busy = self.under_way.len() >= WRITES_MAX;
        (!is_busy).then(|| at.saturating_sub(now).max(self.rate.wait(now)))
    }

    /// What has been written; `None`: nothing is under way.
    pub async fn next(&mut self) -> Option<Written> {
        self.under_way.next().await
    }

    /// Takes note of what became of a write; true if it is written.
    pub fn done(&mut self, written: &Written, now: Duration) -> bool {
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
        if let Err(error) = &written.result
            && matches!(result, WriteResult::Refused | WriteResult::Failed)
        {
            self.log(&written.name, error);
        }
        let Some(record) = self.records.get_mut(&written.name) else { return false };
        record.is_under_way = false;
        match &written.result {
            Ok(service) => {
                record.pauses = None;
                match Facts::of(service) {
                    Some(facts) if facts.is_older_than(&record.facts) => {}
                    Some(facts) => record.facts = facts,
                    None => drop(self.records.remove(&written.name)),
                }
            }
            // The watch will say so.
            Err(_) if result == WriteResult::Gone => drop(self.records.remove(&written.name)),
            Err(_) => {
                let pauses = record.pauses.get_or_insert_with(|| pauses(PAUSE.0, PAUSE.1));
                let at = now + pauses.next().unwrap_or(PAUSE.1);
                let desired = record.task.take().map(|(desired, _)| desired);
                let desired = desired.unwrap_or_else(|| written.desired.clone());
                record.task = Some((desired, at));
            }
        }
        if let Some(record) = self.records.get(&written.name)
            && let Some((_, at)) = &record.task
        {
            self.due.insert((*at, written.name.clone()));
        }
        self.metrics.set_pending(self.due.len() + self.under_way.len());
        result == WriteResult::Written
    }

    /// Logs a failure, unless it was logged last.
    fn log(&mut self, name: &Name, error: &kube::Error) {
        // Texts of the API server name the object.
        let text = error.to_string().replace(&*name.name, "NAME");
        if text != self.logged {
            tracing::warn!(service = %name, "the status cannot be written, and will be tried again: {error}");
            self.logged = text;
        }
    }
}

async fn write(client: Client, name: Name, desired: Desired, before: Facts) -> Written {
    let api: Api<Service> = Api::namespaced(client, &name.namespace);
    let object = desired.to_apply(&name.namespace, &name.name, &before);
    // What another has written there is not its to write.
    let parameters = PatchParams::apply(MANAGER).force();
    let result = api.patch_status(&name.name, &parameters, &Patch::Apply(object)).await;
    Written { name, desired, before, result }
}
