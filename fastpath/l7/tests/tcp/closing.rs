use crate::net::{CLIENT, FAMILIES, Faults, MS, Net, SECOND, SERVER};
use sluice_l7::tcp::{Ended, TcpConn, TcpState};
use std::task::{Context, Poll, Waker};

fn net() -> Net {
    Net::new(1, Faults { delay_ns: 10 * MS, ..Faults::default() })
}

#[test]
fn a_half_closed_connection_goes_on_in_the_other_direction() {
    for is_v4 in FAMILIES {
        let mut net = net();
        let (mut client, mut server) = net.pair(is_v4, 40_000);
        client.send(1_000, 1);
        assert!(net.run(SECOND, |net| {
            client.pump(net);
            server.pump(net);
            server.is_at_end
        }));
        net.wait(SECOND);
        assert_eq!(net.state(&client), Some(TcpState::FinWait2));
        assert_eq!(net.state(&server), Some(TcpState::CloseWait));
        server.send(50_000, 2);
        assert!(net.run(10 * SECOND, |net| {
            client.pump(net);
            server.pump(net);
            client.is_at_end
        }));
        assert!(client.received == server.data);
        net.wait(SECOND);
        assert_eq!((net.engines[CLIENT].time_waits(), net.engines[SERVER].time_waits()), (1, 0));
        assert_eq!(net.state(&server), Some(TcpState::Closed));
    }
}

#[test]
fn both_can_close_at_once() {
    for is_v4 in FAMILIES {
        let mut net = net();
        let (mut client, mut server) = net.pair(is_v4, 40_000);
        client.conn(&mut net).shutdown();
        server.conn(&mut net).shutdown();
        let mut closing = 0;
        net.run(SECOND, |net| {
            closing += usize::from(net.state(&client) == Some(TcpState::Closing));
            false
        });
        assert!(closing > 0, "the FINs cross");
        client.pump(&mut net);
        server.pump(&mut net);
        assert!(client.is_at_end && server.is_at_end);
        assert_eq!((net.engines[CLIENT].time_waits(), net.engines[SERVER].time_waits()), (1, 1));
    }
}

#[test]
fn what_was_written_before_release_arrives() {
    let mut net = net();
    let (mut client, mut server) = net.pair(true, 40_000);
    client.send(10_000, 1);
    client.pump(&mut net);
    client.release(&mut net);
    assert!(net.run(SECOND, |net| {
        server.pump(net);
        server.is_at_end
    }));
    assert!(server.received == client.data);
    server.release(&mut net);
    net.wait(SECOND);
    assert_eq!(net.engines[CLIENT].connections(), 0);
    assert!(net.engines[CLIENT].conn(client.id).is_none());
}

#[test]
fn an_abort_resets_the_peer() {
    for is_v4 in FAMILIES {
        let mut net = net();
        let (mut client, mut server) = net.pair(is_v4, 40_000);
        client.conn(&mut net).abort();
        net.wait(SECOND);
        client.pump(&mut net);
        server.pump(&mut net);
        assert_eq!((client.ended, server.ended), (Some(Ended::Aborted), Some(Ended::Reset)));
        assert_eq!(net.counters(CLIENT).aborts_sent, 1);
        assert_eq!(net.counters(SERVER).resets_received, 1);
        client.release(&mut net);
        server.release(&mut net);
        assert_eq!(net.engines[CLIENT].connections() + net.engines[SERVER].connections(), 0);
    }
}

#[test]
fn release_resets_where_something_was_not_read_or_comes_yet() {
    for is_released_first in [true, false] {
        let mut net = net();
        let (mut client, server) = net.pair(true, 40_000);
        if is_released_first {
            server.release(&mut net);
            net.wait(SECOND);
        }
        client.send(5_000, 1);
        client.pump(&mut net);
        net.wait(SECOND);
        server.release(&mut net);
        net.wait(SECOND);
        assert_eq!(net.state(&client), Some(TcpState::Closed));
        assert_eq!(net.counters(CLIENT).resets_received, 1);
        assert_eq!(net.counters(SERVER).aborts_sent, 1);
        assert_eq!(net.engines[SERVER].connections(), 0);
    }
}

#[test]
fn what_came_can_be_read_after_the_end() {
    let mut net = net();
    let (mut client, mut server) = net.pair(true, 40_000);
    client.send(1_000, 1);
    client.pump(&mut net);
    client.release(&mut net);
    net.wait(SECOND);
    server.conn(&mut net).shutdown();
    net.wait(SECOND);
    assert_eq!(net.state(&server), Some(TcpState::Closed));
    server.pump(&mut net);
    assert!(server.received == client.data && server.is_at_end);
}

#[test]
fn everything_is_acknowledged_in_time() {
    let mut net = net();
    let (mut client, mut server) = net.pair(true, 40_000);
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(client.conn(&mut net).poll_acknowledged(&mut context), Poll::Ready(Ok(())));
    client.send(1_000, 1);
    client.pump(&mut net);
    assert_eq!(client.conn(&mut net).poll_acknowledged(&mut context), Poll::Pending);
    net.wait(SECOND);
    server.pump(&mut net);
    assert_eq!(client.conn(&mut net).poll_acknowledged(&mut context), Poll::Ready(Ok(())));
    let late = client.conn(&mut net).poll_write(&mut context, b"more");
    assert_eq!(late, Poll::Ready(Err(Ended::Closed)));
}
