use super::{Excuse, Outcome, PeerId, PortKey, SubjectId, Verdict};
use crate::chunked::Chunked;
use crate::ids::RuleId;
use hashbrown::HashMap;
use std::sync::Arc;

/// Peers on one page.
pub const LANES: usize = 64;

/// For each of 64 peers in a row: its class. Classifiers share pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Page(pub [u16; LANES]);

impl Default for Page {
    fn default() -> Self {
        Page([0; LANES])
    }
}

/// What the peers of one page are to a classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageClasses {
    /// All are of this class.
    Uniform(u16),
    /// Each has its class on this page.
    Page(u32),
}

/// Divides peers into classes: those that match the same of some rules' peers.
/// Subjects whose rules name the same peers share one, whatever their rules say:
/// one word for each 64 peers, a page or the one class of all. Peers beyond the
/// last word are of class 0.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Classifier(Arc<[u32]>);

impl Classifier {
    const UNIFORM: u32 = 1 << 31;

    /// The classifier with these classes.
    pub fn new(pages: &[PageClasses]) -> Self {
        let word = |classes: &PageClasses| match classes {
            PageClasses::Uniform(class) => Self::UNIFORM | u32::from(*class),
            PageClasses::Page(page) => page & !Self::UNIFORM,
        };
        Classifier(pages.iter().map(word).collect())
    }

    #[inline]
    fn class(&self, pages: &Chunked<Page>, peer: PeerId) -> u32 {
        let Some(&word) = self.0.get(peer.0 as usize / LANES) else { return 0 };
        if word & Self::UNIFORM != 0 {
            return word & !Self::UNIFORM;
        }
        pages.get(word).map_or(0, |page| u32::from(page.0[peer.0 as usize % LANES]))
    }
}

/// What a subject's policies say, to every peer and every port. Peers are told
/// apart by two classifiers: what many policies name would otherwise make a change
/// of one peer a change of them all.
///
/// ```text
///  classifiers 2 | classes of the second C2 | programs P = C1 x C2
///  | P words: where the program of each pair of classes begins
///  | programs, each once: how many spans | spans: last port of the span, outcome
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Row(Arc<[u32]>);

/// The outcome for the ports after the span before, up to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The last port of the span.
    pub last: PortKey,
    /// What becomes of it.
    pub outcome: Outcome,
}

impl Row {
    /// The row of a subject: its classifiers, how many classes the second one has,
    /// and the programs of all pairs of classes, those with the first class of the
    /// first classifier first; each has spans in order up to [`PortKey::LAST`].
    pub fn new<'a>(
        classifiers: [u32; 2],
        classes: u32,
        programs: impl Iterator<Item = &'a [Span]>,
    ) -> Self {
        let (mut starts, mut said) = (Vec::new(), Vec::new());
        let mut numbers: HashMap<&[Span], u32> = HashMap::new();
        for program in programs {
            starts.push(*numbers.entry(program).or_insert_with(|| {
                let start = said.len() as u32;
                said.push(program.len() as u32);
                said.extend(program.iter().flat_map(|span| [span.last.0, span.outcome.word()]));
                start
            }));
        }
        let [first, second] = classifiers;
        let mut words = vec![first, second, classes, starts.len() as u32];
        let begin = words.len() as u32 + starts.len() as u32;
        words.extend(starts.iter().map(|start| begin + start));
        words.append(&mut said);
        Row(words.into())
    }

    /// The spans of a peer's program, two words each.
    #[inline]
    fn spans(&self, rows: &Rows, peer: PeerId) -> Option<&[u32]> {
        let [first, second, classes, programs, row @ ..] = &*self.0 else { return None };
        let class = |number: &u32| Some(rows.classifiers.get(*number)?.class(&rows.pages, peer));
        let at = class(first)? * classes + class(second)?;
        let at = if at < *programs { at as usize } else { 0 };
        let (len, spans) = self.0.get(*row.get(at)? as usize..)?.split_first()?;
        spans.get(..2 * *len as usize)
    }
}

/// The rows of all subjects, and what they share.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Rows by [`SubjectId`].
    pub rows: Chunked<Row>,
    /// Classifiers that rows refer to.
    pub classifiers: Chunked<Classifier>,
    /// Pages that classifiers refer to.
    pub pages: Chunked<Page>,
}

