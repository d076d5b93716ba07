//! What was sent and is not acknowledged (RFC 6675's scoreboard, RFC 8985's times).

use crate::tcp::parse::before;
use std::collections::VecDeque;

/// Ranges, at most: where there would be more, less is known about them.
const RANGES_MAX: usize = 1_024;

/// What is known of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// It is on its way.
    Sent,
    /// It is taken for lost, and is to be sent again.
    Lost,
    /// The peer has it.
    Sacked,
}

/// Sequence numbers that were sent at the same time and fared alike.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: u32,
    end: u32,
    mark: Mark,
    /// It was sent more than once.
    is_again: bool,
    sent_ns: u64,
}

impl Range {
    fn len(&self) -> u32 {
        self.end.wrapping_sub(self.start)
    }
}

/// When something was sent last, and where it ends: the order of RFC 8985 section 6.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub at_ns: u64,
    pub end: u32,
}

impl Sent {
    /// Whether it was sent after another.
    pub fn is_after(&self, other: &Sent) -> bool {
        self.at_ns > other.at_ns || self.at_ns == other.at_ns && before(other.end, self.end)
    }
}

/// What an ACK says has arrived, beside what was known.
pub(super) struct Delivered {
    pub now_ns: u64,
    /// What was sent again so shortly ago may have arrived the first time.
    pub rtt_min_ns: u64,
    /// The highest number that has arrived, and that had before.
    pub highest: u32,
    known: u32,
    pub bytes: u32,
    /// What was sent last of it.
    pub last: Option<Sent>,
    /// Whether `last` was sent once.
    pub is_last_once: bool,
    /// When that was sent which was sent first of it, and once.
    pub first_ns: Option<u64>,
    /// Whether some of it was sent again.
    pub has_again: bool,
    /// It shows that the network does not keep the order.
    pub is_reordered: bool,
}

impl Delivered {
    pub fn new(now_ns: u64, rtt_min_ns: u64, highest: u32) -> Self {
        Delivered {
            now_ns,
            rtt_min_ns,
            highest,
            known: highest,
            bytes: 0,
            last: None,
            is_last_once: false,
            first_ns: None,
            has_again: false,
            is_reordered: false,
        }
    }

    fn add(&mut self, range: &Range) {
        self.bytes += range.len();
        if before(self.highest, range.end) {
            self.highest = range.end;
        }
        // Blocks of one ACK have no order.
        self.is_reordered |= before(range.end, self.known) && !range.is_again;
        self.has_again |= range.is_again;
        if range.is_again {
            if self.now_ns.saturating_sub(range.sent_ns) < self.rtt_min_ns {
                return;
            }
        } else {
            self.first_ns = Some(self.first_ns.map_or(range.sent_ns, |ns| ns.min(range.sent_ns)));
        }
        let sent = Sent { at_ns: range.sent_ns, end: range.end };
        if self.last.is_none_or(|last| sent.is_after(&last)) {
            self.last = Some(sent);
            self.is_last_once = !range.is_again;
        }
    }
}

/// All of it, in the order of its numbers and without gaps.
#[derive(Default)]
pub(super) struct Scoreboard {
    ranges: VecDeque<Range>,
    /// Bytes that the peer has.
    sacked: u32,
    /// Bytes that are to be sent again.
    lost: u32,
}

impl Scoreboard {
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub fn sacked(&self) -> u32 {
        self.sacked
    }

    pub fn lost(&self) -> u32 {
        self.lost
    }

    fn is_full(&self) -> bool {
        self.ranges.len() >= RANGES_MAX
    }

    /// Notes what is sent for the first time, behind all that was sent. Without room it
    /// is as if what was sent before it had been sent now.
    pub fn push(&mut self, start: u32, end: u32, now_ns: u64) {
        let sent = Range { start, end, mark: Mark::Sent, is_again: false, sent_ns: now_ns };
        let is_full = self.is_full();
        match self.ranges.back_mut() {
            Some(last)
                if last.mark == Mark::Sent
                    && !last.is_again
                    && (last.sent_ns == now_ns || is_full) =>
            {
                (last.end, last.sent_ns) = (end, now_ns);
            }
            _ => self.ranges.push_back(sent),
        }
    }

    /// Everything before `una` has arrived.
    pub fn acknowledge(&mut self, una: u32, delivered: &mut Delivered) {
        while let Some(first) = self.ranges.front_mut() {
            if !before(first.start, una) {
                break;
            }
            let part =
                Range { end: if before(una, first.end) { una } else { first.end }, ..*first };
            first.start = part.end;
            if first.start == first.end {
                self.ranges.pop_front();
            }
            match part.mark {
                Mark::Sacked => {
                    self.sacked -= part.len();
                    continue;
                }
                Mark::Lost => self.lost -= part.len(),
                Mark::Sent => {}
            }
            delivered.add(&part);
        }
    }

    /// The peer has what lies between two numbers, both within what was sent.
    pub fn sack(&mut self, start: u32, end: u32, delivered: &mut Delivered) {
        let Some((first, last)) = self.cover(start, end) else { return };
        let (mut start, mut end) = (self.ranges[first].start, self.ranges[last].end);
        for range in self.ranges.range(first..=last) {
            match range.mark {
                Mark::Sacked => continue,
                Mark::Lost => self.lost -= range.len(),
                Mark::Sent => {}
            }
            self.sacked += range.len();
            delivered.add(range);
        }
        // What is next to it, and known to have arrived, becomes one with it.
        let (mut from, mut to) = (first, last);
        if let Some(before) = first.checked_sub(1).filter(|at| self.is_sacked(*at)) {
            (from, start) = (before, self.ranges[before].start);
        }
        if self.is_sacked(last + 1) {
            (to, end) = (last + 1, self.ranges[last + 1].end);
        }
        let known = &mut self.ranges[from];
        (known.start, known.end, known.mark) = (start, end, Mark::Sacked);
        self.ranges.drain(from + 1..=to);
    }

