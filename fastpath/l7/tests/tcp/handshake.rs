use crate::net::{CLIENT, FAMILIES, Faults, MS, Net, SECOND, SERVER};
use sluice_l7::tcp::{ConnectError, Ended, TcpConn, TcpState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

fn net() -> Net {
    Net::new(1, Faults { delay_ns: 10 * MS, ..Faults::default() })
}

#[test]
fn each_segment_of_the_handshake_may_be_lost() {
    for is_v4 in FAMILIES {
        for lost in [
            (|_, _, n| n == 0) as fn(usize, &[u8], usize) -> bool,
            |_, _, n| n == 1,
            |_, _, n| n == 2,
            |_, _, n| n < 2,
        ] {
            let mut net = net();
            net.drops = Box::new(lost);
            let mut client = net.connect(is_v4, 40_000);
            let mut server = None;
            client.data = b"hello".to_vec();
            assert!(net.run(20 * SECOND, |net| {
                client.pump(net);
                server = server.or_else(|| net.engines[SERVER].accept());
                server.is_some() && client.sent == 5
            }));
            assert_eq!(net.counters(SERVER).accepted, 1);
        }
    }
}

#[test]
fn a_closed_port_refuses() {
    for is_v4 in FAMILIES {
        let mut net = net();
        let (local, remote) =
            (Net::address(CLIENT, is_v4, 40_000), Net::address(SERVER, is_v4, 81));
        let options = net.options;
        let id = net.engines[CLIENT].connect(local, remote, options, net.now).unwrap();
        net.wait(SECOND);
        let mut context = Context::from_waker(Waker::noop());
        let open = net.engines[CLIENT].conn(id).unwrap().poll_open(&mut context);
        assert_eq!(open, Poll::Ready(Err(Ended::Refused)));
        assert_eq!(net.counters(SERVER).refused_closed, 1);
    }
}

#[test]
fn both_can_open_at_once() {
    let mut net = net();
    let [one, two] = [CLIENT, SERVER].map(|host| {
        let (local, remote) = (Net::address(host, true, 50), Net::address(1 - host, true, 50));
        let options = net.options;
        net.engines[host].connect(local, remote, options, net.now).unwrap()
    });
    assert!(net.run(10 * SECOND, |net| {
        let mut is_open = |host: usize, id| {
            let state = net.engines[host].conn(id).unwrap().state();
            state == TcpState::Established
        };
        is_open(CLIENT, one) && is_open(SERVER, two)
    }));
}

#[test]
fn what_cannot_be_opened_is_refused_at_once() {
    let mut net = net();
    net.connect(true, 40_000);
    let options = net.options;
    let mut connect = |local: &str, remote: &str| {
        let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
        net.engines[CLIENT].connect(local, remote, options, 0).err()
    };
    assert_eq!(connect("10.0.0.1:40000", "10.0.0.2:80"), Some(ConnectError::InUse));
    for (local, remote) in [
        ("10.0.0.1:1", "[fd00::2]:80"),
        ("10.0.0.1:0", "10.0.0.2:80"),
        ("10.0.0.1:1", "10.0.0.2:0"),
        ("0.0.0.0:1", "10.0.0.2:80"),
        ("10.0.0.1:1", "224.0.0.1:80"),
        ("10.0.0.1:1", "10.0.0.1:1"),
        ("[fd00::1]:1", "[ff02::1]:1"),
    ] {
        assert_eq!(connect(local, remote), Some(ConnectError::Unaddressable), "{remote}");
    }
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn wakers_are_woken_when_something_changes() {
    let mut net = net();
    let client = net.connect(true, 40_000);
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let mut context = Context::from_waker(&waker);
    let woken = || count.0.swap(0, Ordering::Relaxed) > 0;
    assert!(client.conn(&mut net).poll_open(&mut context).is_pending());
    net.wait(SECOND);
    assert!(woken());
    assert!(client.conn(&mut net).poll_open(&mut context).is_ready());

    let mut buffer = [0; 10];
    assert!(client.conn(&mut net).poll_read(&mut context, &mut buffer).is_pending());
    net.wait(SECOND);
    assert!(!woken(), "nothing came");
    let id = net.engines[SERVER].accept().unwrap();
    let mut server = crate::net::Stream::new(SERVER, id);
    server.data = b"x".to_vec();
    server.pump(&mut net);
    net.wait(SECOND);
    assert!(woken());

    let full = vec![0; 100_000];
    assert!(client.conn(&mut net).poll_write(&mut context, &full).is_ready());
    assert!(client.conn(&mut net).poll_write(&mut context, &full).is_pending());
    net.wait(SECOND);
    assert!(woken(), "there is room");
    assert!(client.conn(&mut net).poll_read(&mut context, &mut buffer).is_ready());
    assert!(client.conn(&mut net).poll_read(&mut context, &mut buffer).is_pending());
    server.conn(&mut net).abort();
    net.wait(SECOND);
    assert!(woken(), "it is over");
}
