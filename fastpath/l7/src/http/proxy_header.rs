//! The header with which a proxy begins a connection (HAProxy, "The PROXY protocol"): that of
//! one in front, version 1 or 2, and the gateway's own to endpoints, version 2.

use arrayvec::ArrayVec;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of a line of version 1, its line break included (section 2.1).
const LINE_MAX: usize = 107;

/// How version 2 begins (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of version 2 before its addresses.
const FIXED: usize = 16;

/// Bytes of addresses and of what is told beside them.
const REST_MAX: usize = 4 << 10;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Its bytes.
    pub(super) len: usize,
    /// For whom the proxy speaks: the client, and the address that it has asked for.
    /// `None`: for itself.
    pub(super) ends: Option<(SocketAddr, SocketAddr)>,
}

/// It is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotAHeader;

/// Reads what a connection begins with. `None`: it is not whole yet.
///
/// # Errors
/// It is no header.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, NotAHeader> {
    let begins = |what: &[u8]| bytes.iter().zip(what).all(|(a, b)| a == b);
    if begins(SIGNATURE) {
        return version_2(bytes);
    }
    if !begins(b"PROXY ") {
        return Err(NotAHeader);
    }
    let line = &bytes[..bytes.len().min(LINE_MAX)];
    match line.iter().position(|byte| *byte == b'\n') {
        Some(end) => version_1(&line[..end]).map(|ends| Some(Header { len: end + 1, ends })),
        None if line.len() == LINE_MAX => Err(NotAHeader),
        None => Ok(None),
    }
}

type Ends = Option<(SocketAddr, SocketAddr)>;

fn version_1(line: &[u8]) -> Result<Ends, NotAHeader> {
    let line = std::str::from_utf8(line).ok().and_then(|line| line.strip_suffix('\r'));
    let mut words = line.and_then(|line| line.strip_prefix("PROXY ")).ok_or(NotAHeader)?.split(' ');
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(None);
    }
    let (Some(from), Some(to), Some(from_port), Some(to_port), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Err(NotAHeader);
    };
    let addr = |text: &str| match family {
        Some("TCP4") => text.parse().map(IpAddr::V4).map_err(|_| NotAHeader),
        Some("TCP6") => text.parse().map(IpAddr::V6).map_err(|_| NotAHeader),
        _ => Err(NotAHeader),
    };
    let from = SocketAddr::new(addr(from)?, port(from_port)?);
    Ok(Some((from, SocketAddr::new(addr(to)?, port(to_port)?))))
}

/// Digits without zeros before them (section 2.1).
fn port(text: &str) -> Result<u16, NotAHeader> {
    let is_right =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_right).ok_or(NotAHeader)
}

fn version_2(bytes: &[u8]) -> Result<Option<Header>, NotAHeader> {
    let Some([version, family, high, low]) = bytes.get(12..FIXED) else {
        return Ok(None);
    };
    let rest = usize::from(u16::from_be_bytes([*high, *low]));
    if rest > REST_MAX {
        return Err(NotAHeader);
    }
    let len = FIXED + rest;
    let Some(rest) = bytes.get(FIXED..len) else {
        return Ok(None);
    };
    let ends = match (version, family) {
        // It speaks for itself, as health checks do: whatever follows says nothing.
        (0x20, _) => None,
        (0x21, 0x11) => Some(ends::<4>(rest, |octets| Ipv4Addr::from(octets).into())?),
        (0x21, 0x21) => Some(ends::<16>(rest, |octets| Ipv6Addr::from(octets).into())?),
        // Another kind of address, which is nobody's that is known here: none at all, that of
        // a datagram, or of a Unix socket. It is as if the proxy spoke for itself.
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => None,
        _ => return Err(NotAHeader),
    };
    Ok(Some(Header { len, ends }))
}

/// Two addresses and two ports.
fn ends<const N: usize>(
    bytes: &[u8],
    addr: impl Fn([u8; N]) -> IpAddr,
) -> Result<(SocketAddr, SocketAddr), NotAHeader> {
    let (from, rest) = bytes.split_first_chunk::<N>().ok_or(NotAHeader)?;
    let (to, rest) = rest.split_first_chunk::<N>().ok_or(NotAHeader)?;
    let (from_port, rest) = rest.split_first_chunk::<2>().ok_or(NotAHeader)?;
    let (to_port, _) = rest.split_first_chunk::<2>().ok_or(NotAHeader)?;
    let end = |octets: &[u8; N], port: &[u8; 2]| {
        SocketAddr::new(addr(*octets), u16::from_be_bytes(*port))
    };
    Ok((end(from, from_port), end(to, to_port)))
}

/// Bytes of the longest header that is written: with addresses of IPv6.
const WRITTEN_MAX: usize = FIXED + 36;

