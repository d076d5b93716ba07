//! `overlay`: the tunnels to the cluster's nodes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ports::{MTU_MAX, MTU_MIN, PortIndex, PortName, RawPort, find_port, port_name};
use crate::read::{
    Fields, Located, Reader, Reported, Spot, choice, host_address, integer, list, mac_address,
};
use crate::schema::{Default, Key, Section};

/// Bytes that VXLAN over IPv4 takes of the underlay's MTU: IPv4 20, UDP 8, VXLAN 8, inner
/// Ethernet 14.
pub const VXLAN_OVERHEAD_V4: u16 = 50;

/// Bytes that VXLAN over IPv6 takes of the underlay's MTU: IPv6 40, UDP 8, VXLAN 8, inner
/// Ethernet 14.
pub const VXLAN_OVERHEAD_V6: u16 = 70;

/// The tunnels to the cluster's nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Overlay {
    /// VXLAN (RFC 7348).
    pub vxlan: Vxlan,
}

/// Whose VXLAN it is: how nodes make themselves known, and what carries which packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverlayMode {
    /// Nodes say it by Sluice's annotations. One device of a node carries both families.
    #[default]
    Plain,
    /// flannel's `vxlan` backend with the Kubernetes API as its store.
    Flannel,
    /// Calico's, with the Kubernetes API as its store.
    Calico,
}

impl OverlayMode {
    /// The network and the UDP port, where the overlay has usual ones.
    fn usual(self) -> (Option<u32>, u16) {
        match self {
            Self::Plain => (None, 4789),
            Self::Flannel => (Some(1), 8472),
            Self::Calico => (Some(4096), 4789),
        }
    }

    /// Whether each family travels over its own: nodes have a device for each.
    fn is_of_same_family(self) -> bool {
        self != Self::Plain
    }
}

/// A VXLAN overlay (RFC 7348).
#[derive(Clone, Debug, PartialEq)]
pub struct Vxlan {
    /// Whose it is.
    pub mode: OverlayMode,
    /// VXLAN network identifier, 24 bits.
    pub vni: u32,
    /// UDP destination port, never zero.
    pub udp_port: u16,
    /// The port that the tunnels use.
    pub port: PortIndex,
    /// Sluice's tunnel endpoint addresses; at least one.
    pub addresses: VtepAddresses,
    /// Inner Ethernet address of this VTEP.
    pub mac: MacAddr,
    /// MTU of inner packets in bytes as configured; [`Vxlan::inner_mtu`] gives the one to use.
    pub mtu: Option<u16>,
}

/// The tunnel endpoint's addresses: one per family at most, one at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VtepAddresses {
    /// For tunnels over IPv4.
    pub v4: Option<Ipv4Addr>,
    /// For tunnels over IPv6.
    pub v6: Option<Ipv6Addr>,
}

impl VtepAddresses {
    /// The addresses, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6))
    }

    /// Bytes that the costlier of the families in use takes of the underlay's MTU.
    pub fn overhead(&self) -> u16 {
        if self.v6.is_some() { VXLAN_OVERHEAD_V6 } else { VXLAN_OVERHEAD_V4 }
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Why an underlay's MTU cannot hold the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MtuError {
    /// Inner IPv6 packets need 1280 bytes (RFC 8200, section 5).
    TooSmallForIpv6 {
        /// Room for inner packets in bytes.
        inner: u16,
        /// MTU that the underlay needs at least, in bytes.
        underlay_min: u16,
    },
    /// `overlay.vxlan.mtu` is less than the 1280 bytes that inner IPv6 packets need.
    ConfiguredTooSmallForIpv6 {
        /// The configured inner MTU in bytes.
        configured: u16,
    },
    /// `overlay.vxlan.mtu` is more than the underlay leaves.
    ExceedsUnderlay {
        /// The configured inner MTU in bytes.
        configured: u16,
        /// Room for inner packets in bytes.
        available: u16,
    },
}

impl fmt::Display for MtuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmallForIpv6 { inner, underlay_min } => write!(
                f,
                "the tunnel leaves {inner} bytes for inner packets, IPv6 needs {MTU_MIN}: \
                 the underlay's MTU must be at least {underlay_min}"
            ),
            Self::ConfiguredTooSmallForIpv6 { configured } => {
                write!(f, "inner packets of {configured} bytes at most: IPv6 needs {MTU_MIN}")
            }
            Self::ExceedsUnderlay { configured, available } => write!(
                f,
                "inner packets of {configured} bytes do not fit: the underlay leaves {available}"
            ),
        }
    }
}

impl std::error::Error for MtuError {}

impl Vxlan {
    /// Whether each family travels over its own: nodes have a device for each.
    pub fn is_of_same_family(&self) -> bool {
        self.mode.is_of_same_family()
    }

