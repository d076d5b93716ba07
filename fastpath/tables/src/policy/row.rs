use super::classifier::Listed;
use super::{Classifier, Excuse, Outcome, Page, PeerId, PortKey, Subject, Verdict};
use crate::chunked::Chunked;
use crate::ids::RuleId;
use crate::paged::Paged;
use hashbrown::HashMap;
use std::sync::Arc;

/// Spans on one line of memory.
const SPANS: usize = 8;

/// Pairs of classes whose programs are at hand.
const PAIRS: usize = 104;

/// A line of memory: the last ports of eight spans and their outcomes; or where
/// programs of eight pairs of classes begin and how many lines each has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(align(64))]
struct Line([u32; 2 * SPANS]);

impl Line {
    /// A line of at most eight spans: the last one is repeated.
    fn of(spans: &[Span]) -> Line {
        let mut words = [0; 2 * SPANS];
        for at in 0..SPANS {
            if let Some(span) = spans.get(at).or(spans.last()) {
                (words[at], words[SPANS + at]) = (span.last.0, span.outcome.word());
            }
        }
        Line(words)
    }

    #[inline]
    fn last(&self) -> u32 {
        self.0[SPANS - 1]
    }

    /// The outcome of a port that is not above the last one. All are compared: to
    /// leave early would be a branch that cannot be foreseen.
    #[inline]
    fn outcome(&self, port: PortKey) -> Outcome {
        let (lasts, outcomes) = self.0.split_at(SPANS);
        let at = lasts.iter().map(|last| usize::from(*last < port.0)).sum::<usize>();
        Outcome::from_word(outcomes[at % SPANS])
    }
}

/// What policies say, to every peer and every port. Peers are told apart by two
/// classifiers: what many policies name would otherwise make a change of one peer a
/// change of them all. What is said to a pair of classes is a program: spans of
/// ports.
///
/// Most have few pairs, and programs of few spans, each a line of memory; the numbers
/// of the pairs' programs are at hand. Else the lines begin with where the program of
/// each pair is, and how many lines it has.
///
/// The same policies in many namespaces say the same, but for who the peers are,
/// which is the classifiers', and whose the rules are: rules are counted from
/// [`RuleId::FIRST`] on, and the [`Row`] says where they begin. So a packet finds
/// what is said in the cache, if any other has been told the same lately.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[repr(align(128))]
pub struct Programs {
    /// Programs, each once.
    lines: Option<Arc<[Line]>>,
    /// Classes of the second classifier.
    classes: u32,
    /// Pairs of classes, if they are not at hand.
    distant: u32,
    /// The lines of the programs of pairs that are at hand; beyond all lines for
    /// pairs that there are not.
    at_hand: [u8; PAIRS],
}

impl Default for Programs {
    fn default() -> Self {
        Programs { lines: None, classes: 0, distant: 0, at_hand: [u8::MAX; PAIRS] }
    }
}

/// What a subject's policies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The number of its [`Programs`].
    pub programs: u32,
    /// Added to the numbers of rules in them.
    pub first_rule: u32,
}

impl Default for Row {
    /// Nobody's.
    fn default() -> Self {
        Row { programs: u32::MAX, first_rule: 0 }
    }
}

/// The outcome for the ports after the span before, up to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The last port of the span.
    pub last: PortKey,
    /// What becomes of it.
    pub outcome: Outcome,
}

