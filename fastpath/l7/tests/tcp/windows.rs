//! How much is sent, how much is taken, and what memory that takes.

use crate::net::{CLIENT, FAMILIES, Faults, MS, Net, SECOND, SERVER, Stream};
use crate::segments::{Bench, Seg};
use sluice_l7::tcp::{ConnOptions, Ended, Pressure, Share, TcpConfig, TcpConn};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

fn path(rtt_ms: u64, buffers: u32) -> Net {
    let mut net = Net::new(1, Faults { delay_ns: rtt_ms * MS / 2, ..Faults::default() });
    net.options =
        ConnOptions { receive_buffer: buffers, send_buffer: buffers, ..ConnOptions::default() };
    net
}

/// Sends from the server until the client has everything; how long that takes.
fn transfer(net: &mut Net, client: &mut Stream, server: &mut Stream, len: usize) -> u64 {
    if server.data.is_empty() {
        server.send(len, 1);
    }
    let start = net.now;
    assert!(net.run(1_000 * SECOND, |net| {
        server.pump(net);
        client.pump(net);
        client.received.len() == len
    }));
    assert!(client.received == server.data);
    net.now - start
}

/// Data segments of the server's, and the windows of the client's ACKs, as they stand in
/// the headers.
fn seen(net: &Net, from: usize) -> Vec<Seg> {
    let of = net.log.iter().filter(|(who, _)| *who == from);
    of.map(|(_, packet)| Seg::read(packet)).collect()
}

#[test]
fn ten_segments_are_sent_at_first_and_twice_as_many_then() {
    for is_v4 in FAMILIES {
        let mut net = path(100, 256 << 10);
        let (mut client, mut server) = net.pair(is_v4, 40_000);
        server.send(300_000, 1);
        let mut flights = Vec::new();
        for wait in [50, 100, 100] {
            let before = net.log.len();
            net.run(wait * MS, |net| {
                server.pump(net);
                client.pump(net);
                false
            });
            let sent = net.log[before..].iter().filter(|(who, _)| *who == SERVER);
            flights.push(sent.count());
        }
        assert_eq!(flights, [10, 20, 40]);
    }
}

#[test]
fn more_than_64_kib_are_on_their_way() {
    let mut net = path(100, 4 << 20);
    let (mut client, mut server) = net.pair(true, 40_000);
    let taken = transfer(&mut net, &mut client, &mut server, 20 << 20);
    // Slow start alone takes 0.8 s; 64 KiB in a round trip would be 32 s.
    assert!(taken < 2 * SECOND, "{taken}");
    assert_eq!(net.counters(SERVER).retransmissions, 0);
}

#[test]
fn a_long_fat_path_with_losses_is_used() {
    let mut net = path(100, 4 << 20);
    net.faults.loss = 0.000_1;
    let (mut client, mut server) = net.pair(false, 40_000);
    let taken = transfer(&mut net, &mut client, &mut server, 40 << 20);
    let counters = net.counters(SERVER);
    assert!(counters.recoveries > 0 && counters.timeouts == 0, "{counters:?}");
    // Reno would have 14 Mbit/s by then.
    assert!(taken < 12 * SECOND, "{taken}");
}

#[test]
fn a_window_grows_with_its_reader_and_not_without() {
    for (reads, is_grown) in [(true, true), (false, false)] {
        let mut net = path(40, 1 << 20);
        let (mut client, mut server) = net.pair(true, 40_000);
        server.send(600_000, 1);
        client.reads = reads;
        net.run(3 * SECOND, |net| {
            server.pump(net);
            client.pump(net);
            client.received.len() == 600_000
        });
        assert_eq!(client.received.len() == 600_000, reads);
        // The shift of 1 MiB is 5.
        let windows = seen(&net, CLIENT).into_iter().filter(|segment| segment.flags == "A");
        let largest = windows.map(|segment| u32::from(segment.window) << 5).max();
        assert_eq!(largest > Some(200 << 10), is_grown, "{largest:?}");
        let held = net.engines[CLIENT].buffered_bytes();
        assert!(held <= if reads { 0 } else { 68 << 10 }, "{held}");
    }
}