/// The header of a connection that speaks for a client, by the ends of the client's.
pub(crate) fn write((client, local): (SocketAddr, SocketAddr)) -> ArrayVec<u8, WRITTEN_MAX> {
    let mut header = ArrayVec::new();
    header.extend(*SIGNATURE);
    match (client.ip().to_canonical(), local.ip().to_canonical()) {
        (IpAddr::V4(client), IpAddr::V4(local)) => {
            header.extend([0x21, 0x11, 0, 12]);
            header.extend(client.octets().into_iter().chain(local.octets()));
        }
        (client, local) => {
            header.extend([0x21, 0x21, 0, 36]);
            // Of two families, one is told in the other.
            let [client, local] = [client, local].map(|addr| match addr {
                IpAddr::V4(addr) => addr.to_ipv6_mapped().octets(),
                IpAddr::V6(addr) => addr.octets(),
            });
            header.extend(client.into_iter().chain(local));
        }
    }
    header.extend([client.port(), local.port()].into_iter().flat_map(u16::to_be_bytes));
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends_of(from: &str, to: &str) -> Ends {
        Some((from.parse().unwrap(), to.parse().unwrap()))
    }

    /// Every beginning of a header is one that is not whole, and what follows one is not
    /// looked at.
    #[track_caller]
    fn is_header(bytes: &[u8], ends: Ends) {
        for at in 0..bytes.len() {
            assert_eq!(parse(&bytes[..at]), Ok(None), "{at}");
        }
        let header = Header { len: bytes.len(), ends };
        assert_eq!(parse(bytes), Ok(Some(header)));
        assert_eq!(parse(&[bytes, b"GET / HTTP/1.1\r\n"].concat()), Ok(Some(header)));
    }

    #[test]
    fn version_1_is_a_line() {
        is_header(
            b"PROXY TCP4 192.0.2.1 10.0.0.1 40000 443\r\n",
            ends_of("192.0.2.1:40000", "10.0.0.1:443"),
        );
        is_header(
            b"PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n",
            ends_of("[2001:db8::1]:0", "[2001:db8::2]:65535"),
        );
        is_header(b"PROXY UNKNOWN\r\n", None);
        is_header(b"PROXY UNKNOWN ff:: ff:: 1 2\r\n", None);
        let most = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_MAX - 16));
        is_header(most.as_bytes(), None);
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 40000\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 40000 443 1\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 40000 443\n",
            "PROXY TCP4 192.0.2.1  10.0.0.1 40000 443\r\n",
            "PROXY TCP4 192.0.2.01 10.0.0.1 40000 443\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
            "PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 +1 443\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 01 443\r\n",
            "PROXY TCP5 192.0.2.1 10.0.0.1 1 443\r\n",
            "PROXY \r\n",
            "proxy UNKNOWN\r\n",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(NotAHeader), "{line}");
        }
        let long = format!("PROXY UNKNOWN {}", "x".repeat(LINE_MAX));
        assert_eq!(parse(long.as_bytes()), Err(NotAHeader));
    }

    /// A header of version 2.
    fn binary(version: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = [&SIGNATURE[..], &[version, family]].concat();
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    #[test]
    fn version_2_is_binary() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x9c, 0x40, 1, 187];
        is_header(&binary(0x21, 0x11, &v4), ends_of("192.0.2.1:40000", "10.0.0.1:443"));
        // What is told beside the addresses.
        let more = [&v4[..], &[4, 0, 1, 7]].concat();
        is_header(&binary(0x21, 0x11, &more), ends_of("192.0.2.1:40000", "10.0.0.1:443"));
        let mut v6 = [0; 36];
        (v6[0], v6[15], v6[31], v6[33], v6[35]) = (0x20, 1, 2, 3, 4);
        is_header(&binary(0x21, 0x21, &v6), ends_of("[2000::1]:3", "[::2]:4"));
        is_header(&binary(0x20, 0x11, &v4), None);
        is_header(&binary(0x20, 0, &[]), None);
        for family in [0, 0x12, 0x22, 0x31, 0x32] {
            is_header(&binary(0x21, family, &[]), None);
            is_header(&binary(0x21, family, &[0; 216]), None);
        }
        is_header(&binary(0x20, 0, &[7; REST_MAX]), None);
    }

    #[test]
    fn what_is_no_version_2_is_refused() {
        for (version, family, rest) in [
            (0x11, 0x11, &[0; 12][..]),
            (0x22, 0x11, &[0; 12]),
            (0x21, 0x13, &[0; 12]),
            (0x21, 0x10, &[0; 12]),
            (0x21, 0x01, &[]),
            (0x21, 0x41, &[0; 216]),
            (0x21, 0x11, &[0; 11]),
            (0x21, 0x21, &[0; 35]),
            (0x20, 0, &[0; REST_MAX + 1]),
        ] {
            assert_eq!(parse(&binary(version, family, rest)), Err(NotAHeader), "{version}");
        }
        let mut wrong = binary(0x20, 0, &[]);
        wrong[11] = b'\r';
        assert_eq!(parse(&wrong), Err(NotAHeader));
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let v4 = ("192.0.2.1:40000", "10.0.0.1:80");
        let v6 = ("[2001:db8::1]:40000", "[fd00::1]:443");
        let mapped = ("[::ffff:192.0.2.1]:40000", "[::ffff:10.0.0.1]:80");
        let mixed = ("192.0.2.1:40000", "[fd00::1]:443");
        let mixed_read = ("[::ffff:192.0.2.1]:40000", "[fd00::1]:443");
        for (ends, read, len) in
            [(v4, v4, 28), (v6, v6, 52), (mapped, v4, 28), (mixed, mixed_read, 52)]
        {
            let of = |(client, local): (&str, &str)| {
                (client.parse::<SocketAddr>().unwrap(), local.parse::<SocketAddr>().unwrap())
            };
            let written = write(of(ends));
            let header = parse(&written).unwrap().unwrap();
            assert_eq!(header, Header { len, ends: Some(of(read)) });
        }
        assert_eq!(
            write((v4.0.parse().unwrap(), v4.1.parse().unwrap()))[12..16],
            [0x21, 0x11, 0, 12]
        );
    }
}
