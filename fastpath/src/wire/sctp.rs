//! SCTP (RFC 9260): the common header, and chunks as far as flows care.

use super::ip::Fragment;
use super::{be16, be32};
use crate::reason::DropReason;

/// Bytes of the common header: ports, verification tag, checksum.
pub const HEADER_LEN: usize = 12;
/// Bytes of a chunk's header: type, flags, length.
pub const CHUNK_HEADER_LEN: usize = 4;
/// Chunks that are looked at; what stands behind them says nothing.
const CHUNKS_MAX: usize = 8;

/// Chunk types (RFC 9260 section 3.2).
pub mod chunk_type {
    /// Begins an association.
    pub const INIT: u8 = 1;
    /// Its answer, with the cookie.
    pub const INIT_ACK: u8 = 2;
    /// Ends an association at once.
    pub const ABORT: u8 = 6;
    /// Begins the graceful end.
    pub const SHUTDOWN: u8 = 7;
    /// Its answer.
    pub const SHUTDOWN_ACK: u8 = 8;
    /// An error that may end nothing.
    pub const ERROR: u8 = 9;
    /// The cookie, back from the client.
    pub const COOKIE_ECHO: u8 = 10;
    /// Its answer: the association is there.
    pub const COOKIE_ACK: u8 = 11;
    /// Ends the graceful end.
    pub const SHUTDOWN_COMPLETE: u8 = 14;
    /// Asks whether a path works.
    pub const HEARTBEAT: u8 = 4;
    /// Its answer.
    pub const HEARTBEAT_ACK: u8 = 5;
}

/// The T bit of ABORT and SHUTDOWN COMPLETE: the tag is the sender's own, turned
/// round (RFC 9260 section 8.5.1).
pub const T_BIT: u8 = 1;

/// The verification tag of a packet that was parsed.
pub fn tag(packet: &[u8]) -> u32 {
    be32(packet, 4)
}

/// The tag that INIT or INIT ACK asks for (RFC 9260 section 3.3.2); 0, which none
/// may be, where it is cut off.
pub fn initiate_tag(packet: &[u8]) -> u32 {
    const AT: usize = HEADER_LEN + CHUNK_HEADER_LEN;
    packet.get(AT..AT + 4).map_or(0, |_| be32(packet, AT))
}

/// What a packet says of its association: of its chunks, the one that tells
/// most, the last variant most of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chunk {
    /// Data, its acknowledgment, or a type that is not known here.
    Other,
    /// HEARTBEAT, or its answer.
    Heartbeat,
    /// ERROR.
    Error,
    /// COOKIE ACK.
    CookieAck,
    /// COOKIE ECHO.
    CookieEcho,
    /// SHUTDOWN.
    Shutdown,
    /// SHUTDOWN ACK.
    ShutdownAck,
    /// INIT.
    Init,
    /// INIT ACK.
    InitAck,
    /// SHUTDOWN COMPLETE.
    ShutdownComplete,
    /// ABORT.
    Abort,
}

impl Chunk {
    fn of(chunk_type: u8) -> Chunk {
        match chunk_type {
            chunk_type::INIT => Chunk::Init,
            chunk_type::INIT_ACK => Chunk::InitAck,
            chunk_type::HEARTBEAT | chunk_type::HEARTBEAT_ACK => Chunk::Heartbeat,
            chunk_type::ABORT => Chunk::Abort,
            chunk_type::SHUTDOWN => Chunk::Shutdown,
            chunk_type::SHUTDOWN_ACK => Chunk::ShutdownAck,
            chunk_type::ERROR => Chunk::Error,
            chunk_type::COOKIE_ECHO => Chunk::CookieEcho,
            chunk_type::COOKIE_ACK => Chunk::CookieAck,
            chunk_type::SHUTDOWN_COMPLETE => Chunk::ShutdownComplete,
            _ => Chunk::Other,
        }
    }

    /// True for one that stands alone (RFC 9260 section 6.10).
    fn is_alone(self) -> bool {
        matches!(self, Chunk::Init | Chunk::InitAck | Chunk::ShutdownComplete)
    }
}

