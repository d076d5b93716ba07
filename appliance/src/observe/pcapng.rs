//! pcapng (draft-ietf-opsawg-pcapng): the few blocks that a capture needs, in
//! little-endian order.

use sluice_fastpath::events::{Captured, Link};

/// Section header, interface description, enhanced packet, interface statistics
/// (section 4).
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const STATISTICS: u32 = 5;

const BYTE_ORDER: u32 = 0x1a2b_3c4d;

/// `LINKTYPE_ETHERNET` and `LINKTYPE_RAW`: IPv4 or IPv6, as the version says.
const ETHERNET: u16 = 1;
const RAW: u16 = 101;

const END: u16 = 0;
const COMMENT: u16 = 1;
const APPLICATION: u16 = 4;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;
const ISB_IFDROP: u16 = 5;

/// Time stamps are in units of 10^-9 seconds.
const NANOSECONDS: u8 = 9;

/// What a capture begins with.
pub fn section() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(BYTE_ORDER.to_le_bytes());
    body.extend(1u16.to_le_bytes());
    body.extend(0u16.to_le_bytes());
    // The length of the section is not known.
    body.extend(u64::MAX.to_le_bytes());
    option(&mut body, APPLICATION, concat!("sluice ", env!("CARGO_PKG_VERSION")).as_bytes());
    option(&mut body, END, &[]);
    block(SECTION, &body)
}

/// An interface: the first one described is number 0.
pub fn interface(name: &str, description: &str, link: Link, snap_len: u16) -> Vec<u8> {
    let mut body = Vec::new();
    let link_type = match link {
        Link::Ethernet => ETHERNET,
        Link::Ip => RAW,
    };
    body.extend(link_type.to_le_bytes());
    body.extend(0u16.to_le_bytes());
    body.extend(u32::from(snap_len).to_le_bytes());
    option(&mut body, IF_NAME, name.as_bytes());
    option(&mut body, IF_DESCRIPTION, description.as_bytes());
    option(&mut body, IF_TSRESOL, &[NANOSECONDS]);
    option(&mut body, END, &[]);
    block(INTERFACE, &body)
}

/// A packet, `unix_ns` nanoseconds after 1970, of which at most `snap_len` bytes are
/// written.
pub fn packet(
    interface: u32,
    unix_ns: u64,
    packet: &Captured,
    snap_len: u16,
    comment: &str,
) -> Vec<u8> {
    let data = packet.data();
    let data = &data[..data.len().min(usize::from(snap_len))];
    let mut body = Vec::with_capacity(64 + data.len() + comment.len());
    body.extend(interface.to_le_bytes());
    time(&mut body, unix_ns);
    body.extend((data.len() as u32).to_le_bytes());
    body.extend(u32::from(packet.len).max(data.len() as u32).to_le_bytes());
    body.extend(data);
    pad(&mut body);
    option(&mut body, COMMENT, comment.as_bytes());
    option(&mut body, END, &[]);
    block(PACKET, &body)
}

/// How many packets are missing.
pub fn statistics(interface: u32, unix_ns: u64, lost: u64) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(interface.to_le_bytes());
    time(&mut body, unix_ns);
    option(&mut body, ISB_IFDROP, &lost.to_le_bytes());
    option(&mut body, END, &[]);
    block(STATISTICS, &body)
}

/// What [`Blocks`] has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Packets.
    pub packets: u64,
    /// Packets that are missing, as the end says; `None`: there is no end.
    pub lost: Option<u64>,
}

/// Counts the packets of a capture that passes by, in pieces of any size.
#[derive(Clone, Debug, Default)]
pub struct Blocks {
    pending: Vec<u8>,
    seen: Seen,
}

impl Blocks {
    /// Takes the next piece; returns what of it all ends whole blocks.
    pub fn take(&mut self, piece: &[u8]) -> Vec<u8> {
        self.pending.extend(piece);
        let mut at = 0;
        while let Some(len) = self.whole(at) {
            let block = &self.pending[at..at + len];
            match u32_at(block, 0) {
                Some(PACKET) => self.seen.packets += 1,
                // Interface, time, and the one option's header and value.
                Some(STATISTICS) => {
                    let lost = block.get(24..32).and_then(|lost| lost.try_into().ok());
                    self.seen.lost = lost.map(u64::from_le_bytes);
                }
                _ => {}
            }
            at += len;
        }
        let rest = self.pending.split_off(at);
        std::mem::replace(&mut self.pending, rest)
    }

    fn whole(&self, at: usize) -> Option<usize> {
        let len = u32_at(&self.pending, at + 4)? as usize;
        (len >= 12 && self.pending.len() - at >= len).then_some(len)
    }