impl Programs {
    /// The programs of all pairs of classes, those with the first class of the
    /// first classifier first; each has spans in order up to [`PortKey::LAST`]. All
    /// other pairs are denied ([`RuleId::BEYOND`](crate::RuleId::BEYOND)). `classes`:
    /// how many the second classifier has.
    pub fn new<'a>(classes: u32, programs: impl Iterator<Item = &'a [Span]>) -> Self {
        let (mut starts, mut lines) = (Vec::new(), Vec::new());
        let mut numbers: HashMap<&[Span], [u32; 2]> = HashMap::new();
        for program in programs {
            starts.push(*numbers.entry(program).or_insert_with(|| {
                let start = lines.len() as u32;
                lines.extend(program.chunks(SPANS).map(Line::of));
                [start, lines.len() as u32 - start]
            }));
        }
        let mut all = Programs { classes, ..Programs::default() };
        if starts.len() <= PAIRS && starts.iter().all(|[_, len]| *len == 1) {
            // There are not more lines than pairs.
            starts.iter().zip(&mut all.at_hand).for_each(|([line, _], at)| *at = *line as u8);
            all.lines = Some(lines.into());
        } else {
            all.distant = starts.len() as u32;
            let index = starts.len().div_ceil(SPANS);
            let index_line = |starts: &[[u32; 2]]| {
                let mut words = [0; 2 * SPANS];
                for ([start, len], at) in starts.iter().zip(words.as_chunks_mut::<2>().0) {
                    *at = [index as u32 + start, *len];
                }
                Line(words)
            };
            all.lines = Some(starts.chunks(SPANS).map(index_line).chain(lines).collect());
        }
        all
    }

    /// What is said to a pair of classes.
    #[inline]
    fn outcome(&self, [first, second]: [u32; 2], port: PortKey) -> Outcome {
        let Some(lines) = self.lines.as_deref() else { return missing() };
        let pair = first as usize * self.classes as usize + second as usize;
        let line = if self.distant == 0 {
            self.at_hand.get(pair).and_then(|program| lines.get(usize::from(*program)))
        } else {
            self.distant(lines, pair, port)
        };
        line.map_or(Outcome::beyond(), |line| line.outcome(port))
    }

    /// The line for a port in the program of a pair that is not at hand.
    fn distant<'a>(&self, lines: &'a [Line], pair: usize, port: PortKey) -> Option<&'a Line> {
        if pair >= self.distant as usize {
            return None;
        }
        let (starts, _) = lines.get(pair / SPANS)?.0.as_chunks::<2>();
        let [start, len] = starts[pair % SPANS];
        let program = lines.get(start as usize..(start + len) as usize)?;
        program.get(program.partition_point(|line| line.last() < port.0))
    }

    /// Bytes of memory.
    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.lines.as_deref().map_or(0, size_of_val)
    }
}

/// Of those that have no row.
fn missing() -> Outcome {
    Outcome::new(Verdict::Deny, RuleId::NONE, Excuse::None)
}

/// The rows of all subjects, and what they share.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Rows by [`Subject::row`].
    pub rows: Paged<Row>,
    /// By [`Row::programs`].
    pub programs: Chunked<Programs>,
    /// Classifiers by [`Subject::classifiers`].
    classifiers: Chunked<Classifier>,
    /// Whom they may list: most peers are nobody to most.
    listed: Paged<Listed>,
    /// Pages that classifiers refer to.
    pub pages: Chunked<Page>,
}

impl Rows {
    /// True when no pod is selected by any policy.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Sets a classifier.
    pub fn set_classifier(&mut self, number: u32, classifier: Classifier) {
        self.listed.set(number, classifier.peers());
        self.classifiers.set(number, classifier);
    }

    /// What a subject's policies say to a peer and port. A subject without a row
    /// is denied everything: there is none.
    #[inline]
    pub fn outcome(&self, subject: &Subject, peer: PeerId, port: PortKey) -> Outcome {
        let row = self.rows.get(subject.row);
        let Some(programs) = self.programs.get(row.programs) else { return missing() };
        let classes = subject.classifiers.map(|number| self.class(number, peer));
        programs.outcome(classes, port).counted_from(row.first_rule)
    }

    /// The class of a peer.
    #[inline]
    fn class(&self, classifier: u32, peer: PeerId) -> u32 {
        if !self.listed.get(classifier).may_have(peer) {
            return 0;
        }
        self.classifiers.get(classifier).map_or(0, |one| one.class(&self.pages, peer))
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        let programs: usize = self.programs.iter().map(Programs::memory_bytes).sum();
        let classifiers: usize = self.classifiers.iter().map(Classifier::memory_bytes).sum();
        let numbered = self.rows.memory_bytes() + self.listed.memory_bytes();
        numbered + programs + classifiers + self.pages.iter().count() * size_of::<Page>()
    }
}

#[cfg(test)]
mod tests;
