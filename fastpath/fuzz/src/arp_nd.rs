//! Neighbors that lie: any ARP or ND packets, between questions of the
//! gateway's own.

use crate::input::Input;
use crate::journey::Script;
use crate::journey::packet::{frame, mend};
use crate::journey::step::Step;

/// Packets in one input.
const PACKETS_MAX: usize = 64;

/// Carries out an input as a list of ARP bodies and ICMPv6 messages; every
/// other one has its checksum mended and its hop limit set.
pub fn arp_nd(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let mut script = Script::new(flags & 0x1f);
    let silent = Step::Neighbors { answer: flags & 0x20 == 0 };
    script.carry_out(&silent);
    for _ in 0..PACKETS_MAX {
        if input.is_empty() {
            break;
        }
        script.carry_out(&next(&mut input));
    }
    script.finish();
}

fn next(input: &mut Input<'_>) -> Step {
    let kind = input.byte();
    let (port, queue) = (kind >> 2 & 3, kind >> 4 & 1);
    let port = port % 3;
    match kind & 3 {
        0 => {
            let mut bytes = frame(port, input.bytes(28));
            let at = bytes.len().min(if port == 2 { 18 } else { 14 });
            if at >= 14 {
                bytes[at - 2..at].copy_from_slice(&[0x08, 0x06]);
            }
            Step::Frame { port, queue, bytes }
        }
        1 => {
            let len = usize::from(input.byte() % 64);
            let addresses = input.bytes(32);
            let message = input.bytes(len);
            let mut packet = vec![0x60, 0, 0, 0, 0, message.len() as u8, 58, 255];
            packet.extend_from_slice(addresses);
            packet.resize(40, 0);
            packet.extend_from_slice(message);
            if kind & 0x20 == 0 {
                mend(&mut packet);
            }
            Step::Frame { port, queue, bytes: frame(port, &packet) }
        }
        // A packet whose next hop must be asked for.
        2 => Step::Traffic {
            queue,
            from: input.byte(),
            to: input.byte(),
            flow: input.byte(),
            flags: 2,
            len: 1,
            ttl: 64,
        },
        _ => Step::Wait { ms: u32::from(input.byte()) * 100 },
    }
}
