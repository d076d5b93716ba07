//! Each bound is reached, and read from its counter.

use crate::net::{FAMILIES, Faults, MS, Net, SECOND, SERVER};
use crate::segments::{Bench, Seg};
use sluice_l7::tcp::{ConnectError, TcpConfig, TcpConn, TcpState};
use std::task::{Context, Poll, Waker};

/// SYNs from `n` ports; how many were answered.
fn flood(bench: &mut Bench, n: u16) -> usize {
    let peer = bench.peer;
    let mut answers = 0;
    for n in 0..n {
        bench.peer.set_port(1_000 + n);
        answers += bench.say(&Seg::new("S", n.into(), 0)).len();
    }
    bench.peer = peer;
    answers
}

#[test]
fn half_open_connections_are_bounded() {
    let config = TcpConfig { half_open_max: 10, syn_cookies: false, ..TcpConfig::default() };
    let mut bench = Bench::new(true, config);
    assert_eq!(flood(&mut bench, 25), 10);
    assert_eq!(bench.engine.half_open(), 10);
    assert_eq!(bench.engine.counters().refused_half_open, 15);
    // They end, and there is room again.
    bench.now += 20 * SECOND;
    bench.poll();
    assert_eq!(bench.engine.counters().half_open_timeouts, 10);
    bench.establish(1);
}

#[test]
fn connections_are_bounded_wherever_they_come_from() {
    let config = TcpConfig { connections_max: 3, ..TcpConfig::default() };
    let mut bench = Bench::new(true, config);
    let mut peer = bench.peer;
    for n in 0..2 {
        bench.peer.set_port(1_000 + n);
        bench.establish(1);
    }
    // These shake hands at once: the first takes the last place.
    let halves = [10, 11].map(|port| {
        bench.peer.set_port(port);
        let answer = bench.say(&Seg::new("S", 1, 0)).remove(0);
        (port, answer.seq.wrapping_add(1))
    });
    let ends = halves.map(|(port, theirs)| {
        bench.peer.set_port(port);
        bench.say(&Seg::new("A", 2, theirs)).first().map(|segment| segment.flags)
    });
    assert_eq!(ends, [None, Some("RA")]);
    assert_eq!(bench.say(&Seg::new("S", 9, 0)), [], "a SYN is not answered");
    peer.set_port(7);
    let refused = bench.engine.connect(bench.gateway, peer, bench.options, bench.now);
    assert_eq!(refused.err(), Some(ConnectError::Full));
    let counters = bench.engine.counters();
    assert_eq!((counters.accepted, counters.refused_connections), (3, 3));
    assert_eq!((bench.engine.connections(), bench.engine.half_open()), (3, 0));
}

#[test]
fn answers_to_strangers_are_bounded() {
    let config = TcpConfig { answers_max_per_s: 10, ..TcpConfig::default() };
    let mut bench = Bench::new(true, config);
    let answers = |bench: &mut Bench| {
        (0..50).map(|seq| bench.say(&Seg::new("A", seq, 7)).len()).sum::<usize>()
    };
    assert_eq!(answers(&mut bench), 10);
    bench.now += SECOND / 2;
    assert_eq!(answers(&mut bench), 5);
    let counters = bench.engine.counters();
    assert_eq!((counters.resets_sent, counters.answers_limited), (15, 85));
}

fn flooded(is_v4: bool) -> Bench {
    let config = TcpConfig { half_open_max: 10, ..TcpConfig::default() };
    let mut bench = Bench::new(is_v4, config);
    assert_eq!(flood(&mut bench, 1_000), 1_000);
    assert_eq!(bench.engine.half_open(), 10);
    assert_eq!(bench.engine.counters().cookies_sent, 990);
    bench
}

#[test]
fn a_client_connects_by_a_cookie() {
    for is_v4 in FAMILIES {
        for isn in [100, u32::MAX] {
            let mut bench = flooded(is_v4);
            let syn = Seg { mss: Some(1_400), ..Seg::new("S", isn, 0) };
            let answer = bench.say(&syn).remove(0);
            assert_eq!((answer.flags, answer.ack), ("SA", isn.wrapping_add(1)));
            assert_eq!(answer.mss, Some(if is_v4 { 1_460 } else { 1_440 }));
            let (ours, theirs) = (isn.wrapping_add(1), answer.seq.wrapping_add(1));
            // The last ACK carries the request, or is followed by it.
            let hello = Seg { window: 60_000, ..Seg::new("A", ours, theirs) }.with(b"hello");
            assert_eq!(bench.say(&hello), []);
            let id = bench.engine.accept().unwrap();
            let mut context = Context::from_waker(Waker::noop());
            let mut buffer = [0; 9];
            let mut conn = bench.engine.conn(id).unwrap();
            assert_eq!(conn.state(), TcpState::Established);
            assert_eq!(conn.poll_read(&mut context, &mut buffer), Poll::Ready(Ok(5)));
            // The answer goes by the maximum segment size that the SYN offered.
            assert!(conn.poll_write(&mut context, &[7; 3_000]).is_ready());
            let answers = bench.poll();
            assert_eq!((answers[0].seq, answers[0].payload.len()), (theirs, 1_400));
            assert_eq!(answers[0].ack, ours.wrapping_add(5));
            let counters = bench.engine.counters();
            assert_eq!((counters.cookies_taken, counters.accepted), (1, 1));
        }
    }
}