    /// What has passed so far.
    pub fn seen(&self) -> Seen {
        self.seen
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn time(body: &mut Vec<u8>, unix_ns: u64) {
    body.extend(((unix_ns >> 32) as u32).to_le_bytes());
    body.extend((unix_ns as u32).to_le_bytes());
}

/// An option; the value is cut to what its length can say.
fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = (body.len() + 12) as u32;
    let mut block = Vec::with_capacity(body.len() + 12);
    block.extend(kind.to_le_bytes());
    block.extend(len.to_le_bytes());
    block.extend(body);
    block.extend(len.to_le_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
    use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
    use pcap_file::pcapng::blocks::interface_statistics::InterfaceStatisticsOption;
    use pcap_file::pcapng::{Block, PcapNgReader};
    use sluice_fastpath::events::{Fate, Places, SNAP_LEN_MAX};
    use sluice_fastpath::{DropReason, Nanos};
    use sluice_tables::RuleId;

    fn captured(data: &[u8], len: u16) -> Captured {
        let mut bytes = [0; SNAP_LEN_MAX];
        bytes[..data.len()].copy_from_slice(data);
        Captured {
            to: Places::default(),
            at: Nanos(0),
            fate: Fate::Dropped(DropReason::Martian),
            ingress: None,
            link: Link::Ip,
            came: None,
            leaves: None,
            rules: [RuleId::NONE; 2],
            len,
            copied: data.len() as u16,
            bytes,
        }
    }

    const NS: u64 = 1_700_000_000_123_456_789;

    fn file() -> Vec<u8> {
        [
            section(),
            interface("port uplink", "IP", Link::Ip, 64),
            interface("port uplink, frames", "Ethernet", Link::Ethernet, 64),
            packet(1, NS, &captured(&[7; 60], 60), 64, "dropped: martian"),
            packet(0, NS + 1, &captured(&[8; 101], 1500), 64, ""),
            statistics(0, NS + 2, 5),
        ]
        .concat()
    }

    #[test]
    fn another_reader_finds_what_was_written() {
        let file = file();
        let mut reader = PcapNgReader::new(&file[..]).unwrap();
        let mut blocks = Vec::new();
        while let Some(block) = reader.next_block() {
            blocks.push(block.unwrap().into_owned());
        }
        let [Block::InterfaceDescription(raw), Block::InterfaceDescription(ethernet), rest @ ..] =
            &blocks[..]
        else {
            panic!("{blocks:?}")
        };
        assert_eq!(raw.linktype, pcap_file::DataLink::RAW);
        assert_eq!((ethernet.linktype, ethernet.snaplen), (pcap_file::DataLink::ETHERNET, 64));
        let name = InterfaceDescriptionOption::IfName("port uplink".into());
        assert!(raw.options.contains(&name), "{raw:?}");
        let resolution = InterfaceDescriptionOption::IfTsResol(9);
        assert!(raw.options.contains(&resolution), "{raw:?}");
        let [Block::EnhancedPacket(first), Block::EnhancedPacket(second), last] = rest else {
            panic!("{rest:?}")
        };
        assert_eq!((first.interface_id, &first.data[..]), (1, &[7; 60][..]));
        let comment = EnhancedPacketOption::Comment("dropped: martian".into());
        assert!(first.options.contains(&comment), "{first:?}");
        assert_eq!(
            (second.data.len(), second.original_len, second.interface_id),
            (64, 1500, 0),
            "cut to what was asked for"
        );
        let Block::InterfaceStatistics(last) = last else { panic!("{last:?}") };
        assert!(last.options.contains(&InterfaceStatisticsOption::IsbIfDrop(5)), "{last:?}");
        // Its time stamps are Durations; it takes the units for those of the interface.
        assert_eq!(first.timestamp.as_nanos() as u64, NS);
    }

    #[test]
    fn blocks_are_counted_whatever_pieces_they_come_in() {
        let file = file();
        for piece in [1, 3, 64, file.len()] {
            let mut blocks = Blocks::default();
            let whole: Vec<u8> = file.chunks(piece).flat_map(|piece| blocks.take(piece)).collect();
            assert_eq!(whole, file);
            assert_eq!(blocks.seen(), Seen { packets: 2, lost: Some(5) });
        }
        let mut cut = Blocks::default();
        let whole = cut.take(&file[..file.len() - 44]);
        assert_eq!(
            (whole.len() % 4, cut.seen()),
            (0, Seen { packets: 1, lost: None }),
            "a block that is cut is kept back"
        );
    }
}
