use crate::wire::ip::Piece;

/// Fragment offsets count units of so many bytes (RFC 791 section 3.1).
const UNIT: usize = 8;
/// Units of the longest datagram.
const UNITS: usize = 65_536 / UNIT;
/// Words of the record: a bit for each unit.
const WORDS: usize = UNITS / 64;

/// Which bytes of a datagram have come: a bit for each unit of 8.
#[derive(Clone, Debug)]
pub struct Coverage {
    units: [u64; WORDS],
    /// Bytes that have come.
    received: u32,
    /// Where what has come ends, in bytes.
    top: u32,
    /// Where the datagram ends, in bytes, once a last fragment has told.
    end: Option<u32>,
}

/// How a fragment fits what has come of its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// All of it is new.
    New,
    /// All of it has come already: it is dropped, as Linux does it.
    Duplicate,
    /// Some of it has come already, or it has another end in mind than another
    /// fragment: the datagram is a lie (RFC 5722, RFC 8200 section 4.5).
    Conflict,
}

impl Coverage {
    /// Nothing has come.
    pub fn new() -> Self {
        Coverage { units: [0; WORDS], received: 0, top: 0, end: None }
    }

    /// Adds a fragment, unless it does not fit. Its length is not 0, and a
    /// multiple of 8 if more follow.
    pub fn add(&mut self, piece: &Piece) -> Fit {
        let start = u32::from(piece.offset);
        let end = start + u32::from(piece.len);
        let is_lie = match (piece.more, self.end) {
            (false, Some(known)) => end != known,
            (false, None) => end < self.top,
            (true, Some(known)) => end >= known,
            (true, None) => false,
        };
        if is_lie {
            return Fit::Conflict;
        }
        let (first, last) = (start as usize / UNIT, (end as usize).div_ceil(UNIT));
        let covered: u32 =
            masks(first, last).map(|(word, mask)| (self.word(word) & mask).count_ones()).sum();
        if covered as usize == last - first {
            return Fit::Duplicate;
        }
        if covered > 0 {
            return Fit::Conflict;
        }
        for (word, mask) in masks(first, last) {
            if let Some(bits) = self.units.get_mut(word) {
                *bits |= mask;
            }
        }
        self.received += u32::from(piece.len);
        self.top = self.top.max(end);
        if !piece.more {
            self.end = Some(end);
        }
        Fit::New
    }

    /// True once everything has come.
    pub fn is_complete(&self) -> bool {
        self.end == Some(self.received)
    }

    fn word(&self, word: usize) -> u64 {
        self.units.get(word).copied().unwrap_or(0)
    }
}

impl Default for Coverage {
    fn default() -> Self {
        Self::new()
    }
}

/// The words that hold the units from `first` up to `last`, with the bits of
/// these.
fn masks(first: usize, last: usize) -> impl Iterator<Item = (usize, u64)> {
    (first / 64..last.div_ceil(64)).map(move |word| {
        let from = first.saturating_sub(word * 64);
        let to = (last - word * 64).min(64);
        (word, u64::MAX >> (64 - (to - from)) << from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn piece(offset: usize, len: usize, more: bool) -> Piece {
        let (offset, len) = (offset as u16, len as u16);
        Piece { id: 1, offset, len, more, protocol: 17, header_len: 20 }
    }

    #[test]
    fn it_agrees_with_a_byte_map() {
        let mut random = Random::new(7);
        for _ in 0..3_000 {
            let mut subject = Coverage::new();
            let mut bytes = vec![false; 70_000];
            let mut end = None;
            let long = random.below(2) == 0;
            for _ in 0..12 {
                let units = if long { 8_000 } else { 40 };
                let offset = random.below(units) as usize * 8;
                let more = random.below(4) > 0;
                let len = 8 * (1 + random.below(150) as usize)
                    - usize::from(!more) * random.below(8) as usize;
                let (from, to) = (offset, offset + len);
                if to > 65_515 {
                    continue;
                }
                let there = bytes.iter().rposition(|there| *there).map_or(0, |last| last + 1);
                let covered = bytes[from..to].iter().filter(|there| **there).count();
                let is_lie = match end {
                    Some(end) if more => to >= end,
                    Some(end) => to != end,
                    None => !more && to < there,
                };
                let expected = match covered {
                    _ if is_lie => Fit::Conflict,
                    0 => Fit::New,
                    all if all == len => Fit::Duplicate,
                    _ => Fit::Conflict,
                };
                assert_eq!(subject.add(&piece(offset, len, more)), expected, "{from}..{to} {more}");
                if expected == Fit::New {
                    bytes[from..to].fill(true);
                    end = end.or((!more).then_some(to));
                }
                let is_complete = end.is_some_and(|end| bytes[..end].iter().all(|there| *there));
                assert_eq!(subject.is_complete(), is_complete);
            }
        }
    }

    #[test]
    fn the_longest_datagram_fits() {
        let mut coverage = Coverage::new();
        assert_eq!(coverage.add(&piece(65_512, 3, false)), Fit::New);
        for offset in (0..65_512).step_by(8) {
            assert!(!coverage.is_complete());
            assert_eq!(coverage.add(&piece(offset, 8, true)), Fit::New);
        }
        assert!(coverage.is_complete());
        assert_eq!(coverage.add(&piece(0, 65_512, true)), Fit::Duplicate);
        assert_eq!(coverage.add(&piece(65_512, 4, false)), Fit::Conflict);
    }
}
