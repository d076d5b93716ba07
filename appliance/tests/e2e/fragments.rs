use crate::gateway::Gateway;
use crate::kernel::assert_undamaged;
use crate::lab::{FAMILIES, Family, Lab, eventually};
use crate::services::udp_to;
use std::io::ErrorKind;
use std::time::Duration;

/// Bytes of a datagram that has to go in fragments, both ways.
const DATAGRAM: usize = 30_000;

/// How long an answer may take: the first datagram over IPv6 is lost, its sender is told of the
/// tunnel's size.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

#[test]
fn fragments_and_errors_cross_the_translation() {
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = Gateway::ready(&lab);
    lab.write_manifest("service-closed.yaml", CLOSED_SERVICE);
    eventually("the Service on a port where nothing listens", || {
        let backends = gateway.show(&["backends"]);
        let is_closed = |backend: &&serde_json::Value| backend["service"] == "default/closed";
        (backends.as_array()?.iter().filter(is_closed).count() == 2).then_some(())
    });
    for family in FAMILIES {
        large_pings_are_answered(&lab, family);
        large_datagrams_are_echoed(&lab, family);
        a_pod_refuses(&lab, family);
    }
    assert_undamaged(&lab);
    gateway.stop();
}

fn large_pings_are_answered(lab: &Lab, family: Family) {
    for (from, address) in [("client", family.web), ("node1", family.underlay)] {
        let ping = ["ping", "-n", "-q", "-c", "3", "-i", "0.1", "-W", "5", "-s", "65000", address];
        lab.ok(from, &ping);
    }
}

fn large_datagrams_are_echoed(lab: &Lab, family: Family) {
    let sent: Vec<u8> = (0..DATAGRAM).map(|i| (i * 7) as u8).collect();
    lab.within("client", || {
        let socket = udp_to(family.client, family.echo, 53);
        socket.set_read_timeout(Some(ANSWER_TIMEOUT)).unwrap();
        let mut buffer = vec![0; DATAGRAM + 100];
        let length = eventually("the echo of a large datagram", || {
            socket.send(&sent).ok()?;
            socket.recv(&mut buffer).ok()
        });
        assert!(buffer[..length].ends_with(&sent), "{}", family.name);
    });
}

/// The pod's kernel says that nothing listens, and the client hears it.
fn a_pod_refuses(lab: &Lab, family: Family) {
    let error = lab.within("client", || {
        let socket = udp_to(family.client, family.extra, 53);
        socket.send(b"anybody?").unwrap();
        socket.recv(&mut [0; 16]).unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{}", family.name);
}

const CLOSED_SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: closed, namespace: default}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  ipFamilies: [IPv4, IPv6]
  clusterIP: 10.96.0.40
  clusterIPs: [10.96.0.40, 'fd00:10:96::40']
  selector: {pod: pod1a}
  ports:
    - {name: closed, port: 53, protocol: UDP, targetPort: 7999}
status:
  loadBalancer:
    ingress: [{ip: 203.0.113.40}, {ip: '2001:db8:f00::40'}]
";
