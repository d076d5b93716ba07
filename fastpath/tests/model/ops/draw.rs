//! Operations by chance.

use super::change::change;
use super::shape::{number, shape};
use super::{HostChange, L4, LinkKind, Op, SOMETIMES_VIP};
use crate::model::random::Random;
use crate::model::wire::{ACK, FIN, RST, SYN};
use crate::model::world::{Network, SCTP, TCP, UDP};

const PLACES: &[(Network, u8)] = &[
    (Network::Uplink, 10),
    (Network::Uplink, 11),
    (Network::Uplink, 66),
    (Network::Internet, 5),
    (Network::Internet, 6),
    (Network::Tagged, 10),
    (Network::Tagged, 11),
    (Network::Cluster, 30),
    (Network::Cluster, 10),
    (Network::Behind, 7),
    (Network::Pods(0), 5),
    (Network::Pods(1), 5),
    (Network::Pods(2), 6),
    (Network::Pods(3), 7),
    (Network::Hole, 1),
    (Network::Nowhere, 1),
    SOMETIMES_VIP,
    (Network::Special, 0),
    (Network::Special, 1),
    (Network::Special, 2),
    (Network::Special, 3),
    (Network::Special, 4),
];

const CLIENTS: &[(Network, u8)] = &[
    (Network::Uplink, 10),
    (Network::Uplink, 11),
    (Network::Internet, 5),
    (Network::Internet, 6),
    (Network::Tagged, 10),
    (Network::Pods(0), 5),
    (Network::Pods(1), 5),
];

const FRONTENDS: &[(Network, u8, u8, u16)] = &[
    // Two of them are busy.
    (Network::Services, 10, TCP, 80),
    (Network::Services, 10, TCP, 80),
    (Network::Services, 10, TCP, 80),
    (Network::Uplink, 100, TCP, 80),
    (Network::Uplink, 100, TCP, 80),
    (Network::Services, 10, UDP, 53),
    (Network::Services, 10, SCTP, 80),
    (Network::Uplink, 100, TCP, 80),
    (Network::Uplink, 100, UDP, 53),
    (Network::Uplink, 100, SCTP, 80),
    (Network::Uplink, 100, TCP, 443),
    (Network::Services, 11, TCP, 80),
    (Network::Services, 11, TCP, 81),
    (SOMETIMES_VIP.0, SOMETIMES_VIP.1, TCP, 80),
    (SOMETIMES_VIP.0, SOMETIMES_VIP.1, UDP, 53),
    (Network::Uplink, 254, TCP, 30_080),
    (Network::Uplink, 254, UDP, 30_053),
    (Network::Cluster, 254, TCP, 30_080),
    (Network::Tagged, 254, UDP, 30_053),
    (Network::Tagged, 254, SCTP, 30_080),
];

/// Addresses of the gateway itself.
const OWN: &[(Network, u8)] = &[
    (Network::Uplink, 254),
    (Network::Uplink, 253),
    (Network::Cluster, 254),
    (Network::Tagged, 254),
    (Network::Pool, 1),
    (Network::Pool, 2),
    (Network::Services, 10),
    (Network::Uplink, 100),
];

/// Draws the next operation.
pub fn draw(random: &mut Random) -> Op {
    let queue = random.below(8) as u8;
    let v6 = random.one_in(2);
    match random.below(100) {
        0..18 => to_service(random, queue, v6),
        18..26 => Op::Again { queue, flow: random.next() as u16, frontend: random.next() as u8 },
        26..57 => follow(random, queue),
        57..60 => Op::Reopen {
            queue,
            flow: random.below(16) as u16,
            number: number(random),
            off: random.of(&[0, 0, 0, 1, u32::MAX]),
            scales: [(); 2].map(|()| random.one_in(2).then(|| random.of(&[0, 3, 7]))),
        },
        60..62 => Op::Error {
            queue,
            flow: random.next() as u16,
            side: random.below(2) as u8,
            form: random.next() as u8,
            shape: shape(random),
        },
        62..65 => Op::Datagram {
            queue,
            flow: random.next() as u16,
            side: random.below(2) as u8,
            id: random.below(6) as u8,
            form: random.next() as u16,
        },
        65..69 => Op::Return {
            queue,
            flow: random.next() as u16,
            src_port: 1024 + random.below(16) as u16,
        },
        69..71 => Op::Cut {
            queue,
            flow: random.below(64) as u16,
            side: random.below(2) as u8,
            egress: random.one_in(3),
            form: random.next() as u8,
        },
        71..76 => anything(random, queue, v6),
        76..79 => Op::Burst {
            queue,
            flow: random.next() as u16,
            side: random.below(2) as u8,
            count: 2 + random.below(12) as u8,
        },
        79..87 => link(random, queue, v6),
        87..91 => wait(random),
        91..97 => Op::Change(change(random, v6)),
        _ => Op::Host {
            host: random.next() as u16,
            change: random.of(&[
                HostChange::Dies,
                HostChange::Returns,
                HostChange::Returns,
                HostChange::NewMac,
            ]),
        },
    }
}

