//! The tuple of a packet that may be broken in any way: what is told of it is as
//! much as its bytes say.

use crate::wire::ip::Ip;
use crate::wire::l4::{self, Kind};
use crate::wire::{be16, ethernet};
use sluice_tables::{Tuple, V4, V6};

/// Bytes of IPv6's fixed header, and its number of the fragment header.
const V6_HEADER_LEN: usize = 40;
const V6_FRAGMENT: u8 = 44;

/// The tuple of an IP packet. `None` when it is cut in its fixed header, or is none.
pub fn tuple(data: &[u8]) -> Option<Tuple> {
    match data.first()? >> 4 {
        4 => quoted::<V4>(data).or_else(|| fixed_v4(data)),
        6 => quoted::<V6>(data).or_else(|| fixed_v6(data)),
        _ => None,
    }
}

/// The tuple of the IP packet in a frame, and where the packet begins.
pub fn framed(data: &[u8]) -> Option<(Tuple, usize)> {
    let header = ethernet::parse(data).ok()?;
    let is_ip = matches!(header.ethertype, ethernet::IPV4 | ethernet::IPV6);
    let tuple = tuple(data.get(header.len..)?).filter(|_| is_ip)?;
    Some((tuple, header.len))
}

fn quoted<F: Ip>(data: &[u8]) -> Option<Tuple> {
    let quoted = F::quoted(data)?;
    let header = data.get(quoted.l4_offset..).unwrap_or_default();
    let (src_port, dst_port) = ports::<F>(quoted.protocol, header);
    let (src, dst) = (F::to_ip(quoted.src), F::to_ip(quoted.dst));
    Some(Tuple { src, dst, src_port, dst_port, protocol: quoted.protocol })
}

fn ports<F: Ip>(protocol: u8, header: &[u8]) -> (u16, u16) {
    match (protocol, header) {
        (l4::TCP | l4::UDP | l4::SCTP, [_, _, _, _, ..]) => (be16(header, 0), be16(header, 2)),
        (_, [kind, _, _, _, _, _, ..]) if protocol == F::ICMP => {
            match l4::icmp_kind(F::IS_V4, *kind) {
                Kind::EchoRequest | Kind::EchoReply => (be16(header, 4), be16(header, 4)),
                _ => (0, 0),
            }
        }
        _ => (0, 0),
    }
}

/// A later fragment, or a header whose length is impossible.
fn fixed_v4(data: &[u8]) -> Option<Tuple> {
    let header = data.first_chunk::<20>()?;
    let addr = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]].into();
    Some(Tuple { src: addr(12), dst: addr(16), src_port: 0, dst_port: 0, protocol: header[9] })
}

/// A later fragment, or extension headers that cannot be walked.
fn fixed_v6(data: &[u8]) -> Option<Tuple> {
    let header = data.first_chunk::<V6_HEADER_LEN>()?;
    let addr = |at: usize| {
        let mut addr = [0; 16];
        addr.copy_from_slice(&header[at..at + 16]);
        addr.into()
    };
    let protocol = match (header[6], data.get(V6_HEADER_LEN)) {
        (V6_FRAGMENT, Some(&next)) => next,
        (next, _) => next,
    };
    Some(Tuple { src: addr(8), dst: addr(24), src_port: 0, dst_port: 0, protocol })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(protocol: u8, l4: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 20];
        V4::emit(&mut packet, [10, 0, 0, 2], [10, 0, 0, 3], protocol, 64, 0, l4.len());
        packet.extend(l4);
        packet
    }

    fn v6(protocol: u8, l4: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 40];
        let (mut src, mut dst) = ([0; 16], [0; 16]);
        (src[0], src[15], dst[0], dst[15]) = (0xfd, 2, 0xfd, 3);
        V6::emit(&mut packet, src, dst, protocol, 64, 0, l4.len());
        packet.extend(l4);
        packet
    }

    fn of(protocol: u8, ports: (u16, u16), is_v4: bool) -> Option<Tuple> {
        let (src, dst) = if is_v4 { ("10.0.0.2", "10.0.0.3") } else { ("fd00::2", "fd00::3") };
        let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
        Some(Tuple { src, dst, src_port: ports.0, dst_port: ports.1, protocol })
    }

    #[test]
    fn what_the_bytes_say_is_told_of_whole_and_of_broken_packets() {
        let ports = [0x9c, 0x40, 0, 80, 1, 2, 3, 4];
        for protocol in [l4::TCP, l4::UDP, l4::SCTP] {
            assert_eq!(tuple(&v4(protocol, &ports)), of(protocol, (40_000, 80), true));
            assert_eq!(tuple(&v6(protocol, &ports)), of(protocol, (40_000, 80), false));
            assert_eq!(tuple(&v4(protocol, &ports[..3])), of(protocol, (0, 0), true), "cut");
        }
        assert_eq!(tuple(&v4(1, &[8, 0, 0, 0, 1, 2])), of(1, (258, 258), true));
        assert_eq!(tuple(&v6(58, &[128, 0, 0, 0, 1, 2])), of(58, (258, 258), false));
        assert_eq!(tuple(&v4(1, &[3, 0, 0, 0, 1, 2])), of(1, (0, 0), true), "an error");
        let mut later = v4(l4::UDP, &ports);
        later[7] = 1;
        assert_eq!(tuple(&later), of(l4::UDP, (0, 0), true), "a later fragment");
        let later = v6(V6_FRAGMENT, &[l4::UDP, 0, 0, 8, 0, 0, 0, 1, 9, 9, 9, 9]);
        assert_eq!(tuple(&later), of(l4::UDP, (0, 0), false), "a later fragment");
    }

    #[test]
    fn no_bytes_make_it_fail() {
        for whole in [v4(l4::TCP, &[1; 20]), v6(0, &[0, 0, 0, 0, 0, 0, 0, 0, 43, 0])] {
            for len in 0..whole.len() {
                assert_eq!(
                    tuple(&whole[..len]).is_some(),
                    len >= if whole[0] == 0x45 { 20 } else { 40 }
                );
                for value in [0, 0x4f, 0x60, 0xff] {
                    let mut broken = whole.clone();
                    broken[len] = value;
                    let _ = (tuple(&broken), framed(&broken));
                }
            }
        }
        assert_eq!(framed(&[0; 13]), None);
    }
}
