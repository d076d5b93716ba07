//! What a client sends in HTTP/1.1, however the network cuts it.

use crate::input::Input;
use sluice_l7::guard::{Guard, Limits, Step};
use sluice_l7::{HeadLimits, L7Reason, RequestHead};

/// Limits that inputs reach.
const LIMITS: Limits = Limits {
    head: HeadLimits { bytes: 4_096, target_bytes: 256, headers: 16 },
    body_bytes: Some(1_024),
};

/// What a connection came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Passed {
    heads: Vec<RequestHead>,
    len: usize,
    refused: Option<L7Reason>,
}

/// An input is how it is cut, whether the first request for another protocol is let, and
/// what is sent.
pub fn guard(data: &[u8]) {
    let mut input = Input::new(data);
    let (piece, switches) = (usize::from(input.byte() >> 2) + 1, input.byte() & 1 != 0);
    let bytes = input.bytes(data.len());
    let whole = pass(std::iter::once(bytes), switches);
    let cut = pass(bytes.chunks(piece), switches);
    assert_eq!((&cut.heads, cut.refused), (&whole.heads, whole.refused), "in pieces of {piece}");
    assert!(cut.len <= whole.len, "more passed in pieces of {piece}");
    assert!(whole.refused.is_some() || cut.len == whole.len, "less passed in pieces of {piece}");
    let of_heads: usize = whole.heads.iter().map(|head| head.len).sum();
    assert!(of_heads <= whole.len && whole.len <= bytes.len(), "more than there was");
}

fn pass<'a>(pieces: impl Iterator<Item = &'a [u8]>, switches: bool) -> Passed {
    let (mut guard, mut waiting, mut passed) = (Guard::new(LIMITS), Vec::new(), Passed::default());
    let mut may_switch = switches;
    for piece in pieces {
        waiting.extend_from_slice(piece);
        loop {
            let len = match guard.step(&waiting) {
                Ok(Step::Head(head)) => {
                    passed.heads.push(head);
                    head.len
                }
                Ok(Step::Bytes(len)) => len,
                Ok(Step::Wait) => {
                    guard.answered_upgrade(std::mem::take(&mut may_switch));
                    continue;
                }
                Ok(Step::More | Step::End) => break,
                Err(reason) => return Passed { refused: Some(reason), ..passed },
            };
            assert!(len > 0 && len <= waiting.len(), "{len} bytes of {}", waiting.len());
            passed.len += len;
            waiting.drain(..len);
        }
    }
    passed
}
