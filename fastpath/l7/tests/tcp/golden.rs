//! Single segments and what RFC 9293 section 3.10.7 and RFC 5961 answer to them.

use crate::net::{FAMILIES, Outbox};
use crate::segments::{Bench, Seg};
use sluice_l7::tcp::{ConnOptions, TcpConfig, TcpConn, TcpState};
use std::task::{Context, Poll, Waker};

fn bench(is_v4: bool) -> Bench {
    Bench::new(is_v4, TcpConfig::default())
}

fn bare(flags: &'static str, seq: u32, ack: u32) -> Seg {
    Seg { window: 0, ..Seg::new(flags, seq, ack) }
}

#[test]
fn strangers_are_reset_but_never_for_a_reset() {
    for is_v4 in FAMILIES {
        let mut bench = bench(is_v4);
        let closed = |bench: &mut Bench, segment: Seg| {
            let mut gateway = bench.gateway;
            gateway.set_port(81);
            let packet = segment.packet(bench.peer, gateway);
            bench.give(&packet)
        };
        assert_eq!(closed(&mut bench, Seg::new("S", 100, 0)), [bare("RA", 0, 101)]);
        assert_eq!(closed(&mut bench, Seg::new("S", u32::MAX, 0)), [bare("RA", 0, 0)]);
        assert_eq!(closed(&mut bench, Seg::new("FA", 100, 7).with(b"abc")), [bare("R", 7, 0)]);
        assert_eq!(closed(&mut bench, Seg::new("R", 100, 0)), []);
        assert_eq!(bench.say(&Seg::new("A", 100, 7)), [bare("R", 7, 0)]);
        assert_eq!(bench.say(&Seg::new("SA", 100, 7)), [bare("R", 7, 0)]);
        assert_eq!(bench.say(&Seg::new("RA", 100, 7)), []);
        let counters = bench.engine.counters();
        assert_eq!((counters.resets_sent, counters.refused_closed), (5, 2));
        assert_eq!(bench.engine.half_open() + bench.engine.connections(), 0);
    }
}

#[test]
fn the_syn_ack_offers_what_the_path_takes() {
    for (is_v4, mtu, mss) in [
        (true, 1_500, 1_460),
        (true, 1_430, 1_390),
        (true, 100, 536),
        (false, 1_500, 1_440),
        (false, 1_430, 1_370),
        (false, 100, 1_220),
    ] {
        let mut bench = bench(is_v4);
        bench.options = ConnOptions { mtu, ..bench.options };
        let answers = bench.say(&Seg::new("S", 100, 0));
        assert_eq!(answers[0].mss, Some(mss));
        assert_eq!(answers[0].window, 0xffff);
    }
}

#[test]
fn a_reset_ends_a_connection_only_where_it_is_expected() {
    for is_v4 in FAMILIES {
        let mut bench = bench(is_v4);
        bench.options.receive_buffer = 16 << 10;
        let theirs = bench.establish(100);
        let id = bench.engine.accept().unwrap();
        let expected = Seg { window: 16 << 10, ..Seg::new("A", theirs, 101) };
        assert_eq!(bench.say(&Seg::new("R", 102, 0))[0], expected, "in the window");
        assert_eq!(bench.say(&Seg::new("R", 103, 0)), [], "too soon for another");
        assert_eq!(bench.say(&Seg::new("R", 100, 0)), [], "before the window");
        assert_eq!(bench.say(&Seg::new("R", 101 + (16 << 10), 0)), [], "behind the window");
        bench.now += 1_000_000_000;
        assert_eq!(bench.say(&Seg::new("S", 5_000, 0)), [expected], "a SYN");
        assert_eq!(bench.engine.conn(id).unwrap().state(), TcpState::Established);
        assert_eq!(bench.say(&Seg::new("R", 101, 0)), []);
        assert_eq!(bench.engine.conn(id).unwrap().state(), TcpState::Closed);
        let counters = bench.engine.counters();
        assert_eq!((counters.resets_received, counters.challenges_sent), (1, 2));
        assert_eq!(counters.answers_limited, 1);
    }
}

