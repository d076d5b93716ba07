//! A policy that lets a pod out to domain names only: the first connection after an
//! answer passes, and no other.

use crate::gateway::Gateway;
use crate::lab::{FAMILIES, Family, Lab, eventually};
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Names, and the last digits of their addresses on the client's link.
const ZONE: [(&str, u16); 3] =
    [("www.allowed.test", 20), ("a.b.wild.test", 21), ("www.other.test", 22)];

/// Where the servers outside listen.
const PORT: u16 = 8443;

const MANIFEST: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec:
  ipFamilyPolicy: RequireDualStack
  ipFamilies: [IPv4, IPv6]
  clusterIP: 10.96.0.53
  clusterIPs: [10.96.0.53, "fd00:10:96::53"]
  ports: [{name: dns, port: 53, protocol: UDP, targetPort: 53}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns-4, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
ports: [{name: dns, port: 53, protocol: UDP}]
endpoints: [{addresses: [10.244.2.10], conditions: {ready: true}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns-6, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv6
ports: [{name: dns, port: 53, protocol: UDP}]
endpoints: [{addresses: ["fd00:10:244:2::10"], conditions: {ready: true}}]
---
apiVersion: policy.networking.k8s.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: names}
spec:
  tier: Admin
  priority: 1
  subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {pod: pod1a}}}}
  egress:
  - action: Accept
    name: resolver
    to: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {pod: pod2a}}}}]
  - action: Accept
    name: sites
    to: [{domainNames: [www.allowed.test, "*.wild.test"]}]
  - action: Deny
    name: rest
    to: [{networks: ["0.0.0.0/0", "::/0"]}]
"#;

/// Threads that serve until this goes.
struct Servers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Servers {
    /// The resolver in a pod, and servers outside.
    fn start(lab: &Lab) -> Servers {
        let stop = Arc::new(AtomicBool::new(false));
        let (resolver, sites) = (stop.clone(), stop.clone());
        let threads = vec![
            lab.spawn("pod2a", move || resolve(&resolver)),
            lab.spawn("client", move || greet(&sites)),
        ];
        Servers { stop, threads }
    }
}

/// Answers each question with the one address that there is, a byte of TTL.
fn resolve(stop: &AtomicBool) {
    let socket = UdpSocket::bind(("::", 53)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut question = [0; 512];
    while !stop.load(Ordering::Relaxed) {
        let Ok((len, client)) = socket.recv_from(&mut question) else { continue };
        if let Some(answer) = answer_to(&question[..len]) {
            socket.send_to(&answer, client).unwrap();
        }
    }
}

fn answer_to(question: &[u8]) -> Option<Vec<u8>> {
    let asked = &question[12..];
    let name_len = asked.iter().position(|byte| *byte == 0)? + 1;
    let qtype = asked[name_len + 1];
    let (_, last) = ZONE.iter().find(|(name, _)| wire(name) == asked[..name_len])?;
    let family = FAMILIES[usize::from(qtype == 28)];
    let addr = match outside(family, *last) {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    };
    let header = [&question[..2], &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]].concat();
    let record = [0xc0, 12, 0, qtype, 0, 1, 0, 0, 0, 60, 0, addr.len() as u8];
    Some([&header[..], &asked[..name_len + 4], &record, &addr].concat())
}

/// Greets whoever connects.
fn greet(stop: &AtomicBool) {
    let listener = TcpListener::bind(("::", PORT)).unwrap();
    listener.set_nonblocking(true).unwrap();
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((mut stream, _)) => drop(std::io::Write::write_all(&mut stream, b"hello")),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// An address on the client's link.
fn outside(family: Family, last: u16) -> IpAddr {
    match family.client.parse().unwrap() {
        IpAddr::V4(client) => {
            let [a, b, c, _] = client.octets();
            [a, b, c, last as u8].into()
        }
        IpAddr::V6(client) => {
            let mut segments = client.segments();
            segments[7] = last;
            segments.into()
        }
    }
}

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.');
    let mut wire: Vec<u8> =
        labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    wire.push(0);
    wire
}

