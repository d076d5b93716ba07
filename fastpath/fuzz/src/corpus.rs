use crate::journey::packet::{Traffic, fragments};
use crate::journey::step::Step;
use std::io;
use std::path::PathBuf;

mod dns;
mod requests;
mod texts;

pub use requests::{HTTP_WORDS, TCP_WORDS};

/// Words of packets: protocol numbers, EtherTypes, ports and addresses of the
/// gateway, headers.
pub const PACKET_WORDS: &[&[u8]] = &[
    &[0x08, 0x00],
    &[0x86, 0xdd],
    &[0x08, 0x06],
    &[0x81, 0x00, 0x00, 0x07],
    &[0x45, 0x00],
    &[0x4f, 0x00],
    &[0x60, 0x00, 0x00, 0x00],
    &[0x20, 0x00],
    &[0x40, 0x00],
    &[0x21, 0x18],
    &[0x08, 0, 0, 0, 0, 0x10, 0x92, 0],
    &[192, 0, 2, 100],
    &[192, 0, 2, 254],
    &[10, 0, 0, 254],
    &[10, 1, 0, 5],
    &[10, 1, 255, 1],
    &[0x20, 0x01, 0x0d, 0xb8, 0, 192, 0, 2],
    &[0x2c, 0],
    &[0x3c, 0],
    &[0, 80],
    &[0x9c, 0x40],
    &[132, 0],
    &[255, 255],
    &[0, 0],
    &[2, 4, 5, 180],
    &[58, 255],
    &[135, 0],
    &[136, 0],
];

/// Words of DNS messages: flags, types, pointers, labels.
pub const DNS_WORDS: &[&[u8]] = &[
    &[0x81, 0x80],
    &[0, 1, 0, 1],
    &[0, 28, 0, 1],
    &[0, 5, 0, 1],
    &[0xc0, 12],
    &[0xc0, 16],
    &[0, 4],
    &[0, 16],
    &[63],
    b"\x03www",
    b"\x03com\0",
    &[0],
    &[0xff, 0xff],
];

/// Words of configurations.
pub const CONFIG_WORDS: &[&[u8]] = &[
    b"ports:",
    b"workers:",
    b"overlay:",
    b"snat:",
    b"routes:",
    b"cluster:",
    b"source:",
    b"- ",
    b"\n  ",
    b"\n    ",
    b": ",
    b"10.0.0.0/8",
    b"fd00::/64",
    b"0.0.0.0/0",
    b"255",
    b"-1",
    b"65536",
    b"1e99",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"&a ",
    b"*a",
    b"!!str ",
    b"|\n",
    b"---\n",
    b"\t",
    b"\xef\xbb\xbf",
    b"\xff",
];

/// Words of manifests.
pub const MANIFEST_WORDS: &[&[u8]] = &[
    b"apiVersion: v1\n",
    b"kind: Service\n",
    b"kind: Pod\n",
    b"kind: Node\n",
    b"kind: EndpointSlice\n",
    b"kind: List\n",
    b"metadata:\n",
    b"  name: ",
    b"  namespace: ",
    b"spec:\n",
    b"status:\n",
    b"  ports:\n",
    b"  - port: ",
    b"    targetPort: ",
    b"    protocol: TCP\n",
    b"  clusterIP: None\n",
    b"  selector:\n",
    b"endpoints:\n",
    b"addressType: IPv6\n",
    b"addresses: [10.1.0.7]",
    b"kubernetes.io/service-name: web",
    b"sluice.dev/vtep-mac: 02:00:00:00:00:01",
    b"podCIDRs: [10.1.0.0/24]",
    b"[{ip: 192.0.2.100}]",
    b"10.96.0.10",
    b"fd96::10",
    b"10.0.0.254",
    b"10.1.255.1",
    b"169.254.0.1",
    b"::ffff:10.1.0.7",
    b"- ",
    b"\n---\n",
    b"65536",
    b"-1",
    b"null",
    b"{}",
    b"[]",
    b"&a ",
    b"*a",
    b"<<: *a\n",
    b"{\"kind\":",
    b"\t",
];

/// The folder of a target's corpus.
pub fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// The folder of inputs that made a target fail. They are kept: once mended,
/// they are replayed with the corpus.
pub fn crashes(target: &str) -> PathBuf {
    folder(target).join("crashes")
}

