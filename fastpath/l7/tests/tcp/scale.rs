use crate::net::{CLIENT, Faults, MS, Net, Outbox, SECOND, SERVER, Stream};
use sluice_l7::tcp::ConnOptions;

#[test]
fn many_connections_at_once_carry_what_is_theirs() {
    const MANY: u16 = 1_000;
    let faults = Faults { loss: 0.01, duplicate: 0.01, delay_ns: 5 * MS, jitter_ns: MS };
    let mut net = Net::new(11, faults);
    net.options = ConnOptions { receive_buffer: 4_096, send_buffer: 4_096, ..net.options };
    let mut clients: Vec<Stream> = (0..MANY).map(|n| net.connect(n % 2 == 0, 10_000 + n)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(3_000, n as u64);
    }
    let mut servers: Vec<Stream> = Vec::new();
    for _ in 0..600 {
        net.wait(50 * MS);
        while let Some(id) = net.engines[SERVER].accept() {
            servers.push(Stream::new(SERVER, id));
        }
        for client in &mut clients {
            client.pump(&mut net);
        }
        // Each gets back what it has sent.
        for server in &mut servers {
            server.pump(&mut net);
            server.data.clone_from(&server.received);
            server.shuts |= server.is_at_end;
            server.pump(&mut net);
        }
    }
    assert_eq!(servers.len(), usize::from(MANY));
    for client in &clients {
        assert!(client.is_at_end && client.received == client.data);
        client.release(&mut net);
    }
    for server in &servers {
        server.release(&mut net);
    }
    net.wait(20 * SECOND);
    assert_eq!(net.engines[CLIENT].connections() + net.engines[SERVER].connections(), 0);
}

#[test]
fn idle_connections_are_not_looked_at() {
    let mut net = Net::new(1, Faults { delay_ns: MS, ..Faults::default() });
    let _pairs: Vec<_> = (0..100).map(|n| net.pair(true, 10_000 + n)).collect();
    net.wait(5 * SECOND);
    let now = net.now;
    let next = net.engines[SERVER].poll(now, 1, &mut Outbox::default()).unwrap();
    // The wheel looks at them a few times until they are over, not more often.
    assert!(next > now + SECOND);
    let mut polls = 0;
    let mut at = now;
    while at < now + 250 * SECOND {
        at = net.engines[SERVER].poll(at, 1, &mut Outbox::default()).unwrap().max(at);
        polls += 1;
    }
    assert!(polls < 100 * 8, "{polls}");
}

#[test]
fn a_poll_does_no_more_than_its_budget() {
    let mut net = Net::new(1, Faults { delay_ns: MS, ..Faults::default() });
    let pairs: Vec<_> = (0..20).map(|n| net.pair(true, 10_000 + n)).collect();
    for (mut client, _) in pairs {
        client.send(10_000, 1);
        client.pump(&mut net);
    }
    let now = net.now;
    let mut outbox = Outbox::default();
    assert_eq!(net.engines[CLIENT].poll(now, 7, &mut outbox), Some(now));
    assert_eq!(outbox.packets.len(), 7);
    let first = |packet: &Vec<u8>| u16::from_be_bytes([packet[20], packet[21]]);
    let mut ports: Vec<u16> = outbox.packets.iter().map(first).collect();
    ports.dedup();
    assert_eq!(ports.len(), 7, "each in its turn");
}
