//! How losses are found and made good: RACK-TLP, the timeout, and what is no loss.

use crate::net::{FAMILIES, Faults, MS, Net, SECOND, SERVER, Stream};
use crate::segments::{Bench, Seg};
use sluice_l7::tcp::{ConnId, ConnOptions, TcpConfig, TcpConn};
use std::task::{Context, Waker};

/// Sends from the server, over a path of so long a round trip, and loses the given ones of
/// its full segments; the time in nanoseconds until all has arrived.
fn transfer(net: &mut Net, is_v4: bool, len: usize, lost: &'static [usize]) -> u64 {
    let (mut client, mut server) = net.pair(is_v4, 40_000);
    let mut full = 0;
    net.drops = Box::new(move |from, packet, _| {
        let is_full = from == SERVER && packet.len() > 500;
        full += usize::from(is_full);
        is_full && lost.contains(&full)
    });
    server.send(len, 1);
    let start = net.now;
    assert!(net.run(100 * SECOND, |net| {
        server.pump(net);
        client.pump(net);
        client.received.len() == len
    }));
    assert!(client.received == server.data);
    net.now - start
}

fn path(rtt_ms: u64) -> Net {
    Net::new(1, Faults { delay_ns: rtt_ms * MS / 2, ..Faults::default() })
}

#[test]
fn several_losses_of_a_window_are_made_good_without_a_timeout() {
    for is_v4 in FAMILIES {
        let plain = transfer(&mut path(50), is_v4, 200_000, &[]);
        let mut net = path(50);
        let taken = transfer(&mut net, is_v4, 200_000, &[31, 34, 35, 40, 52, 53, 54]);
        let counters = net.counters(SERVER);
        assert_eq!((counters.timeouts, counters.recoveries), (0, 1));
        assert_eq!(counters.retransmissions, 7, "and nothing else is sent again");
        assert!(taken <= plain + 3 * 50 * MS, "{taken} {plain}");
    }
}

#[test]
fn a_loss_leaves_the_window_what_acks_before_it_have_let_grow() {
    for is_v4 in FAMILIES {
        let mut net = path(100);
        let (mut client, mut server) = net.pair(is_v4, 40_000);
        // Of the third flight, 31 to 70: twenty come before it, and all ACKs at once.
        let mut sent = 0;
        net.drops = Box::new(move |from, packet, _| {
            sent += usize::from(from == SERVER && packet.len() > 500);
            from == SERVER && packet.len() > 500 && sent == 51
        });
        server.send(600_000, 1);
        let flights = [50, 100, 100, 100, 100].map(|wait| {
            let before = net.log.len();
            net.run(wait * MS, |net| {
                server.pump(net);
                client.pump(net);
                false
            });
            net.log[before..].iter().filter(|(who, _)| *who == SERVER).count()
        });
        // Seven tenths of 60, the one that was lost among them.
        assert_eq!(flights[..3], [10, 20, 40]);
        assert!(flights[3..].iter().all(|flight| (41..=43).contains(flight)), "{flights:?}");
    }
}

#[test]
fn a_loss_in_a_hundred_costs_no_timeouts() {
    let (mut timeouts, mut sent_again, mut lost) = (0, 0, 0);
    for seed in 0..20 {
        let faults = Faults { loss: 0.01, delay_ns: 25 * MS, ..Faults::default() };
        let mut net = Net::new(seed, faults);
        transfer(&mut net, true, 1 << 20, &[]);
        timeouts += net.counters(SERVER).timeouts;
        sent_again += net.counters(SERVER).retransmissions;
        lost += net.log.iter().filter(|(from, _)| *from == SERVER).count() / 100;
    }
    assert!(timeouts <= 3, "{timeouts}");
    // Hardly anything that was not lost.
    assert!(sent_again < lost as u64 * 3 / 2, "{sent_again} {lost}");
}

