//! `snat`: the addresses and ports that hide a client, so that replies come back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::read::{
    Fields, Located, Reader, Reported, choice, integer, list, pool_prefix, power_of_two,
};
use crate::schema::{Default, Key, Section};

/// Most SNAT addresses of one family.
pub const SNAT_ADDRESSES_MAX: u64 = 4096;

/// Least number of SNAT ports: the low byte of a port names the worker that owns the flow.
pub const SNAT_PORTS_MIN: u32 = 256;

/// Source address translation.
#[derive(Clone, Debug, PartialEq)]
pub struct Snat {
    /// Whether the client's address is translated.
    pub mode: SnatMode,
    /// The pool as prefixes, host bits zero, none overlapping. Every address of a prefix is used,
    /// its first and last as well.
    pub addresses: Vec<IpNet>,
    /// Instead of them: this many addresses of each family (a power of two) at the end of the
    /// first pod range of the gateway's own node; the whole range if it has no more.
    pub from_node: Option<u32>,
    /// The L4 ports (and ICMP identifiers) to translate to.
    pub ports: L4PortRange,
}

impl Snat {
    /// The IPv4 pool, address by address.
    pub fn addresses_v4(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.addresses
            .iter()
            .flat_map(|net| addresses_of(*net))
            .filter_map(|addr| if let IpAddr::V4(addr) = addr { Some(addr) } else { None })
    }

    /// The IPv6 pool, address by address.
    pub fn addresses_v6(&self) -> impl Iterator<Item = Ipv6Addr> + '_ {
        self.addresses
            .iter()
            .flat_map(|net| addresses_of(*net))
            .filter_map(|addr| if let IpAddr::V6(addr) = addr { Some(addr) } else { None })
    }
}

/// Every address of a prefix, its first and last as well.
pub fn addresses_of(net: IpNet) -> impl Iterator<Item = IpAddr> {
    let (v4, v6) = match net {
        IpNet::V4(net) => (Some(u32::from(net.network())..=u32::from(net.broadcast())), None),
        IpNet::V6(net) => (None, Some(u128::from(net.network())..=u128::from(net.broadcast()))),
    };
    let v4 = v4.into_iter().flatten().map(|bits| Ipv4Addr::from(bits).into());
    v4.chain(v6.into_iter().flatten().map(|bits| Ipv6Addr::from(bits).into()))
}

/// Whether the client's address is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnatMode {
    /// Translate to an address of the pool.
    Snat,
    /// Keep the client's address: the nodes must route replies back through the gateway.
    Preserve,
}

/// A range of L4 ports, both ends included; `min <= max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L4PortRange {
    /// First port.
    pub min: u16,
    /// Last port.
    pub max: u16,
}

/// Ports that are not Sluice's to use: Kubernetes' default NodePort range (30000 to 32767) and
/// the kernel's default ephemeral range (32768 to 60999, `ip_local_port_range`).
const PORTS_RESERVED: (u16, u16) = (30000, 60999);

/// Most prefixes in the pool.
const PREFIXES_MAX: usize = 256;

pub(crate) static SECTION: Section = Section {
    path: "snat",
    keys: &[
        Key {
            name: "mode",
            kind: "`snat` or `preserve`",
            default: Default::Value("snat"),
            meaning: "translate the client's address, or keep it: then the nodes must route \
                      replies back through the gateway. It is kept on the way to pods in the \
                      overlay only: where there is none, or the server is no pod, an address \
                      of the pool takes its place all the same",
        },
        Key {
            name: "addresses",
            kind: "list of prefixes or addresses, 4096 addresses per family at most",
            default: Default::Words("required with `mode: snat`, unless there is `from_node`"),
            meaning: "the pool, of the gateway's pod range; every address of a prefix is used",
        },
        Key {
            name: "from_node",
            kind: "integer, a power of two, 1 to 4096 addresses",
            default: Default::Words("none"),
            meaning: "instead of `addresses`: so many addresses of each family at the end of the \
                      pod range of the gateway's own node, or of its block where Calico gives \
                      nodes blocks; Sluice is not ready before its node has one",
        },
        Key {
            name: "ports",
            kind: "section",
            default: Default::Words("its defaults"),
            meaning: "L4 ports and ICMP identifiers to translate to",
        },
    ],
};

pub(crate) static PORTS: Section = Section {
    path: "snat.ports",
    keys: &[
        Key {
            name: "min",
            kind: "integer, 1024 to 65535",
            default: Default::Value("1024"),
            meaning: "first port of the range",
        },
        Key {
            name: "max",
            kind: "integer, 1024 to 65535",
            default: Default::Value("29999"),
            meaning: "last port; at least 256 ports, none of 30000 to 60999 (NodePorts and the \
                      kernel's ephemeral ports)",
        },
    ],
};

