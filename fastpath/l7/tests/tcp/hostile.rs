//! Whatever comes, nothing panics and nothing leaks.

use crate::net::{CLIENT, Faults, MS, Net, Outbox, Port80, SECOND, SERVER, Stream};
use crate::segments::{Bench, Seg};
use proptest::prelude::*;
use sluice_l7::tcp::{ConnOptions, TcpConfig, TcpConn};
use std::task::{Context, Waker};

/// What an attacker does who sees a connection.
#[derive(Clone, Debug)]
enum Act {
    /// A segment whose numbers are near those that are right.
    Near {
        flags: &'static str,
        seq: i32,
        ack: i32,
        len: usize,
        window: u16,
        mss: Option<u16>,
        sacks: Vec<(i32, i32)>,
        stamps: Option<(i32, i32)>,
    },
    /// A segment with bytes changed, its checksum made right again or not.
    Mutated {
        at: usize,
        xor: u8,
        fixed: bool,
    },
    Bytes(Vec<u8>),
    Write(usize),
    Read(usize),
    Shutdown,
    Abort,
    Release,
    Connect,
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let near = prop_oneof![-3i32..4, -70_000i32..70_000, any::<i32>()];
    let flags = prop::sample::select(vec!["S", "SA", "A", "A", "A", "FA", "R", "RA", "SF", ""]);
    let mss = prop::option::of(prop_oneof![0u16..60, any::<u16>()]);
    let window = prop_oneof![Just(0), Just(u16::MAX), any::<u16>()];
    let sacks = prop::collection::vec((near.clone(), near.clone()), 0..3);
    let stamps = prop::option::weighted(0.8, (near.clone(), near.clone()));
    prop_oneof![
        8 => (flags, near.clone(), near, 0usize..3_000, window, mss, sacks, stamps).prop_map(
            |(flags, seq, ack, len, window, mss, sacks, stamps)| {
                Act::Near { flags, seq, ack, len, window, mss, sacks, stamps }
            }
        ),
        2 => (0usize..80, any::<u8>(), any::<bool>())
            .prop_map(|(at, xor, fixed)| Act::Mutated { at, xor, fixed }),
        1 => prop::collection::vec(any::<u8>(), 0..100).prop_map(Act::Bytes),
        2 => (0usize..30_000).prop_map(Act::Write),
        2 => (0usize..30_000).prop_map(Act::Read),
        1 => Just(Act::Shutdown),
        1 => prop::sample::select(vec![Act::Abort, Act::Release, Act::Connect]),
        2 => (0u64..40).prop_map(|bits| Act::Wait(1 << bits)),
    ]
}

