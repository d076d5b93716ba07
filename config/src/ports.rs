//! `ports`: the network devices that Sluice takes frames from and sends frames to.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::io::Backend;
use crate::read::{
    Field, Fields, Located, Reader, Reported, Spot, boolean, closest, integer, integer_because,
    interface_address, kernel_address, list, text,
};
use crate::schema::{Default, Key, Section};

/// Devices as DPDK takes them.
pub(crate) mod dpdk;

/// Most ports that one gateway may have.
pub const PORTS_MAX: usize = 16;

/// Smallest MTU of a port in bytes: what IPv6 needs of every link (RFC 8200, section 5).
pub const MTU_MIN: u16 = 1280;

/// Largest MTU of a port in bytes: a 2048-byte UMEM chunk carries 1792 bytes, of which the
/// Ethernet header takes 14 and an 802.1Q tag 4.
pub const MTU_MAX: u16 = 1792 - 14 - 4;

/// The name of a port: 1 to 15 characters out of `a-z`, `0-9` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortName(pub(crate) String);

impl PortName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The place of a port in [`Config::ports`](crate::Config::ports). Always valid for the `Config`
/// that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortIndex(pub usize);

/// One port: a network device, its addresses and how Sluice uses it.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Unique name, as metrics, logs and the other sections call it.
    pub name: PortName,
    /// Unique name of the network device; with DPDK a device as EAL takes it, with arguments
    /// behind a comma.
    pub device: String,
    /// Sluice's own addresses with the prefix of their subnet (host bits are kept). At least one;
    /// unicast, and unique over all ports.
    pub addresses: Vec<IpNet>,
    /// Addresses on this device that stay with the kernel.
    pub kernel_addresses: Vec<IpAddr>,
    /// MTU of IP packets in bytes, [`MTU_MIN`] to [`MTU_MAX`]; `None`: the device's.
    pub mtu: Option<u16>,
    /// 802.1Q tag that every frame of this port carries, 1 to 4094.
    pub vlan: Option<u16>,
    /// Whether ARP and ND requests for VIPs are answered on this port.
    pub announce_vips: bool,
    /// Whether Sluice may take this device even if it carries the kernel's default route.
    pub allow_default_route: bool,
}

/// Most addresses of one port, and as many kernel addresses.
const ADDRESSES_MAX: usize = 64;

pub(crate) static SECTION: Section = Section {
    path: "ports[]",
    keys: &[
        Key {
            name: "name",
            kind: "string of 1 to 15 characters `a-z`, `0-9`, `-`",
            default: Default::Required,
            meaning: "the port's unique name in metrics, logs and the rest of this file",
        },
        Key {
            name: "device",
            kind: "name of a network device",
            default: Default::Required,
            meaning: "the device; unique: a device belongs to one port; with `io.backend: dpdk` \
                      an address on the PCI bus (`0000:3b:00.0`) or a virtual device \
                      (`net_af_packet0,iface=eth1`), with arguments behind a comma",
        },
        Key {
            name: "addresses",
            kind: "list of 1 to 64 addresses with prefix length",
            default: Default::Required,
            meaning: "Sluice's own addresses; their prefixes are the connected routes",
        },
        Key {
            name: "kernel_addresses",
            kind: "list of addresses",
            default: Default::Words("none"),
            meaning: "addresses that stay with the kernel; none may be Sluice's, but for a tunnel \
                      endpoint's, which both share; with `io.backend: dpdk` on a TAP device that is \
                      named as the port",
        },
        Key {
            name: "mtu",
            kind: "integer, 1280 to 1774 bytes",
            default: Default::Words("the device's"),
            meaning: "MTU of IP packets; a 2048-byte UMEM chunk holds 1792 bytes, 18 of them for \
                      Ethernet and a tag; the device's must be in this range too",
        },
        Key {
            name: "vlan",
            kind: "integer, 1 to 4094",
            default: Default::Words("untagged"),
            meaning: "802.1Q tag that every frame of this port carries; the NIC may neither take \
                      it off nor filter by it (`sluice doctor` looks)",
        },
        Key {
            name: "announce_vips",
            kind: "boolean",
            default: Default::Words("`true`, but `false` for the overlay's port beside others"),
            meaning: "answer ARP and ND requests for VIPs on this port",
        },
        Key {
            name: "allow_default_route",
            kind: "boolean",
            default: Default::Value("false"),
            meaning: "take the device even if it carries the kernel's default route",
        },
    ],
};

/// A port as read, not yet checked against the rest of the file.
pub(crate) struct RawPort {
    pub name: Result<Located<PortName>, Reported>,
    pub device: Result<Located<String>, Reported>,
    pub addresses: Vec<Located<IpNet>>,
    pub kernel_addresses: Vec<Located<IpAddr>>,
    pub mtu: Option<Located<u16>>,
    vlan: Option<u16>,
    announce_vips: Option<bool>,
    allow_default_route: Result<bool, Reported>,
}

