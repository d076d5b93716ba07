use crate::gateway::Gateway;
use crate::kernel::{assert_undamaged, assert_undamaged_payloads};
use crate::lab::{FAMILIES, Family, Lab, eventually};
use crate::services::udp_to;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::time::Duration;

/// MTU of the client's network, and of pods behind the tunnel.
const MTU: usize = 1500;
const TUNNEL_MTU: usize = 1450;

/// Bytes of a large transfer.
const TRANSFER: usize = 20_000_000;

/// The port of the Service that takes uploads.
const SINK: u16 = 7000;

/// How long a transfer may stand still.
const STALL_TIMEOUT: Duration = Duration::from_secs(20);

#[test]
fn the_gateway_is_the_first_hop() {
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = Gateway::ready(&lab);
    for family in FAMILIES {
        // To a Service, whose pod answers; to a pod, past its node.
        let to_service = hops(&lab, &["-T", "-p", "80", family.web]);
        assert_eq!(to_service.first().map(String::as_str), Some(family.uplink), "{to_service:?}");
        assert_eq!(to_service.last().map(String::as_str), Some(family.web), "{to_service:?}");
        let to_pod = hops(&lab, &[family.pod1a]);
        assert_eq!(to_pod.len(), 3, "{to_pod:?}");
        assert_eq!(to_pod[0], family.uplink, "{to_pod:?}");
        assert_eq!(to_pod[2], family.pod1a, "{to_pod:?}");
    }
    assert!(gateway.metric("sluice_drops_total", &["\"ttl_exceeded\""]) >= 4.0);
    assert_undamaged_payloads(&lab);
    gateway.stop();
}

/// The addresses of the hops, `*` for those that do not answer.
fn hops(lab: &Lab, arguments: &[&str]) -> Vec<String> {
    let trace = ["traceroute", "-n", "-q", "2", "-w", "2", "-m", "5"];
    let text = lab.ok("client", &[&trace, arguments].concat());
    let hop = |line: &str| line.split_whitespace().nth(1).unwrap_or("*").to_owned();
    text.lines().skip(1).map(hop).collect()
}

#[test]
fn large_packets_learn_the_mtu_of_the_tunnel() {
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = Gateway::ready(&lab);
    lab.write_manifest("service-sink.yaml", SINK_SERVICE);
    eventually("the Service that takes uploads", || {
        let backends = gateway.show(&["backends"]);
        let is_sink = |backend: &&serde_json::Value| backend["service"] == "default/sink";
        (backends.as_array()?.iter().filter(is_sink).count() == 2).then_some(())
    });
    for family in FAMILIES {
        datagrams_learn(&lab, family);
        download_is_whole(&lab, family);
        upload_is_whole(&lab, family);
    }
    assert!(gateway.metric("sluice_drops_total", &["\"too_big\""]) >= 2.0);
    assert_undamaged(&lab);
    gateway.stop();
}

/// A datagram that fills the client's MTU does not fit into the tunnel: the
/// client is told, and remembers. One that fits is answered.
fn datagrams_learn(lab: &Lab, family: Family) {
    lab.within("client", || {
        let socket = udp_to(family.client, family.echo, 53);
        let mut buffer = [0; MTU];
        let small = vec![b'x'; 1300];
        socket.send(&small).unwrap();
        let length = socket.recv(&mut buffer).unwrap();
        assert!(buffer[..length].ends_with(&small), "{}", family.name);
        socket.send(&vec![b'x'; MTU - family.udp_overhead]).unwrap();
        let error = socket.recv(&mut buffer).unwrap_err();
        // EMSGSIZE (asm-generic/errno.h).
        assert_eq!(error.raw_os_error(), Some(90), "{}: {error}", family.name);
    });
    let route = lab.ok("client", &["ip", "route", "get", family.echo]);
    assert!(route.contains(&format!("mtu {TUNNEL_MTU}")), "{}: {route}", family.name);
}

/// The body of `/big/N`: all bytes in turn (`scripts/lib/pod_server.py`).
fn expected(index: usize) -> u8 {
    (index % 256) as u8
}

fn download_is_whole(lab: &Lab, family: Family) {
    let file = lab.folder.join("download");
    let url = family.url(family.web, &format!("/big/{TRANSFER}"));
    let path = file.display().to_string();
    lab.ok("client", &["curl", "-sS", "--max-time", "50", "-o", &path, &url]);
    let body = std::fs::read(&file).unwrap();
    assert_eq!(body.len(), TRANSFER, "{}", family.name);
    let damaged = body.iter().enumerate().position(|(index, byte)| *byte != expected(index));
    assert_eq!(damaged, None, "{}", family.name);
}

fn upload_is_whole(lab: &Lab, family: Family) {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let server = lab.spawn("pod1a", move || {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, SINK)).unwrap();
        ready.send(()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(STALL_TIMEOUT)).unwrap();
        let mut body = Vec::new();
        stream.read_to_end(&mut body).unwrap();
        body
    });
    is_ready.recv().unwrap();
    lab.within("client", || {
        let mut stream = TcpStream::connect((family.extra, SINK)).unwrap();
        stream.set_write_timeout(Some(STALL_TIMEOUT)).unwrap();
        let body: Vec<u8> = (0..TRANSFER).map(expected).collect();
        stream.write_all(&body).unwrap();
    });
    let body = server.join().unwrap();
    assert_eq!(body.len(), TRANSFER, "{}", family.name);
    let damaged = body.iter().enumerate().position(|(index, byte)| *byte != expected(index));
    assert_eq!(damaged, None, "{}", family.name);
}

const SINK_SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: sink, namespace: default}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  ipFamilies: [IPv4, IPv6]
  clusterIP: 10.96.0.40
  clusterIPs: [10.96.0.40, 'fd00:10:96::40']
  selector: {pod: pod1a}
  ports:
    - {name: sink, port: 7000, protocol: TCP, targetPort: 7000}
status:
  loadBalancer:
    ingress: [{ip: 203.0.113.40}, {ip: '2001:db8:f00::40'}]
";
