//! ICMP and ICMPv6 echo (RFC 792, RFC 4443 section 4.2).

use super::{LocalContext, LocalPacket, LocalService};
use crate::packet::Packet;
use crate::wire::checksum;
use crate::wire::ip::Ip;
use sluice_io::Frame;
use std::collections::VecDeque;

/// Answers that wait to be sent.
const QUEUE_MAX: usize = 256;
/// Time to live of an answer.
const TTL: u8 = 64;

/// Answers echo requests.
#[derive(Default)]
pub struct Echo {
    answers: VecDeque<Frame>,
}

impl LocalService for Echo {
    fn deliver(&mut self, packet: LocalPacket, context: &mut LocalContext<'_>) {
        let answer = match packet {
            LocalPacket::V4(packet) => answer(packet),
            LocalPacket::V6(packet) => answer(packet),
        };
        if self.answers.len() < QUEUE_MAX {
            self.answers.push_back(answer);
        } else {
            context.cache.free(answer);
        }
    }

    fn poll(&mut self, _context: &mut LocalContext<'_>) -> Option<Frame> {
        self.answers.pop_front()
    }
}

/// Turns a request into its answer, in place: the header is written anew
/// (options are not echoed), the type changes, the rest stays.
fn answer<F: Ip>(packet: Packet<F>) -> Frame {
    let mut frame = packet.frame;
    let offset = usize::from(packet.ip.l4_offset);
    let headers_fit = frame.pull_head(offset);
    debug_assert!(headers_fit);
    let len = frame.len();
    let icmp = frame.data_mut();
    let old = icmp[0];
    let new = if F::IS_V4 { 0 } else { 129 };
    icmp[0] = new;
    // The addresses change places, which leaves the pseudo header's sum alone.
    checksum::apply(icmp, 2, checksum::delta(&[old, 0], &[new, 0]));
    // Over nothing but zeros only the other zero of ones' complement is right.
    if icmp[2..4] == [0, 0] {
        icmp[2..4].copy_from_slice(&[0xff, 0xff]);
    }
    let (src, dst) = (packet.key.dst, packet.key.src);
    if let Some(header) = frame.push_head(F::HEADER_LEN) {
        F::emit(header, src, dst, F::ICMP, TTL, packet.ip.tos, len);
    }
    frame
}
