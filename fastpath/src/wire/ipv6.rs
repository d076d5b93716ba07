//! IPv6 (RFC 8200).

use super::ip::{Fragment, Ip, IpInfo, Piece, Quoted};
use super::{be16, be32, l4, put16};
use crate::reason::DropReason;
use sluice_tables::hash::fold;
use sluice_tables::{Family, Local, PortLocal, V6};

/// Extension headers that are walked; a packet with more is dropped.
const EXTENSIONS_MAX: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

impl Ip for V6 {
    const ETHERTYPE: u16 = super::ethernet::IPV6;
    const HEADER_LEN: usize = 40;
    const FRAGMENT_HEADER_LEN: usize = 48;
    const ICMP: u8 = 58;
    const INDEX: usize = 1;
    const TTL_DELTA: u16 = 0;

    #[inline(always)]
    fn parse_into(data: &[u8], ip: &mut IpInfo<V6>) -> Result<(), DropReason> {
        let Some(header) = data.first_chunk::<40>() else { return Err(DropReason::Truncated) };
        if header[0] >> 4 != 6 {
            return Err(DropReason::BadIpHeader);
        }
        let len = 40 + usize::from(be16(header, 4));
        // Beyond what a frame here can hold, the length does not fit 16 bits.
        let Some(packet) = data.get(..len) else { return Err(DropReason::Truncated) };
        let (protocol, offset, fragment, fragment_offset) = match header[6] {
            HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION => {
                let chain = walk_extensions(packet, header[6])?;
                (chain.protocol, chain.offset, chain.fragment, chain.fragment_offset)
            }
            protocol => (protocol, 40, Fragment::Whole, 0),
        };
        (ip.src, ip.dst) = addresses(header);
        ip.header.protocol = protocol;
        ip.header.l4_offset = offset as u16;
        ip.header.len = len as u16;
        ip.header.ttl = header[7];
        ip.header.tos = header[0] << 4 | header[1] >> 4;
        ip.header.fragment = fragment;
        ip.header.dont_fragment = true;
        if fragment == Fragment::Later {
            l4::check_later(protocol, fragment_offset)
        } else {
            l4::parse::<V6>(protocol, &packet[offset..], fragment, &mut ip.header.l4)
        }
    }

    fn quoted(data: &[u8]) -> Option<Quoted<V6>> {
        let header = data.first_chunk::<40>()?;
        if header[0] >> 4 != 6 {
            return None;
        }
        let chain = walk_extensions(data, header[6]).ok()?;
        if chain.fragment == Fragment::Later {
            return None;
        }
        let (src, dst) = addresses(header);
        Some(Quoted { src, dst, protocol: chain.protocol, l4_offset: chain.offset })
    }

    fn piece(data: &[u8]) -> Option<Piece> {
        let at = fragment_header(data)?;
        let header = data.get(at..)?.first_chunk::<8>()?;
        let word = be16(header, 2);
        let header_len = at + header.len();
        (word & 0xfff9 != 0).then(|| Piece {
            id: be32(header, 4),
            offset: word & 0xfff8,
            len: (data.len() - header_len) as u16,
            more: word & 1 != 0,
            protocol: header[0],
            header_len: header_len as u16,
        })
    }

    fn emit_piece(out: &mut [u8], src: [u8; 16], dst: [u8; 16], ttl: u8, tos: u8, piece: &Piece) {
        Self::emit(out, src, dst, FRAGMENT, ttl, tos, 8 + usize::from(piece.len));
        let header = &mut out[40..48];
        header[..2].copy_from_slice(&[piece.protocol, 0]);
        put16(header, 2, piece.offset | u16::from(piece.more));
        header[4..8].copy_from_slice(&piece.id.to_be_bytes());
    }

    fn renumber(data: &mut [u8], id: u32) {
        let Some(at) = fragment_header(data) else { return };
        if let Some(field) = data.get_mut(at + 4..at + 8) {
            field.copy_from_slice(&id.to_be_bytes());
        }
    }

    fn source(data: &[u8]) -> Option<[u8; 16]> {
        data.get(8..)?.first_chunk().copied()
    }

    fn emit(
        out: &mut [u8],
        src: [u8; 16],
        dst: [u8; 16],
        protocol: u8,
        ttl: u8,
        tos: u8,
        payload_len: usize,
    ) {
        let header = &mut out[..40];
        header[0] = 0x60 | tos >> 4;
        header[1] = tos << 4;
        header[2] = 0;
        header[3] = 0;
        put16(header, 4, payload_len as u16);
        header[6] = protocol;
        header[7] = ttl;
        header[8..24].copy_from_slice(&src);
        header[24..40].copy_from_slice(&dst);
    }

    #[inline]
    fn rewrite(data: &mut [u8], src: [u8; 16], dst: [u8; 16], delta: u16) {
        let Some(header) = data.first_chunk_mut::<40>() else { return };
        header[7] = header[7].wrapping_sub(1);
        Self::readdress(header, src, dst, delta);
    }

    #[inline(always)]
    fn readdress(data: &mut [u8], src: [u8; 16], dst: [u8; 16], _delta: u16) {
        let Some(header) = data.first_chunk_mut::<40>() else { return };
        header[8..24].copy_from_slice(&src);
        header[24..40].copy_from_slice(&dst);
    }

    fn set_tos(data: &mut [u8], tos: u8) {
        let Some(header) = data.first_chunk_mut::<40>() else { return };
        header[0] = 0x60 | tos >> 4;
        header[1] = tos << 4 | header[1] & 0x0f;
    }