#[test]
fn what_is_lost_twice_is_sent_a_third_time() {
    let mut net = path(50);
    // The 24th full segment is lost, and whatever begins where it does, once more.
    let (mut client, mut server) = net.pair(true, 40_000);
    let (mut full, mut seq, mut times) = (0, None, 0);
    net.drops = Box::new(move |from, packet, _| {
        let is_full = from == SERVER && packet.len() > 1_000;
        full += usize::from(is_full);
        let this = is_full.then(|| packet[24..28].to_vec());
        if full == 24 && seq.is_none() {
            seq.clone_from(&this);
        }
        let is_lost = this.is_some() && this == seq && times < 2;
        times += usize::from(is_lost);
        is_lost
    });
    server.send(300_000, 1);
    assert!(net.run(10 * SECOND, |net| {
        server.pump(net);
        client.pump(net);
        client.received.len() == 300_000
    }));
    let counters = net.counters(SERVER);
    assert_eq!((counters.timeouts, counters.retransmissions), (0, 2));
}

#[test]
fn a_lost_tail_is_probed_for_before_the_timeout() {
    for is_v4 in FAMILIES {
        // The last ones of seven segments.
        for lost in [&[6, 7][..], &[5, 6, 7]] {
            let mut net = path(100);
            let taken = transfer(&mut net, is_v4, 9_900, lost);
            // Two round trips until they are missed, one to learn of it, two to mend it in
            // step with what arrives.
            assert!(taken < 600 * MS, "{taken}");
            net.wait(SECOND);
            let counters = net.counters(SERVER);
            assert_eq!((counters.timeouts, counters.tail_probes), (0, 1));
            assert_eq!(counters.recoveries, 1);
        }
    }
}

#[test]
fn the_only_segment_takes_the_timeout_and_no_longer() {
    let taken = transfer(&mut path(1), true, 1_024, &[1]);
    assert!((200 * MS..210 * MS).contains(&taken), "{taken}");
}

#[test]
fn reordering_is_not_taken_for_loss_for_long() {
    let plain = transfer(&mut path(40), true, 2 << 20, &[]);
    let faults = Faults { delay_ns: 20 * MS, jitter_ns: 4 * MS, ..Faults::default() };
    let mut net = Net::new(1, faults);
    let taken = transfer(&mut net, true, 2 << 20, &[]);
    let counters = net.counters(SERVER);
    assert_eq!(counters.timeouts, 0);
    assert!(counters.recoveries <= counters.recoveries_undone + 1, "{counters:?}");
    assert!(counters.retransmissions < 20, "{counters:?}");
    assert!(taken < plain * 3 / 2, "{taken} {plain}");
}

#[test]
fn a_path_that_falls_silent_for_a_while_is_not_a_loss() {
    // What is sent in 600 ms waits until they are over: longer than the timeout.
    let mut net = path(40);
    let (mut client, mut server) = net.pair(true, 40_000);
    server.send(2 << 20, 1);
    let pump = |net: &mut Net, client: &mut Stream, server: &mut Stream, until: u64| {
        net.run(until, |net| {
            server.pump(net);
            client.pump(net);
            client.received.len() == server.data.len()
        })
    };
    assert!(!pump(&mut net, &mut client, &mut server, 150 * MS));
    net.silent_until = net.now + 600 * MS;
    assert!(pump(&mut net, &mut client, &mut server, 10 * SECOND));
    assert!(client.received == server.data);
    let counters = net.counters(SERVER);
    assert!(counters.timeouts > 0 && counters.recoveries_undone > 0, "{counters:?}");
}

#[test]
fn a_path_that_becomes_longer_is_learnt() {
    for has_stamps in [true, false] {
        let mut net = path(40);
        if !has_stamps {
            net.mangles = Box::new(|packet| without_stamps(packet));
        }
        let (mut client, mut server) = net.pair(true, 40_000);
        server.send(1 << 20, 1);
        let mut all = |net: &mut Net, limit: u64| {
            net.run(limit, |net| {
                server.pump(net);
                client.pump(net);
                client.received.len() == 1 << 20
            })
        };
        assert!(!all(&mut net, 100 * MS));
        net.faults.delay_ns = 500 * MS;
        assert!(all(&mut net, 60 * SECOND));
        let counters = net.counters(SERVER);
        assert!((1..6).contains(&counters.timeouts), "{has_stamps} {counters:?}");
    }
}

