/// Number of an interface among the configured ones; indexes the `ports` list
/// of the configuration. (The number of a TCP, UDP or SCTP port is an `l4_port`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PortId(pub u8);

/// One port of one Service. Stable while the Service port exists, and
/// quarantined before reuse, since flows and counters refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u32);

impl ServiceId {
    /// "No Service": the flow is routed, not translated.
    pub const NONE: ServiceId = ServiceId(u32::MAX);
}

/// One endpoint of one Service port. Stable while the endpoint is known, and
/// quarantined before reuse, since flows refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(pub u32);

impl BackendId {
    /// "No backend": the destination was not translated.
    pub const NONE: BackendId = BackendId(u32::MAX);
}

/// A node's tunnel endpoint; indexes [`crate::Tables::vteps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VtepId(pub u32);

/// A zone (`topology.kubernetes.io/zone`), by a number that control gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneId(pub u16);

impl ZoneId {
    /// "No zone", or none that is known.
    pub const NONE: ZoneId = ZoneId(u16::MAX);
}

/// A rule of a network policy, or another reason to let traffic pass or not, by
/// a number that control gives and can explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u32);

impl RuleId {
    /// "No rule": no policy was asked.
    pub const NONE: RuleId = RuleId(u32::MAX);
    /// A pod may always speak with itself.
    pub const ITSELF: RuleId = RuleId(0);
    /// A pod may always speak with its own node.
    pub const OWN_NODE: RuleId = RuleId(1);
    /// Policies tell more kinds of peers apart than there is room for: those beyond
    /// are denied.
    pub const BEYOND: RuleId = RuleId(2);
    /// One of more rules than there are numbers for.
    pub const UNTOLD: RuleId = RuleId(3);
    /// The first number that is control's to give.
    pub const FIRST: u32 = 4;
}
