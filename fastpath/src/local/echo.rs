//! ICMP and ICMPv6 echo (RFC 792, RFC 4443 section 4.2).

use super::{LocalContext, LocalPacket, LocalService};
use crate::packet::Packet;
use crate::wire::checksum;
use crate::wire::ip::{Fragment, Ip};
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
    fn deliver(
        &mut self,
        packet: LocalPacket,
        _context: &mut LocalContext<'_>,
    ) -> Result<(), Frame> {
        let answer = match packet {
            LocalPacket::V4(packet) => answer(packet),
            LocalPacket::V6(packet) => answer(packet),
        };
        if self.answers.len() >= QUEUE_MAX {
            return Err(answer);
        }
        self.answers.push_back(answer);
        Ok(())
    }

    fn poll(&mut self, _context: &mut LocalContext<'_>) -> Option<Frame> {
        self.answers.pop_front()
    }
}

/// Turns a request into its answer, in place: the header is written anew
/// (options are not echoed), the type changes, the rest stays. A fragment of a
/// request becomes the same fragment of the answer: it need not be put together,
/// since the first one's type is all that changes.
fn answer<F: Ip>(packet: Packet<F>) -> Frame {
    let mut frame = packet.frame;
    let offset = usize::from(packet.ip.l4_offset);
    if packet.ip.fragment != Fragment::Later {
        turn::<F>(&mut frame.data_mut()[offset..]);
    }
    let (src, dst, tos) = (packet.key.dst, packet.key.src, packet.ip.tos);
    let piece = F::piece(frame.data());
    let headers_fit = frame.pull_head(piece.map_or(offset, |piece| piece.header_len.into()));
    debug_assert!(headers_fit);
    let len = frame.len();
    match piece {
        Some(piece) => {
            if let Some(headers) = frame.push_head(F::FRAGMENT_HEADER_LEN) {
                F::emit_piece(headers, src, dst, TTL, tos, &piece);
            }
        }
        None => {
            if let Some(header) = frame.push_head(F::HEADER_LEN) {
                F::emit(header, src, dst, F::ICMP, TTL, tos, len);
            }
        }
    }
    frame
}

/// Makes a request's ICMP header an answer's.
fn turn<F: Ip>(icmp: &mut [u8]) {
    let Some(icmp) = icmp.first_chunk_mut::<4>() else { return };
    let old = icmp[0];
    let new = if F::IS_V4 { 0 } else { 129 };
    icmp[0] = new;
    // The addresses change places, which leaves the pseudo header's sum alone.
    checksum::apply(icmp, 2, checksum::delta(&[old, 0], &[new, 0]));
    // Over nothing but zeros only the other zero of ones' complement is right.
    if icmp[2..4] == [0, 0] {
        icmp[2..4].copy_from_slice(&[0xff, 0xff]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::PATH_MTU_MIN;
    use crate::packet::Ingress;
    use crate::time::Nanos;
    use sluice_io::{FrameCache, PortId, Umem};
    use sluice_tables::V4;

    /// An echo request to the gateway.
    fn request(cache: &mut FrameCache) -> Packet<V4> {
        let mut bytes = [0u8; 28];
        V4::emit(&mut bytes, [10, 0, 0, 1], [10, 0, 0, 2], 1, 64, 0, 8);
        bytes[20] = 8;
        let mut frame = cache.alloc().unwrap();
        assert!(frame.fill(&bytes));
        let ip = V4::parse(frame.data()).unwrap();
        let key =
            crate::flow::Key { src: ip.src, dst: ip.dst, src_port: 0, dst_port: 0, protocol: 1 };
        Packet {
            frame,
            ip: ip.header,
            key,
            hash: 0,
            ingress: Ingress::port(PortId(0)),
            candidate: 0,
            datagram: None,
        }
    }

    #[test]
    fn answers_that_wait_are_bounded_and_the_rest_comes_back() {
        let umem = Umem::new(QUEUE_MAX + 1).unwrap();
        let mut cache = FrameCache::new(&umem, QUEUE_MAX + 1);
        let mut echo = Echo::default();
        for n in 0..=QUEUE_MAX {
            let packet = LocalPacket::V4(request(&mut cache));
            let path_mtu = PATH_MTU_MIN;
            let mut context = LocalContext { now: Nanos::default(), cache: &mut cache, path_mtu };
            match echo.deliver(packet, &mut context) {
                Ok(()) => assert!(n < QUEUE_MAX),
                Err(frame) => {
                    assert_eq!(n, QUEUE_MAX);
                    cache.free(frame);
                }
            }
        }
        let path_mtu = PATH_MTU_MIN;
        let mut context = LocalContext { now: Nanos::default(), cache: &mut cache, path_mtu };
        while let Some(frame) = echo.poll(&mut context) {
            context.cache.free(frame);
        }
    }
}
