//! What a client sends, checked before anybody else reads it: head by head and chunk
//! by chunk, so that the server behind and the gateway's HTTP library agree with the
//! gateway about where each request ends.

use crate::head::{self, End, Framing, HeadLimits, RequestHead};
use crate::{L7Reason, chars};

/// Bytes of the line that begins a chunk, extensions included.
const CHUNK_LINE_MAX: usize = 1024;

/// Bytes of the extensions of a body's chunks, all together: nobody needs them.
const EXTENSIONS_MAX: usize = 16 << 10;

/// Digits of a chunk's size.
const CHUNK_DIGITS_MAX: usize = 15;

/// What a request may be at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Its head; its trailers, too.
    pub head: HeadLimits,
    /// Bytes of its body; `None`: as many as it likes.
    pub body_bytes: Option<u64>,
}

/// Follows the requests of one connection.
#[derive(Debug, Default)]
pub struct Guard {
    limits: Limits,
    state: State,
    /// Bytes of the head that is not whole yet which have been looked at.
    seen: usize,
    /// An empty line came before the head.
    is_late: bool,
    /// Bytes of the body so far, and of its chunks' extensions.
    body: u64,
    extensions: usize,
    /// The request is the connection's last one.
    is_last: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// At the beginning of a request.
    #[default]
    Head,
    /// Behind the last request.
    End,
    /// In a body that has so many bytes left.
    Length(u64),
    /// At the line that begins a chunk.
    ChunkLine,
    /// In a chunk that has so many bytes left, the line break behind it included.
    Chunk(u64),
    /// In the trailers.
    Trailers,
    /// Behind a request for another protocol.
    Upgrade,
    /// In another protocol.
    Tunnel,
}

/// What may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many bytes, which are the head of a request.
    Head(RequestHead),
    /// So many bytes of what is no head.
    Bytes(usize),
    /// Nothing, until more has come.
    More,
    /// Nothing any more: the connection ends with the request that was the last one.
    End,
    /// Nothing, until it is known whether the client may speak another protocol
    /// ([`Guard::answered_upgrade`]).
    Wait,
}

impl Guard {
    /// For a new connection.
    pub fn new(limits: Limits) -> Self {
        Guard { limits, ..Guard::default() }
    }

