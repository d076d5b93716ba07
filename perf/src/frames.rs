//! Frames as they arrive. Built byte by byte from the RFCs, on their own: no
//! code is shared with what is measured.

use crate::site::{self, Family, PORT_MACS, TTL, VNI, VXLAN_PORT, Who};
use std::net::IpAddr;

/// One UDP packet.
#[derive(Clone, Copy, Debug)]
pub struct Udp {
    /// Source.
    pub src: (IpAddr, u16),
    /// Destination.
    pub dst: (IpAddr, u16),
    /// The first bytes of its payload, if it has any.
    pub id: u32,
}

/// One TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a> {
    /// Source.
    pub src: (IpAddr, u16),
    /// Destination.
    pub dst: (IpAddr, u16),
    /// Sequence number.
    pub seq: u32,
    /// Acknowledged up to here.
    pub ack: u32,
    /// Control bits (RFC 9293 section 3.1).
    pub flags: u8,
    /// Bytes that may come.
    pub window: u16,
    /// The maximum segment size option, the only option.
    pub mss: Option<u16>,
    /// Its data.
    pub payload: &'a [u8],
}

impl Tcp<'_> {
    fn header_len(&self) -> usize {
        if self.mss.is_some() { 24 } else { 20 }
    }
}

/// Both ends of a VXLAN tunnel, the sender first.
#[derive(Clone, Copy, Debug)]
pub struct Tunnel {
    /// On the underlay.
    pub macs: [[u8; 6]; 2],
    /// On the underlay.
    pub addrs: [IpAddr; 2],
    /// In the overlay.
    pub inner_macs: [[u8; 6]; 2],
}

impl Tunnel {
    /// From a node to the gateway.
    pub fn from_node(family: Family, node: u32) -> Self {
        Tunnel {
            macs: [site::node_mac(node), PORT_MACS[site::CLUSTER]],
            addrs: [Who::Node(node).addr(family), Who::GatewayCluster.addr(family)],
            inner_macs: [site::vtep_mac(node), site::OVERLAY_MAC],
        }
    }

    /// From the gateway to a node.
    pub fn to_node(family: Family, node: u32) -> Self {
        let Tunnel { macs, addrs, inner_macs } = Tunnel::from_node(family, node);
        let ([a, b], [c, d], [e, f]) = (macs, addrs, inner_macs);
        Tunnel { macs: [b, a], addrs: [d, c], inner_macs: [f, e] }
    }
}

