use crate::lab::packet::{STAMP_LEN, headers_len};
use crate::site::Family;
use clap::ValueEnum;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use std::fmt;
use std::str::FromStr;

/// Bytes of an Ethernet check sequence, which is in a frame's length here and not in memory.
pub const FCS_LEN: usize = 4;
/// 7 of 64 bytes, 4 of 594 and 1 of 1,518, the check sequence included: the "simple IMIX" of
/// traffic generators (TRex's `imix.py`: 60, 590, 1514 without it, 28:16:4).
const IMIX: [u16; 12] = [64, 594, 64, 64, 594, 64, 64, 594, 64, 594, 64, 1518];

/// A family, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl From<Version> for Family {
    fn from(version: Version) -> Self {
        match version {
            Version::V4 => Family::V4,
            Version::V6 => Family::V6,
        }
    }
}

/// Lengths of frames, with their check sequence, outside of the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// All the same.
    Fixed(u16),
    /// A mix: 7 of 64, 4 of 594, 1 of 1,518.
    Imix,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("imix") {
            return Ok(Size::Imix);
        }
        text.parse().map(Size::Fixed).map_err(|_| format!("{text}: expected bytes, or imix"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Size::Fixed(bytes) => write!(f, "{bytes}"),
            Size::Imix => f.write_str("IMIX"),
        }
    }
}

/// The shortest frame that carries a stamp, with its check sequence.
pub fn size_min(family: Family) -> usize {
    headers_len(family) + STAMP_LEN + FCS_LEN
}

impl Size {
    /// One turn of lengths. The 64 bytes of a mix are as many as headers and stamp take.
    pub fn turn(self, family: Family) -> Vec<usize> {
        match self {
            Size::Fixed(bytes) => vec![bytes.into()],
            Size::Imix => IMIX.iter().map(|len| usize::from(*len).max(size_min(family))).collect(),
        }
    }

    /// Bytes of a frame in the mean.
    pub fn mean(self, family: Family) -> f64 {
        let turn = self.turn(family);
        turn.iter().sum::<usize>() as f64 / turn.len().max(1) as f64
    }
}

/// How much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As much as goes.
    Max,
    /// So many a second.
    Packets(f64),
    /// Bits a second of frames, check sequence included, gaps not.
    Bits(f64),
}

impl FromStr for Pace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: expected max, or a number like 1.5M, 200kpps or 2.5Gbit");
        if text == "max" {
            return Ok(Pace::Max);
        }
        let (rest, of): (_, fn(f64) -> Pace) = match text.strip_suffix("bit") {
            Some(rest) => (rest, Pace::Bits),
            None => (text.strip_suffix("pps").unwrap_or(text), Pace::Packets),
        };
        let (rest, times) = match rest.chars().last() {
            Some('k') => (&rest[..rest.len() - 1], 1e3),
            Some('M') => (&rest[..rest.len() - 1], 1e6),
            Some('G') => (&rest[..rest.len() - 1], 1e9),
            _ => (rest, 1.0),
        };
        let number: f64 = rest.trim().parse().map_err(|_| wrong())?;
        if number.is_finite() && number > 0.0 { Ok(of(number * times)) } else { Err(wrong()) }
    }
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Clients, to Services.
    Requests,
    /// Pods, to clients that have asked before, in VXLAN.
    Replies,
    /// Clients; pods answer each packet.
    Both,
}

/// Of what traffic is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Traffic {
    /// UDP datagrams of flows that go on.
    Udp,
    /// New UDP flows of one packet (and its answer) each; the rate counts them.
    Openings,
    /// TCP connections that open and close; the rate counts them.
    Handshakes,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Close {
    /// FIN of both sides.
    Fin,
    /// The client's RST.
    Rst,
}

/// Of what arrives, how much is looked at whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// Headers, checksums and stamp of every frame; each byte, and an independent parser, of
    /// one in 64.
    Sampled,
    /// Each byte of every frame, by an independent parser, too.
    All,
}

/// A number with a prefix, 0 allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Count(pub f64);

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(Pace::Packets(number)) => Ok(Count(number)),
            _ if text == "0" => Ok(Count(0.0)),
            _ => Err(format!("{text}: expected a number like 20000, 20k or 1.5M")),
        }
    }
}

/// Reads text, or a number as text.
pub(super) fn text<'de, D: Deserializer<'de>, T: FromStr<Err = String>>(
    from: D,
) -> Result<T, D::Error> {
    struct Text<T>(std::marker::PhantomData<T>);
    impl<T: FromStr<Err = String>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number or a word")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
    }
    from.deserialize_any(Text(std::marker::PhantomData))
}
