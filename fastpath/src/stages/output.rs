//! Out: fragmentation where it is allowed, then transmission.

use crate::adjacency::AdjacencyId;
use crate::core::Core;
use crate::reason::DropReason;
use crate::stages::{error, route};
use crate::wire::ip::{DF, Ip};
use crate::wire::{be16, checksum, put16};
use sluice_io::Frame;
use sluice_tables::{LocalAddress, Tables, V4, V6};

/// Sends a rewritten packet by a way out. One that is too big for it is an
/// IPv4 packet that may be fragmented: it is, before any tunnel header, so that
/// the node behind the tunnel needs no reassembly.
#[inline(always)]
pub fn forward<F: Ip>(core: &mut Core, frame: Frame, way: AdjacencyId, tos: u8, entropy: u64) {
    let mtu = core.adjacencies.row(way).map_or(0, |row| row.mtu);
    if F::IS_V4 && frame.len() > usize::from(mtu) {
        return fragment(core, frame, way, usize::from(mtu), tos, entropy);
    }
    core.transmit(frame, way, tos, entropy);
}

/// Cuts an IPv4 packet into fragments (RFC 791 section 3.2) that fit `mtu`.
#[cold]
fn fragment(
    core: &mut Core,
    mut frame: Frame,
    way: AdjacencyId,
    mtu: usize,
    tos: u8,
    entropy: u64,
) {
    renumber(core, &mut frame);
    let data = frame.data();
    let header_len = usize::from(data[0] & 0x0f) * 4;
    let payload = &data[header_len..];
    let step = mtu.saturating_sub(header_len) / 8 * 8;
    if step == 0 || be16(data, 6) & DF != 0 {
        return core.drop(frame, DropReason::TooBig);
    }
    let count = payload.len().div_ceil(step);
    let mut pieces: arrayvec::ArrayVec<Frame, { sluice_io::BURST }> = arrayvec::ArrayVec::new();
    for (i, part) in payload.chunks(step).enumerate() {
        let Some(mut piece) = core.new_frame() else { break };
        let last = i + 1 == count;
        if !write_fragment(&mut piece, &data[..header_len], part, i * step, last) {
            core.cache.free(piece);
            break;
        }
        if let Err(full) = pieces.try_push(piece) {
            core.cache.free(full.element());
            break;
        }
    }
    if pieces.len() < count {
        for piece in pieces {
            core.cache.free(piece);
        }
        return core.drop(frame, DropReason::NoFrame);
    }
    core.counters.originated.add(count as u64 - 1);
    core.cache.free(frame);
    for piece in pieces {
        core.transmit(piece, way, tos, entropy);
    }
}

/// Gives a whole packet that is to be cut an identification of the gateway's own,
/// if its source stands for others: two of them may have chosen the same (RFC 6864
/// section 5.3). What came in fragments has got its own already.
fn renumber(core: &mut Core, frame: &mut Frame) {
    const NOT_WHOLE: u16 = 0x3fff;
    let Some(src) = V4::source(frame.data()) else { return };
    let family = &core.tables.v4;
    let stands_for_others =
        family.local.get(&src) == Some(&LocalAddress::Snat) || family.vips.get(&src).is_some();
    if stands_for_others && be16(frame.data(), 6) & NOT_WHOLE == 0 {
        let id = core.fragments.next_id::<V4>();
        V4::renumber(frame.data_mut(), id);
    }
}

/// Writes the fragment that carries `part`, `offset` bytes into the packet.
/// False when it does not fit the frame.
fn write_fragment(
    piece: &mut Frame,
    header: &[u8],
    part: &[u8],
    offset: usize,
    last: bool,
) -> bool {
    const MORE: u16 = 0x2000;
    let mut own = [0u8; 60];
    own[..20].copy_from_slice(&header[..20]);
    let options = &header[20..];
    let options_len = if offset == 0 {
        own[20..20 + options.len()].copy_from_slice(options);
        options.len()
    } else {
        copied_options(options, &mut own[20..])
    };
    let own = &mut own[..20 + options_len];
    let flags = be16(header, 6);
    let more = if last { flags & MORE } else { MORE };
    own[0] = 0x40 | (own.len() / 4) as u8;
    put16(own, 2, (own.len() + part.len()) as u16);
    put16(own, 6, more | ((flags & 0x1fff) + (offset / 8) as u16));
    put16(own, 10, 0);
    let checksum = checksum::finish(0, own);
    put16(own, 10, checksum);
    if !piece.set_window(sluice_io::HEADROOM, own.len() + part.len()) {
        return false;
    }
    let (head, rest) = piece.data_mut().split_at_mut(own.len());
    head.copy_from_slice(own);
    rest.copy_from_slice(part);
    true
}

/// Copies the options that go into every fragment (RFC 791 section 3.1: those
/// with the copied flag), padded to whole words; returns their length.
fn copied_options(mut options: &[u8], out: &mut [u8]) -> usize {
    const COPIED: u8 = 0x80;
    let mut len = 0;
    while let Some(&kind) = options.first() {
        let option_len = match kind {
            0 => break,
            1 => 1,
            _ => options.get(1).map_or(1, |&len| usize::from(len)).clamp(1, options.len()),
        };
        let (option, rest) = options.split_at(option_len);
        if kind & COPIED != 0 {
            out[len..len + option_len].copy_from_slice(option);
            len += option_len;
        }
        options = rest;
    }
    len.next_multiple_of(4)
}

/// Sends an IP packet of the gateway's own.
pub fn originate(core: &mut Core, tables: &Tables, frame: Frame) {
    match frame.data().first().map(|byte| byte >> 4) {
        Some(4) => originate_of::<V4>(core, tables, frame),
        Some(6) => originate_of::<V6>(core, tables, frame),
        _ => core.cache.free(frame),
    }
}

fn originate_of<F: Ip>(core: &mut Core, tables: &Tables, frame: Frame) {
    let Ok(ip) = F::parse(frame.data()) else { return core.cache.free(frame) };
    core.counters.originated.add(1);
    match route::find::<F>(core, tables, &ip.dst) {
        Ok(way) => {
            let mtu = core.adjacencies.row(way).map_or(0, |row| row.mtu);
            if ip.header.len > mtu {
                error::tell_own::<F>(core, tables, &ip, &frame, mtu);
                return core.drop(frame, DropReason::TooBig);
            }
            let entropy = sluice_tables::hash::endpoint(0, ip.dst.as_ref(), 0);
            core.transmit(frame, way, ip.header.tos, entropy);
        }
        Err(reason) => core.drop(frame, reason),
    }
}