#[test]
fn a_reset_after_data_that_is_not_acknowledged_yet_is_the_expected_one() {
    let mut bench = bench(true);
    let theirs = bench.establish(100);
    let id = bench.engine.accept().unwrap();
    bench.say(&Seg::new("A", 101, theirs).with(b"abc"));
    let mut context = Context::from_waker(Waker::noop());
    let mut buffer = [0; 2];
    let read = bench.engine.conn(id).unwrap().poll_read(&mut context, &mut buffer);
    assert_eq!(read, Poll::Ready(Ok(2)));
    bench.say(&Seg::new("R", 104, 0));
    assert_eq!(bench.engine.conn(id).unwrap().state(), TcpState::Closed);
}

#[test]
fn data_that_came_after_a_hole_is_put_in_order() {
    for is_v4 in FAMILIES {
        let mut bench = bench(is_v4);
        let theirs = bench.establish(u32::MAX - 2);
        let id = bench.engine.accept().unwrap();
        // Sequence numbers wrap within it.
        let answers = bench.say(&Seg::new("FA", 2, theirs).with(b"ef"));
        assert_eq!((answers[0].flags, answers[0].ack), ("A", u32::MAX - 1));
        bench.say(&Seg::new("A", u32::MAX - 1, theirs).with(b"abcd"));
        bench.say(&Seg::new("FA", 4, theirs));
        let mut context = Context::from_waker(Waker::noop());
        let mut buffer = [0; 9];
        let mut conn = bench.engine.conn(id).unwrap();
        assert_eq!(conn.poll_read(&mut context, &mut buffer), Poll::Ready(Ok(6)));
        assert_eq!(&buffer[..6], b"abcdef");
        assert_eq!(conn.poll_read(&mut context, &mut buffer), Poll::Ready(Ok(0)));
        assert_eq!(conn.state(), TcpState::CloseWait);
        assert_eq!((conn.local(), conn.remote()), (bench.gateway, bench.peer));
    }
}

#[test]
fn a_reset_handshake_leaves_nothing() {
    let mut bench = bench(true);
    bench.say(&Seg::new("S", 100, 0));
    assert_eq!(bench.engine.half_open(), 1);
    assert_eq!(bench.say(&Seg::new("R", 101, 0)), []);
    assert_eq!(bench.engine.half_open(), 0);
    bench.establish(500);
}

#[test]
fn ip_options_and_extension_headers_do_not_matter() {
    let mut bench = bench(true);
    let packet = Seg::new("S", 100, 0).packet(bench.peer, bench.gateway);
    let mut with = packet[..20].to_vec();
    with.extend_from_slice(&[1, 1, 1, 0]);
    with.extend_from_slice(&packet[20..]);
    with[0] = 0x46;
    with[3] += 4;
    with[10..12].fill(0);
    let sum: u32 =
        with[..24].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    with[10..12].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(bench.give(&with)[0].flags, "SA");

    let mut bench = self::bench(false);
    let packet = Seg::new("S", 100, 0).packet(bench.peer, bench.gateway);
    let mut with = packet[..40].to_vec();
    with.extend_from_slice(&[60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0]);
    with.extend_from_slice(&packet[40..]);
    with[5] += 16;
    with[6] = 0;
    assert_eq!(bench.give(&with)[0].flags, "SA");
}