#[test]
fn an_idle_connection_holds_nothing() {
    for is_v4 in FAMILIES {
        let mut net = path(10, 256 << 10);
        let (mut client, mut server) = net.pair(is_v4, 40_000);
        let held = |net: &Net| [CLIENT, SERVER].map(|host| net.engines[host].buffered_bytes());
        assert_eq!(held(&net), [0, 0]);
        server.send(100_000, 1);
        server.pump(&mut net);
        assert!(held(&net)[SERVER] >= 16 << 10);
        transfer(&mut net, &mut client, &mut server, 100_000);
        net.wait(SECOND);
        assert_eq!(held(&net), [0, 0]);
    }
}

#[test]
fn memory_is_bounded_and_everything_gets_on() {
    const MANY: u16 = 50;
    let max = 64 << 10;
    let config = TcpConfig { buffer_bytes_max: max, ..TcpConfig::default() };
    let mut net = Net::with(1, Faults { delay_ns: MS, ..Faults::default() }, config);
    let mut pairs: Vec<_> = (0..MANY).map(|n| net.pair(n % 2 == 0, 10_000 + n)).collect();
    for (client, server) in &mut pairs {
        client.send(50_000, 1);
        server.reads = false;
    }
    let mut held = [0; 2];
    let mut turn = |net: &mut Net, pairs: &mut Vec<(Stream, Stream)>| {
        for (client, server) in pairs.iter_mut() {
            client.pump(net);
            server.pump(net);
        }
        net.wait(5 * MS);
        for host in [CLIENT, SERVER] {
            held[host] = held[host].max(net.engines[host].buffered_bytes());
        }
    };
    for _ in 0..400 {
        turn(&mut net, &mut pairs);
    }
    pairs.iter_mut().for_each(|(_, server)| server.reads = true);
    for _ in 0..20_000 {
        turn(&mut net, &mut pairs);
        if pairs.iter().all(|(_, server)| server.is_at_end) {
            break;
        }
    }
    assert!(pairs.iter().all(|(client, server)| server.received == client.data));
    // One block more for each, and no more than that.
    let most = max + usize::from(MANY) * 4_096;
    assert!(held.iter().all(|held| *held > max / 2 && *held <= most), "{held:?}");
    assert!(net.counters(SERVER).refused_memory > 0);
}

#[test]
fn who_wants_much_does_not_make_memory_scarce() {
    for is_v4 in FAMILIES {
        let max = 32 << 20;
        let config = TcpConfig { buffer_bytes_max: max, ..TcpConfig::default() };
        let mut net = Net::with(1, Faults { delay_ns: 50 * MS, ..Faults::default() }, config);
        net.options =
            ConnOptions { receive_buffer: 8 << 20, send_buffer: 8 << 20, ..ConnOptions::default() };
        let mut pairs: Vec<_> = (0..20).map(|n| net.pair(is_v4, 10_000 + n)).collect();
        pairs.iter_mut().for_each(|(_, server)| server.send(4 << 20, 1));
        let mut held = 0;
        assert!(net.run(60 * SECOND, |net| {
            for (client, server) in &mut pairs {
                server.pump(net);
                client.pump(net);
            }
            held = held.max(net.engines[SERVER].buffered_bytes());
            assert_eq!(net.engines[SERVER].pressure(Share::NONE), Pressure::None);
            pairs.iter().all(|(client, _)| client.is_at_end)
        }));
        assert!(pairs.iter().all(|(client, server)| client.received == server.data));
        assert!(held > max / 4, "{held}");
    }
}

