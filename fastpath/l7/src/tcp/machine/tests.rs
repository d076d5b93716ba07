//! What keeps books, against what is obviously right: a mark for every byte.

use super::blocks::Pool;
use super::receive_buffer::ReceiveBuffer;
use super::scoreboard::{Delivered, Scoreboard, Sent};
use crate::tcp::pressure::Share;
use proptest::prelude::*;

/// Numbers wrap within what is tested.
const BASE: u32 = u32::MAX - 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Sent,
    Lost,
    Sacked,
}

#[derive(Clone, Copy)]
struct Byte {
    fate: Fate,
    sent_ns: u64,
    is_again: bool,
}

#[derive(Clone, Debug)]
enum Act {
    Push(u32),
    Acknowledge(u32),
    Sack(u32, u32),
    Detect(u64),
    LoseFirst(u32),
    LoseAll,
    LoseNothing,
    Forget,
    ResendLost(u32),
    ResendLast(u32),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1u32..30).prop_map(Act::Push),
        2 => (0u32..40).prop_map(Act::Acknowledge),
        6 => (0u32..200, 1u32..40).prop_map(|(at, len)| Act::Sack(at, len)),
        2 => (0u64..6).prop_map(Act::Detect),
        1 => (1u32..20).prop_map(Act::LoseFirst),
        1 => Just(Act::LoseAll),
        1 => Just(Act::LoseNothing),
        1 => Just(Act::Forget),
        4 => (1u32..20).prop_map(Act::ResendLost),
        1 => (1u32..20).prop_map(Act::ResendLast),
    ]
}