#[test]
fn data_beyond_the_buffer_is_not_taken() {
    for receive_buffer in [65_535, 65_536, 100_000, 131_072] {
        let mut bench = bench(true);
        bench.options = ConnOptions { receive_buffer, ..bench.options };
        let syn = Seg { scale: Some(7), ..Seg::new("S", 100, 0) };
        let theirs = bench.say(&syn)[0].seq.wrapping_add(1);
        bench.say(&Seg::new("A", 101, theirs));
        let id = bench.engine.accept().unwrap();
        // From behind, so that the window of the SYN-ACK is the one that counts.
        for at in (0..200_000u32).step_by(1_000).rev() {
            bench.say(&Seg::new("A", 101 + at, theirs).with(&[7; 1_000]));
        }
        for at in (0..200_000u32).step_by(1_000) {
            bench.say(&Seg::new("A", 101 + at, theirs).with(&[7; 1_000]));
        }
        let mut context = Context::from_waker(Waker::noop());
        let mut buffer = vec![0; 300_000];
        let mut conn = bench.engine.conn(id).unwrap();
        let mut read = 0;
        while let Poll::Ready(Ok(more)) = conn.poll_read(&mut context, &mut buffer) {
            read += more;
        }
        assert!(buffer[..read].iter().all(|byte| *byte == 7));
        assert!(read > 60_000 && read <= receive_buffer as usize, "{read}");
    }
}

#[test]
fn every_second_full_segment_is_acknowledged_at_once() {
    for (is_v4, mss) in [(true, 1_460), (false, 1_440)] {
        let mut bench = bench(is_v4);
        let theirs = bench.establish(100);
        let mut outbox = Outbox::default();
        let mut acks = Vec::new();
        for n in 0..7 {
            let segment = Seg::new("A", 101 + n * mss, theirs).with(&vec![1; mss as usize]);
            let packet = segment.packet(bench.peer, bench.gateway);
            let mut nothing = |_, _| None;
            bench.engine.deliver(&packet, bench.now, &mut nothing, &mut outbox);
            acks.extend(outbox.packets.drain(..).map(|packet| Seg::read(&packet).ack));
        }
        assert_eq!(acks, [2, 4, 6].map(|n| 101 + n * mss));
        // The last one waits for more.
        assert_eq!(bench.poll(), []);
        bench.now += 11_000_000;
        assert_eq!(bench.poll()[0].ack, 101 + 7 * mss);
    }
}

/// Gives a segment with so many bytes of data that are next, and takes the ACKs that go at
/// once.
fn acks_of(bench: &mut Bench, seq: &mut u32, theirs: u32, len: u32) -> Vec<u32> {
    let segment = Seg::new("A", *seq, theirs).with(&vec![1; len as usize]);
    *seq += len;
    let packet = segment.packet(bench.peer, bench.gateway);
    let mut outbox = Outbox::default();
    bench.engine.deliver(&packet, bench.now, &mut |_, _| None, &mut outbox);
    outbox.packets.drain(..).map(|packet| Seg::read(&packet).ack).collect()
}

#[test]
fn a_full_segment_and_a_bit_wait_for_data_but_not_for_long() {
    for is_v4 in FAMILIES {
        let mut bench = bench(is_v4);
        let theirs = bench.establish(100);
        let mut seq = 101;
        // The head of an answer and its body.
        assert!(acks_of(&mut bench, &mut seq, theirs, 240).is_empty());
        assert!(acks_of(&mut bench, &mut seq, theirs, 1_024).is_empty());
        assert_eq!(bench.poll(), []);
        bench.now += 1_500_000;
        assert_eq!(bench.poll()[0].ack, 101 + 1_264);
        // More than that.
        assert!(acks_of(&mut bench, &mut seq, theirs, 1_024).is_empty());
        assert!(acks_of(&mut bench, &mut seq, theirs, 1_023).is_empty());
        assert_eq!(acks_of(&mut bench, &mut seq, theirs, 1), [101 + 1_264 + 2_048]);
    }
}

#[test]
fn full_segments_may_get_shorter() {
    for is_v4 in FAMILIES {
        let mut bench = bench(is_v4);
        let theirs = bench.establish(100);
        let mut seq = 101;
        for len in [1_400, 1_200, 524] {
            assert!(acks_of(&mut bench, &mut seq, theirs, len).is_empty(), "{len}");
            assert_eq!(acks_of(&mut bench, &mut seq, theirs, len), [seq], "{len}");
        }
        // No full ones.
        for _ in 0..2 {
            assert!(acks_of(&mut bench, &mut seq, theirs, 100).is_empty());
        }
    }
}

