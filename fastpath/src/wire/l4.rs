use super::be16;
use super::ip::{Fragment, Ip};
use super::sctp::{self, Chunk};
use crate::reason::DropReason;

/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of SCTP.
pub const SCTP: u8 = 132;

/// TCP flag bits (RFC 9293 section 3.1).
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment field is valid.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is valid.
    pub const URG: u8 = 0x20;
}

/// What kind of transport packet it is, as far as flows care.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// No ports: a flow is a pair of addresses and a protocol.
    #[default]
    Other,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP, by the chunk that tells most.
    Sctp(Chunk),
    /// ICMP echo request: the identifier stands for both ports.
    EchoRequest,
    /// ICMP echo reply.
    EchoReply,
    /// An ICMP error, or a redirect: it speaks of the packet that it quotes.
    IcmpError,
    /// ICMP of another type.
    IcmpOther,
}

/// The transport header, as far as flows care.
#[derive(Clone, Copy, Debug, Default)]
pub struct L4 {
    /// What it is.
    pub kind: Kind,
    /// TCP flags; 0 otherwise.
    pub tcp_flags: u8,
    /// Source port, or the ICMP echo identifier; 0 otherwise.
    pub src_port: u16,
    /// Destination port, or the ICMP echo identifier; 0 otherwise.
    pub dst_port: u16,
}

/// Parses a transport header into `l4`, and checks that it is possible. `data` is the
/// rest of the packet; of a first fragment it may be less than what the header says.
///
/// What is in `l4` before is nothing, and counts after an error as little. (Not returned:
/// a value in a `Result` is moved through memory in pieces, which costs more than to parse
/// it.)
///
/// # Errors
/// `BadL4Header`, `BadTcpFlags`, `TinyFragment`.
#[inline(always)]
pub fn parse<F: Ip>(
    protocol: u8,
    data: &[u8],
    fragment: Fragment,
    l4: &mut L4,
) -> Result<(), DropReason> {
    match protocol {
        TCP => {
            let Some(header) = data.first_chunk::<20>() else { return Err(cut_tcp(fragment)) };
            let header_len = usize::from(header[12] >> 4) * 4;
            if header_len < 20 {
                return Err(DropReason::BadL4Header);
            }
            if header_len > data.len() {
                return Err(cut_tcp(fragment));
            }
            l4.kind = Kind::Tcp;
            l4.tcp_flags = header[13] & 0x3f;
            if !flags_are_possible(l4.tcp_flags) {
                return Err(DropReason::BadTcpFlags);
            }
            (l4.src_port, l4.dst_port) = (be16(header, 0), be16(header, 2));
        }
        UDP => {
            let Some(header) = data.first_chunk::<8>() else {
                return Err(DropReason::BadL4Header);
            };
            let len = usize::from(be16(header, 4));
            if len < 8 || (fragment == Fragment::Whole && len > data.len()) {
                return Err(DropReason::BadL4Header);
            }
            l4.kind = Kind::Udp;
            (l4.src_port, l4.dst_port) = (be16(header, 0), be16(header, 2));
        }
        SCTP => {
            l4.kind = Kind::Sctp(sctp::parse(data, fragment)?);
            (l4.src_port, l4.dst_port) = (be16(data, 0), be16(data, 2));
        }
        _ if protocol == F::ICMP => {
            let Some(header) = data.first_chunk::<8>() else {
                return Err(DropReason::BadL4Header);
            };
            l4.kind = icmp_kind(F::IS_V4, header[0]);
            if matches!(l4.kind, Kind::EchoRequest | Kind::EchoReply) {
                let id = be16(header, 4);
                (l4.src_port, l4.dst_port) = (id, id);
            }
        }
        _ => {}
    }
    Ok(())
}

/// Why TCP that does not hold its header is dropped: in a first fragment, the
/// rest would come in another, unseen (RFC 1858 section 3).
#[cold]
fn cut_tcp(fragment: Fragment) -> DropReason {
    match fragment {
        Fragment::First => DropReason::TinyFragment,
        _ => DropReason::BadL4Header,
    }
}

/// Checks a later fragment, `offset` bytes into the packet: none may put
/// another header over the one that was judged (RFC 1858 section 4.2,
/// RFC 3128), nor another first chunk.
///
/// # Errors
/// `TinyFragment`.
pub fn check_later(protocol: u8, offset: u16) -> Result<(), DropReason> {
    match matches!(protocol, TCP | SCTP) && offset == 8 {
        true => Err(DropReason::TinyFragment),
        false => Ok(()),
    }
}

/// The combinations that Linux's `nf_conntrack_proto_tcp` accepts
/// (`tcp_valid_flags`); PSH and URG do not matter unless all bits are set.
#[inline]
fn flags_are_possible(bits: u8) -> bool {
    use flags::{ACK, FIN, PSH, RST, SYN, URG};
    if bits == FIN | SYN | RST | PSH | ACK | URG {
        return false;
    }
    let bits = bits & (FIN | SYN | RST | ACK);
    matches!(bits, SYN | RST | ACK) || bits == SYN | ACK || bits == RST | ACK || bits == FIN | ACK
}

/// What an ICMP or ICMPv6 type is, as far as flows care.
#[inline]
pub fn icmp_kind(v4: bool, icmp_type: u8) -> Kind {
    match (v4, icmp_type) {
        (true, 8) | (false, 128) => Kind::EchoRequest,
        (true, 0) | (false, 129) => Kind::EchoReply,
        // Over IPv6 by the high bit (RFC 4443 section 2.1), known or not; and
        // Redirect, which is answered with an error as little (section 2.4 e.2).
        (true, 3 | 4 | 5 | 11 | 12) | (false, 0..=127 | 137) => Kind::IcmpError,
        _ => Kind::IcmpOther,
    }
}

/// Offset of the checksum field inside a transport header that has one over
/// the addresses; `None` where a NAT need not update anything.
#[inline]
pub fn checksum_offset<F: Ip>(protocol: u8) -> Option<usize> {
    match protocol {
        TCP => Some(16),
        UDP => Some(6),
        _ if protocol == F::ICMP && !F::IS_V4 => Some(2),
        _ => None,
    }
}

const _: () = assert!(size_of::<L4>() == 6);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_combinations_are_those_that_linux_accepts() {
        use flags::*;
        for good in
            [SYN, SYN | ACK, ACK, ACK | PSH, FIN | ACK, RST, RST | ACK, SYN | URG, ACK | URG]
        {
            assert!(flags_are_possible(good), "{good:#x}");
        }
        for bad in [0, FIN, SYN | FIN, SYN | RST, FIN | RST, PSH, URG, 0x3f, FIN | PSH | URG] {
            assert!(!flags_are_possible(bad), "{bad:#x}");
        }
    }
}