/// The inputs of a target's corpus, crashes included, by name and in order.
///
/// # Errors
/// When a file cannot be read.
pub fn load(target: &str) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for folder in [folder(target), crashes(target)] {
        if !folder.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_file() {
                inputs.push((path.clone(), std::fs::read(path)?));
            }
        }
    }
    inputs.sort();
    Ok(inputs)
}

/// The inputs that every corpus begins with: (target, name, bytes).
pub fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let mut seeds = journeys();
    seeds.extend(packets());
    seeds.extend(neighbors());
    seeds.extend(dns::messages());
    seeds.extend(requests::requests());
    seeds.extend(requests::connections());
    seeds.extend(texts::texts());
    seeds
}

const SYN: u8 = 2;
const SYN_ACK: u8 = 18;
const ACK: u8 = 16;
const FIN_ACK: u8 = 17;

/// Traffic of flow 0 from a client on the uplink (v4; 0x80: v6) to a VIP.
fn to_vip(family: u8, flags: u8) -> Step {
    Step::Traffic { queue: 0, from: family, to: 6, flow: 0, flags, len: 3, ttl: 64 }
}

fn script(flags: u8, steps: &[Step]) -> Vec<u8> {
    let mut out = vec![flags];
    steps.iter().for_each(|step| step.encode(&mut out));
    out
}

