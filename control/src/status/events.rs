//! Events at objects, as `kubectl describe` shows them (`events.k8s.io/v1`).
//! What is said again is counted, not said again; how much is said of one
//! object and of all is limited, and what is left out is counted.

use super::board::{Notice, NoticeKind};
use crate::object::{Key, Kind};
use crate::source::kubernetes::resource;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

mod bucket;

pub use bucket::Bucket;

/// Who reports, as a qualified name.
const CONTROLLER: &str = "sluice.dev/gateway";

/// Most notices that are remembered, and most objects.
const REMEMBERED_MAX: usize = 4096;

/// How long a notice is remembered; the API server keeps Events for an hour.
const REMEMBERED: Duration = Duration::from_secs(50 * 60);

/// Least time between two counts of one Event.
const COUNT_EVERY: Duration = Duration::from_secs(60);

/// Events of one object: at once, and then one in this time.
const OBJECT_BURST: u32 = 8;
const OBJECT_EVERY: Duration = Duration::from_secs(60);

/// Events of all objects: at once, and then one in this time.
const ALL_BURST: u32 = 200;
const ALL_EVERY: Duration = Duration::from_millis(50);

/// Longest note in bytes (`NoteLengthLimit` is 1 KiB).
pub(super) const NOTE_MAX: usize = 1000;

/// Longest part of an object's name in the name of its Event, in bytes: both
/// have at most 253.
const NAME_MAX: usize = 200;

/// What is to be done about a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make an Event of this name.
    Create(String),
    /// Say that the Event of this name has happened so many times.
    Count(String, i32),
    /// Nothing.
    Suppress,
}

/// What has been said. Pure: times and names are passed in.
#[derive(Debug)]
pub struct Ledger {
    said: HashMap<Notice, Said>,
    objects: BTreeMap<Key, Bucket>,
    all: Bucket,
}

#[derive(Debug)]
struct Said {
    name: String,
    /// The object's UID, if it was known.
    uid: Option<Arc<str>>,
    count: i32,
    at: Duration,
}

impl Default for Ledger {
    fn default() -> Self {
        let all = Bucket::new(ALL_BURST, ALL_EVERY);
        Ledger { said: HashMap::new(), objects: BTreeMap::new(), all }
    }
}

impl Ledger {
    /// Decides about a notice. `uid` is the object's, if it is known, `name` is for
    /// a new Event, `now` monotonic.
    pub fn step(
        &mut self,
        notice: &Notice,
        uid: Option<&Arc<str>>,
        name: &str,
        now: Duration,
    ) -> Step {
        if self.said.len() >= REMEMBERED_MAX || self.objects.len() >= REMEMBERED_MAX {
            self.forget_old(now);
        }
        if let Some(said) = self.said.get_mut(notice)
            && now < said.at + REMEMBERED
            // Another object of the same name has Events of its own.
            && said.uid.as_ref().zip(uid).is_none_or(|(before, uid)| before == uid)
        {
            said.count = said.count.saturating_add(1);
            if now < said.at + COUNT_EVERY || !self.all.take(now) {
                return Step::Suppress;
            }
            said.at = now;
            return Step::Count(said.name.clone(), said.count);
        }
        let is_full =
            self.objects.len() >= REMEMBERED_MAX && !self.objects.contains_key(&notice.key);
        if is_full || self.said.len() >= REMEMBERED_MAX {
            return Step::Suppress;
        }
        let object = self.objects.entry(notice.key.clone());
        let object = object.or_insert_with(|| Bucket::new(OBJECT_BURST, OBJECT_EVERY));
        if !object.take(now) || !self.all.take(now) {
            return Step::Suppress;
        }
        let said = Said { name: name.to_owned(), uid: uid.cloned(), count: 1, at: now };
        self.said.insert(notice.clone(), said);
        Step::Create(name.to_owned())
    }

    /// The Event of a notice is not there: it may be made again.
    pub fn forget(&mut self, notice: &Notice) {
        self.said.remove(notice);
    }

    fn forget_old(&mut self, now: Duration) {
        self.said.retain(|_, said| now < said.at + REMEMBERED);
        self.objects.retain(|_, bucket| !bucket.is_full(now));
    }
}

/// Makes Events.
#[derive(Clone)]
pub struct Recorder {
    client: Client,
    instance: Arc<str>,
}

impl Recorder {
    /// For the gateway on a node.
    pub fn new(client: Client, node: &str) -> Self {
        // `reportingInstance` has at most 128 bytes.
        let end = node.floor_char_boundary(128);
        Recorder { client, instance: node[..end].into() }
    }

    /// The name for an Event that is made now.
    pub fn name(notice: &Notice) -> String {
        let name = &notice.key.name[..notice.key.name.floor_char_boundary(NAME_MAX)];
        let name = name.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        format!("{name}.{:x}", Timestamp::now().as_nanosecond())
    }

