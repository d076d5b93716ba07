use std::collections::BTreeSet;
use std::fmt;
use std::io;

mod ethtool;
mod netlink;
mod routes;

/// Why a device could not be inspected.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// There is none of that name in the network namespace of this thread.
    #[error("no network device `{device}` (`ip link` lists those there are)")]
    NotFound {
        /// The name asked for.
        device: String,
    },
    /// The name cannot be that of a device.
    #[error(
        "`{device}` cannot be the name of a network device: \
         1 to 15 characters, no spaces and no `/`"
    )]
    Name {
        /// The name asked for.
        device: String,
    },
    /// The kernel did not answer as expected.
    #[error("cannot ask the kernel about network device `{device}`: {source}")]
    Query {
        /// The name asked for.
        device: String,
        /// What went wrong.
        source: io::Error,
    },
}

/// Operational state of a device (RFC 2863 `ifOperStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperState {
    /// The driver does not say (common for virtual devices; they work).
    Unknown,
    /// A component is missing.
    NotPresent,
    /// No carrier, or not set up.
    Down,
    /// The device below is down.
    LowerLayerDown,
    /// Under test.
    Testing,
    /// Waiting for something, such as 802.1X.
    Dormant,
    /// Ready.
    Up,
}

impl fmt::Display for OperState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OperState::Unknown => "unknown",
            OperState::NotPresent => "not present",
            OperState::Down => "down",
            OperState::LowerLayerDown => "lower layer down",
            OperState::Testing => "testing",
            OperState::Dormant => "dormant",
            OperState::Up => "up",
        })
    }
}

/// Channels of a device now and at most, as `ethtool -l` shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    /// Receive-only channels.
    pub rx: u32,
    /// Transmit-only channels.
    pub tx: u32,
    /// Channels that do both.
    pub combined: u32,
    /// Largest value of `rx`.
    pub rx_max: u32,
    /// Largest value of `tx`.
    pub tx_max: u32,
    /// Largest value of `combined`.
    pub combined_max: u32,
}

/// Descriptors of a device's rings now and at most, as `ethtool -g` shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rings {
    /// Of one to receive.
    pub rx: u32,
    /// Of one to send.
    pub tx: u32,
    /// Largest value of `rx`.
    pub rx_max: u32,
    /// Largest value of `tx`.
    pub tx_max: u32,
}

/// The XDP program that a device runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpAttachment {
    /// Its number, as `bpftool prog` lists it; 0 when there are several.
    pub program_id: u32,
    /// In the driver, rather than on socket buffers.
    pub native: bool,
}

/// What the kernel says of a network device. Reading it changes nothing and
/// needs no privilege; it concerns the network namespace of the calling thread.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its number.
    pub ifindex: u32,
    /// Its Ethernet address; `None` for a device without one.
    pub mac: Option<[u8; 6]>,
    /// Largest packet in bytes, the Ethernet header not counted.
    pub mtu: u32,
    /// Set up (`ip link set DEV up`).
    pub admin_up: bool,
    /// Operational state.
    pub oper_state: OperState,
    /// Receive queues in use.
    pub rx_queues: u32,
    /// Transmit queues in use.
    pub tx_queues: u32,
    /// Channels, for drivers that have the notion.
    pub channels: Option<Channels>,
    /// Its rings, for drivers that have the notion.
    pub rings: Option<Rings>,
    /// Which queue a UDP packet over IPv4 comes to depends on both of its ports, too (RSS);
    /// `None`: the driver does not say.
    pub hashes_udp4_ports: Option<bool>,
    /// The same over IPv6.
    pub hashes_udp6_ports: Option<bool>,
    /// Name of the driver, where it says.
    pub driver: Option<String>,
    /// Offload features that are on, by the kernel's names (`ethtool -k` shows
    /// friendlier ones for some); see the methods for those that matter here.
    pub features: BTreeSet<String>,
    /// The NUMA node of the device's bus; `None` when it has none.
    pub numa_node: Option<u32>,
    /// The XDP program attached to it.
    pub xdp: Option<XdpAttachment>,
    /// An IPv4 or IPv6 default route leaves through it.
    pub has_default_route: bool,
}

/// The link of a device, which is known by its number, too: a later one of the same name is
/// another. Asks the kernel.
pub fn link_of(name: &str, ifindex: u32) -> OperState {
    match netlink::link(name) {
        Ok(Some(link)) if link.ifindex == ifindex => match link.admin_up {
            true => link.oper_state,
            false => OperState::Down,
        },
        _ => OperState::NotPresent,
    }
}