fn journeys() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let answer = |flags| Step::Answer { queue: 1, flags };
    let connection = |family| {
        [
            to_vip(family, SYN),
            answer(SYN_ACK),
            to_vip(family, ACK),
            answer(FIN_ACK),
            to_vip(family, FIN_ACK),
            answer(ACK),
        ]
    };
    let udp = |family: u8| Step::Traffic {
        queue: 1,
        from: family | 1,
        to: 0x16,
        flow: 4,
        flags: 0,
        len: 20,
        ttl: 64,
    };
    let association = |family: u8| {
        let to_vip = |chunk| Step::Traffic {
            queue: 0,
            from: family,
            to: 0x36,
            flow: 0,
            flags: chunk,
            len: 3,
            ttl: 64,
        };
        // INIT, its answer, the cookie there and back, data, the shutdown, and
        // an association that is over.
        [
            to_vip(1),
            answer(2),
            to_vip(10),
            answer(11),
            to_vip(0),
            answer(3),
            to_vip(7),
            answer(8),
            to_vip(14),
            to_vip(0),
        ]
    };
    let many: Vec<Step> = (0..60)
        .map(|n| Step::Traffic {
            queue: n & 1,
            from: (n << 7) | (n % 6),
            to: 6,
            flow: n << 3,
            flags: SYN,
            len: 0,
            ttl: 64,
        })
        .collect();
    let big = |family: u8| Step::Traffic {
        queue: 0,
        from: family,
        to: 0x13,
        flow: 2,
        flags: 0,
        len: 242,
        ttl: 64,
    };
    let dying =
        |ttl| Step::Traffic { queue: 0, from: 0x81, to: 6, flow: 1, flags: SYN, len: 0, ttl };
    let changes = [
        to_vip(0, SYN),
        answer(SYN_ACK),
        Step::Change { what: 0 },
        to_vip(0, ACK),
        Step::Change { what: 2 },
        to_vip(0, ACK),
        Step::Change { what: 2 },
        to_vip(0, ACK),
        Step::Change { what: 1 },
        to_vip(0, SYN),
        Step::Wait { ms: 90_000_000 },
        to_vip(0, ACK),
    ];
    // A pod whose egress is policed asks another pod; of two answers that wait one is
    // released, and one goes on by itself.
    let asks = |family: u8| {
        let question = Step::Traffic {
            queue: 0,
            from: family | 3,
            to: 0x14,
            flow: 4,
            flags: 0,
            len: 10,
            ttl: 64,
        };
        [
            Step::Change { what: 7 | 0x10 << 3 },
            Step::Change { what: 5 | 1 << 3 },
            question,
            answer(0),
            answer(0),
            Step::Wait { ms: 10 },
            Step::Wait { ms: 600 },
        ]
    };
    let silence = [
        Step::Neighbors { answer: false },
        to_vip(0x80, SYN),
        Step::Wait { ms: 1_000 },
        Step::Wait { ms: 1_000 },
        Step::Wait { ms: 1_000 },
        Step::Wait { ms: 1_500 },
        Step::Neighbors { answer: true },
        to_vip(0x80, SYN),
    ];
    let raw: Vec<Step> = packets()
        .into_iter()
        .flat_map(|(_, _, bytes)| {
            [
                Step::Packet { port: 0, queue: 0, mend: true, bytes: bytes.clone() },
                Step::Inner { node: 0, queue: 1, mend: true, tos: 3, bytes },
            ]
        })
        .collect();
    let refuse = |kind: u8| Step::Answer { queue: kind & 1, flags: Step::REFUSES | kind };
    let errors: Vec<Step> = [0, 0x80]
        .into_iter()
        .flat_map(|family| {
            [
                to_vip(family, SYN),
                refuse(0),
                answer(SYN_ACK),
                refuse(1),
                refuse(2),
                udp(family),
                refuse(3),
                refuse(0),
            ]
        })
        .collect();
    let in_fragments = |order: fn(&mut Vec<Vec<u8>>)| -> Vec<Step> {
        let mut steps = Vec::new();
        for (from, to) in [(0, 0x16), (0x80, 0x16), (0, 0x26), (0x80, 0x26), (0, 6)] {
            let traffic = Traffic { from, to, flow: 4, flags: 0, len: 40, ttl: 64 };
            let mut parts = fragments(&traffic.packet(), 64);
            order(&mut parts);
            for (queue, bytes) in (0..).zip(parts) {
                steps.push(Step::Packet { port: 0, queue: queue & 1, mend: false, bytes });
            }
        }
        steps.push(Step::Wait { ms: 6_000 });
        steps
    };
    let twice = |parts: &mut Vec<Vec<u8>>| parts.extend_from_within(1..3);
    vec![
        ("journey", "errors", script(1, &errors)),
        ("journey", "errors-preserved", script(2, &errors)),
        ("journey", "fragments", script(1, &in_fragments(|_| {}))),
        ("journey", "fragments-reversed", script(1, &in_fragments(|parts| parts.reverse()))),
        (
            "journey",
            "fragments-lost-tight",
            script(16, &in_fragments(|parts| drop(parts.remove(0)))),
        ),
        ("journey", "fragments-twice", script(2 | 1, &in_fragments(twice))),
        ("journey", "connection-v4", script(0, &connection(0))),
        ("journey", "connection-v6", script(4, &connection(0x80))),
        ("journey", "connection-preserved", script(2 | 1, &connection(0))),
        ("journey", "association-v4", script(1, &association(0))),
        ("journey", "association-v6", script(4 | 2, &association(0x80))),
        ("journey", "udp", script(1, &[udp(0), answer(0), udp(0x80), answer(0), udp(0)])),
        ("journey", "many-tight", script(16 | 1, &many)),
        ("journey", "many-ample", script(1, &many)),
        ("journey", "too-big", script(4, &[big(0), big(0x80), Step::Change { what: 4 }, big(0)])),
        ("journey", "time-to-live", script(0, &[dying(0), dying(1), dying(2)])),
        ("journey", "changes", script(1, &changes)),
        ("journey", "answers-v4", script(0, &asks(0))),
        ("journey", "answers-v6", script(1, &asks(0x80))),
        ("journey", "silence", script(1, &silence)),
        ("journey", "raw", script(8, &raw)),
    ]
}

