use crate::gateway::Gateway;
use crate::kernel::assert_undamaged;
use crate::lab::{FAMILIES, Family, Lab, eventually};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

/// Requests that must spread over the pods: with 4 pods, the odds that one of
/// them gets none of 60 are 1 in 8 million.
const REQUESTS: usize = 60;

/// How long a UDP answer may take.
const UDP_TIMEOUT: Duration = Duration::from_secs(10);

#[test]
fn clients_and_pods_reach_services() {
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = Gateway::ready(&lab);
    for family in FAMILIES {
        load_balancer_spreads(&lab, family);
        cluster_ip_from_a_pod(&lab, family);
        udp_is_echoed(&lab, family);
        addresses_answer_pings(&lab, family);
    }
    let packets =
        |direction| gateway.metric("sluice_service_packets_total", &["\"default/web\"", direction]);
    assert!(packets("\"in\"") >= 6.0 * REQUESTS as f64);
    assert!(packets("\"out\"") >= 5.0 * REQUESTS as f64);
    assert!(gateway.metric("sluice_flows_created_total", &["\"ipv4\""]) >= REQUESTS as f64);
    assert!(gateway.metric("sluice_flows_created_total", &["\"ipv6\""]) >= REQUESTS as f64);
    assert_undamaged(&lab);
    gateway.stop();
}

#[test]
fn an_ipv6_underlay_carries_both_families() {
    let Some(lab) = Lab::up(&["--underlay", "ipv6"]) else { return };
    let gateway = Gateway::ready(&lab);
    for family in FAMILIES {
        load_balancer_spreads(&lab, family);
        cluster_ip_from_a_pod(&lab, family);
    }
    assert_undamaged(&lab);
    gateway.stop();
}

/// Every request is answered, by every pod, and pods see a SNAT address.
pub fn load_balancer_spreads(lab: &Lab, family: Family) {
    let url = family.url(family.web, &format!("/?[1-{REQUESTS}]"));
    let answers = lab.curl("client", &url);
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), REQUESTS, "{}: {answers:?}", family.name);
    let pods: BTreeSet<&str> =
        answers.iter().filter_map(|answer| answer.split(' ').next()).collect();
    assert_eq!(pods.len(), 4, "{}: {pods:?}", family.name);
    let snat = format!("client={}", family.snat);
    assert!(answers.iter().all(|answer| answer.contains(&snat)), "{answers:?}");
}

fn cluster_ip_from_a_pod(lab: &Lab, family: Family) {
    let answer = lab.curl("pod2b", &family.url(family.web_cluster, "/"));
    assert!(answer.starts_with("pod="), "{}: {answer}", family.name);
    assert!(answer.contains(&format!("client={}", family.snat)), "{}: {answer}", family.name);
}

fn udp_is_echoed(lab: &Lab, family: Family) {
    lab.within("client", || {
        let socket = udp_to(family.client, family.echo, 53);
        socket.send(b"hello").unwrap();
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(answer.starts_with("pod") && answer.ends_with(" hello"), "{answer}");
    });
}

fn addresses_answer_pings(lab: &Lab, family: Family) {
    for (from, address) in
        [("client", family.web), ("client", family.uplink), ("node1", family.underlay)]
    {
        lab.ok(from, &["ping", "-n", "-q", "-c", "3", "-i", "0.1", "-W", "5", address]);
    }
}

/// A UDP socket whose errors are those of the other end.
pub fn udp_to(from: &str, to: &str, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket.set_read_timeout(Some(UDP_TIMEOUT)).unwrap();
    socket.connect((to, port)).unwrap();
    socket
}

#[test]
fn what_nobody_serves_is_refused_at_once() {
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = Gateway::ready(&lab);
    lab.write_manifest("service-nobody.yaml", NOBODY);
    eventually("the Service without endpoints", || {
        let services = gateway.show(&["services"]);
        services.as_array()?.iter().find(|service| service["name"] == "nobody").map(drop)
    });
    for family in FAMILIES {
        // A port that no Service has, and a Service that has no endpoints.
        for (address, tcp, udp) in [(family.web, 81, 54), (family.extra, 80, 53)] {
            tcp_is_refused(&lab, family, address, tcp);
            udp_is_refused(&lab, family, address, udp);
        }
    }
    assert!(gateway.metric("sluice_drops_total", &["\"vip_port_unused\""]) >= 4.0);
    assert_undamaged(&lab);
    gateway.stop();
}

fn tcp_is_refused(lab: &Lab, family: Family, address: &str, port: u16) {
    let error = lab.within("client", || {
        let address = std::net::SocketAddr::new(address.parse().unwrap(), port);
        std::net::TcpStream::connect_timeout(&address, UDP_TIMEOUT).unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{} {address}:{port}", family.name);
}

fn udp_is_refused(lab: &Lab, family: Family, address: &str, port: u16) {
    let error = lab.within("client", || {
        let socket = udp_to(family.client, address, port);
        socket.send(b"anybody?").unwrap();
        socket.recv(&mut [0; 16]).unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{} {address}:{port}", family.name);
}

const NOBODY: &str = "
apiVersion: v1
kind: Service
metadata: {name: nobody, namespace: default}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  ipFamilies: [IPv4, IPv6]
  clusterIP: 10.96.0.40
  clusterIPs: [10.96.0.40, 'fd00:10:96::40']
  selector: {app: nobody}
  ports:
    - {name: http, port: 80, protocol: TCP, targetPort: 8080}
    - {name: dns, port: 53, protocol: UDP, targetPort: 9053}
status:
  loadBalancer:
    ingress: [{ip: 203.0.113.40}, {ip: '2001:db8:f00::40'}]
";
