//! IPv4 (RFC 791, RFC 1812 section 5.2).

use super::ip::{Fragment, Ip, IpInfo, Piece, Quoted};
use super::{be16, checksum, l4, put16};
use crate::reason::DropReason;
use sluice_tables::{Family, Local, PortLocal, V4};

/// The Don't Fragment bit of the flags and fragment offset word.
pub const DF: u16 = 0x4000;
const MF: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

const OPTION_LSRR: u8 = 131;
const OPTION_SSRR: u8 = 137;

impl Ip for V4 {
    const ETHERTYPE: u16 = super::ethernet::IPV4;
    const HEADER_LEN: usize = 20;
    const FRAGMENT_HEADER_LEN: usize = 20;
    const ICMP: u8 = 1;
    const INDEX: usize = 0;
    // The time to live is the high byte of its word: one hop less adds
    // !0x0100 in ones' complement.
    const TTL_DELTA: u16 = !0x0100;

    #[inline(always)]
    fn parse_into(data: &[u8], ip: &mut IpInfo<V4>) -> Result<(), DropReason> {
        let Some(header) = data.first_chunk::<20>() else { return Err(DropReason::Truncated) };
        let header_len = usize::from(header[0] & 0x0f) * 4;
        let len = usize::from(be16(header, 2));
        if header[0] >> 4 != 4 || header_len < 20 || len < header_len {
            return Err(DropReason::BadIpHeader);
        }
        let Some(packet) = data.get(..len) else { return Err(DropReason::Truncated) };
        if header_len == 20 {
            if checksum::sum_header(header) != 0xffff {
                return Err(DropReason::BadIpChecksum);
            }
        } else {
            check_long_header(&packet[..header_len])?;
        }
        let flags = be16(header, 6);
        let fragment = match (flags & OFFSET, flags & MF) {
            (0, 0) => Fragment::Whole,
            (0, _) => Fragment::First,
            _ => Fragment::Later,
        };
        // Beyond what a whole packet can be long (the "ping of death").
        if usize::from(flags & OFFSET) * 8 + len > usize::from(u16::MAX) {
            return Err(DropReason::BadIpHeader);
        }
        let protocol = header[9];
        ip.src = [header[12], header[13], header[14], header[15]];
        ip.dst = [header[16], header[17], header[18], header[19]];
        ip.header.protocol = protocol;
        ip.header.l4_offset = header_len as u16;
        ip.header.len = len as u16;
        ip.header.ttl = header[8];
        ip.header.tos = header[1];
        ip.header.fragment = fragment;
        ip.header.dont_fragment = flags & DF != 0;
        if fragment == Fragment::Later {
            l4::check_later(protocol, (flags & OFFSET) * 8)
        } else {
            l4::parse::<V4>(protocol, &packet[header_len..], fragment, &mut ip.header.l4)
        }
    }

    fn quoted(data: &[u8]) -> Option<Quoted<V4>> {
        let header = data.first_chunk::<20>()?;
        let l4_offset = usize::from(header[0] & 0x0f) * 4;
        if header[0] >> 4 != 4 || l4_offset < 20 || be16(header, 6) & OFFSET != 0 {
            return None;
        }
        Some(Quoted {
            src: [header[12], header[13], header[14], header[15]],
            dst: [header[16], header[17], header[18], header[19]],
            protocol: header[9],
            l4_offset,
        })
    }

    fn piece(data: &[u8]) -> Option<Piece> {
        let header = data.first_chunk::<20>()?;
        let (word, header_len) = (be16(header, 6), u16::from(header[0] & 0x0f) * 4);
        (word & (MF | OFFSET) != 0).then(|| Piece {
            id: be16(header, 4).into(),
            offset: (word & OFFSET) * 8,
            len: be16(header, 2).saturating_sub(header_len),
            more: word & MF != 0,
            protocol: header[9],
            header_len,
        })
    }

    fn emit_piece(out: &mut [u8], src: [u8; 4], dst: [u8; 4], ttl: u8, tos: u8, piece: &Piece) {
        Self::emit(out, src, dst, piece.protocol, ttl, tos, piece.len.into());
        put16(out, 4, piece.id as u16);
        let more = if piece.more { MF } else { 0 };
        put16(out, 6, more | (piece.offset / 8));
        put16(out, 10, 0);
        let checksum = checksum::finish(0, &out[..20]);
        put16(out, 10, checksum);
    }