/// IP packets by hand, for the parser and inside of scripts.
fn packets() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    use crate::journey::packet::mend;
    let traffic = |from, to, flags| Traffic { from, to, flow: 0, flags, len: 2, ttl: 64 }.packet();
    let v6_with = |next: u8, extensions: &[u8]| {
        let plain = traffic(0x80, 0x16, 0);
        let mut packet = plain[..40].to_vec();
        packet[6] = next;
        packet.extend_from_slice(extensions);
        packet.extend_from_slice(&plain[40..]);
        let len = (packet.len() - 40) as u16;
        packet[4..6].copy_from_slice(&len.to_be_bytes());
        packet
    };
    let v4_with = |options: &[u8]| {
        let plain = traffic(0, 0x16, 0);
        let mut packet = plain[..20].to_vec();
        packet[0] = 0x45 + (options.len() / 4) as u8;
        packet.extend_from_slice(options);
        packet.extend_from_slice(&plain[20..]);
        let len = packet.len() as u16;
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        mend(&mut packet);
        packet
    };
    let fragment = |word: u16| {
        let mut packet = traffic(0, 0x16, 0);
        packet[6..8].copy_from_slice(&word.to_be_bytes());
        mend(&mut packet);
        packet
    };
    let udp_behind = |mut bytes: Vec<u8>| {
        bytes[0] = 17;
        bytes
    };
    vec![
        ("parser", "tcp-v4", traffic(0, 6, SYN)),
        ("parser", "tcp-v6", traffic(0x80, 6, SYN)),
        ("parser", "udp-v4", traffic(0, 0x16, 0)),
        ("parser", "udp-v6", traffic(0x80, 0x16, 0)),
        ("parser", "sctp-v4", traffic(0, 0x36, 1)),
        ("parser", "sctp-v6", traffic(0x80, 0x36, 6)),
        ("parser", "echo-v4", traffic(0, 0x26, 0)),
        ("parser", "echo-v6", traffic(0x80, 0x26, 0)),
        ("parser", "error-v4", traffic(0, 0x26, 3)),
        ("parser", "options-v4", v4_with(&[7, 7, 4, 0, 0, 0, 0, 0])),
        ("parser", "source-route-v4", v4_with(&[131, 7, 4, 10, 0, 0, 1, 0])),
        ("parser", "first-fragment-v4", fragment(0x2000)),
        ("parser", "last-fragment-v4", fragment(0x0010)),
        ("parser", "beyond-64k-v4", fragment(0x1fff)),
        ("parser", "hop-by-hop-v6", v6_with(0, &udp_behind(vec![0, 0, 1, 4, 0, 0, 0, 0]))),
        ("parser", "fragment-v6", v6_with(44, &udp_behind(vec![0, 0, 0, 1, 0, 0, 0, 9]))),
        ("parser", "atomic-fragment-v6", v6_with(44, &udp_behind(vec![0, 0, 0, 0, 0, 0, 0, 9]))),
        ("parser", "routing-0-v6", v6_with(43, &udp_behind(vec![0, 0, 0, 1, 0, 0, 0, 0]))),
        ("parser", "options-v6", v6_with(60, &udp_behind(vec![0, 0, 1, 4, 0, 0, 0, 0]))),
    ]
}

fn neighbors() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let arp = |kind: u8, operation: u8, sender: [u8; 4], target: [u8; 4]| {
        let mut out = vec![kind, 0, 1, 8, 0, 6, 4, 0, operation, 2, 5, 5, 5, 5, 5];
        out.extend_from_slice(&sender);
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&target);
        out
    };
    let own = [192, 0, 2, 254];
    let v6 = |last: u8| {
        let mut address = [0; 16];
        address[..8].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, 192, 0, 2]);
        address[15] = last;
        address
    };
    let nd = |icmp_type: u8, from: [u8; 16], to: [u8; 16], target: [u8; 16]| {
        let mut out = vec![1, 32];
        out.extend_from_slice(&from);
        out.extend_from_slice(&to);
        out.extend_from_slice(&[icmp_type, 0, 0, 0, 0x60, 0, 0, 0]);
        out.extend_from_slice(&target);
        out.extend_from_slice(&[if icmp_type == 135 { 1 } else { 2 }, 1, 2, 5, 5, 5, 5, 5]);
        out
    };
    // Without answers; a packet first, so that somebody is asked for.
    let waiting = |rest: Vec<u8>| [vec![0x20, 2, 0x81, 0, 0], rest].concat();
    vec![
        ("arp_nd", "request", [vec![0], arp(0, 1, [192, 0, 2, 10], own)].concat()),
        ("arp_nd", "probe", [vec![0], arp(0, 1, [0; 4], [192, 0, 2, 100])].concat()),
        ("arp_nd", "reply", waiting(arp(0, 2, [192, 0, 2, 10], own))),
        ("arp_nd", "false-claim", [vec![0], arp(0, 2, [192, 0, 2, 100], own)].concat()),
        ("arp_nd", "solicitation", [vec![0], nd(135, v6(10), v6(254), v6(100))].concat()),
        ("arp_nd", "advertisement", waiting(nd(136, v6(10), v6(254), v6(10)))),
        ("arp_nd", "silence", waiting([3, 10].repeat(6))),
    ]
}
