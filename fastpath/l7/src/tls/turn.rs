use super::TlsRefusal;
use super::pool::{Pool, UnderWay};
use crate::net::Stream;
use rustls::{Connection, HandshakeKind, ProtocolVersion};
use std::future::poll_fn;
use std::io;
use std::ops::RangeInclusive;
use std::pin::Pin;
use tokio::io::{AsyncWriteExt, ReadBuf};

/// Bytes that are read at once.
const READ_BYTES: usize = 4 << 10;

/// Bytes that the other end may send in a handshake: the longest chain of certificates,
/// several times over.
const RECEIVED_MAX: usize = 256 << 10;

/// Turns of a handshake: so many records of the other end are looked at one by one.
const TURNS_MAX: usize = 256;

/// Bytes of a record before what it carries.
const RECORD_HEADER_BYTES: usize = 5;

/// Types of records (RFC 8446 section 5.1).
const RECORD_TYPES: RangeInclusive<u8> = 20..=24;

/// Bytes that a record carries at most: in TLS 1.2, which may make them more.
const RECORD_MAX: usize = (16 << 10) + 2048;

/// What one turn of a handshake has come to.
pub(super) struct Turn {
    /// What is to be sent, of a handshake that failed too: it says why.
    pub send: Vec<u8>,
    /// The connection, or why there is none.
    pub next: Result<Connection, TlsRefusal>,
}

impl Turn {
    /// Nothing has come of it, and the other end is told by an alert, if any.
    pub fn refused(refusal: TlsRefusal, send: Vec<u8>) -> Self {
        Turn { send, next: Err(refusal) }
    }

    /// Goes on with a handshake, as far as what has been received leads.
    pub fn take(mut tls: Connection, mut received: &[u8]) -> Self {
        let mut next = process(&mut tls);
        while next.is_ok() && !received.is_empty() {
            next = match tls.read_tls(&mut received) {
                // The other end has said that it is done.
                Ok(0) => break,
                Ok(_) => process(&mut tls),
                Err(_) => Err(TlsRefusal::Protocol),
            };
        }
        // What is left at the end of a handshake of TLS 1.3 are tickets: a client that does
        // not read them now has a connection all the same.
        let is_over = !tls.is_handshaking()
            && matches!(tls, Connection::Server(_))
            && tls.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let send = match is_over && next.is_ok() {
            true => Vec::new(),
            false => to_send(&mut tls),
        };
        Turn { send, next: next.map(|()| tls) }
    }
}

fn process(tls: &mut Connection) -> Result<(), TlsRefusal> {
    tls.process_new_packets().map(drop).map_err(|error| TlsRefusal::from(&error))
}

fn to_send(tls: &mut Connection) -> Vec<u8> {
    let mut send = Vec::new();
    // Writing to a `Vec` does not fail.
    while tls.wants_write() && tls.write_tls(&mut send).is_ok_and(|len| len > 0) {}
    send
}

/// Makes the rest of a handshake after its first turn: what comes is read here, and
/// looked at by helpers unless that is less work than to ask one.
pub(super) async fn make<S: Stream>(
    pool: &Pool,
    under_way: &UnderWay,
    stream: &mut S,
    mut turn: Turn,
    end: End,
) -> Result<Connection, TlsRefusal> {
    let mut records = Records::default();
    for _ in 0..TURNS_MAX {
        let sent = send(stream, &turn.send).await;
        let tls = turn.next?;
        sent?;
        if !tls.is_handshaking() {
            return Ok(tls);
        }
        let received = records.read(stream).await?;
        turn = match end.is_light(&tls) {
            true => Turn::take(tls, &received),
            false => pool.go_on(under_way, move || Turn::take(tls, &received)).await?,
        };
    }
    Err(TlsRefusal::Protocol)
}

/// Which end of a handshake is made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client's.
    Client,
    /// The server's.
    Server {
        /// The client is asked for a certificate.
        asks_client: bool,
    },
}

impl End {
    /// Whether all that is missing is a client's Finished in TLS 1.3 (RFC 8446 section 4.4.4):
    /// keys are agreed on and nothing is signed any more. A client that is asked for a
    /// certificate, or for another key share, comes with more.
    fn is_light(self, tls: &Connection) -> bool {
        let kind = tls.handshake_kind();
        self == End::Server { asks_client: false }
            && matches!(kind, Some(HandshakeKind::Full | HandshakeKind::Resumed))
            && tls.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }
}

