use crossbeam_channel::Sender;
use std::net::IpAddr;

/// Largest DNS message that is learned from, in bytes: what resolvers announce
/// by EDNS at most (RFC 6891 section 6.2.5). Larger ones pass unread.
pub const MESSAGE_MAX: usize = 4096;

/// Answers of one worker that control may have in hand at once.
pub const BUFFERS: usize = 64;

/// The port of DNS servers (RFC 1035 section 4.2.1).
pub const DNS_PORT: u16 = 53;

/// A DNS message on its way to a client, which the worker holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Names the held packet in [`crate::mailbox::ToWorker::Release`].
    pub id: u64,
    /// Who has asked.
    pub client: IpAddr,
    /// Who answers: the endpoint, where a Service was asked.
    pub server: IpAddr,
    /// What follows the UDP header, in one of [`AnswerBuffers::buffers`].
    pub message: Vec<u8>,
}

/// What a worker needs to tell of answers: it allocates nothing itself.
#[derive(Debug)]
pub struct AnswerBuffers {
    /// Empty, each with room for [`MESSAGE_MAX`] bytes. One travels with each
    /// [`Answer`] and comes back with its release.
    pub buffers: Vec<Vec<u8>>,
    /// Rung when answers are in the mailbox. It has room for one.
    pub bell: Sender<()>,
}

impl AnswerBuffers {
    /// [`BUFFERS`] of them.
    pub fn new(bell: Sender<()>) -> Self {
        let buffer = || Vec::with_capacity(MESSAGE_MAX);
        AnswerBuffers { buffers: std::iter::repeat_with(buffer).take(BUFFERS).collect(), bell }
    }
}