    /// Looks at the bytes that have come and have not gone on yet, and says how many
    /// of them may; to be called again for those behind. While the answer is
    /// [`Step::More`] the same bytes are to be given, with more behind them: never more
    /// than a head may have.
    ///
    /// # Errors
    /// What is wrong with the request: the connection is at its end.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, L7Reason> {
        if bytes.is_empty() {
            return Ok(Step::More);
        }
        match self.state {
            State::Head => self.head(bytes),
            State::End => Ok(Step::End),
            State::Length(left) => {
                let taken = taken(left, bytes);
                self.state = match left - taken as u64 {
                    0 => self.after_request(),
                    left => State::Length(left),
                };
                Ok(Step::Bytes(taken))
            }
            State::ChunkLine => self.chunk_line(bytes),
            State::Chunk(left) => self.chunk(left, bytes),
            State::Trailers => self.trailers(bytes),
            State::Upgrade => Ok(Step::Wait),
            State::Tunnel => Ok(Step::Bytes(bytes.len())),
        }
    }

    /// The answer to a request for another protocol is known.
    pub fn answered_upgrade(&mut self, is_switched: bool) {
        if self.state == State::Upgrade {
            self.state = if is_switched { State::Tunnel } else { self.after_request() };
        }
    }

    /// True between requests: where a client may hang up.
    pub fn is_between(&self) -> bool {
        matches!(self.state, State::Head | State::End) && self.seen == 0
    }

    fn head(&mut self, bytes: &[u8]) -> Result<Step, L7Reason> {
        // An empty line before a request is none's (RFC 9112 section 2.2).
        if bytes.starts_with(b"\r\n") {
            return match std::mem::replace(&mut self.is_late, true) {
                false => Ok(Step::Bytes(2)),
                true => Err(L7Reason::BadRequestLine),
            };
        }
        let Some(end) = self.section(bytes)? else {
            return Ok(Step::More);
        };
        let head = head::check(&bytes[..end], &self.limits.head)?;
        (self.body, self.extensions, self.is_late) = (0, 0, false);
        self.is_last = head.is_last;
        self.state = match head.framing {
            Framing::Length(0) if head.upgrades => State::Upgrade,
            Framing::Length(0) => self.after_request(),
            // With a body nobody switches: the body is not the other protocol's.
            Framing::Length(length) => {
                self.count_body(length)?;
                State::Length(length)
            }
            Framing::Chunked => State::ChunkLine,
        };
        Ok(Step::Head(head))
    }

    fn after_request(&self) -> State {
        if self.is_last { State::End } else { State::Head }
    }

    /// Where a section of lines ends, if it is here. What has been looked at is not
    /// looked at again.
    fn section(&mut self, bytes: &[u8]) -> Result<Option<usize>, L7Reason> {
        let max = self.limits.head.bytes;
        let within = &bytes[..bytes.len().min(max)];
        match head::end(within, self.seen.min(within.len()))? {
            End::At(end) => {
                self.seen = 0;
                Ok(Some(end))
            }
            End::After(_) if bytes.len() >= max => Err(L7Reason::HeadTooLarge),
            End::After(seen) => {
                self.seen = seen;
                Ok(None)
            }
        }
    }

    fn count_body(&mut self, more: u64) -> Result<(), L7Reason> {
        self.body = self.body.saturating_add(more);
        match self.limits.body_bytes.is_some_and(|max| self.body > max) {
            true => Err(L7Reason::BodyTooLarge),
            false => Ok(()),
        }
    }

    fn chunk_line(&mut self, bytes: &[u8]) -> Result<Step, L7Reason> {
        let line = &bytes[..bytes.len().min(CHUNK_LINE_MAX)];
        let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
            return if line.len() == CHUNK_LINE_MAX {
                Err(L7Reason::BadChunk)
            } else {
                Ok(Step::More)
            };
        };
        let line = line[..end].strip_suffix(b"\r").ok_or(L7Reason::BareLineBreak)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (digits, extension) = line.split_at(digits);
        let is_extension = |rest: &[u8]| {
            rest.first().is_none_or(|first| *first == b';')
                && rest.iter().all(|byte| chars::is_value(*byte))
        };
        if digits.is_empty() || digits.len() > CHUNK_DIGITS_MAX || !is_extension(extension) {
            return Err(L7Reason::BadChunk);
        }
        self.extensions += extension.len();
        if self.extensions > EXTENSIONS_MAX {
            return Err(L7Reason::BadChunk);
        }
        let value = |digit: &u8| u64::from(char::from(*digit).to_digit(16).unwrap_or(0));
        let size = digits.iter().fold(0, |size, digit| size << 4 | value(digit));
        self.count_body(size)?;
        self.state = if size == 0 { State::Trailers } else { State::Chunk(size + 2) };
        Ok(Step::Bytes(end + 1))
    }

    fn chunk(&mut self, left: u64, bytes: &[u8]) -> Result<Step, L7Reason> {
        if left > 2 {
            let taken = taken(left - 2, bytes);
            self.state = State::Chunk(left - taken as u64);
            return Ok(Step::Bytes(taken));
        }
        let Some(line_break) = bytes.get(..2) else {
            return if bytes == b"\r" { Ok(Step::More) } else { Err(L7Reason::BadChunk) };
        };
        if line_break != b"\r\n" {
            return Err(L7Reason::BadChunk);
        }
        self.state = State::ChunkLine;
        Ok(Step::Bytes(2))
    }

    fn trailers(&mut self, bytes: &[u8]) -> Result<Step, L7Reason> {
        let Some(end) = self.section(bytes)? else {
            return Ok(Step::More);
        };
        head::check_trailers(&bytes[..end], &self.limits.head)?;
        self.state = self.after_request();
        Ok(Step::Bytes(end))
    }
}

fn taken(left: u64, bytes: &[u8]) -> usize {
    usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()))
}
