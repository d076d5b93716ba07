use crate::flood::shape::be32;

/// Bytes of a stamp: run, kind, place, sequence number, time.
pub const STAMP_LEN: usize = 1 + 1 + 4 + 4 + 8;

/// Why a packet was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A client's, of a flow that goes on.
    Request = 1,
    /// A pod's, without being asked.
    Reply = 2,
    /// A pod's, to a request, with the stamp of that.
    Answer = 3,
    /// A client's first packet of a new flow.
    Opening = 4,
    /// A pod's answer to such a one.
    OpeningAnswer = 5,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        use Kind::*;
        [Request, Reply, Answer, Opening, OpeningAnswer].into_iter().find(|k| *k as u8 == byte)
    }
}

/// What a packet tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Of which run it is.
    pub run: u8,
    /// Why it was sent.
    pub kind: Kind,
    /// Its flow's place.
    pub place: u32,
    /// How many there were before it at this place.
    pub seq: u32,
    /// Ticks at which it was due.
    pub due: u64,
}

impl Stamp {
    pub(super) fn sum(&self) -> u64 {
        (u64::from(self.run) << 8)
            + self.kind as u64
            + u64::from(self.place)
            + u64::from(self.seq)
            + (self.due >> 32)
            + (self.due & 0xffff_ffff)
    }

    pub(super) fn write(&self, at: &mut [u8]) {
        at[0] = self.run;
        at[1] = self.kind as u8;
        at[2..6].copy_from_slice(&self.place.to_be_bytes());
        at[6..10].copy_from_slice(&self.seq.to_be_bytes());
        at[10..18].copy_from_slice(&self.due.to_be_bytes());
    }

    pub(super) fn read(data: &[u8], at: usize) -> Option<Self> {
        let due = u64::from(be32(data, at + 10)) << 32 | u64::from(be32(data, at + 14));
        let kind = Kind::of(data[at + 1])?;
        let (place, seq) = (be32(data, at + 2), be32(data, at + 6));
        Some(Stamp { run: data[at], kind, place, seq, due })
    }
}

/// Source and destination; addresses are numbers, those of IPv4 in the low 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Source.
    pub src: (u128, u16),
    /// Destination.
    pub dst: (u128, u16),
}

impl Ends {
    pub(super) fn sum(&self) -> u64 {
        let quarters = |a: u128| (0..4).map(|i| u64::from((a >> (32 * i)) as u32)).sum::<u64>();
        quarters(self.src.0) + quarters(self.dst.0) + u64::from(self.src.1) + u64::from(self.dst.1)
    }

    /// The way back.
    pub fn back(self) -> Self {
        Ends { src: self.dst, dst: self.src }
    }
}
