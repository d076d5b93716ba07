use std::net::IpAddr;

/// Most filters of a kind that hold at once.
pub const FILTERS_MAX: usize = 4;

/// Drop reasons that a filter can name, by number.
pub const REASONS_MAX: usize = 256;

/// What workers tell of single packets: nothing by default. Replaced as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observe {
    /// Dropped and audited packets that one of these lets through are told to who
    /// follows with it. Each has a place of its own, by which it is told and counted.
    pub follows: [Option<PacketFilter>; FILTERS_MAX],
    /// Dropped packets, and audited packets, told to each of those who follow, per
    /// second and worker. What goes beyond is counted.
    pub follows_per_second: u32,
    /// What is told to the flow log, if there is one.
    pub flows: Option<FlowTelling>,
    /// Packets that are copied, each for who has the place.
    pub captures: [Option<Capture>; FILTERS_MAX],
}

impl Observe {
    /// True when there is anything to tell.
    pub fn is_on(&self) -> bool {
        self.follows.iter().any(Option::is_some) || self.flows.is_some() || self.is_capturing()
    }

    /// True when packets are copied.
    pub fn is_capturing(&self) -> bool {
        self.captures.iter().any(Option::is_some)
    }
}

/// What is told to the flow log: begins and ends of flows, drops, audits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowTelling {
    /// One flow in so many is told of, its begin and its end alike; at least 1.
    pub sample: u32,
    /// Events per second and worker, of flows, of dropped packets and of audited ones
    /// each. What goes beyond is counted.
    pub per_second: u32,
}

/// Which packets are copied, and how much of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capture {
    /// Which packets.
    pub filter: PacketFilter,
    /// Only those that are dropped.
    pub drops_only: bool,
    /// Bytes of each.
    pub snap_len: u16,
}

/// Which packets are meant. Empty lets every packet through; each part that is
/// set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacketFilter {
    /// Drop reasons; `None`: any, and packets that are not dropped.
    pub reasons: Option<ReasonSet>,
    /// The source lies in this prefix (address, bits).
    pub src: Option<(IpAddr, u8)>,
    /// The destination lies in this prefix.
    pub dst: Option<(IpAddr, u8)>,
    /// Either port is this.
    pub l4_port: Option<u16>,
    /// The protocol is one of these: ICMP has two numbers. Empty: any.
    pub protocols: Vec<u8>,
}

/// A set of drop reasons, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReasonSet([u64; REASONS_MAX / 64]);

impl ReasonSet {
    /// Adds a reason.
    pub fn insert(&mut self, reason: u8) {
        self.0[usize::from(reason / 64)] |= 1 << (reason % 64);
    }

    /// True when it is in.
    pub fn contains(&self, reason: u8) -> bool {
        self.0[usize::from(reason / 64)] & (1 << (reason % 64)) != 0
    }
}

/// What identifies a flow in one direction, of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Source port, ICMP echo identifier, or 0.
    pub src_port: u16,
    /// Destination port, ICMP echo identifier, or 0.
    pub dst_port: u16,
    /// IP protocol.
    pub protocol: u8,
}

impl PacketFilter {
    /// True for a packet that is meant: dropped for `reason`, if it is, and with
    /// these tuples, as it came and as it leaves. What is asked of a tuple must hold
    /// for one of them. A packet without a tuple is meant when nothing is asked of
    /// one.
    pub fn matches(&self, reason: Option<u8>, tuples: [Option<&Tuple>; 2]) -> bool {
        let is_reason = match (&self.reasons, reason) {
            (None, _) => true,
            (Some(reasons), Some(reason)) => reasons.contains(reason),
            (Some(_), None) => false,
        };
        is_reason
            && (!self.asks_for_tuple() || tuples.into_iter().flatten().any(|of| self.holds(of)))
    }

    fn asks_for_tuple(&self) -> bool {
        self.src.is_some()
            || self.dst.is_some()
            || self.l4_port.is_some()
            || !self.protocols.is_empty()
    }

    fn holds(&self, tuple: &Tuple) -> bool {
        self.src.is_none_or(|prefix| is_in(tuple.src, prefix))
            && self.dst.is_none_or(|prefix| is_in(tuple.dst, prefix))
            && self.l4_port.is_none_or(|port| port == tuple.src_port || port == tuple.dst_port)
            && (self.protocols.is_empty() || self.protocols.contains(&tuple.protocol))
    }
}

/// True when an address lies in a prefix of its own family.
fn is_in(addr: IpAddr, (prefix, len): (IpAddr, u8)) -> bool {
    let bits = |addr: IpAddr| match addr {
        IpAddr::V4(addr) => (u128::from(u32::from(addr)) << 96, true),
        IpAddr::V6(addr) => (u128::from(addr), false),
    };
    let ((addr, is_v4), (prefix, prefix_is_v4)) = (bits(addr), bits(prefix));
    let mask = u128::MAX.checked_shl(128 - u32::from(len.min(128))).unwrap_or(0);
    is_v4 == prefix_is_v4 && (addr ^ prefix) & mask == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn tuple(src: &str, dst: &str) -> Tuple {
        let (src, dst) = (addr(src), addr(dst));
        Tuple { src, dst, src_port: 40_000, dst_port: 80, protocol: 6 }
    }

    #[test]
    fn every_part_of_a_filter_must_hold() {
        let v4 = tuple("10.0.0.2", "10.96.0.10");
        let v6 = tuple("fd00::2", "fd00:96::10");
        let matches = |filter: &PacketFilter, of: &Tuple| filter.matches(Some(3), [Some(of), None]);
        let all = PacketFilter::default();
        assert!(matches(&all, &v4) && matches(&all, &v6) && all.matches(None, [None, None]));
        for (filter, holds) in [
            (PacketFilter { src: Some((addr("10.0.0.0"), 24)), ..all.clone() }, [true, false]),
            (PacketFilter { src: Some((addr("10.0.0.0"), 31)), ..all.clone() }, [false, false]),
            (PacketFilter { src: Some((addr("0.0.0.0"), 0)), ..all.clone() }, [true, false]),
            (PacketFilter { dst: Some((addr("fd00:96::"), 64)), ..all.clone() }, [false, true]),
            (PacketFilter { dst: Some((addr("fd00:96::10"), 128)), ..all.clone() }, [false, true]),
            (PacketFilter { l4_port: Some(40_000), ..all.clone() }, [true, true]),
            (PacketFilter { l4_port: Some(81), ..all.clone() }, [false, false]),
            (PacketFilter { protocols: vec![1, 58], ..all.clone() }, [false, false]),
            (PacketFilter { protocols: vec![6], ..all.clone() }, [true, true]),
        ] {
            assert_eq!([matches(&filter, &v4), matches(&filter, &v6)], holds, "{filter:?}");
            assert!(!filter.matches(Some(3), [None, None]), "a packet without a tuple");
            assert!(!holds[0] || filter.matches(None, [None, Some(&v4)]), "as it leaves");
        }
    }

    #[test]
    fn reasons_are_a_set() {
        let mut reasons = ReasonSet::default();
        for reason in [0, 63, 64, 255] {
            reasons.insert(reason);
        }
        let filter = PacketFilter { reasons: Some(reasons), ..PacketFilter::default() };
        for reason in 0..=255u8 {
            let is_in = matches!(reason, 0 | 63 | 64 | 255);
            assert_eq!(filter.matches(Some(reason), [None, None]), is_in, "{reason}");
        }
        assert!(!filter.matches(None, [None, None]), "not dropped");
    }
}