    fn is_sacked(&self, at: usize) -> bool {
        self.ranges.get(at).is_some_and(|range| range.mark == Mark::Sacked)
    }

    /// Makes ranges begin and end at two numbers, and says which ones lie between.
    /// Without room for more ranges, those that lie there whole.
    fn cover(&mut self, start: u32, end: u32) -> Option<(usize, usize)> {
        let mut first = self.ranges.partition_point(|range| !before(start, range.end));
        if before(self.ranges.get(first)?.start, start) && !self.is_sacked(first) {
            if !self.is_full() {
                self.split(first, start);
            }
            first += 1;
        }
        let mut last = self.ranges.partition_point(|range| before(range.start, end));
        last = last.checked_sub(1)?;
        if before(end, self.ranges[last].end) && !self.is_sacked(last) {
            if self.is_full() {
                last = last.checked_sub(1)?;
            } else {
                self.split(last, end);
            }
        }
        (first <= last).then_some((first, last))
    }

    fn split(&mut self, at: usize, middle: u32) {
        let range = self.ranges[at];
        self.ranges[at].end = middle;
        self.ranges.insert(at + 1, Range { start: middle, ..range });
    }

    /// Takes everything for lost that was sent so long before what has arrived that it
    /// would have arrived as well: `wait_ns` is an RTT and what reordering may take.
    /// Says when what may have been lost is to be looked at again.
    pub fn detect(&mut self, newest: &Sent, wait_ns: u64, now_ns: u64) -> Option<u64> {
        let mut again_ns: Option<u64> = None;
        for range in &mut self.ranges {
            let sent = Sent { at_ns: range.sent_ns, end: range.end };
            if range.mark != Mark::Sent || !newest.is_after(&sent) {
                continue;
            }
            let due_ns = range.sent_ns + wait_ns;
            if due_ns <= now_ns {
                range.mark = Mark::Lost;
                self.lost += range.len();
            } else {
                again_ns = Some(again_ns.map_or(due_ns, |at| at.max(due_ns)));
            }
        }
        again_ns
    }

    /// Takes the first so many bytes for lost, if they are on their way.
    pub fn lose_first(&mut self, bytes: u32) {
        let Some(first) = self.ranges.front().copied() else { return };
        if first.mark == Mark::Sent {
            if first.len() > bytes {
                self.split(0, first.start.wrapping_add(bytes));
            }
            self.ranges[0].mark = Mark::Lost;
            self.lost += self.ranges[0].len();
        }
    }

    /// Takes everything for lost that is on its way.
    pub fn lose_all(&mut self) {
        for range in &mut self.ranges {
            if range.mark == Mark::Sent {
                range.mark = Mark::Lost;
                self.lost += range.len();
            }
        }
    }

    /// Nothing was lost after all.
    pub fn lose_nothing(&mut self) {
        for range in &mut self.ranges {
            if range.mark == Mark::Lost {
                range.mark = Mark::Sent;
            }
        }
        self.lost = 0;
    }

    /// Whether the peer has thrown away what it said it had: the first of all would
    /// have been acknowledged (RFC 2018 section 8).
    pub fn is_reneged(&self) -> bool {
        self.is_sacked(0)
    }

    /// Believes nothing that the peer said it has.
    pub fn forget_sacks(&mut self) {
        for range in &mut self.ranges {
            if range.mark == Mark::Sacked {
                range.mark = Mark::Lost;
                // Of what was one with others it is not known when it was sent.
                range.is_again = true;
                self.lost += range.len();
            }
        }
        self.sacked = 0;
    }

    /// What is to be sent again first.
    pub fn first_lost(&self) -> Option<(u32, u32)> {
        if self.lost == 0 {
            return None;
        }
        let range = self.ranges.iter().find(|range| range.mark == Mark::Lost)?;
        Some((range.start, range.end))
    }

    /// The last so many bytes that are on their way.
    pub fn last_sent(&self, bytes: u32) -> Option<(u32, u32)> {
        let range = self.ranges.iter().rev().find(|range| range.mark == Mark::Sent)?;
        let start = range.end.wrapping_sub(bytes.min(range.len()));
        Some((start, range.end))
    }

    /// Notes that something is sent again. It lies in one range.
    pub fn resend(&mut self, start: u32, end: u32, now_ns: u64) {
        let mut at = self.ranges.partition_point(|range| !before(start, range.end));
        let Some(range) = self.ranges.get(at).copied() else { return };
        if before(range.start, start) {
            self.split(at, start);
            at += 1;
        }
        if before(end, range.end) {
            self.split(at, end);
        }
        let range = &mut self.ranges[at];
        match range.mark {
            Mark::Lost => self.lost -= range.len(),
            Mark::Sacked => self.sacked -= range.len(),
            Mark::Sent => {}
        }
        let again = Range { mark: Mark::Sent, is_again: true, sent_ns: now_ns, ..*range };
        *range = again;
        if let Some(before) = at.checked_sub(1).map(|at| &mut self.ranges[at])
            && before.mark == Mark::Sent
            && before.is_again
            && before.sent_ns == now_ns
        {
            before.end = again.end;
            self.ranges.remove(at);
        }
    }

    /// Lets go of the memory, where nothing is on its way.
    pub fn shrink(&mut self) {
        if self.ranges.is_empty() {
            self.ranges.shrink_to_fit();
        }
    }
}