/// Sends all of it.
pub(super) async fn send<S: Stream>(stream: &mut S, bytes: &[u8]) -> Result<(), TlsRefusal> {
    if bytes.is_empty() {
        return Ok(());
    }
    stream.write_all(bytes).await.map_err(|_| TlsRefusal::Closed)?;
    stream.flush().await.map_err(|_| TlsRefusal::Closed)
}

/// Reads what there is, as soon as there is something.
pub(super) async fn read<S: Stream>(
    stream: &mut S,
    bytes: &mut Vec<u8>,
) -> Result<usize, TlsRefusal> {
    poll_fn(|cx| {
        let begin = bytes.len();
        bytes.resize(begin + READ_BYTES, 0);
        let mut free = ReadBuf::new(&mut bytes[begin..]);
        let polled = Pin::new(&mut *stream).poll_read(cx, &mut free);
        let len = free.filled().len();
        bytes.truncate(begin + len);
        polled.map(|read: io::Result<()>| match read {
            Ok(()) if len > 0 => Ok(len),
            _ => Err(TlsRefusal::Closed),
        })
    })
    .await
}

/// Follows the records of the other end: a helper is asked once there is a whole one, not
/// for every byte that comes.
#[derive(Default)]
struct Records {
    /// Bytes so far.
    received: usize,
    /// The header of the record that is not whole yet, and how much of it is known.
    header: [u8; RECORD_HEADER_BYTES],
    have: usize,
    /// Bytes that the record lacks, once its header is known.
    left: usize,
    /// A header came that no record has: there is no use in waiting for its end.
    is_broken: bool,
}

impl Records {
    /// What has come, with the end of at least one record in it.
    async fn read<S: Stream>(&mut self, stream: &mut S) -> Result<Vec<u8>, TlsRefusal> {
        let mut bytes = Vec::new();
        loop {
            let len = read(stream, &mut bytes).await?;
            self.received += len;
            if self.received > RECEIVED_MAX {
                return Err(TlsRefusal::Protocol);
            }
            let begin = bytes.len() - len;
            if bytes.get(begin..).is_some_and(|new| self.follow(new)) {
                return Ok(bytes);
            }
        }
    }

    /// Whether a record ends in these bytes.
    fn follow(&mut self, mut bytes: &[u8]) -> bool {
        let mut ends = false;
        while let Some((first, rest)) = bytes.split_first() {
            if self.have < RECORD_HEADER_BYTES {
                self.header[self.have] = *first;
                self.have += 1;
                self.left = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
                bytes = rest;
                self.is_broken |= self.have == RECORD_HEADER_BYTES
                    && (!RECORD_TYPES.contains(&self.header[0]) || self.left > RECORD_MAX);
            } else {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                bytes = &bytes[taken..];
            }
            if self.have == RECORD_HEADER_BYTES && self.left == 0 {
                (self.have, ends) = (0, true);
            }
        }
        ends || self.is_broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where records end in bytes that come in pieces of a length.
    fn ends(bytes: &[u8], piece: usize) -> Vec<usize> {
        let mut records = Records::default();
        let mut ends = Vec::new();
        for (n, piece) in bytes.chunks(piece).enumerate() {
            if records.follow(piece) {
                ends.push(n);
            }
        }
        ends
    }

    #[test]
    fn the_end_of_a_record_is_seen_however_it_comes() {
        let mut bytes = vec![22, 3, 3, 1, 2];
        bytes.extend([0xff; 258]);
        bytes.extend([20, 3, 3, 0, 1, 1]);
        bytes.extend([23, 3, 3, 0, 0]);
        assert_eq!(ends(&bytes, 1), [262, 268, 273]);
        assert_eq!(ends(&bytes, 263), [0, 1]);
        assert_eq!(ends(&bytes, 262), [1]);
        assert_eq!(ends(&bytes, 1000), [0]);
        assert!(ends(&bytes[..262], 7).is_empty());
        assert_eq!(ends(b"HTTP/1.1 400", 4), [1, 2]);
        assert_eq!(ends(&[22, 3, 3, 0x48, 1], 5), [0]);
        assert!(ends(&[22, 3, 3, 0x48, 0], 5).is_empty());
    }
}
