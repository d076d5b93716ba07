use super::{Excuse, Outcome, PeerId, PortKey, SubjectId, Verdict};
use crate::chunked::Chunked;
use crate::ids::RuleId;
use std::sync::Arc;

/// Peers on one page.
pub const LANES: usize = 64;

/// For each of 64 peers in a row: which of the row's programs is theirs. Rows
/// share pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Page(pub [u16; LANES]);

impl Default for Page {
    fn default() -> Self {
        Page([0; LANES])
    }
}

/// A page whose peers all have the same program is not stored.
const UNIFORM: u32 = 1 << 31;

/// What a subject's policies say, to every peer and port.
///
/// ```text
///  row    programs P | pages N | N words, a page or one program each
///         | P + 1 words: where each program begins | programs
///  program  spans: last port of the span, outcome
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

/// What a [`Row`] is made of.
#[derive(Clone, Debug, Default)]
pub struct RowBuilder {
    /// For each page of peers: all have one program, or a page says which.
    words: Vec<u32>,
    /// Where each program begins, from the first span of all.
    starts: Vec<u32>,
    spans: Vec<Span>,
}

impl RowBuilder {
    /// Adds a program: spans in order, up to [`PortKey::LAST`]. The first one is
    /// number 0. Returns its number; beyond 65,536 of them, the last one's.
    pub fn program(&mut self, spans: &[Span]) -> u16 {
        if let Ok(number) = u16::try_from(self.starts.len()) {
            self.starts.push(self.spans.len() as u32);
            self.spans.extend_from_slice(spans);
            return number;
        }
        u16::MAX
    }

    /// The next 64 peers have this program.
    pub fn uniform(&mut self, program: u16) {
        self.words.push(UNIFORM | u32::from(program));
    }

    /// The next 64 peers have the programs of this page.
    pub fn page(&mut self, page: u32) {
        self.words.push(page & !UNIFORM);
    }

    /// The row. Peers beyond the last page have program 0.
    pub fn build(mut self) -> Row {
        while self.words.last() == Some(&UNIFORM) {
            self.words.pop();
        }
        let (programs, pages) = (self.starts.len() as u32, self.words.len() as u32);
        let first = 2 + pages + programs + 1;
        let begin = |span: u32| first + span * 2;
        let ends = [self.spans.len() as u32];
        let mut words = vec![programs, pages];
        words.append(&mut self.words);
        words.extend(self.starts.iter().chain(&ends).map(|span| begin(*span)));
        words.extend(self.spans.iter().flat_map(|span| [span.last.0, span.outcome.word()]));
        Row(words.into())
    }
}

impl Row {
    /// The pages that it refers to.
    pub fn pages(&self) -> impl Iterator<Item = u32> {
        let pages = self.0.get(1).map_or(0, |pages| *pages as usize);
        self.0.iter().skip(2).take(pages).copied().filter(|word| word & UNIFORM == 0)
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// The spans of a peer's program, two words each.
    #[inline]
    fn spans(&self, pages: &Chunked<Page>, peer: PeerId) -> Option<&[u32]> {
        let row = &*self.0;
        let (programs, count) = (*row.first()?, *row.get(1)?);
        let page = peer.0 / LANES as u32;
        let program = if page < count {
            let word = *row.get(2 + page as usize)?;
            if word & UNIFORM != 0 {
                word & !UNIFORM
            } else {
                u32::from(pages.get(word)?.0[peer.0 as usize % LANES])
            }
        } else {
            0
        };
        let at = 2 + count as usize + program.min(programs) as usize;
        let (from, to) = (*row.get(at)?, *row.get(at + 1)?);
        row.get(from as usize..to as usize)
    }
}

/// The rows of all subjects, and what they share.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Rows by [`SubjectId`].
    pub rows: Chunked<Row>,
    /// Pages that rows refer to.
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
        let spans = self.rows.get(subject.0).and_then(|row| row.spans(&self.pages, peer));
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

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        let rows: usize = self.rows.iter().map(|row| size_of::<Row>() + row.memory_bytes()).sum();
        rows + self.pages.iter().count() * size_of::<Page>()
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
        let mut builder = RowBuilder::default();
        assert_eq!(builder.program(&[span(PortKey::LAST, 10)]), 0);
        let http = PortKey::of(6, 79);
        let web = [span(http, 20), span(PortKey::of(6, 80), 21), span(PortKey::LAST, 22)];
        assert_eq!(builder.program(&web), 1);
        let many: Vec<_> =
            (0..100).map(|i| span(PortKey::of(6, i * 10), u32::from(i) + 100)).collect();
        let many = [&many[..], &[span(PortKey::LAST, 99)]].concat();
        assert_eq!(builder.program(&many), 2);
        builder.uniform(0);
        builder.page(5);
        builder.uniform(1);
        builder.uniform(0);
        let row = builder.build();
        assert_eq!(row.pages().collect::<Vec<_>>(), [5]);
        rows.rows.set(7, row);
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
        let nobody = rows.outcome(SubjectId(8), PeerId(0), PortKey::OTHER);
        assert_eq!(nobody.verdict(), Verdict::Deny);
        assert_eq!(
            Rows::default().outcome(SubjectId(0), PeerId(0), PortKey::OTHER).verdict(),
            Verdict::Deny
        );
    }
}
