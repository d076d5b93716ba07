//! What is counted of requests by whom they were for, and how long they took: read from
//! other threads while a worker counts.

use crate::http::{ConnectionRecord, Observer, Record};
use hashbrown::HashMap;
use sluice_fastpath::counters::Counter;
use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

/// Routes' objects, and upstreams, that are counted by themselves on a worker; all others
/// are counted together.
pub const SUBJECTS_MAX: usize = 1_000;

/// What those are called that are counted together.
pub const OTHERS: &str = "other";

/// Upper bounds of the buckets of durations, in nanoseconds.
pub const BOUNDS_NS: [u64; 14] = [
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
];

/// What is counted of the requests to one subject.
#[derive(Debug, Default)]
pub struct Subject {
    /// By the first digit of the status; 0: nobody has answered.
    pub answers: [Counter; 6],
    /// Bytes of bodies, of requests and of answers.
    pub bytes: [Counter; 2],
    /// Durations in the buckets of [`BOUNDS_NS`], and of those beyond.
    pub buckets: [Counter; BOUNDS_NS.len() + 1],
    /// All durations, in nanoseconds.
    pub duration_ns: Counter,
}

impl Subject {
    fn count(&self, status: u16, bytes: [u64; 2], duration_ns: u64) {
        let class = usize::from(status / 100);
        self.answers[if class < self.answers.len() { class } else { 0 }].add(1);
        for (counter, bytes) in self.bytes.iter().zip(bytes) {
            counter.add(bytes);
        }
        let bucket = BOUNDS_NS.partition_point(|bound| *bound < duration_ns);
        self.buckets[bucket].add(1);
        self.duration_ns.add(duration_ns);
    }
}

/// Subjects by their names, as others read them.
pub type Subjects = Vec<(Arc<str>, Arc<Subject>)>;

/// What a worker counts, as others read it.
#[derive(Debug, Default)]
pub struct Stats {
    routes: Mutex<Subjects>,
    upstreams: Mutex<Subjects>,
}

impl Stats {
    /// By the objects of routes.
    pub fn routes(&self) -> Subjects {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// By upstreams, with the time until an endpoint answered.
    pub fn upstreams(&self) -> Subjects {
        self.upstreams.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Counts on a worker's thread. A subject that comes for the first time takes a lock, and
/// none after that.
#[derive(Debug)]
pub struct Counting {
    stats: Arc<Stats>,
    routes: RefCell<HashMap<Box<str>, Arc<Subject>>>,
    upstreams: RefCell<HashMap<Box<str>, Arc<Subject>>>,
}

impl Counting {
    /// Counts into `stats`.
    pub fn new(stats: Arc<Stats>) -> Self {
        Counting { stats, routes: RefCell::default(), upstreams: RefCell::default() }
    }
}

/// Has a subject that is known counted, or makes it known.
fn subject(
    known: &RefCell<HashMap<Box<str>, Arc<Subject>>>,
    shown: &Mutex<Subjects>,
    name: &str,
    count: impl FnOnce(&Subject),
) {
    let mut known = known.borrow_mut();
    if let Some(subject) = known.get(name) {
        return count(subject);
    }
    let name = if known.len() >= SUBJECTS_MAX { OTHERS } else { name };
    if let Some(subject) = known.get(name) {
        return count(subject);
    }
    let subject: Arc<Subject> = Arc::default();
    count(&subject);
    known.insert(name.into(), subject.clone());
    let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
    shown.push((name.into(), subject));
}

/// The name under which requests without a route are counted.
pub const NO_ROUTE: &str = "none";

impl Observer for Counting {
    fn request(&self, record: &Record<'_>) {
        let bytes = [record.bytes_in, record.bytes_out];
        let route = record.route.map_or(NO_ROUTE, |route| &route.object);
        subject(&self.routes, &self.stats.routes, route, |subject| {
            subject.count(record.status, bytes, record.duration_ns);
        });
        let Some(upstream) = record.upstream else { return };
        // An answer that we made is none of the upstream's.
        let status = if record.reason.is_some() { 0 } else { record.status };
        let duration_ns = record.upstream_ns.unwrap_or(record.duration_ns);
        subject(&self.upstreams, &self.stats.upstreams, upstream, |subject| {
            subject.count(status, bytes, duration_ns);
        });
    }

    fn connection_opened(&self, _: &ConnectionRecord<'_>) {}

    fn connection_closed(&self, _: &ConnectionRecord<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_answers_are_counted_where_they_belong() {
        let subject = Subject::default();
        for (status, duration_ns) in
            [(200, 1), (204, 250_000), (304, 250_001), (0, 11_000_000_000), (799, 5)]
        {
            subject.count(status, [3, 4], duration_ns);
        }
        let answers: Vec<_> = subject.answers.iter().map(Counter::get).collect();
        assert_eq!(answers, [2, 0, 2, 1, 0, 0]);
        let buckets: Vec<_> = subject.buckets.iter().map(Counter::get).collect();
        assert_eq!((buckets[0], buckets[1], buckets[BOUNDS_NS.len()]), (3, 1, 1));
        assert_eq!(subject.bytes.each_ref().map(Counter::get), [15, 20]);
    }

    #[test]
    fn subjects_beyond_the_bound_are_counted_together() {
        let (known, shown) = (RefCell::default(), Mutex::default());
        for number in 0..SUBJECTS_MAX + 10 {
            for name in [&*format!("Ingress a/{number}"), "Ingress a/0"] {
                subject(&known, &shown, name, |subject| subject.count(200, [0, 0], 1));
            }
        }
        let shown = shown.into_inner().unwrap();
        assert_eq!(shown.len(), SUBJECTS_MAX + 1);
        let (name, others) = shown.last().unwrap();
        assert_eq!((&**name, others.answers[2].get()), (OTHERS, 10));
    }
}