    fn renumber(data: &mut [u8], id: u32) {
        let Some(header) = data.first_chunk_mut::<20>() else { return };
        let new = (id as u16).to_be_bytes();
        let delta = checksum::delta(&header[4..6], &new);
        header[4..6].copy_from_slice(&new);
        checksum::apply(header, 10, delta);
    }

    fn source(data: &[u8]) -> Option<[u8; 4]> {
        data.get(12..)?.first_chunk().copied()
    }

    fn emit(
        out: &mut [u8],
        src: [u8; 4],
        dst: [u8; 4],
        protocol: u8,
        ttl: u8,
        tos: u8,
        payload_len: usize,
    ) {
        let header = &mut out[..20];
        header.fill(0);
        header[0] = 0x45;
        header[1] = tos;
        put16(header, 2, (20 + payload_len) as u16);
        // Never fragmented on the way, so the identification may be 0
        // (RFC 6864 section 4.1).
        put16(header, 6, DF);
        header[8] = ttl;
        header[9] = protocol;
        header[12..16].copy_from_slice(&src);
        header[16..20].copy_from_slice(&dst);
        let checksum = checksum::finish(0, header);
        put16(header, 10, checksum);
    }

    #[inline]
    fn rewrite(data: &mut [u8], src: [u8; 4], dst: [u8; 4], delta: u16) {
        let Some(header) = data.first_chunk_mut::<20>() else { return };
        header[8] = header[8].wrapping_sub(1);
        Self::readdress(header, src, dst, delta);
    }

    #[inline(always)]
    fn readdress(data: &mut [u8], src: [u8; 4], dst: [u8; 4], delta: u16) {
        let Some(header) = data.first_chunk_mut::<20>() else { return };
        checksum::apply(header, 10, delta);
        header[12..16].copy_from_slice(&src);
        header[16..20].copy_from_slice(&dst);
    }

    fn set_tos(data: &mut [u8], tos: u8) {
        let Some(header) = data.first_chunk_mut::<20>() else { return };
        let delta = checksum::delta(&[header[0], header[1]], &[header[0], tos]);
        header[1] = tos;
        checksum::apply(header, 10, delta);
    }

    #[inline]
    fn mix(src: &[u8; 4], dst: &[u8; 4], _seed: u64) -> u64 {
        u64::from(u32::from_le_bytes(*src)) << 32 | u64::from(u32::from_le_bytes(*dst))
    }

    #[inline]
    fn is_martian_source(addr: &[u8; 4]) -> bool {
        // 0/8 "this network", 127/8, 224/4 and 240/4 with broadcast, 169.254/16
        // (RFC 6890).
        addr[0] == 0 || addr[0] == 127 || addr[0] >= 224 || Self::is_link_local(addr)
    }

    #[inline]
    fn is_martian_destination(addr: &[u8; 4]) -> bool {
        addr[0] == 0 || addr[0] == 127 || addr[0] >= 240 || Self::is_link_local(addr)
    }

    fn is_subnet_edge(addr: &[u8; 4], prefix_len: u8) -> bool {
        let host = u32::MAX.checked_shr(u32::from(prefix_len)).unwrap_or(0);
        let own = u32::from_be_bytes(*addr) & host;
        host > 1 && (own == 0 || own == host)
    }

    #[inline]
    fn is_link_local(addr: &[u8; 4]) -> bool {
        addr[0] == 169 && addr[1] == 254
    }

    #[inline]
    fn is_multicast(addr: &[u8; 4]) -> bool {
        addr[0] >> 4 == 0xe
    }

    fn port_addresses(port: &PortLocal) -> &[(<V4 as Family>::Addr, u8)] {
        &port.v4
    }

    #[inline]
    fn vtep_address(local: &Local) -> Option<[u8; 4]> {
        local.vxlan.as_ref()?.v4
    }
}

/// Checks a header with options.
#[cold]
fn check_long_header(header: &[u8]) -> Result<(), DropReason> {
    if checksum::fold(checksum::sum(0, header)) != 0xffff {
        return Err(DropReason::BadIpChecksum);
    }
    check_options(&header[20..])
}

/// Walks the options: lengths must add up, and none may route.
fn check_options(mut options: &[u8]) -> Result<(), DropReason> {
    while let Some(&kind) = options.first() {
        options = match kind {
            0 => return Ok(()),
            1 => &options[1..],
            OPTION_LSRR | OPTION_SSRR => return Err(DropReason::SourceRoute),
            _ => match options.get(1) {
                Some(&len) if len >= 2 && usize::from(len) <= options.len() => {
                    &options[usize::from(len)..]
                }
                _ => return Err(DropReason::BadIpHeader),
            },
        };
    }
    Ok(())
}
