use crate::net::{CLIENT, FAMILIES, Faults, MS, Net, SECOND, SERVER, Stream};
use sluice_l7::tcp::ConnOptions;

const LOSSY: Faults = Faults { loss: 0.02, duplicate: 0.02, delay_ns: 5 * MS, jitter_ns: 3 * MS };

/// Both send, at once; returns when both have everything and all is closed.
fn both_ways(net: &mut Net, client: &mut Stream, server: &mut Stream, len: usize) {
    client.send(len, 1);
    server.send(len, 2);
    let done = net.run(600 * SECOND, |net| {
        client.pump(net);
        server.pump(net);
        client.is_at_end && server.is_at_end
    });
    assert!(done, "{} and {} of {len}", client.received.len(), server.received.len());
    assert!(client.received == server.data, "what the server has sent");
    assert!(server.received == client.data, "what the client has sent");
    client.release(net);
    server.release(net);
    net.wait(10 * SECOND);
    assert_eq!(net.engines[CLIENT].connections() + net.engines[SERVER].connections(), 0);
}

#[test]
fn everything_arrives_in_order_on_a_clean_network() {
    for is_v4 in FAMILIES {
        let mut net = Net::new(1, Faults { delay_ns: MS, ..Faults::default() });
        let (mut client, mut server) = net.pair(is_v4, 40_000);
        both_ways(&mut net, &mut client, &mut server, 1 << 20);
        for host in [CLIENT, SERVER] {
            let counters = net.counters(host);
            assert_eq!((counters.malformed, counters.retransmissions), (0, 0));
            assert_eq!((counters.aborts_sent, counters.resets_sent), (0, 0));
        }
        assert_eq!((net.counters(CLIENT).connected, net.counters(SERVER).accepted), (1, 1));
    }
}

#[test]
fn everything_arrives_in_order_under_loss_duplication_and_reordering() {
    for is_v4 in FAMILIES {
        for seed in 0..6 {
            let mut net = Net::new(seed, LOSSY);
            let (mut client, mut server) = net.pair(is_v4, 40_000);
            both_ways(&mut net, &mut client, &mut server, 200_000);
            assert!(
                net.counters(CLIENT).retransmissions + net.counters(SERVER).retransmissions > 0
            );
        }
    }
}

#[test]
fn buffers_of_any_size_carry_everything() {
    for receive_buffer in [1, 700, 65_535, 65_536, 100_000, 300_000] {
        for send_buffer in [3_000, 200_000] {
            let mut net = Net::new(7, Faults { loss: 0.01, ..LOSSY });
            net.options = ConnOptions { receive_buffer, send_buffer, ..ConnOptions::default() };
            let len = if receive_buffer == 1 { 20 } else { 100_000 };
            let (mut client, mut server) = net.pair(true, 40_000);
            both_ways(&mut net, &mut client, &mut server, len);
        }
    }
}

#[test]
fn a_reader_that_stops_closes_the_window_and_opens_it_again() {
    for is_v4 in FAMILIES {
        let mut net = Net::new(3, Faults { delay_ns: MS, ..Faults::default() });
        net.options.receive_buffer = 16 << 10;
        net.options.send_buffer = 16 << 10;
        let (mut client, mut server) = net.pair(is_v4, 40_000);
        client.send(100_000, 1);
        server.reads = false;
        net.run(30 * SECOND, |net| {
            client.pump(net);
            server.pump(net);
            false
        });
        // Both buffers are full, and the window is probed.
        assert_eq!(client.sent, 2 * (16 << 10));
        let probes = net.log.len();
        net.wait(40 * SECOND);
        assert!(net.log.len() > probes);
        server.reads = true;
        assert!(net.run(60 * SECOND, |net| {
            client.pump(net);
            server.pump(net);
            server.is_at_end
        }));
        assert!(server.received == client.data);
    }
}

#[test]
fn a_full_sink_only_delays() {
    let mut net = Net::new(3, Faults { delay_ns: MS, ..Faults::default() });
    let (client, _server) = net.pair(true, 40_000);
    let mut outbox = crate::net::Outbox { is_full: true, ..Default::default() };
    let mut stream = Stream::new(CLIENT, client.id);
    stream.send(1_000, 1);
    stream.pump(&mut net);
    let now = net.now;
    assert_eq!(net.engines[CLIENT].poll(now, 10, &mut outbox), Some(now), "there is more");
    outbox.is_full = false;
    net.engines[CLIENT].poll(now, 10, &mut outbox);
    assert!(!outbox.packets.is_empty());
}
