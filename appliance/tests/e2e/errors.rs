use crate::balancers::{balancer, serve};
use crate::gateway::Gateway;
use crate::kernel::assert_undamaged_payloads;
use crate::lab::{FAMILIES, Family, Lab, is_by_kernel};
use crate::services::udp_to;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::time::Duration;

/// MTU of a link behind the node, smaller than the tunnel's.
const MTU_BEHIND: &str = "1300";

/// Bytes of an upload that meets it.
const UPLOAD: usize = 500_000;

/// How long a transfer may stand still.
const STALL_TIMEOUT: Duration = Duration::from_secs(20);

#[test]
fn icmp_errors_reach_clients_in_their_own_terms() {
    for mode in ["snat", "preserve"] {
        let Some(lab) = Lab::up(&[]) else { return };
        lab.edit_config("snat:\n", &format!("snat:\n  mode: {mode}\n"));
        let gateway = Gateway::ready(&lab);
        // Nothing listens on the target port of `closed`; `sink` takes uploads.
        let spec = "  selector: {pod: pod1a}
  ports:
    - {name: closed, port: 99, protocol: UDP, targetPort: 9999}
    - {name: sink, port: 7000, protocol: TCP, targetPort: 7000}";
        serve(&lab, &gateway, "errors", &balancer("errors", 40, spec));
        // Frames to pods are as long as ever, so their kernels see no change.
        lab.ok("node1", &["ip", "link", "set", "cni0", "mtu", MTU_BEHIND]);
        for family in FAMILIES {
            refusal_of_a_pod(&lab, family);
            let hops = lab.ok(
                "client",
                &[
                    "traceroute",
                    "-n",
                    "-q",
                    "1",
                    "-w",
                    "2",
                    "-m",
                    "4",
                    "-T",
                    "-p",
                    "7000",
                    family.extra,
                ],
            );
            assert!(!hops.contains(family.pod1a), "{mode}: a pod's address shows: {hops}");
            smaller_mtu_behind(&lab, family);
        }
        let drops = gateway.metric("sluice_drops_total", &["\"icmp_error_no_flow\""]);
        assert_eq!(drops, 0.0, "{mode}");
        assert_undamaged_payloads(&lab);
        gateway.stop();
    }
}

/// A pod's kernel refuses: the client's socket is told.
fn refusal_of_a_pod(lab: &Lab, family: Family) {
    let error = lab.within("client", || {
        let socket = udp_to(family.client, family.extra, 99);
        socket.send(b"anybody?").unwrap();
        socket.recv(&mut [0; 16]).unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{}", family.name);
}

/// A router behind the tunnel says what it carries: the client learns, and its
/// upload arrives whole.
fn smaller_mtu_behind(lab: &Lab, family: Family) {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let server = lab.spawn("pod1a", move || {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 7000)).unwrap();
        ready.send(()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(STALL_TIMEOUT)).unwrap();
        let mut body = Vec::new();
        stream.read_to_end(&mut body).unwrap();
        body.len()
    });
    is_ready.recv().unwrap();
    lab.within("client", || {
        let mut stream = TcpStream::connect((family.extra, 7000)).unwrap();
        stream.set_write_timeout(Some(STALL_TIMEOUT)).unwrap();
        stream.write_all(&vec![7; UPLOAD]).unwrap();
    });
    assert_eq!(server.join().unwrap(), UPLOAD, "{}", family.name);
    let route = lab.ok("client", &["ip", "route", "get", family.extra]);
    assert!(route.contains(&format!("mtu {MTU_BEHIND}")), "{}: {route}", family.name);
}

#[test]
fn fragments_of_any_size_pass_both_ways() {
    let two_queues = &["--queues", "2"][..];
    for options in [&[], two_queues] {
        // What DPDK has with several queues here has the kernel put fragments together.
        if options == two_queues && !is_by_kernel() {
            return;
        }
        let Some(lab) = Lab::up(options) else { return };
        let gateway = Gateway::ready(&lab);
        for family in FAMILIES {
            // To a VIP and to the gateway itself, which answer; to a pod, which does.
            for address in [family.web, family.uplink, family.pod1a] {
                let ping = ["ping", "-n", "-q", "-c", "3", "-i", "0.2", "-W", "5", "-s", "65000"];
                let ping = [&ping[..], &[address]].concat();
                // Path MTU discovery may cost the first one.
                let _ = lab.run("client", &ping);
                lab.ok("client", &ping);
            }
            lab.ok("client", &["python3", "-c", DATAGRAMS, family.echo]);
        }
        crate::kernel::assert_undamaged(&lab);
        gateway.stop();
    }
}

/// Datagrams of many sizes come back as they went. IPv4's have no DF: routers on
/// the way may fragment them. One may be lost while a path's MTU is learned.
const DATAGRAMS: &str = "
import socket, sys
to = sys.argv[1]
family = socket.AF_INET6 if ':' in to else socket.AF_INET
client = socket.socket(family, socket.SOCK_DGRAM)
if family == socket.AF_INET:
    IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0
    client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
client.connect((to, 53))
client.settimeout(3)
for size in [100, 1400, 1450, 1473, 1500, 3000, 9000, 20000, 60000]:
    payload = bytes(i * 7 % 251 for i in range(size))
    for attempt in range(4):
        try:
            client.send(payload)
            answer = client.recv(65535)
            break
        except (TimeoutError, OSError) as error:
            last = error
    else:
        sys.exit(f'{size} bytes to {to}: no answer ({last})')
    if answer.split(b' ', 1)[1] != payload:
        sys.exit(f'{size} bytes to {to}: the answer differs')
";
