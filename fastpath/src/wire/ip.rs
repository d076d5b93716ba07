use super::checksum;
use super::l4::L4;
use crate::reason::DropReason;
use sluice_tables::{Family, Local, PortLocal};

/// Whether a packet is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fragment {
    /// A whole packet.
    #[default]
    Whole,
    /// The first fragment: it has the transport header.
    First,
    /// A later fragment: it has no transport header.
    Later,
}

/// What stages need of an IP packet's headers.
#[derive(Clone, Copy, Debug, Default)]
pub struct IpInfo<F: Family> {
    /// Source address.
    pub src: F::Addr,
    /// Destination address.
    pub dst: F::Addr,
    /// Everything else.
    pub header: IpHeader,
}

/// What stages need of an IP header beside its addresses, and of the transport
/// header behind it.
#[derive(Clone, Copy, Debug, Default)]
pub struct IpHeader {
    /// Protocol of the transport header (after IPv6 extensions).
    pub protocol: u8,
    /// Offset of the transport header from the IP header, in bytes.
    pub l4_offset: u16,
    /// Length of the packet, IP header included, in bytes.
    pub len: u16,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Type of service, or traffic class: DSCP and ECN.
    pub tos: u8,
    /// Whether it is whole.
    pub fragment: Fragment,
    /// IPv4's Don't Fragment; always true for IPv6.
    pub dont_fragment: bool,
    /// The transport header.
    pub l4: L4,
}

/// Where a fragment belongs in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The datagram's identification.
    pub id: u32,
    /// Where its payload belongs in the datagram's, in bytes: a multiple of 8.
    pub offset: u16,
    /// Bytes of its payload.
    pub len: u16,
    /// More of the datagram follows.
    pub more: bool,
    /// Protocol of the payload; over IPv6 it may be an extension header's.
    pub protocol: u8,
    /// Bytes before the payload: the headers that every fragment has.
    pub header_len: u16,
}

/// What matters of a packet that an ICMP error quotes.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<F: Family> {
    /// Source address.
    pub src: F::Addr,
    /// Destination address.
    pub dst: F::Addr,
    /// Protocol of the transport header.
    pub protocol: u8,
    /// Offset of the transport header from the IP header, in bytes.
    pub l4_offset: usize,
}

/// What the journey asks of an IP family beyond [`Family`]: its header.
pub trait Ip: Family {
    /// The EtherType.
    const ETHERTYPE: u16;
    /// Bytes of a header without options or extensions.
    const HEADER_LEN: usize;
    /// Bytes of the headers of a fragment without options or other extensions.
    const FRAGMENT_HEADER_LEN: usize;
    /// The protocol number of the family's ICMP.
    const ICMP: u8;
    /// Index in per-family counters.
    const INDEX: usize;
    /// What the header's checksum (if any) gains by one hop less.
    const TTL_DELTA: u16;

    /// Parses and checks the header and what follows it, bounded by the
    /// packet's own length.
    ///
    /// # Errors
    /// The reason to drop the packet.
    fn parse(data: &[u8]) -> Result<IpInfo<Self>, DropReason> {
        let mut ip = IpInfo::default();
        Self::parse_into(data, &mut ip)?;
        Ok(ip)
    }

    /// [`Ip::parse`] into `ip`, in which there is nothing before, and nothing that counts
    /// after an error. For where each packet comes along: a value in a `Result` is moved
    /// through memory in pieces.
    ///
    /// # Errors
    /// The reason to drop the packet.
    fn parse_into(data: &[u8], ip: &mut IpInfo<Self>) -> Result<(), DropReason>;

    /// Reads a packet that an ICMP error quotes, which may be cut anywhere.
    /// `None` when it is cut in its IP header, or a later fragment.
    fn quoted(data: &[u8]) -> Option<Quoted<Self>>;

    /// Reads where a fragment belongs. `None` for a whole packet. `data` was
    /// parsed.
    fn piece(data: &[u8]) -> Option<Piece>;

