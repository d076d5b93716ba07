use crate::packet::Ingress;
use crate::reason::DropReason;
use crate::time::Nanos;
use sluice_tables::observe::FILTERS_MAX;
use sluice_tables::{BackendId, RuleId, ServiceId, Tuple};

/// Most bytes that are copied of a packet.
pub const SNAP_LEN_MAX: usize = 512;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A packet was dropped.
    Dropped(DropReason),
    /// A packet would have been dropped, and passed: its policy is only audited.
    Audited(DropReason),
    /// A flow began.
    FlowBegun,
    /// A flow has ended: it expired, made room for another, or was cut.
    FlowEnded {
        /// The state that it was in; [`crate::flow::CUT`] of one that policies cut.
        state: &'static str,
        /// Packets in the original direction, and of replies; saturating.
        packets: [u32; 2],
    },
}

impl EventKind {
    /// Names of all kinds, in the order of [`EventKind::index`].
    pub const LABELS: [&'static str; 4] = ["drop", "audit", "begin", "end"];

    /// Its number among all kinds.
    pub fn index(self) -> usize {
        match self {
            EventKind::Dropped(_) => 0,
            EventKind::Audited(_) => 1,
            EventKind::FlowBegun => 2,
            EventKind::FlowEnded { .. } => 3,
        }
    }

    /// Its name.
    pub fn label(self) -> &'static str {
        Self::LABELS[self.index()]
    }

    /// Why a packet was dropped, or would have been.
    pub fn reason(self) -> Option<DropReason> {
        match self {
            EventKind::Dropped(reason) | EventKind::Audited(reason) => Some(reason),
            EventKind::FlowBegun | EventKind::FlowEnded { .. } => None,
        }
    }
}

/// Places of those who watch ([`sluice_tables::observe::FILTERS_MAX`]), a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places(u8);

const _: () = assert!(FILTERS_MAX <= 8);

impl Places {
    /// Adds a place.
    pub fn insert(&mut self, place: usize) {
        self.0 |= 1 << (place % 8);
    }

    /// True when a place is in.
    pub fn contains(self, place: usize) -> bool {
        self.0 & 1 << (place % 8) != 0
    }

    /// True when none is in.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are in.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..FILTERS_MAX).filter(move |place| self.contains(*place))
    }
}

/// Who is told of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// Those who follow.
    pub followers: Places,
    /// The flow log.
    pub flow_log: bool,
}

/// One thing that happened to a packet or to a flow: plain data.
#[derive(Clone, Copy, Debug)]
pub struct PacketEvent {
    /// When.
    pub at: Nanos,
    /// What.
    pub kind: EventKind,
    /// Who is told.
    pub to: Audience,
    /// Where the packet came from; `None` when that is not known any more.
    pub ingress: Option<Ingress>,
    /// The tuple as it came; of a flow, its original direction's. `None` for what is
    /// no IP packet, or was cut in its header.
    pub came: Option<Tuple>,
    /// The tuple as it leaves, where it got that far.
    pub leaves: Option<Tuple>,
    /// The Service, if one is addressed.
    pub service: ServiceId,
    /// The endpoint, if one was chosen.
    pub backend: BackendId,
    /// The rules that judged it: egress, ingress.
    pub rules: [RuleId; 2],
    /// Bytes of the packet (of the frame, where there is no IP packet); 0 of a flow.
    pub len: u16,
}

/// What became of a packet that was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    Forwarded,
    /// It ends at the gateway.
    Local,
    /// It was dropped.
    Dropped(DropReason),
}

impl Fate {
    /// Why it was dropped, if it was.
    pub fn reason(self) -> Option<DropReason> {
        match self {
            Fate::Dropped(reason) => Some(reason),
            Fate::Forwarded | Fate::Local => None,
        }
    }
}

/// What a copied packet begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    /// An Ethernet header.
    Ethernet,
    /// An IP header: what was around the packet is gone.
    Ip,
}

/// A copied packet.
#[derive(Clone, Debug)]
pub struct Captured {
    /// Whose captures it is for.
    pub to: Places,
    /// When.
    pub at: Nanos,
    /// What became of it.
    pub fate: Fate,
    /// Where it came from, if that is known.
    pub ingress: Option<Ingress>,
    /// What [`Captured::data`] begins with.
    pub link: Link,
    /// The tuple as it came.
    pub came: Option<Tuple>,
    /// The tuple as it leaves.
    pub leaves: Option<Tuple>,
    /// The rules that judged it: egress, ingress.
    pub rules: [RuleId; 2],
    /// Bytes of the packet.
    pub len: u16,
    /// Bytes of it that were copied.
    pub copied: u16,
    /// The copy.
    pub bytes: [u8; SNAP_LEN_MAX],
}

impl Captured {
    /// The copy.
    pub fn data(&self) -> &[u8] {
        &self.bytes[..usize::from(self.copied).min(SNAP_LEN_MAX)]
    }
}
