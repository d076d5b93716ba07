//! From the bytes of a frame to layers. Total: what cannot be understood becomes `raw`.

use super::Defaults;
use super::checksum::Ends;
use super::grammar::LAYERS_MAX;
use super::layer::{Layer, Note};
use super::protocols::{
    arp, data, eth, ether_type, ether_type_of, icmp, icmp6, ip, ip6, protocol, protocol_of, sctp,
    tcp, udp, vxlan,
};
use super::schema::Kind;
use super::value::{Mac, Value};
use std::net::IpAddr;

/// What the bytes ahead are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Eth,
    EtherType(u16),
    Protocol(u8),
    Vxlan,
    /// A chunk of SCTP.
    Chunk,
    /// Payload, understood as such.
    Payload,
    Unknown,
}

/// The state of decoding between two layers.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    /// What is still ahead.
    pub(crate) bytes: &'a [u8],
    pub(crate) defaults: &'a Defaults,
    /// The addresses of the nearest IP header.
    pub(crate) ends: Ends,
    /// All of the nearest IP packet is in `bytes`: it is no fragment, and not cut short.
    pub(crate) complete: bool,
    /// Inside the packet that an ICMP error quotes.
    pub(crate) in_quote: bool,
    layers: Vec<Layer>,
    next: Next,
    quote_begins: bool,
    pad: &'a [u8],
}

impl<'a> Walk<'a> {
    /// Goes on to `rest` after `layer`.
    pub(crate) fn step(&mut self, mut layer: Layer, rest: &'a [u8], next: Next) {
        layer.quoted = std::mem::take(&mut self.quote_begins);
        self.layers.push(layer);
        self.bytes = rest;
        self.next = next;
    }

    /// Goes on to the packet that the ICMP error `layer` quotes.
    pub(crate) fn step_into_quote(&mut self, mut layer: Layer, body: &'a [u8]) {
        let word = |at: usize| match body.get(at..at + 2) {
            Some(pair) => usize::from(u16::from_be_bytes([pair[0], pair[1]])),
            None => 0,
        };
        let (next, full) = match body.first().map(|first| first >> 4) {
            None => (Next::Payload, 0),
            Some(4) => (Next::EtherType(ether_type::IP), word(2)),
            Some(6) => (Next::EtherType(ether_type::IP6), word(4) + 40),
            Some(_) => (Next::Unknown, 0),
        };
        let note = if body.len() < full { Note::Plain } else { Note::Implied };
        layer.push("first", Value::Num(body.len() as u64), note);
        self.step(layer, body, next);
        self.quote_begins = true;
        self.in_quote = true;
        self.complete = true;
        self.ends = None;
    }