    /// The MTU of inner packets over an underlay of `underlay_mtu` bytes: the configured one if
    /// it fits, else what the underlay leaves. `ipv6` says whether inner IPv6 packets are
    /// expected ([`Config::uses_ipv6`](crate::Config::uses_ipv6)).
    ///
    /// # Errors
    /// If the configured MTU does not fit, or inner IPv6 packets would get less than 1280 bytes.
    pub fn inner_mtu(&self, underlay_mtu: u16, ipv6: bool) -> Result<u16, MtuError> {
        inner_mtu(self.addresses.overhead(), self.mtu, underlay_mtu, ipv6)
    }
}

/// [`Vxlan::inner_mtu`] on plain values, for checks before a `Vxlan` exists.
pub(crate) fn inner_mtu(
    overhead: u16,
    configured: Option<u16>,
    underlay_mtu: u16,
    ipv6: bool,
) -> Result<u16, MtuError> {
    let available = underlay_mtu.saturating_sub(overhead);
    if let Some(configured) = configured.filter(|mtu| *mtu > available) {
        return Err(MtuError::ExceedsUnderlay { configured, available });
    }
    match configured {
        Some(configured) if ipv6 && configured < MTU_MIN => {
            Err(MtuError::ConfiguredTooSmallForIpv6 { configured })
        }
        Some(configured) => Ok(configured),
        None if ipv6 && available < MTU_MIN => {
            Err(MtuError::TooSmallForIpv6 { inner: available, underlay_min: MTU_MIN + overhead })
        }
        None => Ok(available),
    }
}

pub(crate) static SECTION: Section = Section {
    path: "overlay",
    keys: &[Key {
        name: "vxlan",
        kind: "section",
        default: Default::Required,
        meaning: "tunnels by VXLAN (RFC 7348)",
    }],
};

pub(crate) static VXLAN: Section = Section {
    path: "overlay.vxlan",
    keys: &[
        Key {
            name: "mode",
            kind: "`plain`, `flannel` or `calico`",
            default: Default::Value("plain"),
            meaning: "whose overlay it is: where the nodes' tunnels are read and how the \
                      gateway's is made known; with the last two each family travels over its own",
        },
        Key {
            name: "vni",
            kind: "integer, 0 to 16777215",
            default: Default::Words("flannel's 1, Calico's 4096; else required"),
            meaning: "VXLAN network identifier",
        },
        Key {
            name: "udp_port",
            kind: "integer, 1 to 65535",
            default: Default::Words("4789; flannel's 8472"),
            meaning: "UDP destination port",
        },
        Key {
            name: "port",
            kind: "name of a port",
            default: Default::Required,
            meaning: "the port that the tunnels use",
        },
        Key {
            name: "addresses",
            kind: "list of at most one IPv4 and one IPv6 address",
            default: Default::Required,
            meaning: "Sluice's tunnel endpoints; each an address or kernel address of that port",
        },
        Key {
            name: "mac",
            kind: "unicast Ethernet address",
            default: Default::Words("derived from the first of `addresses`, locally administered"),
            meaning: "inner Ethernet address that the nodes send to",
        },
        Key {
            name: "mtu",
            kind: "integer, 576 to 1724 bytes",
            default: Default::Words("the port's less 50 bytes (IPv4) or 70 (an IPv6 endpoint)"),
            meaning: "MTU of inner packets; at least 1280 where IPv6 is in use",
        },
    ],
};

/// The overlay as read, not yet checked against the rest of the file.
pub(crate) struct RawVxlan {
    mode: OverlayMode,
    vni: Result<u32, Reported>,
    udp_port: Result<u16, Reported>,
    port: Result<Located<PortName>, Reported>,
    pub addresses: Vec<Located<IpAddr>>,
    addresses_spot: Result<Spot, Reported>,
    mac: Option<MacAddr>,
    pub mtu: Option<Located<u16>>,
}