#[test]
fn a_cookie_keeps_what_a_client_with_timestamps_offers() {
    for is_v4 in FAMILIES {
        let mut bench = flooded(is_v4);
        let syn = Seg {
            mss: Some(1_400),
            scale: Some(7),
            may_sack: true,
            stamps: Some((5_000, 0)),
            ..Seg::new("S", 100, 0)
        };
        let answer = bench.say(&syn).remove(0);
        let (stamp, echo) = answer.stamps.unwrap();
        assert_eq!(echo, 5_000);
        let theirs = answer.seq.wrapping_add(1);
        // 10 x 128 bytes.
        let ack = Seg { window: 10, stamps: Some((5_001, stamp)), ..Seg::new("A", 101, theirs) };
        assert_eq!(bench.say(&ack), []);
        let id = bench.engine.accept().unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut conn = bench.engine.conn(id).unwrap();
        assert!(conn.poll_write(&mut context, &[7; 3_000]).is_ready());
        let data = bench.poll();
        assert_eq!((data.len(), data[0].payload.len()), (1, 1_280));
        assert!(data[0].stamps.unwrap().0.wrapping_sub(stamp) < 1 << 31, "time does not run back");
        // A gap is told in blocks.
        let gap = Seg { stamps: Some((5_002, stamp)), ..Seg::new("A", 201, theirs) }.with(b"x");
        assert_eq!(bench.say(&gap)[0].sacks, [(201, 202)]);
    }
}

#[test]
fn what_is_no_cookie_is_not_taken() {
    for is_v4 in FAMILIES {
        let mut bench = flooded(is_v4);
        let answer = bench.say(&Seg::new("S", 100, 0)).remove(0);
        let theirs = answer.seq.wrapping_add(1);
        assert_eq!(bench.say(&Seg::new("A", 101, theirs ^ 4)), []);
        // It may be what follows a lost one, which then is a cookie all the same.
        assert_eq!(bench.say(&Seg::new("A", 102, theirs)), []);
        assert_eq!(bench.engine.counters().cookies_refused, 2);
        bench.now += 200 * SECOND;
        bench.poll();
        assert_eq!(bench.say(&Seg::new("A", 101, theirs))[0].flags, "R", "the flood is over");
        assert_eq!(bench.engine.connections(), 0);
    }
}

#[test]
fn engines_speak_by_cookies_in_a_flood() {
    for is_v4 in FAMILIES {
        let config = TcpConfig { half_open_max: 0, ..TcpConfig::default() };
        let mut net =
            Net::with(5, Faults { delay_ns: MS, loss: 0.01, ..Faults::default() }, config);
        let (mut client, mut server) = net.pair(is_v4, 40_000);
        client.send(100_000, 1);
        server.send(100_000, 2);
        assert!(net.run(100 * SECOND, |net| {
            client.pump(net);
            server.pump(net);
            client.is_at_end && server.is_at_end
        }));
        assert!(client.received == server.data && server.received == client.data);
        assert_eq!(net.counters(SERVER).cookies_taken, 1);
    }
}

#[test]
fn answers_that_find_no_room_are_counted() {
    let mut bench = Bench::new(true, TcpConfig::default());
    let mut outbox = crate::net::Outbox { is_full: true, ..Default::default() };
    let mut nothing = |_, _| None;
    let packet = Seg::new("A", 1, 1).packet(bench.peer, bench.gateway);
    bench.engine.deliver(&packet, bench.now, &mut nothing, &mut outbox);
    let theirs = bench.establish(100);
    // A hole, which is answered as soon as there is room.
    let packet = Seg::new("A", 200, theirs).with(b"x").packet(bench.peer, bench.gateway);
    bench.engine.deliver(&packet, bench.now, &mut nothing, &mut outbox);
    assert_eq!(bench.engine.counters().answers_lost, 1);
    assert!(outbox.packets.is_empty());
    assert_eq!(bench.poll()[0].ack, 101);
}
