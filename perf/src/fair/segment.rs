use crate::check;
use anyhow::{Context, Result, bail, ensure};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use std::net::IpAddr;

/// RFC 9293 section 3.1.
pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

/// An address and a port.
pub type End = (IpAddr, u16);

/// A TCP segment that the gateway has sent, its checksums right.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Source.
    pub src: End,
    /// Destination.
    pub dst: End,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledged up to here.
    pub ack: u32,
    /// Control bits.
    pub flags: u8,
    /// Its data.
    pub payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// From an Ethernet frame.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(frame: &'a [u8]) -> Result<Self> {
        let packet = SlicedPacket::from_ethernet(frame).context("cannot be parsed")?;
        let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { bail!("not TCP") };
        let header = tcp.to_header();
        let (src, dst, checksum) = match &packet.net {
            Some(NetSlice::Ipv4(ip)) => {
                let ip = ip.header().to_header();
                ensure!(ip.header_checksum == ip.calc_header_checksum(), "IPv4 checksum");
                let checksum = header.calc_checksum_ipv4(&ip, tcp.payload())?;
                (IpAddr::from(ip.source), IpAddr::from(ip.destination), checksum)
            }
            Some(NetSlice::Ipv6(ip)) => {
                let ip = ip.header().to_header();
                let checksum = header.calc_checksum_ipv6(&ip, tcp.payload())?;
                (IpAddr::from(ip.source), IpAddr::from(ip.destination), checksum)
            }
            _ => bail!("neither IPv4 nor IPv6"),
        };
        ensure!(header.checksum == checksum, "TCP checksum {:04x}", header.checksum);
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        Ok(Segment {
            src: (src, header.source_port),
            dst: (dst, header.destination_port),
            seq: header.sequence_number,
            ack: header.acknowledgment_number,
            flags: bit(header.fin, FIN)
                | bit(header.syn, SYN)
                | bit(header.rst, RST)
                | bit(header.psh, PSH)
                | bit(header.ack, ACK),
            payload: tcp.payload(),
        })
    }

    /// From a frame into the overlay, with the number of the node.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read_tunneled(frame: &'a [u8]) -> Result<(u32, Self)> {
        let outer = check::parse(frame, true).context("outer")?;
        // A node's MAC ends in its number.
        let node = outer.dst_mac[2..].first_chunk().map(|n| u32::from_be_bytes(*n));
        let inner = outer.payload.get(8..).context("no VXLAN header")?;
        Ok((node.context("no node")?, Segment::read(inner).context("inner")?))
    }

    /// Whether it has all of these control bits.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }
}
