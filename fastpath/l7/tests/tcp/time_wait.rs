use crate::net::FAMILIES;
use crate::segments::{Bench, Seg};
use sluice_l7::tcp::{TcpConfig, TcpConn};

/// A connection that the gateway has closed first; the numbers that come next.
fn closed_by_the_gateway(bench: &mut Bench, isn: u32) -> (u32, u32) {
    let theirs = bench.establish(isn);
    let id = bench.engine.accept().unwrap();
    bench.engine.conn(id).unwrap().shutdown();
    let fins = bench.poll();
    assert_eq!((fins[0].flags, fins[0].seq), ("FA", theirs));
    let (ours, theirs) = (isn.wrapping_add(1), theirs.wrapping_add(1));
    let last = bench.say(&Seg::new("FA", ours, theirs));
    assert_eq!(last[0].ack, ours.wrapping_add(1));
    bench.engine.release(id, bench.now);
    (ours.wrapping_add(1), theirs)
}

#[test]
fn late_segments_are_acknowledged_and_resets_are_not_heard() {
    for is_v4 in FAMILIES {
        let mut bench = Bench::new(is_v4, TcpConfig::default());
        let (ours, theirs) = closed_by_the_gateway(&mut bench, 100);
        assert_eq!((bench.engine.time_waits(), bench.engine.connections()), (1, 0));
        let ack = Seg { window: 0, ..Seg::new("A", theirs, ours) };
        assert_eq!(bench.say(&Seg::new("FA", ours - 1, theirs))[0], ack, "its FIN again");
        assert_eq!(bench.say(&Seg::new("A", ours, theirs)), [], "nothing to be said");
        assert_eq!(bench.say(&Seg::new("R", ours, 0)), [], "RFC 1337");
        assert_eq!(bench.say(&Seg::new("S", ours - 50, 0)), [ack], "an old SYN");
        assert_eq!(bench.engine.time_waits(), 1);
    }
}

#[test]
fn a_new_connection_takes_the_place_with_higher_numbers() {
    for is_v4 in FAMILIES {
        for isn in [100, u32::MAX - 1, 0x7fff_ffff] {
            let mut bench = Bench::new(is_v4, TcpConfig::default());
            let (ours, theirs) = closed_by_the_gateway(&mut bench, isn);
            let answers = bench.say(&Seg::new("S", ours, 0));
            assert_eq!((answers[0].flags, answers[0].ack), ("SA", ours.wrapping_add(1)));
            assert!(answers[0].seq.wrapping_sub(theirs) < 1 << 31, "beyond the last one");
            assert_eq!(bench.engine.counters().time_wait_recycled, 1);
            assert_eq!(bench.engine.time_waits(), 0);
        }
    }
}

#[test]
fn a_new_connection_from_here_takes_the_place_too() {
    let mut bench = Bench::new(true, TcpConfig::default());
    let (_, theirs) = closed_by_the_gateway(&mut bench, 100);
    let (gateway, peer) = (bench.gateway, bench.peer);
    bench.engine.connect(gateway, peer, bench.options, bench.now).unwrap();
    let syn = bench.poll().remove(0);
    assert!(syn.flags == "S" && syn.seq.wrapping_sub(theirs) < 1 << 31);
}

#[test]
fn time_wait_over_is_as_if_nothing_had_been() {
    let mut bench = Bench::new(true, TcpConfig::default());
    let (ours, theirs) = closed_by_the_gateway(&mut bench, 100);
    bench.now += 60_000_000_000;
    assert_eq!(bench.say(&Seg::new("FA", ours - 1, theirs))[0].flags, "R");
    bench.establish(50);
}

#[test]
fn the_oldest_gives_way() {
    let config = TcpConfig { time_wait_max: 10, ..TcpConfig::default() };
    let mut bench = Bench::new(true, config);
    for n in 0..15 {
        bench.peer.set_port(1_000 + n);
        closed_by_the_gateway(&mut bench, 100);
    }
    assert_eq!(bench.engine.time_waits(), 10);
    assert_eq!(bench.engine.counters().time_wait_evicted, 5);
}
