//! Random packets: every frame prints as a line that builds it again.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;
use sluice_testkit::packet::{Bindings, Defaults, Line, format, parse};

fn hex(bytes: Vec<u8>) -> String {
    bytes.iter().fold("0x".to_owned(), |text, b| text + &format!("{b:02x}"))
}

/// A keyword with a value, or nothing.
fn maybe<T: std::fmt::Debug + std::fmt::Display>(
    word: &'static str,
    values: impl Strategy<Value = T>,
) -> impl Strategy<Value = String> {
    prop::option::of(values)
        .prop_map(move |value| value.map_or(String::new(), |value| format!(" {word} {value}")))
}

fn flag(word: &'static str) -> impl Strategy<Value = String> {
    any::<bool>().prop_map(move |set| if set { format!(" {word}") } else { String::new() })
}

fn payload() -> BoxedStrategy<String> {
    prop_oneof![
        Just(String::new()),
        (1usize..200).prop_map(|n| format!(" / data {n}")),
        vec(any::<u8>(), 1..40).prop_map(|bytes| format!(" / data {}", hex(bytes))),
        "[ -~]{1,20}".prop_map(|text| format!(" / data {text:?}")),
    ]
    .boxed()
}

fn tcp() -> BoxedStrategy<String> {
    let opts = (1usize..9).prop_flat_map(|n| vec(any::<u8>(), n * 4)).prop_map(hex);
    let fixed = (any::<u16>(), any::<u16>(), "[SFRPUEWNA]{1,3}");
    (
        fixed,
        maybe("seq", any::<u32>()),
        maybe("ack", any::<u32>()),
        maybe("win", any::<u16>()),
        maybe("mss", any::<u16>()),
        maybe("opts", opts),
        flag("badsum"),
        payload(),
    )
        .prop_map(|((sport, dport, flags), seq, ack, win, mss, opts, sum, payload)| {
            format!("tcp {sport} > {dport} {flags}{seq}{ack}{win}{mss}{opts}{sum}{payload}")
        })
        .boxed()
}

fn udp() -> BoxedStrategy<String> {
    let sum = prop_oneof![Just(""), Just(" badsum"), Just(" nosum")];
    let dport = any::<u16>().prop_filter("VXLAN has its own", |port| *port != 4789);
    (any::<u16>(), dport, sum, payload())
        .prop_map(|(sport, dport, sum, payload)| format!("udp {sport} > {dport}{sum}{payload}"))
        .boxed()
}

fn sctp() -> BoxedStrategy<String> {
    let value = prop_oneof![
        Just(String::new()),
        (0usize..100).prop_map(|n| format!(" value {n}")),
        vec(any::<u8>(), 1..40).prop_map(|bytes| format!(" value {}", hex(bytes))),
    ];
    const TYPES: &[&str] =
        &["data", "init", "init-ack", "sack", "abort t", "abort", "shutdown", "cookie-ack"];
    let chunk = (prop::sample::select(TYPES), maybe("flags", 2..=u8::MAX), value).prop_map(
        |(kind, flags, value)| match kind {
            "abort t" => format!(" / chunk {kind}{value}"),
            "init" | "init-ack" => format!(" / chunk {kind}{flags} tag 77{value}"),
            _ => format!(" / chunk {kind}{flags}{value}"),
        },
    );
    let ports = (any::<u16>(), any::<u16>());
    (ports, maybe("vtag", any::<u32>()), flag("badsum"), vec(chunk, 1..4))
        .prop_map(|((sport, dport), vtag, sum, chunks)| {
            format!("sctp {sport} > {dport}{vtag}{sum}{}", chunks.concat())
        })
        .boxed()
}

fn echo(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    (prop::sample::select(words), maybe("id", any::<u16>()), maybe("seq", any::<u16>()), payload())
        .prop_map(|(word, id, seq, payload)| format!("{word}{id}{seq}{payload}"))
}

fn ip_header() -> BoxedStrategy<String> {
    (
        (any::<Ipv4Addr>(), any::<Ipv4Addr>()),
        maybe("ttl", any::<u8>()),
        maybe("tos", any::<u8>()),
        maybe("id", any::<u16>()),
        flag("df"),
        maybe("opts", vec(any::<u8>(), 4..40).prop_map(hex)),
    )
        .prop_map(|((src, dst), ttl, tos, id, df, opts)| {
            format!("ip {src} > {dst}{ttl}{tos}{id}{df}{opts}")
        })
        .boxed()
}

fn ip6_header() -> BoxedStrategy<String> {
    (
        (any::<Ipv6Addr>(), any::<Ipv6Addr>()),
        maybe("hop", any::<u8>()),
        maybe("tc", any::<u8>()),
        maybe("flow", 0u32..0x10_0000),
        prop::option::of(vec(any::<u8>(), 6)),
    )
        .prop_map(|((src, dst), hop, tc, flow, options)| {
            let options = options.map_or(String::new(), |o| format!(" / dst {}", hex(o)));
            format!("ip6 {src} > {dst}{hop}{tc}{flow}{options}")
        })
        .boxed()
}