proptest! {
    #[test]
    fn the_scoreboard_knows_the_fate_of_every_byte(acts in prop::collection::vec(act(), 1..80)) {
        let mut board = Scoreboard::default();
        // All that was ever sent, and how much of it is acknowledged.
        let (mut bytes, mut una): (Vec<Byte>, usize) = (Vec::new(), 0);
        let mut is_forgotten = false;
        let number = |at: usize| BASE.wrapping_add(at as u32);
        for (now_ns, act) in (10..).zip(acts) {
            let mut delivered = Delivered::new(now_ns, 0, BASE);
            let mut arrived = Vec::new();
            match act {
                Act::Push(len) => {
                    board.push(number(bytes.len()), number(bytes.len() + len as usize), now_ns);
                    let byte = Byte { fate: Fate::Sent, sent_ns: now_ns, is_again: false };
                    bytes.resize(bytes.len() + len as usize, byte);
                }
                Act::Acknowledge(len) => {
                    let next = (una + len as usize).min(bytes.len());
                    arrived = (una..next).filter(|at| bytes[*at].fate != Fate::Sacked).collect();
                    una = next;
                    board.acknowledge(number(una), &mut delivered);
                }
                Act::Sack(at, len) => {
                    let start = (una + at as usize).min(bytes.len());
                    let end = (start + len as usize).min(bytes.len());
                    if start < end {
                        board.sack(number(start), number(end), &mut delivered);
                        arrived =
                            (start..end).filter(|at| bytes[*at].fate != Fate::Sacked).collect();
                        arrived.iter().for_each(|at| bytes[*at].fate = Fate::Sacked);
                    }
                }
                // What is forgotten has no times any more.
                Act::Detect(_) if is_forgotten => {}
                Act::Detect(wait_ns) => {
                    let newest = Sent { at_ns: now_ns - 2, end: number(una + 10) };
                    let again_ns = board.detect(&newest, wait_ns, now_ns);
                    let mut expected = None;
                    for byte in bytes[una..].iter_mut().filter(|byte| byte.fate == Fate::Sent) {
                        // What was sent at the same time is judged by the ends of ranges,
                        // which bytes do not have.
                        if byte.sent_ns >= newest.at_ns {
                            continue;
                        }
                        if byte.sent_ns + wait_ns <= now_ns {
                            byte.fate = Fate::Lost;
                        } else {
                            expected = expected.max(Some(byte.sent_ns + wait_ns));
                        }
                    }
                    prop_assert!(again_ns >= expected);
                    let lost = (una..bytes.len()).filter(|at| bytes[*at].fate == Fate::Lost);
                    prop_assert!(board.lost() as usize >= lost.count());
                    if wait_ns <= 2 {
                        board.lose_all();
                        let sent = bytes[una..].iter_mut().filter(|byte| byte.fate == Fate::Sent);
                        sent.for_each(|byte| byte.fate = Fate::Lost);
                    }
                }
                Act::LoseFirst(len) => {
                    let known = board.lost();
                    board.lose_first(len);
                    let lost = board.lost() - known;
                    let is_sent = bytes.get(una).is_some_and(|byte| byte.fate == Fate::Sent);
                    prop_assert!(lost <= len && (lost > 0) == is_sent);
                    for byte in &mut bytes[una..una + lost as usize] {
                        prop_assert_eq!(byte.fate, Fate::Sent);
                        byte.fate = Fate::Lost;
                    }
                }
                Act::LoseAll => {
                    board.lose_all();
                    let sent = bytes[una..].iter_mut().filter(|byte| byte.fate == Fate::Sent);
                    sent.for_each(|byte| byte.fate = Fate::Lost);
                }
                Act::LoseNothing => {
                    board.lose_nothing();
                    let lost = bytes[una..].iter_mut().filter(|byte| byte.fate == Fate::Lost);
                    lost.for_each(|byte| byte.fate = Fate::Sent);
                }
                Act::Forget => {
                    board.forget_sacks();
                    let sacked = bytes[una..].iter_mut().filter(|byte| byte.fate == Fate::Sacked);
                    sacked.for_each(|byte| (byte.fate, byte.is_again) = (Fate::Lost, true));
                    is_forgotten = true;
                }
                Act::ResendLost(len) => {
                    let first = (una..bytes.len()).find(|at| bytes[*at].fate == Fate::Lost);
                    let lost = board.first_lost();
                    prop_assert_eq!(lost.map(|lost| lost.0), first.map(number));
                    if let Some(((start, end), first)) = lost.zip(first) {
                        let len = len.min(end.wrapping_sub(start));
                        board.resend(start, start.wrapping_add(len), now_ns);
                        for byte in &mut bytes[first..first + len as usize] {
                            prop_assert_eq!(byte.fate, Fate::Lost);
                            *byte = Byte { fate: Fate::Sent, sent_ns: now_ns, is_again: true };
                        }
                    }
                }
                Act::ResendLast(len) => {
                    let last = (una..bytes.len()).rfind(|at| bytes[*at].fate == Fate::Sent);
                    let sent = board.last_sent(len);
                    prop_assert_eq!(sent.map(|sent| sent.1), last.map(|last| number(last + 1)));
                    if let Some(((start, end), last)) = sent.zip(last) {
                        board.resend(start, end, now_ns);
                        let len = end.wrapping_sub(start) as usize;
                        for byte in &mut bytes[last + 1 - len..=last] {
                            prop_assert_eq!(byte.fate, Fate::Sent);
                            *byte = Byte { fate: Fate::Sent, sent_ns: now_ns, is_again: true };
                        }
                    }
                }
            }
            let count = |fate| bytes[una..].iter().filter(|byte| byte.fate == fate).count();
            prop_assert_eq!(board.sacked() as usize, count(Fate::Sacked));
            prop_assert_eq!(board.lost() as usize, count(Fate::Lost));
            prop_assert_eq!(board.is_empty(), una == bytes.len());
            prop_assert_eq!(board.is_reneged(), count(Fate::Sacked) > 0 && bytes[una].fate == Fate::Sacked);
            prop_assert_eq!(delivered.bytes as usize, arrived.len());
            let times = |once: bool| {
                arrived.iter().map(|at| bytes[*at]).filter(move |byte| !once || !byte.is_again)
            };
            prop_assert_eq!(delivered.first_ns, times(true).map(|byte| byte.sent_ns).min());
            if !is_forgotten {
                let last_ns = times(false).map(|byte| byte.sent_ns).max();
                prop_assert_eq!(delivered.last.map(|last| last.at_ns), last_ns);
            }
        }
    }

    #[test]
    fn the_receive_buffer_gives_what_came_in_order(
        max in prop::sample::select(vec![1u32, 30, 100, 70_000]),
        acts in prop::collection::vec(
            (0u8..4, -20i32..60, 0usize..50, any::<bool>(), any::<bool>()), 1..120
        ),
    ) {
        const LEN: usize = 300;
        let mut pool = Pool::new(1 << 20);
        let mut buffer = ReceiveBuffer::new(max, Share::NONE);
        buffer.begin(BASE);
        // What of the stream has come, and how far it is read.
        let (mut has, mut read) = (vec![false; LEN], 0);
        let byte = |at: usize| (at * 7) as u8;
        for (what, ahead, len, has_fin, is_short) in acts {
            let next = has.iter().position(|has| !has).unwrap_or(LEN);
            if what > 0 {
                let start = (next as i32 + ahead).clamp(0, LEN as i32) as usize;
                let end = (start + len).min(LEN);
                let data: Vec<u8> = (start..end).map(byte).collect();
                let edge = buffer.edge().wrapping_sub(BASE) as usize;
                let seq = BASE.wrapping_add(start as u32);
                // Only what lies in the window comes this far.
                if start <= edge && end >= next && !data.is_empty() {
                    let has_fin = has_fin && end == LEN;
                    let taken = buffer.take(seq, &data, has_fin, &mut pool);
                    prop_assert!(!taken.is_out_of_memory);
                    if !taken.is_scattered {
                        (start..end.min(edge)).for_each(|at| has[at] = true);
                    }
                }
            } else {
                let mut into = vec![0; len];
                let got = buffer.read(&mut into, &mut pool);
                prop_assert_eq!(got, len.min(next - read));
                prop_assert!(into[..got].iter().enumerate().all(|(n, had)| *had == byte(read + n)));
                read += got;
            }
            let next = has.iter().position(|has| !has).unwrap_or(LEN);
            let known = buffer.next().wrapping_sub(BASE) as usize - usize::from(buffer.has_fin());
            prop_assert_eq!(known, next);
            prop_assert_eq!(buffer.unread() as usize, next - read);
            // Ranges are what came behind the first gap, and no more.
            let mut reported = has.clone();
            reported[..next].fill(false);
            let _twice = buffer.sacks();
            let sacks = buffer.sacks();
            for (start, end) in &sacks {
                let start = start.wrapping_sub(BASE) as usize;
                let end = end.wrapping_sub(BASE) as usize;
                prop_assert!(reported[start..end].iter().all(|has| *has), "{start} {end}");
                reported[start..end].fill(false);
            }
            if sacks.len() < 4 {
                prop_assert!(!reported.contains(&true));
            }
            let edge = buffer.edge();
            let left = buffer.open(10, if is_short { 2_048 } else { u32::MAX });
            prop_assert!(buffer.edge().wrapping_sub(edge) < 1 << 31, "it never shrinks");
            let room = (read as u32 + max).saturating_sub(next as u32);
            prop_assert!(left <= room);
            if read == next && !is_short {
                prop_assert!(left > 0);
            }
        }
        buffer.clear(&mut pool);
        prop_assert_eq!(pool.bytes(), 0);
    }
}

#[test]
fn an_idle_machine_is_small() {
    assert!(size_of::<super::Machine>() <= 512);
}
