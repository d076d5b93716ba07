use crate::net::{CLIENT, Faults, MS, Net, SECOND, SERVER};
use sluice_l7::tcp::{Ended, TcpConfig, TcpConn};
use std::time::Duration;

fn net(config: TcpConfig) -> Net {
    Net::with(1, Faults { delay_ns: 10 * MS, ..Faults::default() }, config)
}

#[test]
fn a_handshake_that_is_not_over_ends() {
    let mut net = net(TcpConfig::default());
    // The SYN arrives, no answer does.
    net.drops = Box::new(|from, _, _| from == SERVER);
    let mut client = net.connect(true, 40_000);
    net.wait(5 * SECOND);
    assert_eq!(net.engines[SERVER].half_open(), 1);
    net.wait(10 * SECOND);
    assert_eq!(net.engines[SERVER].half_open(), 0);
    assert_eq!(net.counters(SERVER).half_open_timeouts, 1);
    assert_eq!(net.counters(SERVER).aborts_sent, 0, "nobody would listen");
    assert_eq!(net.counters(CLIENT).connect_timeouts, 1);
    client.pump(&mut net);
    assert_eq!(client.ended, Some(Ended::TimedOut));
    client.release(&mut net);
    assert_eq!(net.engines[CLIENT].connections(), 0);
}

#[test]
fn a_peer_that_is_not_heard_is_reset() {
    let config = TcpConfig { idle_timeout: Duration::from_secs(30), ..TcpConfig::default() };
    let mut net = net(config);
    let (mut client, mut server) = net.pair(true, 40_000);
    net.wait(20 * SECOND);
    client.data = vec![1];
    client.pump(&mut net);
    net.wait(20 * SECOND);
    assert_eq!(net.counters(SERVER).idle_timeouts, 0, "it was heard");
    net.wait(15 * SECOND);
    let idle = [CLIENT, SERVER].map(|host| net.counters(host).idle_timeouts);
    assert_eq!(idle.iter().sum::<u64>(), 1, "the first resets the other");
    client.pump(&mut net);
    server.pump(&mut net);
    let mut ends = [client.ended, server.ended];
    ends.sort_by_key(|end| *end != Some(Ended::TimedOut));
    assert_eq!(ends, [Some(Ended::TimedOut), Some(Ended::Reset)]);
}

#[test]
fn a_released_connection_waits_only_so_long_for_its_peer() {
    let mut net = net(TcpConfig::default());
    let (client, mut server) = net.pair(true, 40_000);
    client.release(&mut net);
    net.wait(15 * SECOND);
    assert_eq!(net.engines[CLIENT].connections(), 1, "FIN-WAIT-2");
    net.wait(10 * SECOND);
    assert_eq!(net.engines[CLIENT].connections(), 0);
    assert_eq!(net.counters(CLIENT).fin_timeouts, 1);
    // Whoever comes later is told.
    server.data = vec![1];
    server.pump(&mut net);
    net.wait(SECOND);
    server.data.push(2);
    server.pump(&mut net);
    assert_eq!(server.ended, Some(Ended::Reset));
}

#[test]
fn a_slow_peer_gets_all_of_what_was_left() {
    let mut net = net(TcpConfig::default());
    net.options.receive_buffer = 8 << 10;
    let (mut client, mut server) = net.pair(true, 40_000);
    server.send(28_000, 1);
    server.pump(&mut net);
    assert_eq!(server.sent, 28_000);
    server.release(&mut net);
    // 8 KiB in 15 seconds.
    let start = net.now;
    while !client.is_at_end {
        net.wait(15 * SECOND);
        client.reads = true;
        client.pump(&mut net);
        client.reads = false;
    }
    assert!(client.received == server.data && net.now - start > 45 * SECOND);
    assert_eq!(net.engines[SERVER].connections(), 1, "it waits for the FIN");
    net.wait(25 * SECOND);
    assert_eq!(net.engines[SERVER].connections(), 0);
    assert_eq!(net.counters(SERVER).fin_timeouts, 1);
}

#[test]
fn a_half_closed_connection_that_is_not_released_is_not_hurried() {
    let mut net = net(TcpConfig::default());
    let (mut client, mut server) = net.pair(true, 40_000);
    client.conn(&mut net).shutdown();
    net.wait(100 * SECOND);
    server.send(1_000, 1);
    assert!(net.run(SECOND, |net| {
        server.pump(net);
        client.pump(net);
        client.is_at_end
    }));
}

#[test]
fn time_wait_ends() {
    let mut net = net(TcpConfig::default());
    let (client, server) = net.pair(true, 40_000);
    client.release(&mut net);
    net.wait(SECOND);
    server.release(&mut net);
    net.wait(50 * SECOND);
    assert_eq!(net.engines[CLIENT].time_waits(), 1);
    net.wait(20 * SECOND);
    net.pair(true, 40_001);
    assert_eq!(net.engines[CLIENT].time_waits(), 0);
}
