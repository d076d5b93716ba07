//! From layers to the bytes of a frame, outermost layer first.

use super::Defaults;
use super::bindings::Bindings;
use super::checksum::Ends;
use super::error::{ParseError, Result};
use super::layer::Layer;
use super::literal;
use super::protocols::{arp, data, eth, icmp, icmp6, ip, ip6, nd, sctp, tcp, udp, vxlan};
use super::schema::Kind;
use super::value::{Mac, Term, Value};

/// What a layer knows of those around it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) defaults: &'a Defaults,
    /// The addresses of the nearest IP header, for the pseudo-header.
    pub(crate) ends: Ends,
    /// The source of the nearest Ethernet header, for ARP.
    pub(crate) eth_src: Mac,
    /// What follows the packet in the innermost frame.
    pub(crate) pad: &'a [u8],
    /// Inside a tunnel.
    pub(crate) inner: bool,
}

impl Context<'_> {
    /// The default Ethernet source and destination at this depth.
    pub(crate) fn addresses(&self) -> (Mac, Mac) {
        self.defaults.addresses(self.inner)
    }
}

/// Builds the frame that `layers` describe; `bindings` stand in for captures.
pub(crate) fn frame(layers: &[Layer], defaults: &Defaults, bindings: &Bindings) -> Result<Vec<u8>> {
    let layers = resolve(layers, bindings)?;
    let (body, pad, cut) = split_tail(&layers)?;
    let body = with_eth(body);
    let pad = pad.map_or(&[][..], |pad| pad.bytes("bytes"));
    let context = Context { defaults, ends: None, eth_src: defaults.src, pad, inner: false };
    let mut frame = build(&body, &context)?;
    if let Some(cut) = cut {
        frame.truncate(cut.need_num("len")? as usize);
    }
    Ok(frame)
}

/// Builds `layers`, the first around the others.
pub(crate) fn build(layers: &[Layer], context: &Context<'_>) -> Result<Vec<u8>> {
    let Some((layer, rest)) = layers.split_first() else { return Ok(Vec::new()) };
    match layer.kind {
        Kind::Eth => eth::build(layer, rest, context),
        Kind::Vlan => eth::build_vlan(layer, rest, context),
        Kind::ArpRequest | Kind::ArpReply => {
            last(layer, rest)?;
            arp::build(layer, context)
        }
        Kind::Ip => ip::build(layer, rest, context),
        Kind::Ip6 => ip6::build(layer, rest, context),
        Kind::HopByHop | Kind::DstOptions | Kind::Routing => {
            ip6::build_extension(layer, rest, context)
        }
        Kind::Frag6 => ip6::build_fragment(layer, rest, context),
        Kind::Tcp => tcp::build(layer, rest, context),
        Kind::Udp => udp::build(layer, rest, context),
        Kind::Sctp => sctp::build(layer, rest, context),
        Kind::Chunk => sctp::build_chunk(layer, rest, context),
        Kind::Vxlan => vxlan::build(layer, rest, context),
        Kind::IcmpEcho
        | Kind::IcmpReply
        | Kind::IcmpUnreachable
        | Kind::IcmpTimeExceeded
        | Kind::IcmpOther => icmp::build(layer, rest, context),
        Kind::Icmp6Echo
        | Kind::Icmp6Reply
        | Kind::Icmp6Unreachable
        | Kind::Icmp6PacketTooBig
        | Kind::Icmp6TimeExceeded
        | Kind::Icmp6Other => icmp6::build(layer, rest, context),
        Kind::NdSolicit | Kind::NdAdvert => {
            last(layer, rest)?;
            nd::build(layer, context)
        }
        Kind::Data | Kind::Raw => data::build(layer, rest, context),
        Kind::Pad | Kind::Cut | Kind::Further => {
            let name = layer.kind.schema().name();
            Err(ParseError::new(layer.column, format!("`{name}` cannot stand here in a packet")))
        }
    }
}

/// Builds what follows an ICMP header: of a quoted packet, its `first` bytes.
pub(crate) fn build_quote(layer: &Layer, rest: &[Layer], context: &Context<'_>) -> Result<Vec<u8>> {
    let mut bytes = build(rest, &Context { ends: None, ..*context })?;
    if let Some(first) = layer.num("first") {
        bytes.truncate(first as usize);
    }
    Ok(bytes)
}

/// The error of a layer whose 16-bit length field cannot hold its length.
pub(crate) fn too_long(layer: &Layer) -> ParseError {
    let name = layer.kind.schema().name();
    ParseError::new(layer.column, format!("`{name}` gets longer than 65535 bytes; write len"))
}

fn last(layer: &Layer, rest: &[Layer]) -> Result<()> {
    match rest.first() {
        None => Ok(()),
        Some(next) => {
            let name = layer.kind.schema().name();
            Err(ParseError::new(next.column, format!("nothing can follow `{name}`")))
        }
    }
}

/// Takes `pad` and `cut` off the end.
fn split_tail(layers: &[Layer]) -> Result<(&[Layer], Option<&Layer>, Option<&Layer>)> {
    let (cut, layers) = match layers {
        [body @ .., cut] if cut.kind == Kind::Cut => (Some(cut), body),
        _ => (None, layers),
    };
    let (pad, body) = match layers {
        [body @ .., pad] if pad.kind == Kind::Pad => (Some(pad), body),
        _ => (None, layers),
    };
    if body.is_empty() {
        let column = pad.or(cut).map_or(1, |layer| layer.column);
        return Err(ParseError::new(column, "expected a layer before this one"));
    }
    Ok((body, pad, cut))
}

/// Adds the Ethernet headers that the line leaves out: the first, and after a VXLAN header.
fn with_eth(body: &[Layer]) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::with_capacity(body.len() + 2);
    for layer in body {
        let starts_frame = match layers.last() {
            None => layer.kind != Kind::Raw,
            Some(before) => {
                before.kind == Kind::Vxlan && !matches!(layer.kind, Kind::Raw | Kind::Data)
            }
        };
        if starts_frame && layer.kind != Kind::Eth {
            layers.push(Layer { column: layer.column, ..Layer::new(Kind::Eth) });
        }
        layers.push(layer.clone());
    }
    layers
}

fn resolve(layers: &[Layer], bindings: &Bindings) -> Result<Vec<Layer>> {
    let mut layers = layers.to_vec();
    for layer in &mut layers {
        let schema = layer.kind.schema();
        for field in &mut layer.fields {
            let wrong = |message: String| ParseError::new(field.column, message);
            let value = match &field.term {
                Term::Is(_) => continue,
                Term::Capture { name, .. } => bindings
                    .get(name)
                    .ok_or_else(|| wrong(format!("nothing has bound ${name} before")))?,
                Term::Any | Term::Range(..) | Term::Not(_) => {
                    return Err(wrong(format!("a packet to send needs one {} here", field.name)));
                }
            };
            let fits = schema.field(field.name).is_some_and(|s| literal::fits(value, s.syntax));
            if !fits {
                let found = describe(value);
                return Err(wrong(format!("{} cannot be the bound {found}", field.name)));
            }
            field.term = Term::Is(value.clone());
        }
    }
    Ok(layers)
}

fn describe(value: &Value) -> String {
    match value {
        Value::Num(n) => format!("number {n}"),
        Value::Mac(mac) => format!("MAC address {mac}"),
        Value::Ip4(address) => format!("address {address}"),
        Value::Ip6(address) => format!("address {address}"),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::Sum(_) => "checksum".to_owned(),
    }
}