#[test]
fn initial_sequence_numbers_go_with_the_clock() {
    for is_v4 in FAMILIES {
        let isn = |now: u64, port: u16| {
            let mut bench = bench(is_v4);
            (bench.now, bench.peer) = (now, (bench.peer.ip(), port).into());
            bench.say(&Seg::new("S", 100, 0))[0].seq
        };
        let first = isn(1_000_000_000, 1);
        assert_eq!(isn(3_000_000_000, 1), first.wrapping_add(500_000), "every 4 us");
        assert!(isn(1_000_000_000, 2).abs_diff(first) > 1_000, "RFC 6528");
    }
}

#[test]
fn what_is_no_segment_is_counted_and_not_answered() {
    for is_v4 in FAMILIES {
        let bench = bench(is_v4);
        let tcp = if is_v4 { 20 } else { 40 };
        let good = Seg::new("S", 100, 0).packet(bench.peer, bench.gateway);
        let with = |at: usize, byte: u8| {
            let mut packet = good.clone();
            packet[at] = byte;
            packet
        };
        let from = |address: &str| {
            let address = std::net::SocketAddr::new(address.parse().unwrap(), 40_000);
            Seg::new("S", 100, 0).packet(address, bench.gateway)
        };
        let mut wrong = vec![
            vec![],
            good[..tcp].to_vec(),
            good[..tcp + 19].to_vec(),
            with(0, 0x50),
            with(tcp + 7, 0xff),
            with(tcp + 12, 0x40),
            with(tcp + 12, 0xf0),
            Seg::new("SF", 1, 0).packet(bench.peer, bench.gateway),
            Seg::new("SR", 1, 0).packet(bench.peer, bench.gateway),
            Seg::new("S", 1, 0).packet((bench.peer.ip(), 0).into(), bench.gateway),
            Seg::new("S", 1, 0).packet(bench.gateway, bench.gateway),
        ];
        if is_v4 {
            wrong.extend(["0.0.0.0", "255.255.255.255", "224.0.0.1"].map(from));
            // The header's checksum, its length, a fragment.
            wrong.extend([with(8, 63), with(0, 0x44), with(6, 0x20)]);
        } else {
            wrong.extend(["::", "ff02::1"].map(from));
            // Another protocol, a fragment's header, a length beyond the packet.
            wrong.extend([with(6, 17), with(6, 44), with(5, 21)]);
        }
        let count = wrong.len() as u64;
        let mut bench = bench;
        for packet in wrong {
            assert_eq!(bench.give(&packet), [], "{packet:x?}");
        }
        assert_eq!(bench.engine.counters().malformed, count);
        assert_eq!(bench.give(&good).len(), 1);
    }
}

#[test]
fn an_engine_can_be_a_workers() {
    fn is_send(_: impl Send) {}
    is_send(bench(true).engine);
}

#[test]
fn segments_from_far_away_are_challenged_and_not_taken() {
    for is_v4 in FAMILIES {
        for far in [1 << 31, (1 << 31) - 700, (1 << 31) + 700, 300_000, u32::MAX - 300_000] {
            let mut bench = bench(is_v4);
            let theirs = bench.establish(100);
            let id = bench.engine.accept().unwrap();
            let segment = Seg::new("A", 101u32.wrapping_add(far), theirs).with(&[7; 1_400]);
            let answers = bench.say(&segment);
            assert_eq!((answers.len(), answers[0].ack), (1, 101), "{far}");
            assert_eq!(bench.say(&segment), [], "too soon for another");
            let mut context = Context::from_waker(Waker::noop());
            let mut conn = bench.engine.conn(id).unwrap();
            assert!(conn.poll_read(&mut context, &mut [0; 9]).is_pending());
            assert_eq!(bench.engine.counters().challenges_sent, 1);
        }
    }
}