impl RawPort {
    /// Reads one element of `ports`.
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        field: Field<'_>,
        backend: Backend,
    ) -> Result<Self, Reported> {
        let fields = Fields::open(reader, field, &SECTION)?;
        let name = fields.required(reader, "name", port_name);
        let device = match backend {
            Backend::AfXdp => fields.required(reader, "device", device),
            Backend::Dpdk => fields.required(reader, "device", dpdk::device),
        };
        let addresses =
            fields.required(reader, "addresses", list(1..=ADDRESSES_MAX, interface_address));
        let kernel_addresses =
            fields.optional(reader, "kernel_addresses", list(0..=ADDRESSES_MAX, kernel_address));
        if let (Backend::Dpdk, Ok(device)) = (backend, &device)
            && dpdk::kernel_device(&device.value).is_none()
            && let Some(key) = fields.get("allow_default_route")
        {
            let expected = "this key beside a device that the kernel has, too";
            reader.error(&key.spot, "of no use with this device", expected);
        }
        Ok(Self {
            name,
            device,
            addresses: addresses.map(|list| list.value).unwrap_or_default(),
            kernel_addresses: kernel_addresses
                .ok()
                .flatten()
                .map(|list| list.value)
                .unwrap_or_default(),
            mtu: fields.optional(reader, "mtu", mtu).ok().flatten(),
            vlan: fields
                .optional(reader, "vlan", integer(1..=4094))
                .ok()
                .flatten()
                .map(|vlan| vlan.value),
            announce_vips: fields
                .optional(reader, "announce_vips", boolean)
                .ok()
                .flatten()
                .map(|announce| announce.value),
            allow_default_route: fields
                .defaulted(reader, "allow_default_route", boolean)
                .map(|allow| allow.value),
        })
    }

    /// The port as it will be used. `announce_vips` is the default of that key.
    pub(crate) fn build(self, announce_vips: bool) -> Result<Port, Reported> {
        Ok(Port {
            name: self.name?.value,
            device: self.device?.value,
            addresses: self.addresses.into_iter().map(|address| address.value).collect(),
            kernel_addresses: self
                .kernel_addresses
                .into_iter()
                .map(|address| address.value)
                .collect(),
            mtu: self.mtu.map(|mtu| mtu.value),
            vlan: self.vlan,
            announce_vips: self.announce_vips.unwrap_or(announce_vips),
            allow_default_route: self.allow_default_route?,
        })
    }
}

/// Reads the name of a port, its own or a reference to it.
pub(crate) fn port_name(reader: &mut Reader<'_>, field: Field<'_>) -> Result<PortName, Reported> {
    let read = text("1 to 15 characters out of `a-z`, `0-9` and `-`", |text| {
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        match text.len() {
            1..=15 if text.chars().all(valid) => Ok(PortName(text.to_owned())),
            _ => Err(String::new()),
        }
    });
    read(reader, field)
}

/// Reads a device name by the kernel's rule (`dev_valid_name` in `net/core/dev.c`), ASCII only.
fn device(reader: &mut Reader<'_>, field: Field<'_>) -> Result<String, Reported> {
    let expected = "the name of a network device: 1 to 15 visible ASCII characters without `/` \
                    and `:`";
    let read = text(expected, |text| {
        let valid = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':');
        match text.len() {
            1..=15 if text.chars().all(valid) && !matches!(text, "." | "..") => Ok(text.to_owned()),
            _ => Err(String::new()),
        }
    });
    read(reader, field)
}

fn mtu(reader: &mut Reader<'_>, field: Field<'_>) -> Result<u16, Reported> {
    let why = ": IPv6 needs 1280, and a 2048-byte UMEM chunk holds 1792 bytes, of which Ethernet \
               takes 14 and an 802.1Q tag 4";
    integer_because(MTU_MIN..=MTU_MAX, why)(reader, field)
}

/// The port that a reference names.
pub(crate) fn find_port(
    reader: &mut Reader<'_>,
    ports: &[RawPort],
    name: &Located<PortName>,
) -> Result<PortIndex, Reported> {
    let mut names = Vec::with_capacity(ports.len());
    for (index, port) in ports.iter().enumerate() {
        match &port.name {
            Ok(known) if known.value == name.value => return Ok(PortIndex(index)),
            Ok(known) => names.push(known.value.as_str()),
            // The port meant may be one whose name is wrong: that is reported already.
            Err(reported) => return Err(*reported),
        }
    }
    let help = closest(name.value.as_str(), names.iter().copied())
        .map(|name| format!("did you mean `{name}`?"));
    let expected = format!("the name of a port: {}", names.join(", "));
    let message = format!("no port is named `{}`", name.value);
    Err(reader.error_with_help(&name.spot, message, &*expected, help))
}

/// Checks what must be unique among ports, addresses aside.
pub(crate) fn check_unique(reader: &mut Reader<'_>, ports: &[RawPort]) {
    let names: Vec<_> = ports
        .iter()
        .filter_map(|port| port.name.as_ref().ok())
        .map(|name| (name.value.as_str(), &name.spot))
        .collect();
    report_repeated(reader, &names, "a name of its own for each port");
    let devices: Vec<_> = ports
        .iter()
        .filter_map(|port| port.device.as_ref().ok())
        // Arguments make no other device.
        .map(|device| (device.value.split(',').next().unwrap_or_default(), &device.spot))
        .collect();
    report_repeated(reader, &devices, "a device of its own for each port");
    let below: Vec<_> = ports
        .iter()
        .filter_map(|port| port.device.as_ref().ok())
        .filter_map(|device| Some((dpdk::kernel_device(&device.value)?, &device.spot)))
        .collect();
    report_repeated(reader, &below, "a device of the kernel's of its own for each port");
}

fn report_repeated(reader: &mut Reader<'_>, values: &[(&str, &Spot)], expected: &'static str) {
    for (index, (value, spot)) in values.iter().enumerate() {
        if let Some((_, first)) = values[..index].iter().find(|(earlier, _)| earlier == value) {
            reader.error(spot, format!("`{value}` is taken by {}", first.refer()), expected);
        }
    }
}