/// An IP packet of either family without anything nested in it.
fn simple() -> BoxedStrategy<String> {
    prop_oneof![
        (ip_header(), tcp()).prop_map(|(ip, tcp)| format!("{ip} / {tcp}")),
        (ip_header(), udp()).prop_map(|(ip, udp)| format!("{ip} / {udp}")),
        (ip_header(), sctp()).prop_map(|(ip, sctp)| format!("{ip} / {sctp}")),
        (ip6_header(), sctp()).prop_map(|(ip, sctp)| format!("{ip} / {sctp}")),
        (ip_header(), echo(&["icmp echo", "icmp reply"]))
            .prop_map(|(ip, echo)| format!("{ip} / {echo}")),
        (ip6_header(), tcp()).prop_map(|(ip, tcp)| format!("{ip} / {tcp}")),
        (ip6_header(), udp()).prop_map(|(ip, udp)| format!("{ip} / {udp}")),
        (ip6_header(), echo(&["icmp6 echo", "icmp6 reply"]))
            .prop_map(|(ip, echo)| format!("{ip} / {echo}")),
    ]
    .boxed()
}

/// Any well-formed packet.
fn packet() -> BoxedStrategy<String> {
    let error = prop_oneof![
        Just("icmp unreachable port"),
        Just("icmp unreachable frag-needed mtu 1400"),
        Just("icmp time-exceeded transit"),
    ];
    let error6 = prop_oneof![
        Just("icmp6 unreachable no-route"),
        Just("icmp6 packet-too-big mtu 1280"),
        Just("icmp6 time-exceeded transit"),
    ];
    let arp = (any::<Ipv4Addr>(), any::<Ipv4Addr>()).prop_flat_map(|(a, b)| {
        prop_oneof![
            Just(format!("arp who-has {a} tell {b}")),
            Just(format!("arp {a} is-at 02:..:01 to {b} 02:..:02")),
        ]
    });
    let nd = (any::<Ipv6Addr>(), any::<Ipv6Addr>()).prop_flat_map(|(a, b)| {
        prop_oneof![
            Just(format!("ip6 {a} > {b} / nd ns {b} sll 02:..:01")),
            Just(format!("ip6 {a} > {b} / nd na {a} tll 02:..:01 flags SO")),
        ]
    });
    let plain = prop_oneof![
        6 => simple(),
        1 => (ip_header(), error, simple()).prop_map(|(ip, e, q)| format!("{ip} / {e} quoting {q}")),
        1 => (ip6_header(), error6, simple())
            .prop_map(|(ip, e, q)| format!("{ip} / {e} quoting {q}")),
        1 => arp,
        1 => nd,
    ];
    let outer = prop_oneof![ip_header(), ip6_header()];
    (plain, prop::option::of((outer, any::<u16>(), 0u32..0x100_0000)), flag("vlan 7 / "))
        .prop_map(|(plain, tunnel, tag)| {
            let tunnel = tunnel.map_or(String::new(), |(outer, sport, vni)| {
                format!("{outer} / udp {sport} > 4789 / vxlan vni {vni} / ")
            });
            format!("{}{tunnel}{plain}", tag.trim_start())
        })
        .boxed()
}

fn frame(line: &str) -> Vec<u8> {
    parse(line, &Defaults::default()).unwrap_or_else(|e| panic!("{line}\n{e}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn well_formed_packets_print_whole(line in packet()) {
        let bytes = frame(&line);
        let printed = format(&bytes);
        prop_assert!(!printed.contains("raw"), "{line}\n{printed}");
        prop_assert_eq!(frame(&printed), bytes, "{}\n{}", line, printed);
        let canonical = format(&frame(&printed));
        prop_assert_eq!(canonical, printed);
    }

    #[test]
    fn a_packet_matches_its_own_line(line in packet()) {
        let defaults = Defaults::default();
        let bytes = frame(&line);
        for text in [line, format(&bytes)] {
            let pattern = Line::parse(&text).unwrap();
            let found = pattern.compare(&bytes, &defaults, &mut Bindings::new());
            prop_assert!(found.is_ok(), "{}", found.unwrap_err());
        }
    }

    #[test]
    fn damaged_packets_print_exactly_too(
        line in packet(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        truncate in any::<bool>(),
    ) {
        let mut bytes = frame(&line);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if truncate {
            bytes.truncate(cut.index(bytes.len()));
        }
        prop_assert_eq!(frame(&format(&bytes)), bytes);
    }

    #[test]
    fn arbitrary_bytes_print_exactly_too(
        mut bytes in vec(any::<u8>(), 0..120),
        start in prop::sample::select(&[0x0800u16, 0x0806, 0x8100, 0x86dd][..]),
        first in prop::sample::select(&[0x45u8, 0x46, 0x60][..]),
    ) {
        if bytes.len() > 14 {
            bytes[12..14].copy_from_slice(&start.to_be_bytes());
            bytes[14] = first;
        }
        prop_assert_eq!(frame(&format(&bytes)), bytes);
    }

    #[test]
    fn any_text_is_read_or_refused(
        words in vec(prop_oneof![
            "\\PC{0,8}",
            prop::sample::select(&[
                "/", "quoting", "ip", "ip6", "tcp", "udp", "sctp", "chunk", "init", "icmp", "unreachable", "port", ">", "*",
                "$a", "!", "1..2", "10.0.0.1", "fd00::1", "80", "data", "raw", "0x00", "pad", "cut",
                "badsum", "sum", "vxlan", "vni", "opts", "hbh", "frag6", "nd", "ns", "eth", "\"",
            ][..]).prop_map(str::to_owned),
        ], 0..20)
    ) {
        let line = words.join(" ");
        match Line::parse(&line) {
            Ok(line) => {
                let _built_or_refused = line.build(&Defaults::default(), &Bindings::new());
            }
            Err(error) => prop_assert!(error.column <= line.chars().count() + 1, "{line}: {error}"),
        }
    }
}