impl Device {
    /// Asks the kernel about a device.
    ///
    /// # Errors
    /// When there is no such device, the name is impossible, or the kernel's
    /// answer is not understood.
    pub fn inspect(name: &str) -> Result<Self, DeviceError> {
        if name.is_empty()
            || name.len() >= libc::IFNAMSIZ
            || name.contains(|c: char| c == '/' || c.is_whitespace() || c == '\0')
        {
            return Err(DeviceError::Name { device: name.to_owned() });
        }
        let failed = |source: io::Error| DeviceError::Query { device: name.to_owned(), source };
        let link = netlink::link(name)
            .map_err(failed)?
            .ok_or_else(|| DeviceError::NotFound { device: name.to_owned() })?;
        let ethtool = ethtool::Ethtool::open(name).map_err(failed)?;
        let channels = ethtool.channels().map_err(failed)?;
        let (rx_queues, tx_queues) = match channels {
            Some(c) if c.rx + c.combined > 0 => (c.rx + c.combined, c.tx + c.combined),
            _ => (link.rx_queues, link.tx_queues),
        };
        Ok(Device {
            name: name.to_owned(),
            ifindex: link.ifindex,
            mac: link.mac,
            mtu: link.mtu,
            admin_up: link.admin_up,
            oper_state: link.oper_state,
            rx_queues,
            tx_queues,
            channels,
            // Advice alone needs these: a driver that does not answer now is not in the way.
            rings: ethtool.rings().ok().flatten(),
            hashes_udp4_ports: ethtool.hashes_ports(ethtool::UDP_V4_FLOW).ok().flatten(),
            hashes_udp6_ports: ethtool.hashes_ports(ethtool::UDP_V6_FLOW).ok().flatten(),
            driver: ethtool.driver().map_err(failed)?.or(link.kind),
            features: ethtool.features().map_err(failed)?,
            numa_node: numa_node(name),
            xdp: link.xdp,
            has_default_route: routes::has_default_route(name).map_err(failed)?,
        })
    }

    /// Packets are merged on receive (GRO or LRO), which hides their sizes.
    pub fn merges_packets(&self) -> bool {
        ["rx-gro", "rx-gro-hw", "rx-lro"].iter().any(|feature| self.features.contains(*feature))
    }

    /// VLAN tags are taken off on receive, so that XDP programs miss them.
    pub fn strips_vlan_tags(&self) -> bool {
        self.features.contains("rx-vlan-hw-parse")
    }

    /// Frames with tags of VLANs that have no device in the kernel may be dropped
    /// by the NIC.
    pub fn filters_vlans(&self) -> bool {
        self.features.contains("rx-vlan-filter")
    }

    /// The kernel leaves checksums of what it sends to the device. (On veth
    /// they then arrive unfinished.)
    pub fn offloads_tx_checksums(&self) -> bool {
        ["tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6"]
            .iter()
            .any(|feature| self.features.contains(*feature))
    }
}

/// By sysfs, the only place that tells; -1 there means none.
fn numa_node(name: &str) -> Option<u32> {
    let path = format!("/sys/class/net/{name}/device/numa_node");
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_what_it_is_everywhere() {
        let lo = Device::inspect("lo").unwrap();
        assert!(lo.ifindex > 0);
        assert_eq!(lo.mac, Some([0; 6]));
        assert!(lo.mtu > 0);
        assert!(lo.rx_queues >= 1 && lo.tx_queues >= 1);
        assert_eq!((lo.channels, lo.rings), (None, None));
        assert_eq!((lo.hashes_udp4_ports, lo.hashes_udp6_ports), (None, None));
        assert_eq!(lo.numa_node, None);
        assert!(!lo.has_default_route);
        assert!(lo.features.contains("loopback"), "{:?}", lo.features);
    }

    #[test]
    fn impossible_and_missing_devices_are_told_apart() {
        for name in ["", "a b", "a/b", "sixteen-letters!"] {
            let error = Device::inspect(name).unwrap_err();
            assert!(matches!(error, DeviceError::Name { .. }), "{name}: {error}");
        }
        let error = Device::inspect("no-such-dev0").unwrap_err();
        assert!(matches!(error, DeviceError::NotFound { .. }), "{error}");
        assert!(error.to_string().contains("no-such-dev0"));
    }
}