    /// Takes a step. `uid` is that of the object, if it is known.
    ///
    /// # Errors
    /// When the API server refuses it or cannot be asked.
    pub async fn take(
        &self,
        notice: &Notice,
        step: &Step,
        uid: Option<Arc<str>>,
    ) -> Result<(), kube::Error> {
        let namespace = match notice.key.kind.is_namespaced() {
            true => &*notice.key.namespace,
            // Where the API expects Events of what has no namespace.
            false => "default",
        };
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        match step {
            Step::Suppress => Ok(()),
            Step::Count(name, count) => {
                let series =
                    json!({"count": count, "lastObservedTime": MicroTime(Timestamp::now())});
                let patch = Patch::Merge(json!({"series": series}));
                events.patch(name, &PatchParams::default(), &patch).await.map(drop)
            }
            Step::Create(name) => {
                let uid = match uid {
                    Some(uid) => Some(uid.to_string()),
                    None => self.uid(&notice.key).await?,
                };
                let event = self.event(notice, name, namespace, uid);
                events.create(&PostParams::default(), &event).await.map(drop)
            }
        }
    }

    /// The UID of an object, without which `kubectl describe` does not find its
    /// Events. A list, since that is what Sluice may do anyway.
    async fn uid(&self, key: &Key) -> Result<Option<String>, kube::Error> {
        let of = resource(key.kind, 0);
        let api: Api<DynamicObject> = match key.kind.is_namespaced() {
            true => Api::namespaced_with(self.client.clone(), &key.namespace, &of),
            false => Api::all_with(self.client.clone(), &of),
        };
        let only = ListParams::default().fields(&format!("metadata.name={}", key.name)).limit(1);
        let list = api.list_metadata(&only).await?;
        Ok(list.items.into_iter().next().and_then(|object| object.metadata.uid))
    }

    fn event(&self, notice: &Notice, name: &str, namespace: &str, uid: Option<String>) -> Event {
        let key = &notice.key;
        let regarding = ObjectReference {
            api_version: Some(key.kind.api_version().to_owned()),
            kind: Some(key.kind.as_str().to_owned()),
            name: Some(key.name.to_string()),
            namespace: key.kind.is_namespaced().then(|| key.namespace.to_string()),
            uid,
            ..ObjectReference::default()
        };
        let note = &notice.note[..notice.note.floor_char_boundary(NOTE_MAX)];
        let action = match key.kind {
            Kind::Service if notice.reason != "Invalid" => "Allocate",
            _ => "Read",
        };
        Event {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            action: Some(action.to_owned()),
            event_time: Some(MicroTime(Timestamp::now())),
            note: Some(note.to_owned()),
            reason: Some(notice.reason.clone()),
            regarding: Some(regarding),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.to_string()),
            type_: Some(match notice.kind {
                NoticeKind::Normal => "Normal".to_owned(),
                NoticeKind::Warning => "Warning".to_owned(),
            }),
            ..Event::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Name;

    fn notice(object: &str, note: &str) -> Notice {
        Notice {
            key: Name::new("default", object).key(Kind::Service),
            kind: NoticeKind::Warning,
            reason: "Test".to_owned(),
            note: note.to_owned(),
        }
    }

    #[test]
    fn what_is_said_again_is_counted_once_a_minute() {
        let mut ledger = Ledger::default();
        let one = notice("a", "x");
        let mut steps = Vec::new();
        for second in 0..130 {
            let step = ledger.step(&one, None, &format!("n{second}"), Duration::from_secs(second));
            if step != Step::Suppress {
                steps.push(step);
            }
        }
        let counted = |count| Step::Count("n0".to_owned(), count);
        assert_eq!(steps, [Step::Create("n0".to_owned()), counted(61), counted(121)]);
    }

    #[test]
    fn an_object_that_is_made_anew_has_events_of_its_own() {
        let mut ledger = Ledger::default();
        let one = notice("a", "x");
        let [first, second] = ["u1", "u2"].map(Arc::<str>::from);
        let mut step = |uid: &Arc<str>, name: &str, second: u64| {
            ledger.step(&one, Some(uid), name, Duration::from_secs(second))
        };
        assert_eq!(step(&first, "n1", 0), Step::Create("n1".to_owned()));
        assert_eq!(step(&first, "n2", 60), Step::Count("n1".to_owned(), 2));
        assert_eq!(step(&second, "n3", 61), Step::Create("n3".to_owned()));
        assert_eq!(step(&second, "n4", 121), Step::Count("n3".to_owned(), 2));
    }

    #[test]
    fn an_object_that_flaps_does_not_flood() {
        let mut ledger = Ledger::default();
        let mut made = 0;
        for i in 0..100_000_u64 {
            let now = Duration::from_millis(i * 10);
            let step = ledger.step(&notice("a", &i.to_string()), None, "n", now);
            made += u64::from(step != Step::Suppress);
        }
        // A thousand seconds.
        assert_eq!(made, u64::from(OBJECT_BURST) + 16);
        assert_eq!(
            ledger.step(&notice("b", ""), None, "n", Duration::from_secs(1000)),
            Step::Create("n".to_owned())
        );
    }

    #[test]
    fn memory_is_bounded() {
        let mut ledger = Ledger::default();
        for i in 0..1_000_000_u64 {
            let object = notice(&format!("o{i}"), "");
            ledger.step(&object, None, "n", Duration::from_millis(i));
        }
        assert!(ledger.said.len() <= REMEMBERED_MAX && ledger.objects.len() <= REMEMBERED_MAX);
    }

    #[test]
    fn names_of_events_are_dns_names() {
        let long = notice(&format!("{}.{}", "a".repeat(199), "b".repeat(53)), "");
        let name = Recorder::name(&long);
        assert!(name.len() <= 253 && name.starts_with(&"a".repeat(199)), "{name}");
        assert!(!name.contains(".."), "{name}");
    }
}