    /// Adds the length field of an IP header, which says `total` bytes including the
    /// `header_len` of the header; the field itself does not count the first `uncounted`.
    /// Returns the payload: bytes beyond the packet's end are padding.
    pub(crate) fn push_length(
        &mut self,
        layer: &mut Layer,
        header_len: usize,
        total: usize,
        uncounted: usize,
    ) -> &'a [u8] {
        let bytes = self.bytes;
        let mut end = bytes.len();
        let note = if total == bytes.len() {
            Note::Implied
        } else if total > bytes.len() {
            self.complete = false;
            if self.in_quote { Note::Plain } else { Note::Wrong }
        } else if total >= header_len && !self.in_quote && self.pad.is_empty() {
            end = total;
            self.set_pad(&bytes[total..]);
            Note::Implied
        } else {
            Note::Wrong
        };
        layer.push("len", Value::Num((total - uncounted) as u64), note);
        &bytes[header_len..end]
    }

    /// Everything after the packet.
    pub(crate) fn set_pad(&mut self, pad: &'a [u8]) {
        if !pad.is_empty() {
            self.pad = pad;
        }
    }

    /// The source of the nearest Ethernet header.
    pub(crate) fn eth_src(&self) -> Option<Mac> {
        self.layers.iter().rev().find(|layer| layer.kind == Kind::Eth)?.mac("src")
    }

    /// Decodes one layer; false where the bytes are not what `next` says.
    fn advance(&mut self) -> bool {
        let v6 = matches!(self.ends, Some((IpAddr::V6(_), _)));
        match self.next {
            Next::Eth => eth::decode(self),
            Next::EtherType(ether_type::VLAN) => eth::decode_vlan(self),
            Next::EtherType(ether_type::ARP) => arp::decode(self),
            Next::EtherType(ether_type::IP) | Next::Protocol(protocol::IP) => ip::decode(self),
            Next::EtherType(ether_type::IP6) | Next::Protocol(protocol::IP6) => ip6::decode(self),
            Next::Protocol(protocol::TCP) => tcp::decode(self),
            Next::Protocol(protocol::UDP) => udp::decode(self),
            Next::Protocol(protocol::SCTP) => sctp::decode(self),
            Next::Chunk => sctp::decode_chunk(self),
            Next::Protocol(protocol::ICMP) if !v6 => icmp::decode(self),
            Next::Protocol(protocol::ICMP6) if v6 => icmp6::decode(self),
            Next::Protocol(protocol::FRAGMENT) if v6 => ip6::decode_fragment(self),
            Next::Protocol(number) if v6 => match ip6::extension_kind(number) {
                Some(kind) => ip6::decode_extension(self, kind),
                None => false,
            },
            Next::Vxlan => vxlan::decode(self),
            Next::EtherType(_) | Next::Protocol(_) | Next::Payload | Next::Unknown => false,
        }
    }
}

/// Decodes `frame` into all the layers that can be told.
pub(crate) fn decode(frame: &[u8], defaults: &Defaults) -> Vec<Layer> {
    decode_at_most(frame, defaults, LAYERS_MAX - 2)
}

/// Decodes at most `limit` headers; the rest is `raw`.
pub(crate) fn decode_at_most(frame: &[u8], defaults: &Defaults, limit: usize) -> Vec<Layer> {
    let mut walk = Walk {
        bytes: frame,
        defaults,
        ends: None,
        complete: true,
        in_quote: false,
        layers: Vec::new(),
        next: Next::Eth,
        quote_begins: false,
        pad: &[],
    };
    while walk.layers.len() < limit && walk.advance() {}
    let Walk { bytes, mut layers, next, pad, .. } = walk;
    if !bytes.is_empty() || layers.is_empty() {
        let kind = if next == Next::Payload { Kind::Data } else { Kind::Raw };
        layers.push(data::decoded(kind, bytes));
    }
    imply_links(&mut layers, defaults);
    if !pad.is_empty() {
        layers.push(data::decoded(Kind::Pad, pad));
    }
    layers
}

/// Marks the fields that the builder would derive from the next layer or from the defaults.
fn imply_links(layers: &mut [Layer], defaults: &Defaults) {
    let mut inner = false;
    for i in 0..layers.len() {
        let (before, after) = layers.split_at_mut(i + 1);
        let (Some(layer), next) = (before.last_mut(), after.first().map(|next| next.kind)) else {
            return;
        };
        match layer.kind {
            Kind::Eth => {
                imply(layer, "type", ether_type_of(next).into());
                let (src, dst) = defaults.addresses(inner);
                let dst = eth::default_dst(after, dst);
                if layer.mac("src") == Some(src) && layer.mac("dst") == Some(dst) {
                    layer.imply("src");
                    layer.imply("dst");
                }
            }
            Kind::Vlan => imply(layer, "type", ether_type_of(next).into()),
            Kind::Ip => imply(layer, "proto", protocol_of(next).into()),
            Kind::Ip6 => {
                imply(layer, "hop", ip6::default_hop(next).into());
                imply(layer, "nh", protocol_of(next).into());
            }
            Kind::Vxlan => inner = true,
            _ => imply(layer, "nh", protocol_of(next).into()),
        }
    }
}

fn imply(layer: &mut Layer, name: &str, number: u64) {
    if layer.value(name) == Some(&Value::Num(number)) {
        layer.imply(name);
    }
}
