//! The shape of every layer: its words, fields, defaults. Parser, formatter and matcher all
//! follow this one description; only the bytes are each protocol's own affair.

use super::protocols;

/// A kind of layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Eth,
    Vlan,
    ArpRequest,
    ArpReply,
    Ip,
    Ip6,
    HopByHop,
    DstOptions,
    Routing,
    Frag6,
    Tcp,
    Udp,
    Sctp,
    /// A chunk of SCTP.
    Chunk,
    Vxlan,
    IcmpEcho,
    IcmpReply,
    IcmpUnreachable,
    IcmpTimeExceeded,
    IcmpOther,
    Icmp6Echo,
    Icmp6Reply,
    Icmp6Unreachable,
    Icmp6PacketTooBig,
    Icmp6TimeExceeded,
    Icmp6Other,
    NdSolicit,
    NdAdvert,
    /// Payload.
    Data,
    /// Bytes that nothing here understands.
    Raw,
    /// Bytes after the end of the innermost Ethernet frame's packet.
    Pad,
    /// An instruction: truncate the frame.
    Cut,
    /// `*`: any further layers, in patterns.
    Further,
}

impl Kind {
    /// Whether the layer quotes the packet that it is about.
    pub(crate) fn quotes(self) -> bool {
        matches!(
            self,
            Kind::IcmpUnreachable
                | Kind::IcmpTimeExceeded
                | Kind::Icmp6Unreachable
                | Kind::Icmp6PacketTooBig
                | Kind::Icmp6TimeExceeded
        )
    }

    /// The layer's description.
    pub(crate) fn schema(self) -> &'static Schema {
        SCHEMAS.iter().copied().find(|schema| schema.kind == self).unwrap_or(&protocols::data::RAW)
    }
}

/// How a field is written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Syntax {
    /// A number up to `max`, decimal or 0x; `hex` is how it prints.
    Num {
        max: u64,
        hex: bool,
    },
    /// A number or one of these names.
    Code(&'static [(u64, &'static str)]),
    /// A keyword without value; `no-KEYWORD` is the opposite.
    Flag,
    Mac,
    Ip4,
    Ip6,
    /// `0xHEX`, `HEX`, or `N*0xHH`.
    Bytes,
    /// As `Bytes` (with 0x), or `"text"`, `N`, `N@OFFSET`.
    Payload,
    /// Letters of `SFRPUEWNA`, `-` for none.
    TcpFlags,
    /// Letters of `RSO`, `-` for none.
    NdFlags,
}

pub(crate) const U3: Syntax = Syntax::Num { max: 7, hex: false };
pub(crate) const U4: Syntax = Syntax::Num { max: 15, hex: false };
pub(crate) const U8: Syntax = Syntax::Num { max: u8::MAX as u64, hex: false };
pub(crate) const U12: Syntax = Syntax::Num { max: 0xfff, hex: false };
pub(crate) const U16: Syntax = Syntax::Num { max: u16::MAX as u64, hex: false };
pub(crate) const U24: Syntax = Syntax::Num { max: 0xff_ffff, hex: false };
pub(crate) const U32: Syntax = Syntax::Num { max: u32::MAX as u64, hex: false };
pub(crate) const HEX8: Syntax = Syntax::Num { max: u8::MAX as u64, hex: true };
pub(crate) const HEX16: Syntax = Syntax::Num { max: u16::MAX as u64, hex: true };
pub(crate) const HEX32: Syntax = Syntax::Num { max: u32::MAX as u64, hex: true };

/// What a field is when the line does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Default {
    /// This number.
    Num(u64),
    /// The builder works it out from the other layers.
    Computed,
    /// The line must say.
    Required,
}

/// One field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) syntax: Syntax,
    pub(crate) default: Default,
}

/// A field that the line must give.
pub(crate) const fn required(name: &'static str, syntax: Syntax) -> Spec {
    Spec { name, syntax, default: Default::Required }
}

