//! MSS clamping: a connection through a tunnel is told the tunnel's size in its
//! handshake, so that its segments fit from the start.

use crate::adjacency::AdjacencyId;
use crate::core::Core;
use crate::packet::Packet;
use crate::stages::route;
use crate::wire::ip::Ip;
use crate::wire::l4::Kind;
use crate::wire::{be16, checksum, put16};
use sluice_tables::Tables;

const TCP_HEADER_LEN: u16 = 20;
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;

/// Lowers the MSS option of a SYN (or SYN-ACK) to what fits every tunnel that
/// the connection crosses.
#[cold]
pub fn clamp<F: Ip>(core: &Core, tables: &Tables, packet: &mut Packet<F>, way: AdjacencyId) {
    if packet.ip.l4.kind != Kind::Tcp {
        return;
    }
    // Where the packet came from is where its answers go.
    let back =
        packet.ingress.vtep().and_then(|vtep| route::tunnel_mtu(core, tables, vtep, F::IS_V4));
    let there = core.adjacencies.row(way).filter(|row| row.is_tunnel()).map(|row| row.mtu);
    let Some(mtu) = back.into_iter().chain(there).min() else { return };
    let mss_max = mtu.saturating_sub(F::HEADER_LEN as u16 + TCP_HEADER_LEN);
    lower(&mut packet.frame.data_mut()[usize::from(packet.ip.l4_offset)..], mss_max);
}

/// Lowers the MSS option of a TCP segment and mends its checksum.
fn lower(segment: &mut [u8], mss_max: u16) {
    let header_len = segment.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
    if header_len > segment.len() {
        return;
    }
    let mut at = usize::from(TCP_HEADER_LEN);
    while at < header_len {
        let len = match segment[at] {
            OPTION_END => return,
            OPTION_NOP => 1,
            _ if at + 1 >= header_len => return,
            _ => usize::from(segment[at + 1]),
        };
        if len == 0 || at + len > header_len {
            return;
        }
        if segment[at] == OPTION_MSS && len == 4 {
            let old = be16(segment, at + 2);
            if old > mss_max {
                put16(segment, at + 2, mss_max);
                // At an odd offset the bytes of the sum change places.
                let swap = |value: u16| if at % 2 == 0 { value } else { value.swap_bytes() };
                let (old, new) = (swap(old).to_be_bytes(), swap(mss_max).to_be_bytes());
                checksum::apply(segment, 16, checksum::delta(&old, &new));
            }
            return;
        }
        at += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(options: &[u8]) -> Vec<u8> {
        let mut segment = vec![0u8; 20];
        segment.extend_from_slice(options);
        segment[12] = (segment.len() as u8 / 4) << 4;
        let checksum = checksum::finish(0, &segment);
        put16(&mut segment, 16, checksum);
        segment
    }

    #[test]
    fn only_a_larger_mss_is_lowered_and_the_sum_stays_right() {
        for (options, at) in
            [(&[2, 4, 5, 180, 0, 0, 0, 0][..], 22), (&[1, 2, 4, 5, 180, 1, 1, 0], 23)]
        {
            let mut data = segment(options);
            lower(&mut data, 1410);
            assert_eq!(be16(&data, at), 1410);
            assert_eq!(checksum::finish(0, &data), 0);
            lower(&mut data, 1460);
            assert_eq!(be16(&data, at), 1410);
        }
    }

    #[test]
    fn broken_options_are_left_alone() {
        for options in [[2u8, 0, 0, 0], [8, 40, 0, 0], [1, 1, 1, 2], [2, 3, 5, 180]] {
            let before = segment(&options);
            let mut data = before.clone();
            lower(&mut data, 100);
            assert_eq!(data, before);
        }
    }
}
