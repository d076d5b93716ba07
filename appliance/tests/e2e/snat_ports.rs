use crate::balancers::{balancer, serve};
use crate::gateway::Gateway;
use crate::lab::{FAMILIES, Family, Lab, eventually};
use crate::services::udp_to;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// SNAT ports of the gateway, of its one address in each family.
const PORTS: usize = 256;

/// Flows of which people are warned: more than 80 percent of [`PORTS`].
const MANY: usize = 210;

/// Flows beyond [`PORTS`].
const TOO_MANY: usize = 14;

/// What counts those.
const COUNTERS: [(&str, &[&str]); 2] = [
    ("sluice_drops_total", &["\"snat_ports_exhausted\""]),
    ("sluice_snat_ports_refused_total", &[]),
];

/// Nothing comes any more.
const QUIET: Duration = Duration::from_secs(3);

#[test]
fn snat_ports_that_run_out_are_seen_before_and_refused_then() {
    let Some(lab) = Lab::up(&[]) else { return };
    lab.edit_config(
        "snat:\n  addresses: [10.244.255.0/28, \"fd00:10:244:ff::/124\"]\n",
        "snat:
  addresses: [10.244.255.1/32, 'fd00:10:244:ff::1/128']
  ports: {min: 1024, max: 1279}\n",
    );
    let gateway = Gateway::ready(&lab);
    for (family, last) in FAMILIES.into_iter().zip([40, 41]) {
        // A Service for each family, so that the other one's flows warn of nothing.
        let (name, port) = (format!("narrow{last}"), 4000 + u16::from(last));
        let spec = format!(
            "  selector: {{pod: pod1a}}
  ports: [{{port: {port}, protocol: UDP, targetPort: 9053}}]"
        );
        serve(&lab, &gateway, &name, &balancer(&name, last, &spec));
        let vip = family.extra.replace("40", &last.to_string());
        let flows = ask(&lab, family, &vip, port, MANY);
        assert_eq!(answered(&flows), MANY, "{}", family.name);
        shows_how_full_it_is(&gateway, family, &name, port);

        let counted = || COUNTERS.map(|(metric, labels)| gateway.metric(metric, labels));
        let before = counted();
        let rest = PORTS - MANY;
        let more = ask(&lab, family, &vip, port, rest + TOO_MANY);
        assert_eq!(answered(&more), rest, "{}", family.name);
        for (now, before) in counted().into_iter().zip(before) {
            assert_eq!(now - before, TOO_MANY as f64, "{}", family.name);
        }
        let named = format!("Service default/{name}, port {port}/UDP: no SNAT port was free");
        let status = String::from_utf8(gateway.ask(&["status"]).stdout).unwrap();
        assert!(status.contains(&named), "{status}");

        // Whoever has a port keeps it.
        for flow in &flows {
            flow.send(b"again").unwrap();
        }
        assert_eq!(answered(&flows), MANY, "{}", family.name);
    }
    gateway.stop();
}

/// Sends a datagram from so many ports.
fn ask(lab: &Lab, family: Family, vip: &str, port: u16, flows: usize) -> Vec<UdpSocket> {
    lab.within("client", || {
        let ask = |_| {
            let socket = udp_to(family.client, vip, port);
            socket.set_nonblocking(true).unwrap();
            socket.send(b"hello").unwrap();
            // No faster than a pod answers.
            std::thread::sleep(Duration::from_millis(1));
            socket
        };
        (0..flows).map(ask).collect()
    })
}

/// How many of them have an answer, once no more come.
fn answered(flows: &[UdpSocket]) -> usize {
    let mut open: Vec<&UdpSocket> = flows.iter().collect();
    let mut last = Instant::now();
    while !open.is_empty() && last.elapsed() < QUIET {
        let before = open.len();
        open.retain(|flow| flow.recv(&mut [0; 64]).is_err());
        if open.len() < before {
            last = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    flows.len() - open.len()
}

/// Above 80 percent the Service is named, before anything is refused.
fn shows_how_full_it_is(gateway: &Gateway<'_>, family: Family, name: &str, port: u16) {
    let named = format!("Service default/{name}, port {port}/UDP: ");
    eventually("the warning", || {
        let status = String::from_utf8(gateway.ask(&["status"]).stdout).unwrap();
        let warning = status.lines().find(|line| line.contains(&named))?;
        warning.contains("of the SNAT ports towards an endpoint are in use").then_some(())
    });
    let endpoint = SocketAddr::new(family.pod1a.parse().unwrap(), 9053).to_string();
    let shown = gateway.show(&["snat"]);
    let mut all = shown.as_array().unwrap().iter();
    let own = all.find(|one| one["service"] == format!("default/{name}")).expect("the Service");
    assert_eq!(own["endpoint"], endpoint.as_str(), "{own}");
    assert_eq!((&own["used"], &own["capacity"]), (&MANY.into(), &PORTS.into()), "{own}");
    let service = format!("\"default/{name}\"");
    let ratio = gateway.metric("sluice_snat_ports_used_ratio", &[&service]);
    assert!((0.8..0.9).contains(&ratio), "{ratio}");
}