#[test]
fn while_memory_is_scarce_windows_are_small_and_then_nobody_is_let_in() {
    for is_v4 in FAMILIES {
        let max = 1 << 20;
        let config = TcpConfig { buffer_bytes_max: max, ..TcpConfig::default() };
        let mut net = Net::with(1, Faults { delay_ns: MS, ..Faults::default() }, config);
        let mut pairs = Vec::new();
        let mut steps = vec![Pressure::None];
        // Who does not read holds a window each.
        for number in 0..60 {
            let mut client = net.connect(is_v4, 10_000 + number);
            client.send(100_000, 1);
            net.wait(5 * MS);
            let Some(id) = net.engines[SERVER].accept() else { break };
            pairs.push((client, Stream::new(SERVER, id)));
            for _ in 0..20 {
                pairs.iter_mut().for_each(|(client, _)| client.pump(&mut net));
                net.wait(5 * MS);
            }
            steps.push(net.engines[SERVER].pressure(Share::NONE));
        }
        assert!(steps.is_sorted(), "{steps:?}");
        assert!(steps.contains(&Pressure::Windows), "{steps:?}");
        assert_eq!(steps.last(), Some(&Pressure::Connections), "{steps:?}");
        let counters = net.counters(SERVER);
        assert!(counters.windows_held > 0);
        assert_eq!(counters.refused_pressure, 1);
        assert_eq!(net.counters(CLIENT).resets_received, 1);
        // When somebody has read, others are let in.
        for (client, server) in &mut pairs {
            server.reads = true;
            for _ in 0..200 {
                client.pump(&mut net);
                server.pump(&mut net);
                net.wait(MS);
            }
        }
        assert_eq!(net.engines[SERVER].pressure(Share::NONE), Pressure::None);
        net.pair(is_v4, 20_000);
    }
}

#[test]
fn a_listener_whose_clients_take_its_part_lets_nobody_in_and_others_do() {
    for is_v4 in FAMILIES {
        let config = TcpConfig { buffer_bytes_max: 1 << 20, ..TcpConfig::default() };
        let mut net = Net::with(1, Faults { delay_ns: MS, ..Faults::default() }, config);
        net.options.share = Share::of_listener(0);
        let mut pairs = Vec::new();
        for number in 0..60 {
            let mut client = net.connect(is_v4, 10_000 + number);
            client.send(100_000, 1);
            net.wait(5 * MS);
            let Some(id) = net.engines[SERVER].accept() else { break };
            pairs.push((client, Stream::new(SERVER, id)));
            for _ in 0..20 {
                pairs.iter_mut().for_each(|(client, _)| client.pump(&mut net));
                net.wait(5 * MS);
            }
        }
        assert_eq!(net.counters(SERVER).refused_pressure, 1);
        let engine = &net.engines[SERVER];
        assert_eq!(engine.pressure(Share::of_listener(0)), Pressure::Connections);
        assert!(engine.pressure(Share::of_listener(1)) < Pressure::Connections);
        net.options.share = Share::of_listener(1);
        net.pair(is_v4, 20_000);
        assert_eq!(net.counters(SERVER).refused_pressure, 1);
    }
}

#[test]
fn windows_and_segments_are_not_silly() {
    for is_v4 in FAMILIES {
        let mut net = path(2, 16 << 10);
        let (mut client, mut server) = net.pair(is_v4, 40_000);
        client.send(60_000, 1);
        server.reads = false;
        let pump = |net: &mut Net, client: &mut Stream| {
            net.run(20 * MS, |net| {
                client.pump(net);
                false
            });
        };
        pump(&mut net, &mut client);
        let before = net.log.len();
        // A few bytes are read at a time.
        let mut context = Context::from_waker(Waker::noop());
        let mut got = 0;
        while got < 30_000 {
            let mut buffer = [0; 100];
            let mut conn = server.conn(&mut net);
            while let Poll::Ready(Ok(read)) = conn.poll_read(&mut context, &mut buffer) {
                assert!(buffer[..read] == client.data[got..got + read]);
                got += read;
                if got % 500 == 0 {
                    break;
                }
            }
            pump(&mut net, &mut client);
        }
        let all: Vec<_> = net.log[before..].iter().map(|(_, packet)| Seg::read(packet)).collect();
        let data: Vec<usize> = all.iter().map(|segment| segment.payload.len()).collect();
        let small = data.iter().filter(|len| (1..1_400).contains(*len)).count();
        let large = data.iter().filter(|len| **len >= 1_400).count();
        assert!(large >= 15 && small <= large, "{data:?}");
    }
}

