use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

/// How often everybody is told of a VIP (RFC 4861 section 10,
/// MAX_NEIGHBOR_ADVERTISEMENT; RFC 5227 wants twice).
const TIMES: u8 = 3;

/// Time between two tellings of a VIP. RFC 5227's ANNOUNCE_INTERVAL is 2 s, and
/// RFC 4861's RETRANS_TIMER, 1 s, the least: a telling that was lost is made up
/// for within a second.
const INTERVAL: Duration = Duration::from_secs(1);

/// VIPs in one message to a worker.
const LIST_MAX: usize = 256;

/// VIPs that wait to be told of. Of more, second and third tellings are left
/// out; then first ones, too: who asks is answered all the same.
const WAITING_MAX: usize = 1 << 17;

/// The VIPs that everybody on the link is told of, one list at a time.
///
/// A VIP is told of once every worker answers for it, and again after one and
/// two seconds. The worker leaves out those that are not announced any more.
#[derive(Debug, Default)]
pub struct Telling {
    /// In the order in which they are due.
    first: VecDeque<Batch>,
    again: VecDeque<Batch>,
    waiting: usize,
    /// A list is with the worker.
    is_out: bool,
    counts: TellingCounts,
}

/// What has become of tellings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TellingCounts {
    /// VIPs that began to be announced.
    pub begun: u64,
    /// Tellings left out because too many waited.
    pub left_out: u64,
}

#[derive(Debug)]
struct Batch {
    /// The tables that say so.
    version: u64,
    due: Duration,
    /// Tellings that are left, this one included.
    left: u8,
    vips: Vec<IpAddr>,
    /// Those before it are told.
    at: usize,
}

impl Telling {
    /// Takes the VIPs that tables of a version begin to announce.
    pub fn begin(&mut self, version: u64, vips: impl IntoIterator<Item = IpAddr>) {
        let vips: Vec<IpAddr> = vips.into_iter().collect();
        self.counts.begun += vips.len() as u64;
        let batch = Batch { version, due: Duration::ZERO, left: TIMES, vips, at: 0 };
        Self::push(&mut self.first, batch, &mut self.waiting, &mut self.counts);
    }

    fn push(
        queue: &mut VecDeque<Batch>,
        mut batch: Batch,
        waiting: &mut usize,
        counts: &mut TellingCounts,
    ) {
        let room = WAITING_MAX - *waiting;
        if batch.vips.len() > room {
            counts.left_out += (batch.vips.len() - room) as u64;
            batch.vips.truncate(room);
        }
        if !batch.vips.is_empty() {
            *waiting += batch.vips.len();
            queue.push_back(batch);
        }
    }

    /// The next list for the worker, if it has none and one is due. `live` is
    /// the version that all workers have reached.
    pub fn next(&mut self, now: Duration, live: u64) -> Option<Vec<IpAddr>> {
        if self.is_out {
            return None;
        }
        let is_due = |batch: &&mut Batch| batch.version <= live && batch.due <= now;
        let first = self.first.front_mut().filter(is_due).is_some();
        let queue = if first { &mut self.first } else { &mut self.again };
        let batch = queue.front_mut().filter(is_due)?;
        let end = batch.vips.len().min(batch.at + LIST_MAX);
        // The worker takes them from the end.
        let list: Vec<IpAddr> = batch.vips[batch.at..end].iter().rev().copied().collect();
        batch.at = end;
        if end == batch.vips.len()
            && let Some(batch) = queue.pop_front()
        {
            self.waiting -= batch.vips.len();
            if batch.left > 1 {
                let (due, left) = (now + INTERVAL, batch.left - 1);
                let batch = Batch { due, left, at: 0, ..batch };
                Self::push(&mut self.again, batch, &mut self.waiting, &mut self.counts);
            }
        }
        self.is_out = true;
        Some(list)
    }

    /// Takes back a list that the worker did not take, or has told.
    pub fn returned(&mut self) {
        self.is_out = false;
    }

    /// How long nothing is due at least; `None`: nothing waits.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        let due = self.first.front().or(self.again.front()).map(|batch| batch.due);
        due.map(|due| due.saturating_sub(now))
    }

    /// What has become of tellings.
    pub fn counts(&self) -> TellingCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: fn(u64) -> Duration = Duration::from_millis;

    fn vips(n: u32) -> Vec<IpAddr> {
        (0..n).map(|i| IpAddr::from((0x0a00_0000 + i).to_be_bytes())).collect()
    }

    #[test]
    fn three_times_a_second_apart_once_live() {
        let mut telling = Telling::default();
        telling.begin(2, vips(3));
        assert_eq!(telling.next(T(0), 1), None, "a worker has the old tables");
        let list = telling.next(T(5), 2).unwrap();
        assert_eq!(list, vips(3).into_iter().rev().collect::<Vec<_>>());
        assert_eq!(telling.next(T(5), 2), None, "one list at a time");
        telling.returned();
        assert_eq!(telling.wait(T(5)), Some(T(1000)));
        assert_eq!(telling.next(T(1004), 2), None);
        assert!(telling.next(T(1005), 2).is_some());
        telling.returned();
        assert!(telling.next(T(2005), 2).is_some());
        telling.returned();
        assert_eq!((telling.next(T(9000), 2), telling.wait(T(9000))), (None, None));
    }

    #[test]
    fn what_is_new_does_not_wait_for_what_is_told_again() {
        let mut telling = Telling::default();
        telling.begin(1, vips(1000));
        let mut told = Vec::new();
        for _ in 0..4 {
            told.extend(telling.next(T(0), 1).unwrap().into_iter().rev());
            telling.returned();
        }
        assert_eq!(told, vips(1000));
        telling.begin(2, vips(1));
        assert_eq!(telling.next(T(1000), 2), Some(vips(1)));
        telling.returned();
        assert_eq!(telling.next(T(1000), 2).map(|list| list.len()), Some(LIST_MAX));
    }

    #[test]
    fn too_many_are_left_out_and_counted() {
        let mut telling = Telling::default();
        telling.begin(1, vips(WAITING_MAX as u32));
        telling.begin(1, vips(5));
        assert_eq!(telling.counts().left_out, 5);
    }
}
