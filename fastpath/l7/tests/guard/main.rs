//! Requests that are read in more than one way do not pass.

mod corpus;
mod hyper;
mod limits;
mod splits;
mod upgrades;

use sluice_l7::guard::{Guard, Limits, Step};
use sluice_l7::{L7Reason, RequestHead};

/// What a connection came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Heads of requests.
    pub heads: Vec<RequestHead>,
    /// Everything that passed.
    pub bytes: Vec<u8>,
    /// What ended it.
    pub refused: Option<L7Reason>,
    /// A request that has begun is not whole.
    pub is_between: bool,
}

/// Sends pieces one after the other.
pub fn send<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Passed {
    let (mut guard, mut waiting, mut passed) = (Guard::new(limits), Vec::new(), Passed::default());
    for piece in pieces {
        waiting.extend_from_slice(piece);
        loop {
            let len = match guard.step(&waiting) {
                Ok(Step::Head(head)) => {
                    passed.heads.push(head);
                    head.len
                }
                Ok(Step::Bytes(len)) => len,
                Ok(Step::More | Step::Wait | Step::End) => break,
                Err(reason) => {
                    passed.refused = Some(reason);
                    return passed;
                }
            };
            assert!(len > 0 && len <= waiting.len(), "{len} of {}", waiting.len());
            passed.bytes.extend(waiting.drain(..len));
        }
    }
    passed.is_between = guard.is_between();
    passed
}
