//! What else a packet has than its addresses and its transport header.

use crate::model::random::Random;
use std::fmt;

/// Where both sides' sequence numbers begin: they wrap soon.
const FIRST_NUMBER: u32 = 0xffff_ff00;

/// Everything else about a packet.
#[derive(Clone, Copy)]
pub struct Shape {
    pub ttl: u8,
    pub tos: u8,
    pub outer_tos: u8,
    pub payload: u16,
    pub dont_fragment: bool,
    pub fragment: Option<(u16, bool)>,
    pub mss: Option<(u16, bool)>,
    /// TCP's sequence and acknowledgment numbers.
    pub numbers: (u32, u32),
    /// TCP's window scale option.
    pub scale: Option<u8>,
    /// Which of some options or extension headers it has.
    pub options: u8,
    pub way_in: WayIn,
    pub twist: Option<Twist>,
    pub mutation: Option<Mutation>,
}

impl Shape {
    /// A packet with nothing special about it.
    pub const PLAIN: Shape = Shape {
        ttl: 64,
        tos: 0,
        outer_tos: 0,
        payload: 10,
        dont_fragment: true,
        fragment: None,
        mss: None,
        numbers: (FIRST_NUMBER, FIRST_NUMBER),
        scale: None,
        options: 0,
        way_in: WayIn::Natural,
        twist: None,
        mutation: None,
    };
}

/// What is special about it.
impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = Shape::PLAIN;
        let mut out = f.debug_struct("Shape");
        let mut field = |name, is_plain: bool, value: &dyn fmt::Debug| {
            if !is_plain {
                out.field(name, value);
            }
        };
        field("ttl", self.ttl > 2, &self.ttl);
        field("tos", self.tos == plain.tos, &self.tos);
        field("outer_tos", self.outer_tos == plain.outer_tos, &self.outer_tos);
        field("payload", self.payload < 100, &self.payload);
        field("dont_fragment", self.dont_fragment, &self.dont_fragment);
        field("fragment", self.fragment.is_none(), &self.fragment);
        field("mss", self.mss.is_none(), &self.mss);
        field("numbers", self.numbers == plain.numbers, &self.numbers);
        field("scale", self.scale.is_none(), &self.scale);
        field("options", self.options == plain.options, &self.options);
        field("way_in", self.way_in == plain.way_in, &self.way_in);
        field("twist", self.twist.is_none(), &self.twist);
        field("mutation", self.mutation.is_none(), &self.mutation);
        out.finish_non_exhaustive()
    }
}

/// Where a packet enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayIn {
    /// Where its source is.
    Natural,
    /// Through the tunnel of a node, whatever its source is.
    Tunnel(u8),
    /// By a port.
    Port(u8),
    /// Through the tunnel of nobody.
    Stranger,
}

/// Something about a frame or its tunnel that is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    OtherVlan,
    OtherEthertype,
    PriorityTag,
    OtherMac,
    GroupMac,
    Vni,
    VxlanFlags,
    InnerMac,
    InnerTag,
    InnerArp,
    OuterFragment,
}

/// A frame spoilt, or the packet in its tunnel.
#[derive(Clone, Copy, Debug)]
pub struct Mutation {
    pub inner: bool,
    pub kind: MutationKind,
    pub at: u16,
    pub value: u8,
}

#[derive(Clone, Copy, Debug)]
pub enum MutationKind {
    Set,
    Truncate,
    Pad,
    /// An IPv4 header byte changes, and its checksum with it.
    Header,
}

/// A sequence or acknowledgment number: often that of another segment, or the
/// one behind it, or where a window ends.
pub(super) fn number(random: &mut Random) -> u32 {
    const WINDOW: u32 = 65_535;
    let ahead = random.of(&[
        0,
        0,
        0,
        1,
        1,
        1,
        2,
        u32::MAX,
        WINDOW,
        WINDOW + 1,
        WINDOW + 2,
        WINDOW << 3,
        (WINDOW << 3) + 1,
        WINDOW << 14,
        (WINDOW << 14) + 1,
        (1 << 25) - 1,
        1 << 25,
        1 << 31,
    ]);
    FIRST_NUMBER.wrapping_add(ahead)
}

pub(super) fn shape(random: &mut Random) -> Shape {
    let payload = match random.below(12) {
        0 => random.of(&[1300, 1340, 1352, 1360, 1366, 1372, 1380, 1394, 1400, 1412, 1420, 1432]),
        1 => 1200 + random.below(460) as u16,
        2 => 0,
        _ => random.below(64) as u16,
    };
    let way_in = match random.below(24) {
        0 => WayIn::Tunnel(random.below(4) as u8),
        1 => WayIn::Port(random.below(3) as u8),
        2 => WayIn::Stranger,
        _ => WayIn::Natural,
    };
    let mutation = random.one_in(9).then(|| Mutation {
        inner: random.one_in(2),
        kind: random.of(&[
            MutationKind::Set,
            MutationKind::Set,
            MutationKind::Header,
            MutationKind::Truncate,
            MutationKind::Pad,
        ]),
        at: random.next() as u16,
        value: random.next() as u8,
    });
    Shape {
        ttl: if random.one_in(20) { random.below(3) as u8 } else { 40 + random.below(30) as u8 },
        tos: if random.one_in(3) { random.next() as u8 } else { 0 },
        outer_tos: if random.one_in(3) { random.next() as u8 } else { 0 },
        payload,
        dont_fragment: !random.one_in(4),
        fragment: random.one_in(25).then(|| (random.of(&[0, 0, 40, 80, 1]), random.one_in(2))),
        mss: random
            .one_in(2)
            .then(|| (random.of(&[500, 1370, 1400, 1410, 1460, 9000]), random.one_in(3))),
        numbers: (number(random), number(random)),
        scale: random.one_in(2).then(|| random.of(&[0, 3, 3, 7, 200])),
        options: if random.one_in(12) { 1 + random.below(7) as u8 } else { 0 },
        way_in,
        twist: random.one_in(15).then(|| {
            random.of(&[
                Twist::OtherVlan,
                Twist::OtherEthertype,
                Twist::PriorityTag,
                Twist::OtherMac,
                Twist::GroupMac,
                Twist::Vni,
                Twist::VxlanFlags,
                Twist::InnerMac,
                Twist::InnerTag,
                Twist::InnerArp,
                Twist::OuterFragment,
            ])
        }),
        mutation,
    }
}