/// What a resolver library in pod1a does: asks the Service.
fn ask(family: Family, name: &str) -> Option<Vec<u8>> {
    let is_v4 = family.name == "IPv4";
    let (any, resolver) = match is_v4 {
        true => ("0.0.0.0:0", "10.96.0.53:53"),
        false => ("[::]:0", "[fd00:10:96::53]:53"),
    };
    let socket = UdpSocket::bind(any).unwrap();
    socket.connect(resolver).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let qtype = if is_v4 { 1 } else { 28 };
    let header = [7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let question = [&header[..], &wire(name), &[0, qtype, 0, 1]].concat();
    socket.send(&question).ok()?;
    let mut answer = [0; 512];
    let len = socket.recv(&mut answer).ok()?;
    Some(answer[..len].to_vec())
}

/// Whether pod1a is greeted at an address, at the first try.
fn is_greeted(addr: IpAddr) -> bool {
    let addr = SocketAddr::new(addr, PORT);
    let Ok(mut stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(900)) else {
        return false;
    };
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut greeting = String::new();
    stream.read_to_string(&mut greeting).is_ok() && greeting == "hello"
}

#[test]
fn the_first_connection_after_an_answer_passes_and_no_other() {
    let Some(lab) = Lab::up(&["--queues", "2"]) else { return };
    let gateway = Gateway::ready(&lab);
    for family in FAMILIES {
        for (_, last) in ZONE {
            let prefix = if family.name == "IPv4" { "32" } else { "128" };
            let address = format!("{}/{prefix}", outside(family, last));
            let add = ["ip", "addr", "add", &address, "dev", "eth0"];
            let nodad = if prefix == "128" { &["nodad"][..] } else { &[] };
            lab.ok("client", &[&add[..], nodad].concat());
        }
    }
    let _servers = Servers::start(&lab);
    let of = |family: Family, at: usize| outside(family, ZONE[at].1);
    for family in FAMILIES {
        let addr = of(family, 2);
        eventually("the servers", || lab.within("pod1a", || is_greeted(addr)).then_some(()));
    }
    lab.write_manifest("names.yaml", MANIFEST);
    for family in FAMILIES {
        let addr = of(family, 2);
        eventually("the policy", || lab.within("pod1a", || !is_greeted(addr)).then_some(()));
        lab.within("pod1a", || {
            let name = family.name;
            assert!(!is_greeted(of(family, 0)), "{name}: nobody has asked yet");
            for at in [0, 1] {
                let asked = ZONE[at].0;
                let answer = ask(family, asked);
                assert!(answer.is_some_and(|answer| answer.len() > 40), "{name}: {asked}");
                assert!(is_greeted(of(family, at)), "{name}: {asked}, right after the answer");
            }
            assert!(ask(family, ZONE[2].0).is_some(), "{name}: the answer of another name passes");
            assert!(!is_greeted(of(family, 2)), "{name}: another name");
        });
    }
    let names = gateway.show(&["names"]);
    let known = |at: usize, name: &str, last: u16| {
        let view = &names[at];
        assert_eq!((&view["name"], &view["wanted"]), (&name.into(), &true.into()), "{names}");
        for family in FAMILIES {
            let left = view["addresses"][outside(family, last).to_string()].as_u64();
            assert!(left.is_some_and(|left| (1..=300).contains(&left)), "{names}");
        }
    };
    known(0, ZONE[1].0, 21);
    known(1, ZONE[0].0, 20);
    assert_eq!(names.as_array().unwrap().len(), 2);
    let answers = |result: &str| {
        gateway.metric("sluice_dns_answers_total", &[&format!("result=\"{result}\"")])
    };
    assert_eq!(answers("learned"), 4.0);
    assert!(answers("unwanted") >= 2.0);
    assert_eq!(gateway.metric("sluice_dns_answers_overdue_total", &[]), 0.0);
    gateway.stop();
}