/// The pool as read, not yet checked against the rest of the file.
pub(crate) struct RawSnat {
    pub mode: Result<SnatMode, Reported>,
    pub addresses: Vec<Located<IpNet>>,
    from_node: Option<u32>,
    ports: Result<L4PortRange, Reported>,
}

impl RawSnat {
    /// Reads `snat`.
    pub(crate) fn read(reader: &mut Reader<'_>, root: &Fields<'_>) -> Self {
        let fields = match root.section(reader, "snat", &SECTION) {
            Ok(fields) => fields,
            Err(reported) => {
                let (addresses, from_node) = (Vec::new(), None);
                return Self { mode: Err(reported), addresses, from_node, ports: Err(reported) };
            }
        };
        let modes = choice(&[("snat", SnatMode::Snat), ("preserve", SnatMode::Preserve)]);
        let mode = fields.defaulted(reader, "mode", modes).map(|mode| mode.value);
        let most = SNAT_ADDRESSES_MAX as u32;
        let from_node = fields.optional(reader, "from_node", power_of_two(1..=most));
        let from_node = from_node.unwrap_or_default();
        let least = usize::from(mode == Ok(SnatMode::Snat));
        let read_addresses = list(least..=PREFIXES_MAX, pool_prefix);
        let addresses = match mode {
            Ok(SnatMode::Snat) if from_node.is_none() => {
                fields.required(reader, "addresses", read_addresses).map(Some)
            }
            _ => fields.optional(reader, "addresses", read_addresses),
        };
        let addresses = addresses.ok().flatten();
        if let (Some(from_node), Some(_)) = (&from_node, &addresses) {
            let message = "`from_node` beside `addresses`";
            reader.error(&from_node.spot, message, "one of the two");
        }
        if let Some(addresses) = &addresses {
            check_size(reader, addresses);
        }
        Self {
            mode,
            addresses: addresses.map(|list| list.value).unwrap_or_default(),
            from_node: from_node.map(|count| count.value),
            ports: read_ports(reader, &fields),
        }
    }

    /// The pool as it will be used.
    pub(crate) fn build(self) -> Result<Snat, Reported> {
        Ok(Snat {
            mode: self.mode?,
            addresses: self.addresses.into_iter().map(|net| net.value).collect(),
            from_node: self.from_node,
            ports: self.ports?,
        })
    }
}

/// Reports a family that has too many addresses, at the prefix that goes over the limit.
fn check_size(reader: &mut Reader<'_>, addresses: &Located<Vec<Located<IpNet>>>) {
    let limit = u128::from(SNAT_ADDRESSES_MAX);
    for (family, ipv4) in [("IPv4", true), ("IPv6", false)] {
        let mut total: u128 = 0;
        for net in addresses.value.iter().filter(|net| net.value.addr().is_ipv4() == ipv4) {
            let host_bits = net.value.max_prefix_len() - net.value.prefix_len();
            let before = total;
            total = total.saturating_add(1_u128.checked_shl(host_bits.into()).unwrap_or(u128::MAX));
            if before <= limit && total > limit {
                let message =
                    format!("{} makes it more than {limit} {family} addresses", net.value);
                let expected = format!("at most {limit} {family} addresses in all");
                reader.error(&net.spot, message, &*expected);
            }
        }
    }
}

fn read_ports(reader: &mut Reader<'_>, snat: &Fields<'_>) -> Result<L4PortRange, Reported> {
    let fields = snat.section(reader, "ports", &PORTS)?;
    let min = fields.defaulted(reader, "min", integer(1024..=u16::MAX));
    let max = fields.defaulted(reader, "max", integer(1024..=u16::MAX));
    let (min, max) = (min?, max?);
    let range = L4PortRange { min: min.value, max: max.value };
    let found = format!("found {} to {}", range.min, range.max);
    if range.min > range.max {
        return Err(reader.error(fields.spot(), found, "`min` not above `max`"));
    }
    let (first, last) = PORTS_RESERVED;
    if range.min <= last && range.max >= first {
        let expected = "none of 30000 to 32767 (NodePorts) and 32768 to 60999 (the kernel's \
                        ephemeral ports)";
        return Err(reader.error(fields.spot(), found, expected));
    }
    if u32::from(range.max - range.min) + 1 < SNAT_PORTS_MIN {
        let expected = format!(
            "at least {SNAT_PORTS_MIN} ports: the low byte of a port names the worker that owns \
             the flow"
        );
        return Err(reader.error(fields.spot(), found, &*expected));
    }
    Ok(range)
}