/// Makes the timestamps of a SYN something that nobody knows.
fn without_stamps(packet: &mut [u8]) {
    let tcp = &mut packet[20..];
    let options = 20..usize::from(tcp[12] >> 4) * 4;
    let stamps = tcp[options.clone()].windows(2).position(|option| option == [8, 10]);
    if let Some(at) = stamps.filter(|_| tcp[13] & 2 != 0) {
        // An experiment (RFC 4727).
        tcp[options.start + at] = 253;
        crate::hostile::fix(packet);
    }
}

fn write(bench: &mut Bench, id: ConnId, len: usize) -> Vec<Seg> {
    let mut context = Context::from_waker(Waker::noop());
    let mut conn = bench.engine.conn(id).unwrap();
    assert!(conn.poll_write(&mut context, &vec![7; len]).is_ready());
    bench.poll()
}

/// A connection whose peer takes selective acknowledgments, with a large window.
fn established(is_v4: bool) -> (Bench, ConnId, u32) {
    let mut bench = Bench::new(is_v4, TcpConfig::default());
    let syn = Seg { mss: Some(1_000), may_sack: true, ..Seg::new("S", 100, 0) };
    let theirs = bench.establish_with(syn);
    bench.say(&Seg { window: 60_000, ..Seg::new("A", 101, theirs) });
    let id = bench.engine.accept().unwrap();
    (bench, id, theirs)
}

fn ack(theirs: u32, sacks: &[(u32, u32)]) -> Seg {
    let sacks = sacks.iter().map(|(start, end)| (theirs + start, theirs + end)).collect();
    Seg { window: 60_000, sacks, ..Seg::new("A", 101, theirs) }
}

#[test]
fn the_timeout_doubles() {
    let (mut bench, id, theirs) = established(true);
    let options = ConnOptions::default();
    assert_eq!((write(&mut bench, id, 100).len(), options.mtu), (1, 1_500));
    let start = bench.now;
    let mut waits = Vec::new();
    while waits.len() < 6 {
        bench.now += MS;
        for segment in bench.poll() {
            assert_eq!((segment.seq, segment.payload.len()), (theirs, 100));
            waits.push((bench.now - start) / MS);
        }
    }
    let near = |(n, at): (usize, &u64)| at.abs_diff(200 * ((2 << n) - 1)) < 10 * (n as u64 + 1);
    assert!(waits.iter().enumerate().all(near), "{waits:?}");
}

#[test]
fn after_a_timeout_it_is_sent_again_from_the_start_and_slowly() {
    let mut bench = Bench::new(true, TcpConfig::default());
    let theirs = bench.establish(100);
    bench.say(&Seg { window: 60_000, ..Seg::new("A", 101, theirs) });
    let id = bench.engine.accept().unwrap();
    assert_eq!(write(&mut bench, id, 14_600).len(), 10);
    bench.now += SECOND;
    let first = bench.poll();
    assert_eq!((first.len(), first[0].seq), (1, theirs));
    let then = bench.say(&Seg { window: 60_000, ..Seg::new("A", 101, theirs + 1_460) });
    let seqs: Vec<u32> = then.iter().map(|segment| segment.seq - theirs).collect();
    assert_eq!(seqs, [1_460, 2_920]);
}

#[test]
fn blocks_that_lie_are_not_heard() {
    let (mut bench, id, theirs) = established(false);
    assert_eq!(write(&mut bench, id, 10_000).len(), 10);
    for block in [
        (11_000, 12_000),
        (9_000, 10_001),
        (5_000, 5_000),
        (6_000, 4_000),
        (0u32.wrapping_sub(9_000), 2_000),
        (1 << 31, (1 << 31) + 7),
        (0, 0),
    ] {
        let sacks = vec![(theirs.wrapping_add(block.0), theirs.wrapping_add(block.1))];
        assert_eq!(bench.say(&Seg { sacks, ..ack(theirs, &[]) }), [], "{block:?}");
    }
    assert_eq!(bench.engine.counters().recoveries, 0);
    // The truth is: the first one is missing.
    eprintln!("{:?}", bench.engine.counters());
    let again = bench.say(&ack(theirs, &[(1_000, 6_000), (8_000, 9_000), (7_000, 8_500)]));
    assert_eq!((again[0].seq, again[0].payload.len()), (theirs, 1_000));
    let rest = bench.say(&Seg { window: 60_000, ..Seg::new("A", 101, theirs + 6_000) });
    assert_eq!(rest[0].seq, theirs + 6_000, "the second gap");
}