impl RawVxlan {
    /// Reads `overlay`, if there is one.
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        root: &Fields<'_>,
    ) -> Result<Option<Self>, Reported> {
        let Some(overlay) = root.get("overlay") else { return Ok(None) };
        let overlay = Fields::open(reader, overlay, &SECTION)?;
        let Some(vxlan) = overlay.get("vxlan") else {
            return Err(overlay.report_missing(reader, "vxlan"));
        };
        let fields = Fields::open(reader, vxlan, &VXLAN)?;
        let modes = choice(&[
            ("plain", OverlayMode::Plain),
            ("flannel", OverlayMode::Flannel),
            ("calico", OverlayMode::Calico),
        ]);
        let mode = fields.defaulted(reader, "mode", modes)?.value;
        let (usual_vni, usual_port) = mode.usual();
        let vni = fields.optional(reader, "vni", integer(0..=0xff_ffff));
        let vni = vni.and_then(|vni| {
            let vni = vni.map(|vni| vni.value).or(usual_vni);
            vni.ok_or_else(|| fields.report_missing(reader, "vni"))
        });
        let udp_port = fields.optional(reader, "udp_port", integer(1..=u16::MAX));
        let udp_port = udp_port.map(|port| port.map_or(usual_port, |port| port.value));
        let port = fields.required(reader, "port", port_name);
        let addresses = fields.required(reader, "addresses", list(1..=2, host_address));
        let mac = fields.optional(reader, "mac", mac_address);
        let mtu_max = MTU_MAX - VXLAN_OVERHEAD_V4;
        let mtu = fields.optional(reader, "mtu", integer(576..=mtu_max));

        let addresses_spot = addresses.as_ref().map(|list| list.spot.clone()).map_err(|e| *e);
        let addresses = addresses.map(|list| list.value).unwrap_or_default();
        if let [first, second] = &addresses[..]
            && first.value.is_ipv4() == second.value.is_ipv4()
        {
            let message = format!("{} beside {} of the same family", second.value, first.value);
            reader.error(&second.spot, message, "at most one IPv4 and one IPv6 address");
        }
        Ok(Some(Self {
            mode,
            vni,
            udp_port,
            port,
            addresses,
            addresses_spot,
            mac: mac.ok().flatten().map(|mac| mac.value),
            mtu: mtu.ok().flatten(),
        }))
    }

    /// The port that the tunnels use.
    pub(crate) fn port(
        &self,
        reader: &mut Reader<'_>,
        ports: &[RawPort],
    ) -> Result<PortIndex, Reported> {
        find_port(reader, ports, self.port.as_ref().map_err(|reported| *reported)?)
    }

    /// The tunnel endpoints' addresses.
    fn vtep(&self) -> VtepAddresses {
        let mut vtep = VtepAddresses { v4: None, v6: None };
        for address in &self.addresses {
            match address.value {
                IpAddr::V4(address) => vtep.v4 = Some(address),
                IpAddr::V6(address) => vtep.v6 = Some(address),
            }
        }
        vtep
    }

    /// Checks the MTU of the tunnels against their port's. Where the port takes the device's, the
    /// largest possible one stands in, and the check with the device's is due at the start.
    pub(crate) fn check_mtu(&self, reader: &mut Reader<'_>, port: &RawPort, ipv6: bool) {
        let underlay = port.mtu.as_ref().map_or(MTU_MAX, |mtu| mtu.value);
        let overhead = self.vtep().overhead();
        let configured = self.mtu.as_ref().map(|mtu| mtu.value);
        let Err(error) = inner_mtu(overhead, configured, underlay, ipv6) else { return };
        let (spot, expected) = match error {
            MtuError::TooSmallForIpv6 { underlay_min, .. } => (
                port.mtu.as_ref().map(|mtu| &mtu.spot),
                format!("at least {underlay_min}: the tunnel takes {overhead} bytes"),
            ),
            MtuError::ConfiguredTooSmallForIpv6 { .. } => {
                (self.mtu.as_ref().map(|mtu| &mtu.spot), format!("at least {MTU_MIN}"))
            }
            MtuError::ExceedsUnderlay { available, .. } => (
                self.mtu.as_ref().map(|mtu| &mtu.spot),
                format!(
                    "at most {available}: the port's {underlay} bytes less {overhead} of the tunnel"
                ),
            ),
        };
        if let Some(spot) = spot {
            reader.error(spot, error.to_string(), &*expected);
        }
    }

    /// The overlay as it will be used, over the port at `port`.
    pub(crate) fn build(self, port: PortIndex) -> Result<Overlay, Reported> {
        self.addresses_spot.as_ref().map_err(|reported| *reported)?;
        let derived = self.addresses.first().map_or(MacAddr([0; 6]), |a| derived_mac(a.value));
        Ok(Overlay {
            vxlan: Vxlan {
                mode: self.mode,
                vni: self.vni?,
                udp_port: self.udp_port?,
                port,
                addresses: self.vtep(),
                mac: self.mac.unwrap_or(derived),
                mtu: self.mtu.map(|mtu| mtu.value),
            },
        })
    }
}

/// A locally administered address that is the same at every start: `02:73` and the IPv4 address,
/// or `06` and 40 bits of the IPv6 address's FNV-1a hash.
fn derived_mac(address: IpAddr) -> MacAddr {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            MacAddr([0x02, 0x73, a, b, c, d])
        }
        IpAddr::V6(address) => {
            let hash = address.octets().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
                (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
            });
            let [_, _, _, a, b, c, d, e] = hash.to_be_bytes();
            MacAddr([0x06, a, b, c, d, e])
        }
    }
}