    #[inline]
    fn mix(src: &[u8; 16], dst: &[u8; 16], seed: u64) -> u64 {
        let halves = |addr: &[u8; 16]| {
            let addr = u128::from_le_bytes(*addr);
            (addr as u64, (addr >> 64) as u64)
        };
        let ((a, b), (c, d)) = (halves(src), halves(dst));
        const K: [u64; 2] = [0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3];
        fold(a ^ seed, b ^ K[0]) ^ fold(c ^ seed.rotate_left(32), d ^ K[1]).rotate_left(17)
    }

    #[inline]
    fn is_martian_source(addr: &[u8; 16]) -> bool {
        addr[0] == 0xff || is_special(addr)
    }

    #[inline]
    fn is_martian_destination(addr: &[u8; 16]) -> bool {
        is_special(addr)
    }

    fn is_subnet_edge(_addr: &[u8; 16], _prefix_len: u8) -> bool {
        false
    }

    #[inline]
    fn is_link_local(addr: &[u8; 16]) -> bool {
        addr[0] == 0xfe && addr[1] & 0xc0 == 0x80
    }

    #[inline]
    fn is_multicast(addr: &[u8; 16]) -> bool {
        addr[0] == 0xff
    }

    fn port_addresses(port: &PortLocal) -> &[(<V6 as Family>::Addr, u8)] {
        &port.v6
    }

    #[inline]
    fn vtep_address(local: &Local) -> Option<[u8; 16]> {
        local.vxlan.as_ref()?.v6
    }
}

/// ::/96 with unspecified and loopback, IPv4-mapped, link-local (RFC 6890).
#[inline]
fn is_special(addr: &[u8; 16]) -> bool {
    let high = u64::from_be_bytes([
        addr[0], addr[1], addr[2], addr[3], addr[4], addr[5], addr[6], addr[7],
    ]);
    let mid = u32::from_be_bytes([addr[8], addr[9], addr[10], addr[11]]);
    (high == 0 && (mid == 0 || mid == 0xffff)) || high >> 54 == 0xfe80 >> 6
}

/// Offset of the fragment header of a packet that was parsed.
fn fragment_header(packet: &[u8]) -> Option<usize> {
    let (mut next, mut at) = (*packet.get(6)?, 40);
    for _ in 0..EXTENSIONS_MAX {
        match next {
            FRAGMENT => return Some(at),
            HOP_BY_HOP | ROUTING | DESTINATION => {}
            _ => return None,
        }
        let header = packet.get(at..)?.first_chunk::<2>()?;
        (next, at) = (header[0], at + (usize::from(header[1]) + 1) * 8);
    }
    None
}

/// Source and destination of a header.
#[inline(always)]
fn addresses(header: &[u8; 40]) -> ([u8; 16], [u8; 16]) {
    let (mut src, mut dst) = ([0; 16], [0; 16]);
    src.copy_from_slice(&header[8..24]);
    dst.copy_from_slice(&header[24..40]);
    (src, dst)
}

struct Chain {
    protocol: u8,
    offset: usize,
    fragment: Fragment,
    /// A fragment header was walked.
    fragmented: bool,
    /// What it says, in bytes.
    fragment_offset: u16,
}

impl Chain {
    /// Nothing but the fixed header.
    fn new(protocol: u8) -> Self {
        let fragment = Fragment::Whole;
        Chain { protocol, offset: 40, fragment, fragmented: false, fragment_offset: 0 }
    }
}

/// Walks the extension headers from the fixed header on. Protocols that are no
/// extension (ESP included: what it hides cannot be walked) end the walk.
#[cold]
fn walk_extensions(packet: &[u8], next: u8) -> Result<Chain, DropReason> {
    let mut chain = Chain::new(next);
    for walked in 0..=EXTENSIONS_MAX {
        match chain.protocol {
            HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION => {}
            _ => return Ok(chain),
        }
        if walked == EXTENSIONS_MAX {
            break;
        }
        let Some(&[next, second, third, fourth]) =
            packet.get(chain.offset..).and_then(|rest| rest.first_chunk::<4>())
        else {
            return Err(DropReason::Truncated);
        };
        let len = match chain.protocol {
            // Hop-by-hop options come first or not at all (section 4.1).
            HOP_BY_HOP if walked != 0 => return Err(DropReason::BadIpHeader),
            ROUTING if third == 0 && fourth != 0 => return Err(DropReason::SourceRoute),
            // A fragment of a fragment (RFC 8200 section 4.1: at most one each).
            FRAGMENT if chain.fragmented => return Err(DropReason::BadIpHeader),
            FRAGMENT => {
                chain.fragmented = true;
                let word = u16::from_be_bytes([third, fourth]);
                // Beyond what a whole packet's payload can be long (section 4.5; the
                // "ping of death"): the headers are not part of that.
                let payload = packet.len().saturating_sub(40 + 8);
                if usize::from(word & 0xfff8) + payload > usize::from(u16::MAX) {
                    return Err(DropReason::BadIpHeader);
                }
                chain.fragment_offset = word & 0xfff8;
                chain.fragment = match (word & 0xfff8, word & 1) {
                    // An atomic fragment is a whole packet (RFC 6946).
                    (0, 0) => Fragment::Whole,
                    (0, _) => Fragment::First,
                    _ => Fragment::Later,
                };
                8
            }
            _ => (usize::from(second) + 1) * 8,
        };
        if packet.len() < chain.offset + len {
            return Err(DropReason::Truncated);
        }
        chain.offset += len;
        chain.protocol = next;
        // What follows is the middle of something; its protocol is all there is.
        if chain.fragment == Fragment::Later && next != HOP_BY_HOP {
            return Ok(chain);
        }
    }
    Err(DropReason::TooManyExtensions)
}
