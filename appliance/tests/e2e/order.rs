//! Order within a flow. TCP's counters cannot tell: kernels on the way reorder
//! by themselves when a sender changes its core. So each sender stays on one,
//! and numbers what it sends; what arrives is sent back as it is.

use crate::gateway::Gateway;
use crate::lab::{FAMILIES, Family, Lab, eventually};
use crate::services::udp_to;
use crate::workers::steer;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Ipv6Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Flows of each family, enough that each of two workers owns some.
const FLOWS: u32 = 16;

/// Datagrams of each flow.
const DATAGRAMS: u32 = 400;

/// The Service's port and the pod's.
const PORT: u16 = 7001;

/// Between two rounds of one datagram a flow: less than receivers can hold.
const PACE: Duration = Duration::from_millis(1);

/// Between two changes of the tables, while datagrams are on their way.
const CHANGE_PACE: Duration = Duration::from_millis(25);

/// Nothing comes any more.
const QUIET: Duration = Duration::from_secs(3);

#[test]
fn flows_keep_their_order_between_workers() {
    let Some(lab) = Lab::up(&["--queues", "2"]) else { return };
    // Without the gateway: otherwise the test would blame it for the kernels.
    for family in FAMILIES {
        let server = echo(&lab);
        let replies = lab.within("pod2a", || send(family.pod2a, family.pod1a));
        assert_ordered(family, &server.join().unwrap());
        assert_ordered(family, &replies);
    }
    // All of it comes in at worker 0; flows of worker 1 are handed over.
    steer(&lab, "client", "eth0", 0);
    steer(&lab, "lan", "gw", 1);
    let gateway = Gateway::ready(&lab);
    lab.write_manifest("service-order.yaml", SERVICE);
    eventually("the Service", || {
        let backends = gateway.show(&["backends"]);
        let is_it = |backend: &&serde_json::Value| backend["service"] == "default/order";
        (backends.as_array()?.iter().filter(is_it).count() == 2).then_some(())
    });
    let handed = |worker| gateway.metric("sluice_handoffs_total", &[worker, "direction=\"in\""]);
    let workers = ["worker=\"0\"", "worker=\"1\""];
    for family in FAMILIES {
        let before = workers.map(handed);
        let updates = gateway.metric("sluice_updates_total", &[]);
        let server = echo(&lab);
        let replies = while_tables_change(&lab, || {
            lab.within("client", || send(family.client, family.extra))
        });
        assert_ordered(family, &server.join().unwrap());
        assert_ordered(family, &replies);
        // More than one flow's worth went from one worker to the other: there
        // to worker 1, and back to worker 0.
        for (worker, before) in workers.into_iter().zip(before) {
            let handed = handed(worker) - before;
            assert!(handed > f64::from(DATAGRAMS), "{} {worker}: {handed}", family.name);
        }
        let updates = gateway.metric("sluice_updates_total", &[]) - updates;
        assert!(updates >= 5.0, "the tables changed {updates} times");
    }
    gateway.stop();
}

/// Runs `f` while a Service comes and goes.
fn while_tables_change<T>(lab: &Lab, f: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                lab.write_manifest("service-noise.yaml", NOISE);
                std::thread::sleep(CHANGE_PACE);
                lab.remove_manifest("service-noise.yaml");
                std::thread::sleep(CHANGE_PACE);
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        is_over.store(true, Ordering::Release);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Takes (flow, number) at pod1a and sends it back, until nothing comes any more.
fn echo(lab: &Lab) -> JoinHandle<Vec<(u32, u32)>> {
    let (ready, is_ready) = mpsc::channel();
    let server = lab.spawn("pod1a", move || {
        pin();
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, PORT)).unwrap();
        socket.set_read_timeout(Some(QUIET)).unwrap();
        ready.send(()).unwrap();
        let mut received = Vec::new();
        let mut datagram = [0; 8];
        loop {
            match socket.recv_from(&mut datagram) {
                Ok((8, from)) => {
                    received.push(numbers(datagram));
                    socket.send_to(&datagram, from).unwrap();
                }
                Ok((length, _)) => panic!("a datagram of {length} bytes"),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return received;
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
    is_ready.recv().unwrap();
    server
}

fn pin() {
    let cores = core_affinity::get_core_ids().unwrap();
    assert!(core_affinity::set_for_current(cores[0]), "the sender is not pinned");
}

/// The flow and the number of a datagram.
fn numbers([a, b, c, d, e, f, g, h]: [u8; 8]) -> (u32, u32) {
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

/// Sends numbered datagrams of all flows in turn, from one core; returns what
/// came back.
fn send(from: &str, to: &str) -> Vec<(u32, u32)> {
    pin();
    let sockets: Vec<UdpSocket> = (0..FLOWS).map(|_| udp_to(from, to, PORT)).collect();
    let mut replies = Vec::new();
    let mut take = |socket: &UdpSocket| {
        let mut datagram = [0; 8];
        while let Ok(8) = socket.recv(&mut datagram) {
            replies.push(numbers(datagram));
        }
    };
    for socket in &sockets {
        socket.set_nonblocking(true).unwrap();
    }
    for number in 0..DATAGRAMS {
        for (flow, socket) in (0..).zip(&sockets) {
            let datagram = [u32::to_be_bytes(flow), number.to_be_bytes()].concat();
            socket.send(&datagram).unwrap();
        }
        std::thread::sleep(PACE);
        sockets.iter().for_each(&mut take);
    }
    std::thread::sleep(QUIET / 3);
    sockets.iter().for_each(&mut take);
    replies
}

/// Numbers of a flow only grow. UDP may lose some, not most.
fn assert_ordered(family: Family, received: &[(u32, u32)]) {
    let sent = FLOWS * DATAGRAMS;
    let is_most = received.len() as u32 > sent / 2;
    assert!(is_most, "{}: {} of {sent} arrived", family.name, received.len());
    let mut last: HashMap<u32, u32> = HashMap::new();
    for &(flow, number) in received {
        if let Some(before) = last.insert(flow, number) {
            assert!(before < number, "{}: flow {flow}: {number} after {before}", family.name);
        }
    }
    assert_eq!(last.len() as u32, FLOWS, "{}: flows", family.name);
}

#[test]
#[should_panic(expected = "flow 3: 7 after 8")]
fn a_number_that_goes_back_is_noticed() {
    let all = (0..FLOWS).flat_map(|flow| (0..DATAGRAMS).map(move |number| (flow, number)));
    let mut received: Vec<(u32, u32)> = all.collect();
    let at = (3 * DATAGRAMS + 7) as usize;
    received.swap(at, at + 1);
    assert_ordered(FAMILIES[0], &received);
}

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: order, namespace: default}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  ipFamilies: [IPv4, IPv6]
  clusterIP: 10.96.0.40
  clusterIPs: [10.96.0.40, 'fd00:10:96::40']
  selector: {pod: pod1a}
  ports:
    - {name: order, port: 7001, protocol: UDP, targetPort: 7001}
status:
  loadBalancer:
    ingress: [{ip: 203.0.113.40}, {ip: '2001:db8:f00::40'}]
";

const NOISE: &str = "
apiVersion: v1
kind: Service
metadata: {name: noise, namespace: default}
spec:
  type: ClusterIP
  ipFamilyPolicy: RequireDualStack
  ipFamilies: [IPv4, IPv6]
  clusterIP: 10.96.0.41
  clusterIPs: [10.96.0.41, 'fd00:10:96::41']
  selector: {pod: pod1a}
  ports:
    - {name: order, port: 7001, protocol: UDP, targetPort: 7001}
";
