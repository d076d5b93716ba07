use crate::balancers::{balancer, serve};
use crate::gateway::Gateway;
use crate::kernel::assert_undamaged;
use crate::lab::{FAMILIES, Family, Lab, eventually};
use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::time::Duration;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// An address that a Service has by `externalIPs`.
fn external(family: Family) -> &'static str {
    if family.name == "IPv4" { "203.0.113.77" } else { "2001:db8:f00::77" }
}

/// The pods that answer so many requests.
fn pods(lab: &Lab, from: &str, family: Family, address: &str, requests: usize) -> BTreeSet<String> {
    let answers = lab.curl(from, &family.url(address, &format!("/?[1-{requests}]")));
    let pods = answers.lines().filter_map(|line| line.strip_prefix("pod=")?.split(' ').next());
    pods.map(str::to_owned).collect()
}

#[test]
fn a_service_is_reached_by_all_its_addresses_at_once() {
    for mode in ["snat", "preserve"] {
        let Some(lab) = Lab::up(&[]) else { return };
        lab.edit_config("snat:\n", &format!("snat:\n  mode: {mode}\n"));
        lab.add_config("services:\n  external_ips: [203.0.113.77/32, '2001:db8:f00::77/128']");
        let gateway = Gateway::ready(&lab);
        // One pod, so that all addresses lead to one endpoint.
        let spec = "  selector: {pod: pod1a}
  externalIPs: [203.0.113.77, '2001:db8:f00::77']
  ports:
    - {name: http, port: 80, protocol: TCP, targetPort: 8080, nodePort: 30080}
    - {name: echo, port: 53, protocol: UDP, targetPort: 9053, nodePort: 30053}";
        serve(&lab, &gateway, "all", &balancer("all", 40, spec));
        for family in FAMILIES {
            let cluster_ip = family.web_cluster.replace("10.96.0.10", "10.96.0.40");
            let cluster_ip = cluster_ip.replace("fd00:10:96::10", "fd00:10:96::40");
            for address in [family.extra, external(family)] {
                assert_eq!(pods(&lab, "client", family, address, 3).len(), 1, "{mode} {address}");
            }
            let url = family.url(family.uplink, ":30080/");
            assert!(lab.curl("client", &url).starts_with("pod=pod1a"), "{mode} {url}");
            assert_eq!(pods(&lab, "pod2a", family, &cluster_ip, 3).len(), 1, "{mode}");
            // A pod reaches itself by its own Service.
            for address in [cluster_ip.as_str(), family.extra, external(family)] {
                assert_eq!(pods(&lab, "pod1a", family, address, 3).len(), 1, "{mode} {address}");
            }
            one_port_through_three_addresses(&lab, family);
        }
        assert_undamaged(&lab);
        gateway.stop();
    }
}

/// One client port reaches one endpoint through a VIP, an external address and a
/// node port, and each answer comes from the address that was asked.
fn one_port_through_three_addresses(lab: &Lab, family: Family) {
    let asked = [(family.extra, 53), (external(family), 53), (family.uplink, 30053)];
    lab.within("client", || {
        let socket = UdpSocket::bind((family.client, 0)).unwrap();
        socket.set_read_timeout(Some(ANSWER_TIMEOUT)).unwrap();
        for round in 0..3u8 {
            for (i, to) in (0u8..).zip(asked) {
                socket.send_to(&[b'0' + round, b'0' + i], to).unwrap();
            }
            let mut open: BTreeSet<usize> = (0..asked.len()).collect();
            while !open.is_empty() {
                let mut buffer = [0; 64];
                let (length, from) = socket.recv_from(&mut buffer).unwrap();
                let answer = &buffer[..length];
                let i = usize::from(answer[length - 1] - b'0');
                assert_eq!((from.ip().to_string().as_str(), from.port()), asked[i]);
                assert!(open.remove(&i), "answered twice");
            }
        }
    });
}

#[test]
fn a_client_with_affinity_stays_while_its_pod_lives() {
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = Gateway::ready(&lab);
    let spec = "  selector: {app: web}
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 3600}}
  ports: [{name: http, port: 80, protocol: TCP, targetPort: 8080}]";
    serve(&lab, &gateway, "sticky", &balancer("sticky", 40, spec));
    let stays = || FAMILIES.map(|family| only(pods(&lab, "client", family, family.extra, 20)));
    let homes = stays();
    // Pods that are nobody's home go, and come back.
    let all = ["pod1a", "pod1b", "pod2a", "pod2b"];
    for pod in all.into_iter().filter(|pod| !homes.iter().any(|home| home == pod)) {
        lab.remove_pod(pod);
        assert_eq!(stays(), homes, "without {pod}");
        lab.add_pod(pod);
        wait_for_endpoints(&gateway, "default/sticky", 8);
        assert_eq!(stays(), homes, "with {pod} again");
    }
    // A home goes: its client moves, and stays there when the home is back.
    lab.remove_pod(&homes[0]);
    wait_for_endpoints(&gateway, "default/sticky", 6);
    let moved = stays();
    assert_ne!(moved[0], homes[0]);
    lab.add_pod(&homes[0]);
    wait_for_endpoints(&gateway, "default/sticky", 8);
    assert_eq!(stays(), moved);
    gateway.stop();
}