/// Makes the TCP checksum right, wherever the packet says that it is.
pub fn fix(packet: &mut [u8]) {
    let (ip_len, addresses) = if packet[0] >> 4 == 4 { (20, 12..20) } else { (40, 8..40) };
    if packet.len() < ip_len + 20 {
        return;
    }
    packet[ip_len + 16..ip_len + 18].fill(0);
    let len = packet.len() - ip_len;
    let sum = |bytes: &[u8]| -> u64 {
        bytes
            .chunks(2)
            .map(|word| u64::from(word[0]) << 8 | word.get(1).map_or(0, |low| u64::from(*low)))
            .sum()
    };
    let mut sum = sum(&packet[addresses]) + sum(&packet[ip_len..]) + 6 + len as u64;
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    packet[ip_len + 16..ip_len + 18].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

fn play(is_v4: bool, options: ConnOptions, half_open_max: usize, acts: Vec<Act>) {
    let config =
        TcpConfig { half_open_max, connections_max: 4, time_wait_max: 2, ..TcpConfig::default() };
    let mut bench = Bench::new(is_v4, config);
    bench.options = options;
    let (mut ours, mut theirs) = (5u32, 0u32);
    let mut ids = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    for act in acts {
        let mut packet = None;
        let last = ids.last().copied();
        match act {
            Act::Near { flags, seq, ack, len, window, mss, sacks, stamps } => {
                let sack = |(start, end)| {
                    (theirs.wrapping_add_signed(start), theirs.wrapping_add_signed(end))
                };
                let stamp = |at: i32| 1_000u32.wrapping_add_signed(at);
                let segment = Seg {
                    flags,
                    seq: ours.wrapping_add_signed(seq),
                    ack: theirs.wrapping_add_signed(ack),
                    payload: vec![1; len],
                    window,
                    mss,
                    scale: mss.map(|mss| mss as u8),
                    may_sack: flags.contains('S') && stamps.is_some(),
                    sacks: if mss.is_some() {
                        Vec::new()
                    } else {
                        sacks.into_iter().map(sack).collect()
                    },
                    stamps: stamps.map(|(value, echo)| (stamp(value), stamp(echo))),
                };
                packet = Some(segment.packet(bench.peer, bench.gateway));
                if flags == "S" || seq == 0 {
                    let controls = flags.matches(['S', 'F']).count() as u32;
                    ours = segment.seq.wrapping_add(len as u32 + controls);
                }
            }
            Act::Mutated { at, xor, fixed } => {
                let segment = Seg { mss: Some(1_000), ..Seg::new("A", ours, theirs) };
                let mut bytes = segment.packet(bench.peer, bench.gateway);
                let at = at % bytes.len();
                bytes[at] ^= xor;
                if fixed {
                    fix(&mut bytes);
                }
                packet = Some(bytes);
            }
            Act::Bytes(bytes) => packet = Some(bytes),
            Act::Connect => {
                let made = bench.engine.connect(bench.gateway, bench.peer, options, bench.now);
                ids.extend(made);
            }
            Act::Wait(ns) => bench.now += ns,
            act => {
                let now = bench.now;
                if let (Act::Release, Some(id)) = (&act, last) {
                    bench.engine.release(id, now);
                } else if let Some(mut conn) = last.and_then(|id| bench.engine.conn(id)) {
                    match act {
                        Act::Write(len) => drop(conn.poll_write(&mut context, &vec![2; len])),
                        Act::Read(len) => drop(conn.poll_read(&mut context, &mut vec![0; len])),
                        Act::Shutdown => conn.shutdown(),
                        _ => conn.abort(),
                    }
                }
            }
        }
        let mut outbox = Outbox::default();
        if let Some(packet) = packet {
            let mut listeners = Port80(options);
            bench.engine.deliver(&packet, bench.now, &mut listeners, &mut outbox);
            bench.engine.deliver_icmp(&packet);
        }
        let mut polls = 0;
        while bench.engine.poll(bench.now, 10, &mut outbox).is_some_and(|next| next <= bench.now) {
            polls += 1;
            assert!(polls < 1_000, "it never rests");
        }
        for packet in outbox.packets {
            // Everything that is sent can be read, and fits the path.
            assert!(packet.len() <= 1_500);
            let sent = Seg::read(&packet);
            if sent.flags != "R" && sent.flags != "RA" {
                theirs = sent.seq.wrapping_add(u32::from(sent.flags.contains('S')));
            }
        }
        ids.extend(std::iter::from_fn(|| bench.engine.accept()));
    }
    // Everything ends when its time is over.
    for id in ids {
        bench.engine.release(id, bench.now);
    }
    for _ in 0..100 {
        bench.now += 10 * SECOND;
        bench.poll();
        while let Some(id) = bench.engine.accept() {
            bench.engine.release(id, bench.now);
        }
    }
    assert_eq!(bench.engine.half_open() + bench.engine.connections(), 0);
}

/// Changes a byte of a segment's header or options, or takes a part of the data away, so
/// that it is still a segment.
fn mangle(packet: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let ip_len = if packet[0] >> 4 == 4 { 20 } else { 40 };
    if random.u8(0..8) == 0 {
        let data = ip_len + usize::from(packet[ip_len + 12] >> 4) * 4;
        packet.truncate(random.usize(data..=packet.len()));
        let len = packet.len() as u16;
        if ip_len == 20 {
            packet[2..4].copy_from_slice(&len.to_be_bytes());
            packet[10..12].fill(0);
            let words = packet[..20].chunks(2);
            let sum: u32 = words.map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
            let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        } else {
            packet[4..6].copy_from_slice(&(len - 40).to_be_bytes());
        }
    } else {
        let at = random.usize(ip_len + 4..packet.len().min(ip_len + 60));
        // Small changes of numbers go farther than large ones.
        packet[at] = match random.u8(0..3) {
            0 => packet[at].wrapping_add(1),
            1 => packet[at].wrapping_sub(1),
            _ => random.u8(..),
        };
    }
    fix(packet);
}

#[test]
fn two_ends_that_are_lied_to_come_to_an_end() {
    for seed in crate::recovery::seeds(500) {
        let mut random = fastrand::Rng::with_seed(seed);
        let faults = Faults { loss: 0.02, duplicate: 0.02, delay_ns: 10 * MS, jitter_ns: 5 * MS };
        let half_open_max = if random.bool() { 0 } else { 10 };
        let config = TcpConfig { half_open_max, ..TcpConfig::default() };
        let mut net = Net::with(seed, faults, config);
        net.options = ConnOptions {
            receive_buffer: random.u32(1_000..300_000),
            send_buffer: random.u32(1_000..300_000),
            ..ConnOptions::default()
        };
        let how_often = random.f64() * 0.3;
        let mut lies = random.fork();
        net.mangles = Box::new(move |packet| {
            if lies.f64() < how_often {
                mangle(packet, &mut lies);
            }
        });
        let mut client = net.connect(random.bool(), 40_000);
        client.send(random.usize(0..100_000), 1);
        let mut servers: Vec<Stream> = Vec::new();
        net.run(60 * SECOND, |net| {
            while let Some(id) = net.engines[SERVER].accept() {
                let mut server = Stream::new(SERVER, id);
                server.send(50_000, 2);
                servers.push(server);
            }
            client.pump(net);
            servers.iter_mut().for_each(|server| server.pump(net));
            false
        });
        client.release(&mut net);
        servers.iter().for_each(|server| server.release(&mut net));
        net.wait(1_000 * SECOND);
        while let Some(id) = net.engines[SERVER].accept() {
            Stream::new(SERVER, id).release(&mut net);
        }
        net.wait(1_000 * SECOND);
        for host in [CLIENT, SERVER] {
            let engine = &net.engines[host];
            assert_eq!(engine.half_open() + engine.connections(), 0, "{seed}");
            assert_eq!(engine.buffered_bytes(), 0, "{seed}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn no_sequence_of_acts_panics(
        is_v4 in any::<bool>(),
        receive_buffer in prop::sample::select(vec![1u32, 1_000, 16_384, 65_536, 100_000]),
        half_open_max in 0usize..2,
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let options = ConnOptions { receive_buffer, send_buffer: 20_000, ..ConnOptions::default() };
        play(is_v4, options, half_open_max, acts);
    }
}
