//! How a connection gets on after losses.

use crate::net::{CLIENT, FAMILIES, Faults, MS, Net, SECOND, SERVER, Stream};
use crate::segments::{Bench, Seg};
use sluice_l7::tcp::{ConnOptions, TcpConfig, TcpConn};
use std::task::{Context, Waker};
use std::time::Duration;

/// An established connection, and the peer's and the gateway's next numbers.
fn established(is_v4: bool) -> (Bench, sluice_l7::tcp::ConnId, u32) {
    let mut bench = Bench::new(is_v4, TcpConfig::default());
    let theirs = bench.establish(100);
    let id = bench.engine.accept().unwrap();
    (bench, id, theirs)
}

fn write(bench: &mut Bench, id: sluice_l7::tcp::ConnId, len: usize) -> Vec<Seg> {
    let mut context = Context::from_waker(Waker::noop());
    let mut conn = bench.engine.conn(id).unwrap();
    assert!(conn.poll_write(&mut context, &vec![7; len]).is_ready());
    bench.poll()
}

#[test]
fn an_ack_has_the_next_number_that_the_peer_takes_while_segments_are_sent_again() {
    for is_v4 in FAMILIES {
        let (mut bench, id, theirs) = established(is_v4);
        bench.say(&Seg { window: 9_000, ..Seg::new("A", 101, theirs) });
        assert_eq!(write(&mut bench, id, 2_000).len(), 2);
        // The window has become smaller: less can be sent again than was sent.
        bench.say(&Seg::new("A", 101, theirs));
        bench.now += 2 * SECOND;
        let again = bench.poll();
        assert_eq!((again[0].seq, bench.engine.counters().retransmissions), (theirs, 1));
        // A hole, which is answered at once.
        let ack = bench.say(&Seg::new("A", 200, theirs).with(b"x")).remove(0);
        assert_eq!((ack.flags, ack.seq, ack.ack), ("A", theirs + 1_000, 101));
    }
}

#[test]
fn a_window_that_closes_behind_a_segment_is_probed() {
    for is_v4 in FAMILIES {
        let (mut bench, id, theirs) = established(is_v4);
        assert_eq!(write(&mut bench, id, 900).len(), 1);
        // What was sent is not acknowledged, and may not be sent again.
        bench.say(&Seg { window: 0, ..Seg::new("A", 101, theirs) });
        let mut probes = Vec::new();
        for _ in 0..20 {
            bench.now += SECOND;
            probes.extend(bench.poll());
        }
        assert!(probes.len() >= 2, "{probes:?}");
        assert!(probes.iter().all(|probe| probe.seq == theirs && probe.payload.len() == 1));
        let rest = bench.say(&Seg::new("A", 101, theirs));
        assert_eq!(rest.iter().map(|segment| segment.payload.len()).sum::<usize>(), 900);
    }
}

#[test]
fn a_lost_fin_is_sent_again_whatever_is_acknowledged_twice() {
    for is_v4 in FAMILIES {
        let (mut bench, id, theirs) = established(is_v4);
        write(&mut bench, id, 100);
        bench.engine.conn(id).unwrap().shutdown();
        assert_eq!(bench.poll()[0].flags, "FA");
        let same = Seg::new("A", 101, theirs + 100);
        let answers: Vec<usize> = (0..7).map(|_| bench.say(&same).len()).collect();
        // The first one is of the data; three say that something else has arrived.
        assert_eq!(answers, [0, 0, 0, 1, 0, 0, 0]);
        for wait in [1, 2, 4] {
            bench.now += wait * SECOND;
            let again = bench.poll();
            assert_eq!((again[0].flags, again[0].seq), ("FA", theirs + 100));
        }
    }
}

/// So many seeds; others than these where `SEED` says from which on.
pub fn seeds(many: u64) -> std::ops::Range<u64> {
    let from = std::env::var("SEED").ok().and_then(|from| from.parse().ok()).unwrap_or(0);
    from..from + many
}

#[test]
fn whatever_the_network_does_both_get_everything() {
    // Those behind the first ones stood still once: retransmissions that tell of the window.
    for seed in seeds(2_000).chain([118_819, 209_260, 221_215]) {
        let mut random = fastrand::Rng::with_seed(seed);
        let faults = Faults {
            loss: random.f64() * 0.1,
            duplicate: random.f64() * 0.1,
            delay_ns: random.u64(0..40) * MS,
            jitter_ns: random.u64(0..30) * MS,
        };
        let config = TcpConfig {
            half_open_max: if random.bool() { 0 } else { 10 },
            half_open_timeout: Duration::from_secs(200),
            buffer_bytes_max: if random.u8(0..4) == 0 { 20_000 } else { 1 << 20 },
            ..TcpConfig::default()
        };
        let mut net = Net::with(seed, faults, config);
        net.options = ConnOptions {
            receive_buffer: random.u32(500..80_000),
            send_buffer: random.u32(500..80_000),
            mtu: random.u16(500..3_000),
            ..ConnOptions::default()
        };
        // The client speaks first: to a server that sends cookies its data is the ACK.
        let mut client = net.connect(random.bool(), 40_000);
        client.send(random.usize(1..60_000), 1);
        let mut accepted = None;
        assert!(net.run(200 * SECOND, |net| {
            client.pump(net);
            accepted = net.engines[SERVER].accept();
            accepted.is_some()
        }));
        let mut server = Stream::new(SERVER, accepted.unwrap());
        server.send(random.usize(0..60_000), 2);
        let both = |net: &mut Net, client: &mut Stream, server: &mut Stream, limit: u64| {
            net.run(limit, |net| {
                client.pump(net);
                server.pump(net);
                client.is_at_end && server.is_at_end
            })
        };
        // Sometimes nobody reads for a while.
        server.reads = random.bool();
        both(&mut net, &mut client, &mut server, random.u64(1..5) * SECOND);
        server.reads = true;
        let done = both(&mut net, &mut client, &mut server, 1_000 * SECOND);
        assert!(done && client.received == server.data && server.received == client.data, "{seed}");
        client.release(&mut net);
        server.release(&mut net);
        net.wait(100 * SECOND);
        assert_eq!(net.engines[CLIENT].connections() + net.engines[SERVER].connections(), 0);
        assert_eq!([CLIENT, SERVER].map(|host| net.engines[host].buffered_bytes()), [0, 0]);
        let counters = [CLIENT, SERVER].map(|host| net.counters(host));
        assert!(counters.iter().all(|counters| counters.malformed + counters.aborts_sent == 0));
    }
}