#[test]
fn a_peer_that_takes_back_what_it_said_gets_it_again() {
    let (mut bench, id, theirs) = established(true);
    assert_eq!(write(&mut bench, id, 5_000).len(), 5);
    bench.say(&ack(theirs, &[(1_000, 5_000)]));
    // The gap is filled, and that is all that it has.
    bench.say(&Seg { window: 60_000, ..Seg::new("A", 101, theirs + 1_000) });
    let mut seqs = Vec::new();
    for _ in 0..100 {
        bench.now += SECOND;
        for segment in bench.poll() {
            seqs.push(segment.seq - theirs);
            let end = segment.seq + segment.payload.len() as u32;
            bench.say(&Seg { window: 60_000, ..Seg::new("A", 101, end) });
        }
    }
    assert_eq!(seqs, [1_000, 2_000, 3_000, 4_000]);
}

#[test]
fn without_blocks_three_acks_of_the_same_are_enough() {
    for is_v4 in FAMILIES {
        let mut bench = Bench::new(is_v4, TcpConfig::default());
        let theirs = bench.establish(100);
        bench.say(&Seg { window: 60_000, ..Seg::new("A", 101, theirs) });
        let id = bench.engine.accept().unwrap();
        assert_eq!(write(&mut bench, id, 14_000).len(), 10);
        let same = Seg { window: 60_000, ..Seg::new("A", 101, theirs) };
        assert_eq!(bench.say(&same).len() + bench.say(&same).len(), 0);
        let again = bench.say(&same);
        assert_eq!((again.len(), again[0].seq), (1, theirs));
        // It was not the only one.
        let next = bench.say(&Seg { ack: theirs + 4_380, ..same });
        assert_eq!(next[0].seq, theirs + 4_380);
        assert_eq!(bench.engine.counters().timeouts, 0);
    }
}

#[test]
fn an_ack_of_what_was_never_sent_is_challenged() {
    let (mut bench, id, theirs) = established(true);
    write(&mut bench, id, 1_000);
    let answers = bench.say(&ack(theirs + 1_001, &[]));
    assert_eq!((answers[0].seq, answers[0].ack), (theirs + 1_000, 101));
    bench.now += SECOND;
    // What is older than any window was sent by somebody else.
    let answers = bench.say(&ack(theirs.wrapping_sub(100_000), &[]));
    assert_eq!(answers.iter().filter(|answer| answer.payload.is_empty()).count(), 1);
    assert_eq!(bench.engine.counters().challenges_sent, 2);
}

#[test]
fn data_that_is_sent_again_though_it_came_is_told() {
    let (mut bench, _, theirs) = established(true);
    bench.say(&Seg::new("A", 101, theirs).with(&[1; 50]));
    let twice = bench.say(&Seg::new("A", 101, theirs).with(&[1; 30]));
    assert_eq!((twice[0].ack, &twice[0].sacks[..]), (151, &[(101, 131)][..]));
    // The latest comes first, what came twice before all.
    bench.say(&Seg::new("A", 201, theirs).with(&[1; 10]));
    let gap = bench.say(&Seg::new("A", 301, theirs).with(&[1; 10]));
    assert_eq!(gap[0].sacks, [(301, 311), (201, 211)]);
    let gap = bench.say(&Seg::new("A", 211, theirs).with(&[1; 10]));
    assert_eq!(gap[0].sacks, [(201, 221), (301, 311)]);
    let all = bench.say(&Seg::new("A", 151, theirs).with(&[1; 150]));
    assert_eq!((all[0].ack, all[0].sacks.len()), (311, 0));
    assert_eq!(bench.engine.counters().malformed, 0);
}