/// Checks the common header and the chunks, and tells which of them tells most.
/// `data` is the rest of the packet; a first fragment may end within a chunk.
///
/// # Errors
/// `BadL4Header`, `TinyFragment`.
pub fn parse(data: &[u8], fragment: Fragment) -> Result<Chunk, DropReason> {
    if data.len() < HEADER_LEN + CHUNK_HEADER_LEN {
        return Err(match fragment {
            Fragment::First => DropReason::TinyFragment,
            _ => DropReason::BadL4Header,
        });
    }
    // No port is 0 (section 3.1).
    if be16(data, 0) == 0 || be16(data, 2) == 0 {
        return Err(DropReason::BadL4Header);
    }
    let mut chunks = &data[HEADER_LEN..];
    let mut most = None;
    for _ in 0..CHUNKS_MAX {
        let Some(header) = chunks.first_chunk::<CHUNK_HEADER_LEN>() else { break };
        let len = usize::from(be16(header, 2));
        let is_cut = len > chunks.len();
        if len < CHUNK_HEADER_LEN || is_cut && fragment == Fragment::Whole {
            return Err(DropReason::BadL4Header);
        }
        let chunk = Chunk::of(header[0]);
        if most.is_some_and(|most: Chunk| most.is_alone() || chunk.is_alone()) {
            return Err(DropReason::BadL4Header);
        }
        most = most.max(Some(chunk));
        // The last one's padding may be missing.
        chunks = chunks.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(most.unwrap_or(Chunk::Other))
}

#[cfg(test)]
mod tests {
    use super::chunk_type::*;
    use super::*;

    const DATA: u8 = 0;
    const SACK: u8 = 3;

    /// A packet with chunks of (type, length field), each as long as it says.
    fn packet(chunks: &[(u8, u16)]) -> Vec<u8> {
        let mut out = vec![0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];
        for &(chunk_type, len) in chunks {
            let end = out.len() + usize::from(len.max(4)).next_multiple_of(4);
            out.extend([chunk_type, 0]);
            out.extend(len.to_be_bytes());
            out.resize(end, 0);
        }
        out
    }

    fn judge(chunks: &[(u8, u16)]) -> Result<Chunk, DropReason> {
        parse(&packet(chunks), Fragment::Whole)
    }

    #[test]
    fn the_chunk_that_tells_most_is_found() {
        for (chunks, found) in [
            (&[(INIT, 20)][..], Chunk::Init),
            (&[(DATA, 17), (DATA, 18)], Chunk::Other),
            (&[(COOKIE_ECHO, 8), (DATA, 20)], Chunk::CookieEcho),
            (&[(COOKIE_ACK, 4), (SACK, 16), (DATA, 20)], Chunk::CookieAck),
            (&[(SACK, 16), (SHUTDOWN, 8)], Chunk::Shutdown),
            (&[(SACK, 16), (ABORT, 4)], Chunk::Abort),
            (&[(ERROR, 4), (COOKIE_ECHO, 8)], Chunk::CookieEcho),
            (&[(200, 4)], Chunk::Other),
        ] {
            assert_eq!(judge(chunks), Ok(found), "{chunks:?}");
        }
    }

    #[test]
    fn what_is_impossible_is_refused() {
        for chunks in [
            &[(DATA, 3)][..],
            &[(DATA, 0)],
            &[(DATA, 17), (SACK, 2)],
            &[(INIT, 20), (DATA, 17)],
            &[(DATA, 17), (INIT, 20)],
            &[(SHUTDOWN_COMPLETE, 4), (SACK, 16)],
        ] {
            assert_eq!(judge(chunks), Err(DropReason::BadL4Header), "{chunks:?}");
        }
        let whole = packet(&[(DATA, 20)]);
        assert_eq!(parse(&whole[..31], Fragment::Whole), Err(DropReason::BadL4Header));
        assert_eq!(parse(&whole[..15], Fragment::Whole), Err(DropReason::BadL4Header));
        for port in [0, 2] {
            let mut zero = whole.clone();
            zero[port..port + 2].fill(0);
            assert_eq!(parse(&zero, Fragment::Whole), Err(DropReason::BadL4Header));
        }
    }

    #[test]
    fn a_first_fragment_may_end_within_a_chunk_but_not_before_one() {
        let whole = packet(&[(SACK, 16), (DATA, 40)]);
        assert_eq!(parse(&whole[..32], Fragment::First), Ok(Chunk::Other));
        assert_eq!(parse(&whole[..16], Fragment::First), Ok(Chunk::Other));
        assert_eq!(parse(&whole[..15], Fragment::First), Err(DropReason::TinyFragment));
    }

    #[test]
    fn padding_may_be_missing_at_the_end_and_many_chunks_are_not_looked_at() {
        let odd = packet(&[(DATA, 17)]);
        assert_eq!(parse(&odd[..29], Fragment::Whole), Ok(Chunk::Other));
        let mut many = vec![(SACK, 16); CHUNKS_MAX];
        many.push((ABORT, 4));
        assert_eq!(judge(&many), Ok(Chunk::Other));
    }
}