#[test]
fn who_never_opens_the_window_is_let_go_of() {
    let config = TcpConfig { idle_timeout: Duration::from_secs(30), ..TcpConfig::default() };
    let mut bench = Bench::new(true, config);
    let theirs = bench.establish(100);
    let id = bench.engine.accept().unwrap();
    let closed = Seg { window: 0, ..Seg::new("A", 101, theirs) };
    bench.say(&closed);
    let mut context = Context::from_waker(Waker::noop());
    let written = bench.engine.conn(id).unwrap().poll_write(&mut context, &[1; 5_000]);
    assert_eq!(written, Poll::Ready(Ok(5_000)));
    let mut ended = None;
    for _ in 0..200 {
        bench.now += SECOND / 2;
        // Every probe is answered.
        if bench.poll().iter().any(|probe| probe.payload.len() == 1) {
            bench.say(&closed);
        }
        let polled = bench.engine.conn(id).unwrap().poll_acknowledged(&mut context);
        if let Poll::Ready(Err(why)) = polled {
            ended = Some(why);
        }
    }
    assert_eq!(ended, Some(Ended::TimedOut));
    assert!(bench.engine.counters().window_probes > 4);
    assert_eq!(bench.engine.buffered_bytes(), 0);
}

#[test]
fn timestamps_tell_old_segments_from_new_ones() {
    for is_v4 in FAMILIES {
        let mut bench = Bench::new(is_v4, TcpConfig::default());
        let theirs =
            bench.establish_with(Seg { stamps: Some((5_000, 0)), ..Seg::new("S", 100, 0) });
        let segment = |seq: u32, value: u32| Seg {
            stamps: Some((value, 0)),
            ..Seg::new("A", seq, theirs).with(b"abc")
        };
        let acks = |answers: Vec<Seg>| -> Vec<_> {
            answers.iter().map(|answer| (answer.ack, answer.stamps.unwrap().1)).collect()
        };
        bench.say(&segment(101, 5_010));
        bench.now += 20 * MS;
        assert_eq!(acks(bench.poll()), [(104, 5_010)]);
        // From before, and just where the next one is to be.
        assert_eq!(acks(bench.say(&segment(104, 5_009))), [(104, 5_010)]);
        assert_eq!(bench.engine.counters().stamps_refused, 1);
        // Without timestamps it is not of this connection.
        assert_eq!(bench.say(&Seg::new("A", 104, theirs).with(b"abc")), []);
        // What is behind a gap is not the one that is echoed.
        assert_eq!(acks(bench.say(&segment(107, 5_030))), [(104, 5_010)]);
        assert_eq!(acks(bench.say(&segment(104, 5_020))), [(110, 5_020)]);
        // A reset needs none.
        bench.say(&Seg::new("R", 110, 0));
        assert_eq!(bench.engine.counters().resets_received, 1);
    }
}

#[test]
fn a_smaller_path_is_used_at_once() {
    let mut net = path(100, 256 << 10);
    let (mut client, mut server) = net.pair(true, 40_000);
    net.drops = Box::new(|from, packet, _| from == SERVER && packet.len() > 1_300);
    server.send(10_000, 1);
    server.pump(&mut net);
    net.wait(MS);
    let first = net.log.iter().find(|(_, packet)| packet.len() == 1_500).unwrap().1.clone();
    let start = net.now;
    net.engines[SERVER].deliver_icmp(&crate::icmp::too_big(&first, 1_300));
    assert!(net.run(SECOND, |net| {
        server.pump(net);
        client.pump(net);
        client.received.len() == 10_000
    }));
    assert!(net.now - start < 60 * MS, "half a round trip");
    let counters = net.counters(SERVER);
    assert_eq!((counters.timeouts, counters.recoveries), (0, 0), "it is no congestion");
}
