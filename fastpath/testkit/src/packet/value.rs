//! Values of packet fields and the terms that a line may write for them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An Ethernet address. `02:..:01` is short for `02:00:00:00:00:01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// ff:ff:ff:ff:ff:ff, written `broadcast`.
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// The group address of an IPv6 multicast destination (RFC 2464 section 7).
    pub fn of_ip6_group(group: Ipv6Addr) -> Mac {
        let o = group.octets();
        Mac([0x33, 0x33, o[12], o[13], o[14], o[15]])
    }

    /// The group address of an IPv4 multicast destination (RFC 1112 section 6.4).
    pub fn of_ip4_group(group: Ipv4Addr) -> Mac {
        let o = group.octets();
        Mac([0x01, 0x00, 0x5e, o[1] & 0x7f, o[2], o[3]])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, z] = self.0;
        if *self == Mac::BROADCAST {
            f.write_str("broadcast")
        } else if [b, c, d, e] == [0; 4] {
            write!(f, "{a:02x}:..:{z:02x}")
        } else {
            write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{z:02x}")
        }
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("expected a MAC address such as 02:00:00:00:00:01, found `{text}`");
        if text == "broadcast" {
            return Ok(Mac::BROADCAST);
        }
        let octets = |part: &str| -> Option<Vec<u8>> {
            part.split(':')
                .map(|o| (o.len() == 2).then(|| u8::from_str_radix(o, 16).ok())?)
                .collect()
        };
        let mut mac = [0; 6];
        if let Some((head, tail)) = text.split_once(":..:") {
            let (head, tail) =
                (octets(head).ok_or_else(expected)?, octets(tail).ok_or_else(expected)?);
            if head.len() + tail.len() > 5 {
                return Err(expected());
            }
            mac[..head.len()].copy_from_slice(&head);
            mac[6 - tail.len()..].copy_from_slice(&tail);
        } else {
            let all = octets(text).ok_or_else(expected)?;
            mac = all.try_into().map_err(|_| expected())?;
        }
        Ok(Mac(mac))
    }
}

/// A checksum as written or as found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sum {
    /// `badsum`: wrong. `None` is the wrong value that the builder makes by itself.
    Bad(Option<u32>),
    /// `sum 0x1234`: this value, right or not to be judged (first fragments, truncated quotes).
    Is(u32),
    /// `nosum`: UDP without a checksum.
    Absent,
}

/// The value of one field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// Numbers, single bits (0 or 1), TCP and ND flags.
    Num(u64),
    /// An Ethernet address.
    Mac(Mac),
    /// An IPv4 address.
    Ip4(Ipv4Addr),
    /// An IPv6 address.
    Ip6(Ipv6Addr),
    /// Options, payload.
    Bytes(Vec<u8>),
    /// A checksum.
    Sum(Sum),
}

/// What a line says about a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// Exactly this.
    Is(Value),
    /// `*`: anything.
    Any,
    /// `LOW..HIGH`, both included.
    Range(Value, Value),
    /// `$name`, or `$name:TERM`: bound at the first use, equal from then on.
    Capture {
        /// The name, without `$`.
        name: String,
        /// What the value must satisfy besides.
        within: Option<Box<Term>>,
    },
    /// `!TERM`: anything but this.
    Not(Box<Term>),
}

impl From<Value> for Term {
    fn from(value: Value) -> Self {
        Term::Is(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_read_and_print() {
        for text in ["02:..:01", "02:00:00:00:01:01", "broadcast", "33:33:00:00:00:01"] {
            assert_eq!(text.parse::<Mac>().unwrap().to_string(), text);
        }
        assert_eq!("02:00:00:00:00:01".parse::<Mac>().unwrap().to_string(), "02:..:01");
        assert_eq!("02:aa:..:01".parse::<Mac>().unwrap(), Mac([2, 0xaa, 0, 0, 0, 1]));
        for text in ["", "02", "02:00:00:00:00", "02:00:00:00:00:0g", "1:2:3:4:5:6", "a:..:b"] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
