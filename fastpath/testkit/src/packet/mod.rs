//! The packet language: a line of text for a frame, and back.
//!
//! The grammar is described in the README of this crate.

mod bindings;
mod build;
mod checksum;
mod crc32c;
mod decode;
mod error;
mod families;
mod grammar;
mod layer;
mod literal;
mod matching;
mod protocols;
mod schema;
mod text;
mod tokens;
mod value;

pub use bindings::Bindings;
pub use error::ParseError;
pub(crate) use families::map_addresses;
pub use families::to_ip6;
pub use matching::Mismatch;
pub use value::{Mac, Sum, Value};

use std::net::IpAddr;

use layer::Layer;
use schema::Kind;

/// What lines leave unsaid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// Ethernet source of a frame.
    pub src: Mac,
    /// Ethernet destination of a frame.
    pub dst: Mac,
    /// Ethernet source of a frame inside a tunnel.
    pub inner_src: Mac,
    /// Ethernet destination of a frame inside a tunnel.
    pub inner_dst: Mac,
    /// UDP destination ports of VXLAN.
    pub vxlan_ports: Vec<u16>,
    /// An Ethernet header that a pattern leaves out must have these addresses.
    pub eth_is_checked: bool,
}

impl Defaults {
    fn addresses(&self, inner: bool) -> (Mac, Mac) {
        if inner { (self.inner_src, self.inner_dst) } else { (self.src, self.dst) }
    }
}

impl std::default::Default for Defaults {
    /// `eth 02:..:01 > 02:..:02` outside, `eth 02:..:11 > 02:..:12` inside, VXLAN on 4789.
    fn default() -> Self {
        let mac = |last: u8| Mac([2, 0, 0, 0, 0, last]);
        Defaults {
            src: mac(0x01),
            dst: mac(0x02),
            inner_src: mac(0x11),
            inner_dst: mac(0x12),
            vxlan_ports: vec![4789],
            eth_is_checked: false,
        }
    }
}

/// A line of the packet language: a packet to send, or a pattern to expect.
#[derive(Debug, Clone)]
pub struct Line {
    text: String,
    layers: Vec<Layer>,
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// The column, what was found there and what was expected.
    pub fn parse(text: &str) -> Result<Line, ParseError> {
        Ok(Line { text: text.trim().to_owned(), layers: grammar::parse(text)? })
    }

    /// Builds the frame; captures stand for what `bindings` holds.
    ///
    /// # Errors
    /// A field that a packet needs and the line does not give, a wildcard or range, an unbound
    /// capture, a packet too long for its length fields.
    pub fn build(&self, defaults: &Defaults, bindings: &Bindings) -> Result<Vec<u8>, ParseError> {
        build::frame(&self.layers, defaults, bindings)
    }

    /// Compares `frame` with the line: all that is written must be so, checksums must be right
    /// and lengths consistent. New captures are bound if everything matches.
    ///
    /// # Errors
    /// All differences.
    pub fn compare(
        &self,
        frame: &[u8],
        defaults: &Defaults,
        bindings: &mut Bindings,
    ) -> Result<(), Mismatch> {
        let differences = matching::compare(&self.layers, frame, defaults, bindings);
        if differences.is_empty() {
            return Ok(());
        }
        let actual = format_with(frame, defaults);
        Err(Mismatch { expected: self.text.clone(), actual, differences })
    }
}

/// The frame that a line describes.
///
/// # Errors
/// The column, what was found there and what was expected.
pub fn parse(line: &str, defaults: &Defaults) -> Result<Vec<u8>, ParseError> {
    Line::parse(line)?.build(defaults, &Bindings::new())
}

/// The line that describes `frame`; `parse` makes the same bytes of it, whatever they are. A wrong
/// checksum prints as `badsum(LAYER)`; bytes that are not understood print as `raw`.
pub fn format_with(frame: &[u8], defaults: &Defaults) -> String {
    text::frame(frame, defaults)
}

/// [`format_with`] the usual defaults.
pub fn format(frame: &[u8]) -> String {
    format_with(frame, &Defaults::default())
}

/// Source and destination of the outermost IP or ARP packet in `frame`.
pub fn addresses(frame: &[u8], defaults: &Defaults) -> Option<(IpAddr, IpAddr)> {
    let layers = decode::decode(frame, defaults);
    let packet = layers.iter().find(|layer| !matches!(layer.kind, Kind::Eth | Kind::Vlan))?;
    let v4 = |name: &str| packet.ip4(name).map(IpAddr::V4);
    match packet.kind {
        Kind::Ip => v4("src").zip(v4("dst")),
        Kind::ArpRequest | Kind::ArpReply => v4("spa").zip(v4("tpa")),
        Kind::Ip6 => {
            packet.ip6("src").zip(packet.ip6("dst")).map(|(src, dst)| (src.into(), dst.into()))
        }
        _ => None,
    }
}
