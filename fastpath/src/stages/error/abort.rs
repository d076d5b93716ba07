//! Answers to SCTP of no association (RFC 9260 section 8.4).

use super::{TTL, may_answer};
use crate::core::Core;
use crate::packet::Packet;
use crate::stages::output;
use crate::wire::ip::Ip;
use crate::wire::sctp::{CHUNK_HEADER_LEN, Chunk, HEADER_LEN, T_BIT, chunk_type};
use crate::wire::{be32, crc32c, l4, put16};
use sluice_tables::Tables;

/// Where an INIT has the tag that answers carry (section 3.3.2).
const INITIATE_TAG: usize = HEADER_LEN + CHUNK_HEADER_LEN;
const PACKET_LEN: usize = HEADER_LEN + CHUNK_HEADER_LEN;

/// What a packet of no association is answered with.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    chunk_type: u8,
    flags: u8,
    tag: u32,
}

/// The answer to a packet whose most telling chunk is `chunk`, if there is one.
/// The packet has passed [`crate::wire::sctp::parse`].
///
/// HEARTBEAT goes unanswered, unlike there: it may probe another path of an
/// association that is well, which an ABORT would end.
fn answer(packet: &[u8], chunk: Chunk) -> Option<Answer> {
    let reflected = |chunk_type| Answer { chunk_type, flags: T_BIT, tag: be32(packet, 4) };
    match chunk {
        Chunk::Abort | Chunk::ShutdownComplete => None,
        Chunk::CookieAck | Chunk::Error | Chunk::Heartbeat => None,
        Chunk::Init => {
            let tag = be32(packet, INITIATE_TAG);
            // No INIT has tag 0 (section 3.3.2), and none is worth an answer then.
            (tag != 0).then_some(Answer { chunk_type: chunk_type::ABORT, flags: 0, tag })
        }
        Chunk::ShutdownAck => Some(reflected(chunk_type::SHUTDOWN_COMPLETE)),
        Chunk::Other | Chunk::InitAck | Chunk::CookieEcho | Chunk::Shutdown => {
            Some(reflected(chunk_type::ABORT))
        }
    }
}

/// Builds and sends the answer.
pub(super) fn abort<F: Ip>(core: &mut Core, tables: &Tables, packet: &Packet<F>, chunk: Chunk) {
    let Some(Answer { chunk_type, flags, tag }) = answer(packet.l4(), chunk) else { return };
    if !may_answer::<F>(core, &packet.key.src) {
        return;
    }
    let Some(mut frame) = core.new_frame() else { return };
    let fits = frame.set_window(sluice_io::HEADROOM, F::HEADER_LEN + PACKET_LEN);
    debug_assert!(fits);
    let out = frame.data_mut();
    F::emit(out, packet.key.dst, packet.key.src, l4::SCTP, TTL, 0, PACKET_LEN);
    let sctp = &mut out[F::HEADER_LEN..];
    sctp.fill(0);
    put16(sctp, 0, packet.key.dst_port);
    put16(sctp, 2, packet.key.src_port);
    sctp[4..8].copy_from_slice(&tag.to_be_bytes());
    sctp[HEADER_LEN..HEADER_LEN + 2].copy_from_slice(&[chunk_type, flags]);
    put16(sctp, HEADER_LEN + 2, CHUNK_HEADER_LEN as u16);
    crc32c::fill(sctp);
    output::originate(core, tables, frame);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Common header with tag 7, and a chunk whose value begins with `value`.
    fn packet(chunk_type: u8, value: u32) -> Vec<u8> {
        let mut packet = vec![0, 1, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0, chunk_type, 0, 0, 20];
        packet.extend(value.to_be_bytes());
        packet
    }

    #[test]
    fn answers_are_those_of_rfc_9260_section_8_4() {
        let abort = |flags, tag| Some(Answer { chunk_type: chunk_type::ABORT, flags, tag });
        let complete = Answer { chunk_type: chunk_type::SHUTDOWN_COMPLETE, flags: T_BIT, tag: 7 };
        for (chunk, expected) in [
            (Chunk::Init, abort(0, 99)),
            (Chunk::InitAck, abort(T_BIT, 7)),
            (Chunk::Other, abort(T_BIT, 7)),
            (Chunk::CookieEcho, abort(T_BIT, 7)),
            (Chunk::Shutdown, abort(T_BIT, 7)),
            (Chunk::ShutdownAck, Some(complete)),
            (Chunk::ShutdownComplete, None),
            (Chunk::Abort, None),
            (Chunk::CookieAck, None),
            (Chunk::Error, None),
            (Chunk::Heartbeat, None),
        ] {
            assert_eq!(answer(&packet(1, 99), chunk), expected, "{chunk:?}");
        }
        assert_eq!(answer(&packet(1, 0), Chunk::Init), None);
    }
}
