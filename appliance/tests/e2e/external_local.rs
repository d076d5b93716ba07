use crate::balancers::{balancer, serve};
use crate::gateway::Gateway;
use crate::lab::{FAMILIES, Lab};
use std::collections::BTreeSet;

/// Requests that reach more than one node: the odds that all of them go to the
/// two pods of one are 1 in 2^39.
const REQUESTS: usize = 40;

#[test]
fn a_service_that_wants_its_clients_addresses_gets_them_from_all_endpoints() {
    let Some(lab) = Lab::up(&[]) else { return };
    lab.edit_config("snat:\n", "snat:\n  mode: preserve\n");
    let gateway = Gateway::ready(&lab);
    let spec = "  selector: {app: web}
  externalTrafficPolicy: Local
  ports: [{name: http, port: 80, protocol: TCP, targetPort: 8080}]";
    serve(&lab, &gateway, "local", &balancer("local", 40, spec));
    for family in FAMILIES {
        let url = family.url(family.extra, &format!("/?[1-{REQUESTS}]"));
        let answers = lab.curl("client", &url);
        let client = format!("client={}", family.client);
        let kept = answers.lines().filter(|answer| answer.contains(&client)).count();
        assert_eq!(kept, REQUESTS, "{answers}");
        let words = answers.split_whitespace();
        let nodes: BTreeSet<&str> = words.filter(|word| word.starts_with("node=")).collect();
        assert_eq!(nodes.len(), 2, "{nodes:?}");
    }
    let status = String::from_utf8(gateway.ask(&["status"]).stdout).unwrap();
    assert!(!status.contains("behaves as Cluster"), "{status}");
    gateway.stop();
}