fn only(pods: BTreeSet<String>) -> String {
    assert_eq!(pods.len(), 1, "{pods:?}");
    pods.into_iter().next().unwrap()
}

/// Waits until a Service has so many endpoints, both families counted.
fn wait_for_endpoints(gateway: &Gateway<'_>, service: &str, count: usize) {
    eventually("endpoints", || {
        let backends = gateway.show(&["backends"]);
        let own = backends.as_array()?.iter().filter(|backend| backend["service"] == service);
        (own.count() == count).then_some(())
    });
}

#[test]
fn traffic_policies_and_source_ranges_are_kept() {
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = Gateway::ready(&lab);
    let spec = "  selector: {pod: pod1a}
  internalTrafficPolicy: Local
  loadBalancerSourceRanges: [192.0.2.10/32, '2001:db8:1::10/128']
  ports: [{name: http, port: 80, protocol: TCP, targetPort: 8080}]";
    serve(&lab, &gateway, "near", &balancer("near", 40, spec));
    let cluster_ip = |family: Family| match family.name {
        "IPv4" => "10.96.0.40",
        _ => "fd00:10:96::40",
    };
    let cannot = |from: &str, family: Family, address: &str| {
        let url = family.url(address, "/");
        !lab.run(from, &["curl", "-sS", "--max-time", "2", &url]).status.success()
    };
    for family in FAMILIES {
        assert_eq!(pods(&lab, "pod1b", family, cluster_ip(family), 3).len(), 1);
        assert!(cannot("pod2b", family, cluster_ip(family)), "{}", family.name);
        // The load balancer's address is as it was for whoever is in range.
        assert_eq!(pods(&lab, "client", family, family.extra, 3).len(), 1);
        assert!(cannot("pod2b", family, family.extra), "{}: a pod is out of range", family.name);
    }
    for reason in ["\"no_local_endpoint\"", "\"source_not_allowed\""] {
        assert!(gateway.metric("sluice_drops_total", &[reason]) >= 2.0, "{reason}");
    }
    gateway.stop();
}

#[test]
fn a_udp_client_that_never_pauses_follows_its_service() {
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = Gateway::ready(&lab);
    for family in FAMILIES {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let (tell, heard) = std::sync::mpsc::channel();
        let client = lab.spawn("client", move || stream(family, &stopped, &tell));
        let first: String = heard.recv_timeout(ANSWER_TIMEOUT).unwrap();
        lab.remove_pod(&first);
        let next = heard.recv_timeout(3 * ANSWER_TIMEOUT).expect("another pod answers");
        assert_ne!(next, first, "{}", family.name);
        drop(stop);
        let (sent, answered) = client.join().unwrap();
        // Between the end of the pod and of its manifest it answers; none is lost but
        // what was under way.
        assert!(answered * 100 >= sent * 99, "{}: {answered} of {sent}", family.name);
        lab.add_pod(&first);
    }
    assert_undamaged(&lab);
    gateway.stop();
}

/// Sends from one port, every few milliseconds; tells each pod that answers and
/// is not the one before.
fn stream(
    family: Family,
    stopped: &std::sync::mpsc::Receiver<()>,
    tell: &std::sync::mpsc::Sender<String>,
) -> (usize, usize) {
    let socket = crate::services::udp_to(family.client, family.echo, 53);
    socket.set_nonblocking(true).unwrap();
    let (mut sent, mut answered, mut last) = (0, 0, String::new());
    let mut listen = |answered: &mut usize| {
        let mut buffer = [0; 64];
        while let Ok(length) = socket.recv(&mut buffer) {
            *answered += 1;
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let pod = text.split(' ').next().unwrap_or_default().to_owned();
            if pod != last {
                last.clone_from(&pod);
                let _ = tell.send(pod);
            }
        }
    };
    while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
        // An error of before (a pod that refuses) is told here; it counts as lost.
        sent += usize::from(socket.send(b"again").is_ok());
        std::thread::sleep(Duration::from_millis(5));
        listen(&mut answered);
    }
    std::thread::sleep(Duration::from_secs(1));
    listen(&mut answered);
    (sent, answered)
}
