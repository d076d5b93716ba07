use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use thiserror::Error;

/// The source port of a packet whose own is not told: the first of those that clients
/// take (RFC 6335 section 6).
pub const SOURCE_PORT: u16 = 49_152;

/// The packet that is asked about, as its sender sends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FlowTuple {
    /// Who sends it.
    pub source: IpAddr,
    /// From which port; `None`: not told, or there is none.
    pub source_port: Option<u16>,
    /// To whom.
    pub destination: IpAddr,
    /// To which port; 0 of ICMP.
    pub port: u16,
    /// How.
    pub protocol: Protocol,
}

/// What can be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A SYN.
    Tcp,
    /// A datagram.
    Udp,
    /// An INIT.
    Sctp,
    /// An echo request of the addresses' family.
    Icmp,
}

/// A text that says no packet.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{what}; expected '10.1.2.3:4000 -> 10.96.0.10:80/tcp', \
         '[2001:db8::1]:4000 -> [fd00::10]:80/tcp' or '10.1.2.3 -> 10.96.0.10/icmp' \
         (tcp, udp, sctp, icmp; the source port may be left out)"
)]
pub struct BadTuple {
    what: String,
}

impl FlowTuple {
    /// IP protocol number.
    pub fn protocol_number(&self) -> u8 {
        match self.protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
            Protocol::Icmp if self.source.is_ipv4() => 1,
            Protocol::Icmp => 58,
        }
    }

    /// Its protocol, as it is written.
    pub fn protocol_text(&self) -> &'static str {
        match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
            Protocol::Icmp if self.source.is_ipv4() => "icmp",
            Protocol::Icmp => "icmpv6",
        }
    }
}

impl FromStr for FlowTuple {
    type Err = BadTuple;

    fn from_str(text: &str) -> Result<Self, BadTuple> {
        let bad = |what: String| BadTuple { what };
        let Some((source, rest)) = text.split_once("->") else {
            return Err(bad(format!("{text:?} has no '->' between source and destination")));
        };
        let Some((destination, protocol)) = rest.rsplit_once('/') else {
            return Err(bad(format!("{:?} has no '/PROTOCOL' at its end", rest.trim())));
        };
        let name = protocol.trim();
        let (protocol, is_v6_only) = match name.to_ascii_lowercase().as_str() {
            "tcp" => (Protocol::Tcp, false),
            "udp" => (Protocol::Udp, false),
            "sctp" => (Protocol::Sctp, false),
            "icmp" => (Protocol::Icmp, false),
            "icmpv6" => (Protocol::Icmp, true),
            _ => return Err(bad(format!("{name:?} is no protocol that can be asked about"))),
        };
        let (source, source_port) = end("source", source)?;
        let (destination, port) = end("destination", destination)?;
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(bad(format!("{source} and {destination} are not of one family")));
        }
        if is_v6_only && source.is_ipv4() {
            return Err(bad(format!("icmpv6 does not go from {source}")));
        }
        let port = match (protocol, port) {
            (Protocol::Icmp, None) if source_port.is_none() => 0,
            (Protocol::Icmp, _) => return Err(bad("ICMP has no ports".to_owned())),
            (_, Some(port)) => port,
            (_, None) => return Err(bad(format!("the destination {destination} lacks its port"))),
        };
        Ok(FlowTuple { source, source_port, destination, port, protocol })
    }
}

/// An address, with or without a port.
fn end(which: &str, text: &str) -> Result<(IpAddr, Option<u16>), BadTuple> {
    let text = text.trim();
    if let Ok(whole) = text.parse::<SocketAddr>() {
        return Ok((whole.ip(), Some(whole.port())));
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let addr = bare.parse();
    let what = || format!("the {which} {text:?} is neither ADDRESS nor ADDRESS:PORT");
    Ok((addr.map_err(|_| BadTuple { what: what() })?, None))
}

impl fmt::Display for FlowTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source_port {
            Some(port) => write!(f, "{} -> ", SocketAddr::new(self.source, port))?,
            None => write!(f, "{} -> ", self.source)?,
        }
        match self.protocol {
            Protocol::Icmp => write!(f, "{}", self.destination)?,
            _ => write!(f, "{}", SocketAddr::new(self.destination, self.port))?,
        }
        write!(f, "/{}", self.protocol_text())
    }
}

impl TryFrom<String> for FlowTuple {
    type Error = BadTuple;

    fn try_from(text: String) -> Result<Self, BadTuple> {
        text.parse()
    }
}

impl From<FlowTuple> for String {
    fn from(tuple: FlowTuple) -> String {
        tuple.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_read_and_written() {
        for (text, written) in [
            ("10.1.2.3:4000 -> 10.96.0.10:80/tcp", "10.1.2.3:4000 -> 10.96.0.10:80/tcp"),
            ("10.1.2.3->10.96.0.10:53/UDP", "10.1.2.3 -> 10.96.0.10:53/udp"),
            ("  10.1.2.3:1  ->10.96.0.10:9/ sctp ", "10.1.2.3:1 -> 10.96.0.10:9/sctp"),
            ("10.1.2.3 -> 10.96.0.10/icmp", "10.1.2.3 -> 10.96.0.10/icmp"),
            ("[2001:db8::1]:4000 -> [fd00::10]:80/tcp", "[2001:db8::1]:4000 -> [fd00::10]:80/tcp"),
            ("2001:db8::1 -> [fd00::10]:80/udp", "2001:db8::1 -> [fd00::10]:80/udp"),
            ("[2001:db8::1] -> fd00::10/icmp", "2001:db8::1 -> fd00::10/icmpv6"),
            ("2001:db8::1 -> [fd00::10]/icmpv6", "2001:db8::1 -> fd00::10/icmpv6"),
        ] {
            let tuple: FlowTuple = text.parse().unwrap();
            assert_eq!(tuple.to_string(), written, "{text}");
            assert_eq!(written.parse(), Ok(tuple), "{text}");
        }
        let v6: FlowTuple = "::2 -> ::1/icmp".parse().unwrap();
        assert_eq!((v6.protocol_number(), v6.port), (58, 0));
    }

    #[test]
    fn what_is_none_is_refused_with_an_example() {
        for (text, why) in [
            ("", "has no '->'"),
            ("10.1.2.3:4000", "has no '->'"),
            ("10.1.2.3 -> 10.96.0.10:80", "has no '/PROTOCOL'"),
            ("10.1.2.3 -> 10.96.0.10:80/gre", "\"gre\" is no protocol"),
            ("10.1.2.3 -> 10.96.0.10/tcp", "lacks its port"),
            ("10.1.2.3 -> 10.96.0.10:70000/tcp", "\"10.96.0.10:70000\" is neither"),
            ("10.1.2.256 -> 10.96.0.10:80/tcp", "the source \"10.1.2.256\" is neither"),
            ("fd00::1:80 -> 10.96.0.10:80/tcp", "not of one family"),
            ("10.1.2.3 -> 10.96.0.10:80/icmp", "ICMP has no ports"),
            ("10.1.2.3:7 -> 10.96.0.10/icmp", "ICMP has no ports"),
            ("10.1.2.3 -> 10.96.0.10/icmpv6", "icmpv6 does not go from 10.1.2.3"),
            ("web -> 10.96.0.10:80/tcp", "\"web\" is neither"),
        ] {
            let error = text.parse::<FlowTuple>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(error.contains("expected '10.1.2.3:4000 -> 10.96.0.10:80/tcp'"), "{error}");
        }
    }
}
