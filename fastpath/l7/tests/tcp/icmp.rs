use crate::net::{CLIENT, FAMILIES, Faults, MS, Net, SECOND, SERVER};
use crate::segments::Seg;
use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder, icmpv4, icmpv6};
use sluice_l7::tcp::{Ended, TcpState};

/// What an error says, in either family.
#[derive(Clone, Copy)]
enum Says {
    PortUnreachable,
    HostUnreachable,
    TooBig(u16),
}

/// An error from a router on the way to the client about a packet of the client's.
fn error(quoted: &[u8], says: Says) -> Vec<u8> {
    let mut packet = Vec::new();
    if quoted[0] >> 4 == 4 {
        let header = match says {
            Says::PortUnreachable => icmpv4::DestUnreachableHeader::Port,
            Says::HostUnreachable => icmpv4::DestUnreachableHeader::Host,
            Says::TooBig(next_hop_mtu) => {
                icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu }
            }
        };
        PacketBuilder::ipv4([10, 9, 9, 9], [10, 0, 0, 1], 64)
            .icmpv4(Icmpv4Type::DestinationUnreachable(header))
            .write(&mut packet, &quoted[..28])
            .unwrap();
    } else {
        let header = match says {
            Says::PortUnreachable => {
                Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Port)
            }
            Says::HostUnreachable => {
                Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Address)
            }
            Says::TooBig(mtu) => Icmpv6Type::PacketTooBig { mtu: mtu.into() },
        };
        let quoted = &quoted[..quoted.len().min(1_000)];
        let client = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        PacketBuilder::ipv6([0x20; 16], client, 64)
            .icmpv6(header)
            .write(&mut packet, quoted)
            .unwrap();
    }
    packet
}

/// Says that a packet was too big for the way.
pub fn too_big(quoted: &[u8], mtu: u16) -> Vec<u8> {
    error(quoted, Says::TooBig(mtu))
}

fn net() -> Net {
    Net::new(1, Faults { delay_ns: 10 * MS, ..Faults::default() })
}

/// The last packet of the client's.
fn last(net: &Net) -> Vec<u8> {
    net.log.iter().rev().find(|(from, _)| *from == CLIENT).unwrap().1.clone()
}

#[test]
fn an_unreachable_port_ends_what_is_being_opened() {
    for is_v4 in FAMILIES {
        let mut net = net();
        net.drops = Box::new(|_, _, _| true);
        let mut client = net.connect(is_v4, 40_000);
        net.wait(MS);
        let syn = last(&net);
        net.engines[CLIENT].deliver_icmp(&error(&syn, Says::HostUnreachable));
        assert_eq!(net.state(&client), Some(TcpState::SynSent), "that may pass");
        net.engines[CLIENT].deliver_icmp(&error(&syn, Says::PortUnreachable));
        client.pump(&mut net);
        client.data = vec![1];
        client.pump(&mut net);
        assert_eq!(client.ended, Some(Ended::Unreachable));
        let counters = net.counters(CLIENT);
        assert_eq!((counters.icmp_taken, counters.icmp_ignored), (1, 1));
        let packets = net.log.len();
        net.wait(SECOND);
        assert_eq!(net.log.len(), packets, "no more is sent");
    }
}

#[test]
fn an_established_connection_outlives_it() {
    for is_v4 in FAMILIES {
        let mut net = net();
        let (mut client, _server) = net.pair(is_v4, 40_000);
        client.data = vec![1; 100];
        client.pump(&mut net);
        net.wait(MS);
        let segment = last(&net);
        net.engines[CLIENT].deliver_icmp(&error(&segment, Says::PortUnreachable));
        assert_eq!(net.state(&client), Some(TcpState::Established));
        assert_eq!(net.counters(CLIENT).icmp_ignored, 1);
    }
}

#[test]
fn too_big_makes_segments_smaller_and_everything_arrives() {
    for is_v4 in FAMILIES {
        let mut net = net();
        let (mut client, mut server) = net.pair(is_v4, 40_000);
        // The path takes 1,400 bytes.
        net.drops = Box::new(|_, packet, _| packet.len() > 1_400);
        client.send(100_000, 1);
        client.pump(&mut net);
        net.wait(MS);
        let big = net.log.iter().find(|(_, packet)| packet.len() == 1_500).unwrap().1.clone();
        net.engines[CLIENT].deliver_icmp(&error(&big, Says::TooBig(1_400)));
        let before = net.log.len();
        assert!(net.run(60 * SECOND, |net| {
            client.pump(net);
            server.pump(net);
            server.is_at_end
        }));
        assert!(server.received == client.data);
        let largest = net.log[before..].iter().map(|(_, packet)| packet.len()).max();
        assert_eq!(largest, Some(1_400));
        assert_eq!(net.counters(CLIENT).icmp_taken, 1);
    }
}

#[test]
fn no_error_makes_segments_smaller_than_every_host_takes() {
    for (is_v4, least) in [(true, 576), (false, 1_280)] {
        let mut net = net();
        let (mut client, _server) = net.pair(is_v4, 40_000);
        client.send(100_000, 1);
        client.pump(&mut net);
        net.wait(MS);
        let big = last(&net);
        net.engines[CLIENT].deliver_icmp(&error(&big, Says::TooBig(10)));
        let before = net.log.len();
        net.run(10 * SECOND, |net| {
            client.pump(net);
            false
        });
        let largest = net.log[before..].iter().map(|(_, packet)| packet.len()).max();
        assert_eq!(largest, Some(least));
    }
}

#[test]
fn what_quotes_nothing_that_is_on_its_way_is_ignored() {
    for is_v4 in FAMILIES {
        let mut net = net();
        let (mut client, mut server) = net.pair(is_v4, 40_000);
        client.data = vec![1; 3_000];
        client.pump(&mut net);
        net.wait(MS);
        let sent = last(&net);
        let seq = Seg::read(&sent).seq;
        let quoting = |seq: u32, port: u16| {
            let local = Net::address(CLIENT, is_v4, port);
            let packet = Seg::new("A", seq, 0).with(&[0; 99]);
            error(&packet.packet(local, Net::address(SERVER, is_v4, 80)), Says::TooBig(1_300))
        };
        for (seq, port) in [(seq + 3_000, 40_000), (seq - 50_000, 40_000), (seq, 40_001)] {
            net.engines[CLIENT].deliver_icmp(&quoting(seq, port));
        }
        let mut wrong = quoting(seq, 40_000);
        *wrong.last_mut().unwrap() ^= 1;
        net.engines[CLIENT].deliver_icmp(&wrong);
        assert_eq!(net.counters(CLIENT).icmp_ignored, 4);
        net.engines[CLIENT].deliver_icmp(&quoting(seq, 40_000));
        assert_eq!(net.counters(CLIENT).icmp_taken, 1);
        // What was acknowledged is no longer on its way.
        net.run(SECOND, |net| {
            server.pump(net);
            false
        });
        net.engines[CLIENT].deliver_icmp(&quoting(seq, 40_000));
        assert_eq!(net.counters(CLIENT).icmp_ignored, 5);
    }
}