/// Writes frames one after the other into a buffer.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    /// A client's (or any) UDP packet as it arrives on a port from `src_mac`.
    pub fn plain(&mut self, family: Family, port: usize, src_mac: [u8; 6], udp: &Udp) -> &[u8] {
        self.bytes.clear();
        self.ethernet(PORT_MACS[port], src_mac, family.ethertype());
        self.ip_udp(family, udp);
        &self.bytes
    }

    /// A UDP packet with a payload of any length, the same way.
    pub fn plain_udp(
        &mut self,
        family: Family,
        port: usize,
        src_mac: [u8; 6],
        src: (IpAddr, u16),
        dst: (IpAddr, u16),
        payload: &[u8],
    ) -> &[u8] {
        self.bytes.clear();
        self.ethernet(PORT_MACS[port], src_mac, family.ethertype());
        self.ip_udp_payload(family, src, dst, payload);
        &self.bytes
    }

    /// The same in VXLAN.
    pub fn tunneled_udp(
        &mut self,
        family: Family,
        tunnel: &Tunnel,
        src: (IpAddr, u16),
        dst: (IpAddr, u16),
        payload: &[u8],
    ) -> &[u8] {
        self.bytes.clear();
        let ip_len = family.header_len() + 8 + payload.len();
        let udp_at = self.tunnel(family, tunnel, 49_152 | src.1 ^ dst.1, ip_len);
        self.ip_udp_payload(family, src, dst, payload);
        self.tunnel_checksum(family, tunnel, udp_at);
        &self.bytes
    }

    /// A pod's packet as its node sends it: in VXLAN.
    pub fn tunneled(&mut self, family: Family, node: u32, udp: &Udp) -> &[u8] {
        self.bytes.clear();
        let tunnel = Tunnel::from_node(family, node);
        let ip_len = family.header_len() + 8 + family.payload_len();
        let udp_at = self.tunnel(family, &tunnel, 49_152 | udp.src.1 ^ udp.dst.1, ip_len);
        self.ip_udp(family, udp);
        self.tunnel_checksum(family, &tunnel, udp_at);
        &self.bytes
    }

    /// A TCP segment between two MACs, the sender's first.
    pub fn plain_tcp(&mut self, family: Family, macs: [[u8; 6]; 2], tcp: &Tcp<'_>) -> &[u8] {
        self.bytes.clear();
        self.ethernet(macs[1], macs[0], family.ethertype());
        self.ip_tcp(family, tcp);
        &self.bytes
    }

    /// A TCP segment in VXLAN.
    pub fn tunneled_tcp(&mut self, family: Family, tunnel: &Tunnel, tcp: &Tcp<'_>) -> &[u8] {
        self.bytes.clear();
        let ip_len = family.header_len() + tcp.header_len() + tcp.payload.len();
        let udp_at = self.tunnel(family, tunnel, 49_152 | tcp.src.1 ^ tcp.dst.1, ip_len);
        self.ip_tcp(family, tcp);
        self.tunnel_checksum(family, tunnel, udp_at);
        &self.bytes
    }

    /// Everything in front of an IP packet of `ip_len` bytes in a tunnel. Returns
    /// the offset of the UDP header.
    fn tunnel(&mut self, family: Family, tunnel: &Tunnel, entropy: u16, ip_len: usize) -> usize {
        let udp_len = 8 + 8 + 14 + ip_len;
        self.ethernet(tunnel.macs[1], tunnel.macs[0], family.ethertype());
        self.ip(family, tunnel.addrs[0], tunnel.addrs[1], 17, udp_len);
        let udp_at = self.bytes.len();
        self.udp_header(entropy, VXLAN_PORT, udp_len);
        self.bytes.extend_from_slice(&[8, 0, 0, 0]);
        self.bytes.extend_from_slice(&(VNI << 8).to_be_bytes());
        self.ethernet(tunnel.inner_macs[1], tunnel.inner_macs[0], family.ethertype());
        udp_at
    }

    /// Over IPv4 none is needed (RFC 7348 section 5), over IPv6 it is.
    fn tunnel_checksum(&mut self, family: Family, tunnel: &Tunnel, udp_at: usize) {
        if family == Family::V6 {
            self.l4_checksum(udp_at, 6, tunnel.addrs[0], tunnel.addrs[1], 17);
        }
    }

    /// An answer to the gateway on a port's link by which its sender makes its
    /// MAC known: an ARP reply, or a solicited Neighbor Advertisement.
    pub fn hello(&mut self, family: Family, port: usize, mac: [u8; 6], who: Who) -> &[u8] {
        self.neighbor(family, port, mac, who, false)
    }

    /// A question for the gateway's address on a port's link: an ARP request,
    /// or a Neighbor Solicitation.
    pub fn question(&mut self, family: Family, port: usize, mac: [u8; 6], who: Who) -> &[u8] {
        self.neighbor(family, port, mac, who, true)
    }

    fn neighbor(
        &mut self,
        family: Family,
        port: usize,
        mac: [u8; 6],
        who: Who,
        asks: bool,
    ) -> &[u8] {
        self.bytes.clear();
        let ours = [Who::GatewayCluster, Who::GatewayUplink][port].addr(family);
        match (who.addr(family), ours) {
            (IpAddr::V4(from), IpAddr::V4(ours)) => {
                self.ethernet(if asks { [0xff; 6] } else { PORT_MACS[port] }, mac, 0x0806);
                self.bytes.extend_from_slice(&[0, 1, 8, 0, 6, 4, 0, if asks { 1 } else { 2 }]);
                self.bytes.extend_from_slice(&mac);
                self.bytes.extend_from_slice(&from.octets());
                self.bytes.extend_from_slice(if asks { &[0; 6] } else { &PORT_MACS[port] });
                self.bytes.extend_from_slice(&ours.octets());
            }
            (from, ours) => {
                self.ethernet(PORT_MACS[port], mac, 0x86dd);
                self.ip(family, from, ours, 58, 32);
                // The hop limit of Neighbor Discovery is 255.
                self.bytes[14 + 7] = 255;
                let at = self.bytes.len();
                if asks {
                    self.bytes.extend_from_slice(&[135, 0, 0, 0, 0, 0, 0, 0]);
                } else {
                    // Solicited, and overriding what was known.
                    self.bytes.extend_from_slice(&[136, 0, 0, 0, 0x60, 0, 0, 0]);
                }
                self.addr(if asks { ours } else { from });
                self.bytes.extend_from_slice(&[if asks { 1 } else { 2 }, 1]);
                self.bytes.extend_from_slice(&mac);
                self.l4_checksum(at, 2, from, ours, 58);
            }
        }
        &self.bytes
    }

    fn ethernet(&mut self, dst: [u8; 6], src: [u8; 6], ethertype: u16) {
        self.bytes.extend_from_slice(&dst);
        self.bytes.extend_from_slice(&src);
        self.bytes.extend_from_slice(&ethertype.to_be_bytes());
    }

    fn addr(&mut self, addr: IpAddr) {
        match addr {
            IpAddr::V4(addr) => self.bytes.extend_from_slice(&addr.octets()),
            IpAddr::V6(addr) => self.bytes.extend_from_slice(&addr.octets()),
        }
    }

    fn ip(&mut self, family: Family, src: IpAddr, dst: IpAddr, protocol: u8, payload_len: usize) {
        let at = self.bytes.len();
        let len = payload_len as u16;
        match family {
            Family::V4 => {
                self.bytes.extend_from_slice(&[0x45, 0]);
                self.bytes.extend_from_slice(&(len + 20).to_be_bytes());
                self.bytes.extend_from_slice(&[0, 0, 0x40, 0, TTL, protocol, 0, 0]);
            }
            Family::V6 => {
                self.bytes.extend_from_slice(&[0x60, 0, 0, 0]);
                self.bytes.extend_from_slice(&len.to_be_bytes());
                self.bytes.extend_from_slice(&[protocol, TTL]);
            }
        }
        self.addr(src);
        self.addr(dst);
        if family == Family::V4 {
            let checksum = !fold(sum(&self.bytes[at..]));
            self.bytes[at + 10..at + 12].copy_from_slice(&checksum.to_be_bytes());
        }
    }

    fn udp_header(&mut self, src: u16, dst: u16, len: usize) {
        for word in [src, dst, len as u16, 0] {
            self.bytes.extend_from_slice(&word.to_be_bytes());
        }
    }

    fn ip_udp(&mut self, family: Family, udp: &Udp) {
        let mut payload = [0x5a; 32];
        payload[..4].copy_from_slice(&udp.id.to_be_bytes());
        self.ip_udp_payload(family, udp.src, udp.dst, &payload[..family.payload_len()]);
    }

    fn ip_udp_payload(
        &mut self,
        family: Family,
        src: (IpAddr, u16),
        dst: (IpAddr, u16),
        payload: &[u8],
    ) {
        let len = 8 + payload.len();
        self.ip(family, src.0, dst.0, 17, len);
        let at = self.bytes.len();
        self.udp_header(src.1, dst.1, len);
        self.bytes.extend_from_slice(payload);
        self.l4_checksum(at, 6, src.0, dst.0, 17);
    }

    fn ip_tcp(&mut self, family: Family, tcp: &Tcp<'_>) {
        let header_len = tcp.header_len();
        self.ip(family, tcp.src.0, tcp.dst.0, 6, header_len + tcp.payload.len());
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&tcp.src.1.to_be_bytes());
        self.bytes.extend_from_slice(&tcp.dst.1.to_be_bytes());
        self.bytes.extend_from_slice(&tcp.seq.to_be_bytes());
        self.bytes.extend_from_slice(&tcp.ack.to_be_bytes());
        self.bytes.extend_from_slice(&[(header_len as u8 / 4) << 4, tcp.flags]);
        self.bytes.extend_from_slice(&tcp.window.to_be_bytes());
        // Checksum, urgent pointer.
        self.bytes.extend_from_slice(&[0; 4]);
        if let Some(mss) = tcp.mss {
            self.bytes.extend_from_slice(&[2, 4]);
            self.bytes.extend_from_slice(&mss.to_be_bytes());
        }
        self.bytes.extend_from_slice(tcp.payload);
        self.l4_checksum(at, 16, tcp.src.0, tcp.dst.0, 6);
    }

    /// Fills in the transport checksum at `offset` of the header at `at`, over
    /// the rest of the frame and the pseudo header.
    fn l4_checksum(&mut self, at: usize, offset: usize, src: IpAddr, dst: IpAddr, protocol: u8) {
        let mut total = u32::from(protocol) + (self.bytes.len() - at) as u32;
        for addr in [src, dst] {
            total += match addr {
                IpAddr::V4(addr) => sum(&addr.octets()),
                IpAddr::V6(addr) => sum(&addr.octets()),
            };
        }
        let checksum = match !fold(total + sum(&self.bytes[at..])) {
            0 => 0xffff,
            checksum => checksum,
        };
        let at = at + offset;
        self.bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }
}

fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}