/// A field that the builder works out.
pub(crate) const fn computed(name: &'static str, syntax: Syntax) -> Spec {
    Spec { name, syntax, default: Default::Computed }
}

/// A field with a fixed default.
pub(crate) const fn or(name: &'static str, syntax: Syntax, default: u64) -> Spec {
    Spec { name, syntax, default: Default::Num(default) }
}

/// A flag, not set unless written.
pub(crate) const fn flag(name: &'static str) -> Spec {
    or(name, Syntax::Flag, 0)
}

/// A part of a layer's fixed beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    /// This word, such as `>`.
    Word(&'static str),
    /// A field by position.
    Field(Spec),
}

/// A keyword and the fields that follow it, in any order after the beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keyword {
    pub(crate) word: &'static str,
    pub(crate) fields: &'static [Spec],
}

/// One layer.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) kind: Kind,
    /// The words that begin it.
    pub(crate) words: &'static [&'static str],
    /// What follows them by position; may be left out in patterns.
    pub(crate) head: &'static [Part],
    /// What may follow in any order.
    pub(crate) keywords: &'static [Keyword],
    /// The name in `badsum(NAME)`, for layers with a checksum.
    pub(crate) sum: Option<&'static str>,
}

impl Schema {
    /// Every field, as the canonical form orders them.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &'static Spec> {
        let head = self.head.iter().filter_map(|part| match part {
            Part::Field(spec) => Some(spec),
            Part::Word(_) => None,
        });
        head.chain(self.keywords.iter().flat_map(|keyword| keyword.fields))
    }

    /// The field called `name`.
    pub(crate) fn field(&self, name: &str) -> Option<&'static Spec> {
        self.fields().find(|spec| spec.name == name)
    }

    /// The layer's name for messages: its words.
    pub(crate) fn name(&self) -> String {
        self.words.join(" ")
    }
}

/// All layers; those with more words come before those that share their first word.
pub(crate) static SCHEMAS: &[&Schema] = &[
    &protocols::eth::ETH,
    &protocols::eth::VLAN,
    &protocols::arp::REQUEST,
    &protocols::arp::REPLY,
    &protocols::ip::IP,
    &protocols::ip6::IP6,
    &protocols::ip6::HOP_BY_HOP,
    &protocols::ip6::DST_OPTIONS,
    &protocols::ip6::ROUTING,
    &protocols::ip6::FRAGMENT,
    &protocols::tcp::TCP,
    &protocols::udp::UDP,
    &protocols::sctp::SCTP,
    &protocols::sctp::CHUNK,
    &protocols::vxlan::VXLAN,
    &protocols::icmp::ECHO,
    &protocols::icmp::REPLY,
    &protocols::icmp::UNREACHABLE,
    &protocols::icmp::TIME_EXCEEDED,
    &protocols::icmp::OTHER,
    &protocols::icmp6::ECHO,
    &protocols::icmp6::REPLY,
    &protocols::icmp6::UNREACHABLE,
    &protocols::icmp6::PACKET_TOO_BIG,
    &protocols::icmp6::TIME_EXCEEDED,
    &protocols::icmp6::OTHER,
    &protocols::nd::SOLICIT,
    &protocols::nd::ADVERT,
    &protocols::data::DATA,
    &protocols::data::RAW,
    &protocols::data::PAD,
    &protocols::data::CUT,
    &protocols::data::FURTHER,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_layer_hides_another_and_no_field_repeats() {
        for (i, schema) in SCHEMAS.iter().enumerate() {
            for later in &SCHEMAS[i + 1..] {
                assert!(!later.words.starts_with(schema.words), "{} hides", schema.name());
            }
            let names: Vec<_> = schema.fields().map(|spec| spec.name).collect();
            for (i, name) in names.iter().enumerate() {
                assert!(!names[i + 1..].contains(name), "{} has two {name}", schema.name());
            }
            assert!(std::ptr::eq(schema.kind.schema(), *schema));
        }
    }
}
