//! The options of a segment: maximum segment size (RFC 9293 section 3.7.1), window
//! scale and timestamps (RFC 7323), selective acknowledgment (RFC 2018).

use arrayvec::ArrayVec;

const MSS: u8 = 2;
const SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const STAMPS: u8 = 8;

/// Bytes that the options of a segment may take.
pub(super) const OPTIONS_MAX: usize = 40;
/// The blocks that fit.
pub(super) const SACKS_MAX: usize = 4;

/// Timestamps: the sender's own, and what it echoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamps {
    pub value: u32,
    pub echo: u32,
}

impl Stamps {
    /// The timestamp of a time: milliseconds, from a start of the connection's own.
    pub fn at(now_ns: u64, offset: u32) -> u32 {
        ((now_ns / 1_000_000) as u32).wrapping_add(offset)
    }
}

/// Options that are known; others are passed over, and what is no option ends them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub mss: Option<u16>,
    pub scale: Option<u8>,
    pub may_sack: bool,
    pub stamps: Option<Stamps>,
    /// The first number of each, and the one behind its last.
    pub sacks: ArrayVec<(u32, u32), SACKS_MAX>,
}

impl Options {
    pub fn parse(mut bytes: &[u8]) -> Options {
        let mut options = Options::default();
        loop {
            bytes = match *bytes {
                [1, ref rest @ ..] => rest,
                [kind, len, ..] if kind > 1 && len >= 2 => {
                    let Some((option, rest)) = bytes.split_at_checked(len.into()) else { break };
                    options.read(kind, &option[2..]);
                    rest
                }
                _ => break,
            };
        }
        options
    }

    fn read(&mut self, kind: u8, value: &[u8]) {
        match (kind, value) {
            (MSS, &[high, low]) => self.mss = Some(u16::from_be_bytes([high, low])),
            // RFC 7323 section 2.3.
            (SCALE, &[scale]) => self.scale = Some(scale.min(14)),
            (SACK_PERMITTED, []) => self.may_sack = true,
            (STAMPS, [_, _, _, _, _, _, _, _]) => {
                self.stamps = Some(Stamps { value: long(value), echo: long(&value[4..]) });
            }
            (SACK, _) => {
                for block in value.as_chunks::<8>().0 {
                    // A segment with more is no longer than one may be.
                    let _ = self.sacks.try_push((long(block), long(&block[4..])));
                }
            }
            _ => {}
        }
    }

    /// The options as they are sent, padded to whole words. SACK blocks that do not fit
    /// are left out.
    pub fn write(&self) -> ArrayVec<u8, OPTIONS_MAX> {
        let mut bytes = ArrayVec::new();
        let mut put = |option: &[u8]| {
            let has_room = bytes.len() + option.len() <= OPTIONS_MAX;
            if has_room {
                bytes.extend(option.iter().copied());
            }
            has_room
        };
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            put(&[MSS, 4, high, low]);
        }
        if let Some(scale) = self.scale {
            put(&[1, SCALE, 3, scale]);
        }
        if self.may_sack {
            put(&[1, 1, SACK_PERMITTED, 2]);
        }
        if let Some(stamps) = self.stamps {
            let mut option = [1, 1, STAMPS, 10, 0, 0, 0, 0, 0, 0, 0, 0];
            option[4..8].copy_from_slice(&stamps.value.to_be_bytes());
            option[8..12].copy_from_slice(&stamps.echo.to_be_bytes());
            put(&option);
        }
        let fitting = self.sacks.len().min((OPTIONS_MAX - bytes.len()).saturating_sub(4) / 8);
        if fitting > 0 {
            bytes.extend([1, 1, SACK, 2 + 8 * fitting as u8]);
            for (start, end) in &self.sacks[..fitting] {
                bytes.extend(start.to_be_bytes());
                bytes.extend(end.to_be_bytes());
            }
        }
        bytes
    }
}

fn long(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |long| u32::from_be_bytes(*long))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let stamps = Some(Stamps { value: 0x0102_0304, echo: u32::MAX });
        let syn = Options {
            mss: Some(1_460),
            scale: Some(7),
            may_sack: true,
            stamps,
            sacks: ArrayVec::new(),
        };
        assert_eq!(Options::parse(&syn.write()), syn);
        assert_eq!(syn.write().len(), 24);
        let blocks = [(1, 2), (u32::MAX, 5), (6, 7), (8, 9)];
        let sacks: ArrayVec<_, 4> = blocks.into_iter().collect();
        let ack = Options { sacks: sacks.clone(), ..Options::default() };
        assert_eq!(Options::parse(&ack.write()), ack);
        // Timestamps leave room for three.
        let with = Options { stamps, sacks, ..Options::default() };
        assert_eq!(with.write().len(), OPTIONS_MAX);
        assert_eq!(Options::parse(&with.write()).sacks[..], blocks[..3]);
    }

    #[test]
    fn whatever_comes_is_read_as_far_as_it_is_options() {
        for (bytes, mss) in [
            (&[][..], None),
            (&[2], None),
            (&[2, 4, 1], None),
            (&[2, 0, 1, 1], None),
            (&[2, 1, 1, 1], None),
            (&[2, 3, 1, 2, 4, 0, 9], Some(9)),
            (&[1, 1, 99, 3, 7, 2, 4, 1, 0], Some(256)),
            (&[0, 2, 4, 1, 0], None),
            (&[99, 40, 2, 4, 1, 0], None),
        ] {
            assert_eq!(Options::parse(bytes).mss, mss, "{bytes:?}");
        }
        assert_eq!(Options::parse(&[3, 3, 200]).scale, Some(14));
        let many: Vec<u8> = [5, 255].into_iter().chain([7; 253]).collect();
        assert_eq!(Options::parse(&many).sacks.len(), SACKS_MAX);
        assert_eq!(Options::parse(&[5, 7, 0, 0, 0, 1, 0]).sacks.len(), 0);
    }
}