impl Rows {
    /// True when no pod is selected by any policy.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What a subject's policies say to a peer and port. A subject without a row
    /// is denied everything: there is none.
    #[inline]
    pub fn outcome(&self, subject: SubjectId, peer: PeerId, port: PortKey) -> Outcome {
        let spans = self.rows.get(subject.0).and_then(|row| row.spans(self, peer));
        let (spans, _) = spans.unwrap_or_default().as_chunks::<2>();
        // Most programs have few spans.
        let at = if spans.len() <= 8 {
            spans.iter().filter(|[last, _]| *last < port.0).count()
        } else {
            spans.partition_point(|[last, _]| *last < port.0)
        };
        match spans.get(at) {
            Some([_, outcome]) => Outcome::from_word(*outcome),
            None => Outcome::new(Verdict::Deny, RuleId::NONE, Excuse::None),
        }
    }

    /// The first word of a subject's row; see [`super::touch`].
    #[inline]
    pub(super) fn touch(&self, subject: SubjectId) -> u32 {
        self.rows.get(subject.0).and_then(|row| row.0.first()).copied().unwrap_or_default()
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        let words = |words: &Arc<[u32]>| size_of::<Row>() + size_of_val(&**words);
        let rows: usize = self.rows.iter().map(|row| words(&row.0)).sum();
        let classifiers: usize = self.classifiers.iter().map(|one| words(&one.0)).sum();
        rows + classifiers + self.pages.iter().count() * size_of::<Page>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(rule: u32) -> Outcome {
        Outcome::new(Verdict::Allow, RuleId(rule), Excuse::None)
    }

    fn span(last: PortKey, rule: u32) -> Span {
        Span { last, outcome: outcome(rule) }
    }

    #[test]
    fn a_row_tells_peers_and_ports_apart() {
        let mut rows = Rows::default();
        let mut page = [0; LANES];
        page[3] = 1;
        page[4] = 2;
        rows.pages.set(5, Page(page));
        let (uniform, page) = (PageClasses::Uniform, PageClasses::Page(5));
        rows.classifiers.set(8, Classifier::new(&[uniform(0), page, uniform(1), uniform(0)]));
        rows.classifiers.set(9, Classifier::new(&[uniform(0); 4]));
        rows.classifiers.set(10, Classifier::new(&[uniform(0), uniform(0), uniform(1)]));
        let all = [span(PortKey::LAST, 10)];
        let http = PortKey::of(6, 79);
        let web = [span(http, 20), span(PortKey::of(6, 80), 21), span(PortKey::LAST, 22)];
        let mut many: Vec<_> =
            (0..100).map(|i| span(PortKey::of(6, i * 10), u32::from(i) + 100)).collect();
        many.push(span(PortKey::LAST, 99));
        let programs: [&[Span]; 3] = [&all, &web, &many];
        rows.rows.set(7, Row::new([8, 9], 1, programs.into_iter()));
        // The same the other way round, and both.
        rows.rows.set(8, Row::new([9, 8], 3, programs.into_iter()));
        let pairs = programs.iter().flat_map(|program| [*program, &all[..]]);
        rows.rows.set(9, Row::new([8, 10], 2, pairs));
        let ask = |peer, port| rows.outcome(SubjectId(7), PeerId(peer), port).rule().0;
        for peer in [0, 63, 64, 66, 127, 192, 5000] {
            assert_eq!(ask(peer, PortKey::of(6, 80)), 10, "{peer}");
        }
        for peer in [67, 128, 191] {
            assert_eq!(ask(peer, PortKey::of(6, 0)), 20);
            assert_eq!(ask(peer, PortKey::of(6, 79)), 20);
            assert_eq!(ask(peer, PortKey::of(6, 80)), 21);
            assert_eq!(ask(peer, PortKey::of(17, 80)), 22);
            assert_eq!(ask(peer, PortKey::OTHER), 22);
        }
        for port in 0..1000 {
            assert_eq!(
                ask(68, PortKey::of(6, port)),
                match port {
                    0..=990 => u32::from(port).div_ceil(10) + 100,
                    _ => 99,
                }
            );
        }
        for peer in [3, 67, 68, 150] {
            let port = PortKey::of(6, 80);
            let [one, other, both] =
                [7, 8, 9].map(|row| rows.outcome(SubjectId(row), PeerId(peer), port));
            assert_eq!(one, other);
            assert_eq!(both.rule().0, if peer == 150 { 10 } else { one.rule().0 });
        }
        let nobody = rows.outcome(SubjectId(99), PeerId(0), PortKey::OTHER);
        assert_eq!(nobody.verdict(), Verdict::Deny);
        assert_eq!(
            Rows::default().outcome(SubjectId(0), PeerId(0), PortKey::OTHER).verdict(),
            Verdict::Deny
        );
    }
}
