//! ICMP and ICMPv6 errors about segments that were sent (RFC 792, RFC 4443).

use super::key::Key;
use super::parse::{IpView, Malformed, TCP, fold, pseudo, sum, word};
use std::net::IpAddr;

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// What an error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// There is no way to the peer, or nobody there: protocol and port unreachable
    /// (RFC 1122 section 3.2.2.1), prohibited.
    Unreachable,
    /// Packets may have so many bytes.
    TooBig(u16),
    /// What may pass: network or host unreachable, time exceeded.
    Transient,
}

/// An error about a segment of ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IcmpError {
    pub key: Key,
    /// The sequence number of the segment.
    pub seq: u32,
    pub says: Says,
}

impl IcmpError {
    /// Reads a whole packet, from the IP header on.
    pub fn parse(packet: &[u8]) -> Result<IcmpError, Malformed> {
        let ip = IpView::parse(packet)?;
        let icmp = ip.payload;
        let header: &[u8; 8] = icmp.first_chunk().ok_or(Malformed)?;
        let (kind, code) = (header[0], header[1]);
        let (sums_to, says) = match (ip.src, ip.protocol) {
            (IpAddr::V4(_), ICMP) => {
                let says = match (kind, code) {
                    (3, 4) => Says::TooBig(word(icmp, 6)?),
                    (3, 2 | 3 | 9 | 10 | 13) => Says::Unreachable,
                    (3 | 11, _) => Says::Transient,
                    _ => return Err(Malformed),
                };
                (sum(icmp), says)
            }
            (IpAddr::V6(_), ICMPV6) => {
                let mtu = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                let says = match (kind, code) {
                    (2, _) => Says::TooBig(u16::try_from(mtu).unwrap_or(u16::MAX)),
                    (1, 1 | 4) | (4, 1) => Says::Unreachable,
                    (1 | 3 | 4, _) => Says::Transient,
                    _ => return Err(Malformed),
                };
                let ends = Key { local: ip.dst, remote: ip.src, local_port: 0, remote_port: 0 };
                (sum(icmp) + pseudo(&ends, ICMPV6, icmp.len()), says)
            }
            _ => return Err(Malformed),
        };
        if fold(sums_to) != 0xffff {
            return Err(Malformed);
        }
        let quoted = IpView::parse_quoted(&icmp[8..])?;
        let tcp: &[u8; 8] = quoted.payload.first_chunk().ok_or(Malformed)?;
        if quoted.protocol != TCP {
            return Err(Malformed);
        }
        Ok(IcmpError {
            key: Key {
                local: quoted.src,
                remote: quoted.dst,
                local_port: word(tcp, 0)?,
                remote_port: word(tcp, 2)?,
            },
            seq: u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]),
            says,
        })
    }
}