fn to_service(random: &mut Random, queue: u8, v6: bool) -> Op {
    let (network, host, protocol, port) = random.of(FRONTENDS);
    let dst_port = if random.one_in(12) { 9 } else { port };
    let src_port = 1024 + random.below(8) as u16;
    let l4 = match protocol {
        TCP => {
            let flags = if random.one_in(8) { tcp_flags(random) } else { SYN };
            L4::Tcp { src_port, dst_port, flags }
        }
        SCTP => {
            let chunk = if random.one_in(6) { random.below(16) as u8 } else { 1 };
            L4::Sctp { src_port, dst_port, chunk, checksum: !random.one_in(10) }
        }
        _ => L4::Udp { src_port, dst_port, checksum: !random.one_in(4) },
    };
    let from = random.of(CLIENTS);
    Op::Packet { queue, v6, from, to: (network, host), l4, shape: shape(random) }
}

fn follow(random: &mut Random, queue: u8) -> Op {
    let flags = if random.one_in(3) { tcp_flags(random) } else { ACK };
    Op::Follow {
        queue,
        flow: random.next() as u16,
        side: random.below(2) as u8,
        flags,
        shape: shape(random),
    }
}

fn anything(random: &mut Random, queue: u8, v6: bool) -> Op {
    let from = if random.one_in(15) { random.of(OWN) } else { random.of(PLACES) };
    let to = if random.one_in(4) { random.of(OWN) } else { random.of(PLACES) };
    let src_port = 2000 + random.below(6) as u16;
    let dst_port = random.of(&[80, 53, 443, 8080, 40_001, 40_100]);
    let l4 = match random.below(10) {
        0..2 => L4::Tcp { src_port, dst_port, flags: tcp_flags(random) },
        2 => L4::Sctp {
            src_port,
            dst_port,
            chunk: random.below(16) as u8,
            checksum: !random.one_in(4),
        },
        3..5 => L4::Udp { src_port, dst_port, checksum: random.one_in(2) },
        5..7 => L4::Echo {
            request: !random.one_in(4),
            id: random.below(5) as u16,
            zero: random.one_in(8),
        },
        7 => L4::Icmp { error: true },
        8 => L4::Icmp { error: false },
        _ => L4::Other { protocol: random.of(&[47, 50, 132, 1, 58]) },
    };
    Op::Packet { queue, v6, from, to, l4, shape: shape(random) }
}

fn tcp_flags(random: &mut Random) -> u8 {
    match random.below(12) {
        0..2 => SYN,
        2..4 => SYN | ACK,
        4..7 => ACK,
        7..9 => FIN | ACK,
        9 => RST,
        10 => RST | ACK,
        _ => random.next() as u8,
    }
}

fn link(random: &mut Random, queue: u8, v6: bool) -> Op {
    use LinkKind::{Broken, FalseReply, Probe, Reply, Request};
    let kind = random.of(&[Request, Request, Request, Probe, Reply, FalseReply, Broken]);
    // A false claim is one of an address of the gateway's: others are believed.
    let target = if random.one_in(4) && !matches!(kind, FalseReply) {
        random.of(&[(Network::Uplink, 66), (Network::Tagged, 11)])
    } else {
        random.of(OWN)
    };
    Op::Link {
        queue,
        port: random.below(3) as u8,
        v6,
        kind,
        sender: random.of(&[10, 11, 12, 20, 66]),
        target,
    }
}

fn wait(random: &mut Random) -> Op {
    if !random.one_in(7) {
        let (ms, steps) = random.of(&[(1, 1), (200, 1), (900, 2), (2_000, 2)]);
        return Op::Wait { ms, steps };
    }
    let (ms, steps) = random.of(&[
        (1_000, 5),
        (4_000, 4),
        (11_000, 1),
        (31_000, 1),
        (62_000, 1),
        (125_000, 1),
        (303_000, 1),
        (610_000, 1),
        (3_700_000, 1),
        (90_000_000, 1),
    ]);
    Op::Wait { ms, steps }
}