    /// Writes the headers of a fragment without options to the front of `out`:
    /// its place is that of `piece`, whose payload follows.
    fn emit_piece(
        out: &mut [u8],
        src: Self::Addr,
        dst: Self::Addr,
        ttl: u8,
        tos: u8,
        piece: &Piece,
    );

    /// Replaces a fragment's identification. `data` was parsed.
    fn renumber(data: &mut [u8], id: u32);

    /// The source address. `None` beyond the end.
    fn source(data: &[u8]) -> Option<Self::Addr>;

    /// Writes a header without options for `payload_len` bytes that follow it
    /// to the front of `out`, its checksum filled in.
    fn emit(
        out: &mut [u8],
        src: Self::Addr,
        dst: Self::Addr,
        protocol: u8,
        ttl: u8,
        tos: u8,
        payload_len: usize,
    );

    /// Replaces the addresses and takes one hop, by the difference `delta`
    /// (which includes [`Ip::TTL_DELTA`]). `data` was parsed.
    fn rewrite(data: &mut [u8], src: Self::Addr, dst: Self::Addr, delta: u16);

    /// Replaces the addresses of a packet and nothing else, by the difference
    /// `delta`.
    fn readdress(data: &mut [u8], src: Self::Addr, dst: Self::Addr, delta: u16);

    /// Replaces type of service or traffic class.
    fn set_tos(data: &mut [u8], tos: u8);

    /// True for an address that no packet may come from: unspecified,
    /// loopback, multicast, broadcast, link-local.
    fn is_martian_source(addr: &Self::Addr) -> bool;

    /// True for an address that is never forwarded to: unspecified, loopback,
    /// link-local, broadcast. (Multicast is asked for separately.)
    fn is_martian_destination(addr: &Self::Addr) -> bool;

    /// True for the first and the last address of a subnet of `prefix_len` bits
    /// where they are nobody's: IPv4's network and directed broadcast addresses
    /// (RFC 1812 section 4.2.2.11; not of /31, RFC 3021).
    fn is_subnet_edge(addr: &Self::Addr, prefix_len: u8) -> bool;

    /// True for an address that means something on one link only (RFC 3927,
    /// RFC 4291 section 2.5.6).
    fn is_link_local(addr: &Self::Addr) -> bool;

    /// True for multicast.
    fn is_multicast(addr: &Self::Addr) -> bool;

    /// Sluice's addresses on a port, with prefix lengths.
    fn port_addresses(port: &PortLocal) -> &[(Self::Addr, u8)];

    /// The gateway's VTEP address.
    fn vtep_address(local: &Local) -> Option<Self::Addr>;

    /// Both addresses in one word; for IPv6 by a product keyed by `seed`.
    fn mix(src: &Self::Addr, dst: &Self::Addr, seed: u64) -> u64;

    /// The IPv4 header's checksum as a difference (0 for IPv6, which has none):
    /// what changes from one pair of addresses to another.
    fn address_delta(old: [Self::Addr; 2], new: [Self::Addr; 2]) -> u16 {
        let old = checksum::sum(checksum::sum(0, old[0].as_ref()), old[1].as_ref());
        let new = checksum::sum(checksum::sum(0, new[0].as_ref()), new[1].as_ref());
        checksum::add(!checksum::fold(old), checksum::fold(new))
    }
}

/// True when `addr` lies in the prefix of `len` bits around `prefix`.
pub fn in_prefix<F: Family>(addr: &F::Addr, prefix: &F::Addr, len: u8) -> bool {
    let whole = usize::from(len / 8);
    let (addr, prefix) = (addr.as_ref(), prefix.as_ref());
    if addr[..whole] != prefix[..whole] {
        return false;
    }
    let bits = len % 8;
    bits == 0 || (addr[whole] ^ prefix[whole]) >> (8 - bits) == 0
}

pub use super::ipv4::DF;
