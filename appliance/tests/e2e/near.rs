use crate::balancers::{balancer, serve};
use crate::gateway::Gateway;
use crate::lab::{FAMILIES, Family, Lab, eventually};
use std::collections::BTreeSet;

/// Requests that would reach both nodes: the odds that all of them go to the two
/// pods of one are 1 in 2^19.
const REQUESTS: usize = 20;

#[test]
fn pods_reach_their_own_node_while_it_has_an_endpoint() {
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = Gateway::ready(&lab);
    let spec = "  selector: {app: web}
  trafficDistribution: PreferSameNode
  ports: [{name: http, port: 80, protocol: TCP, targetPort: 8080}]";
    serve(&lab, &gateway, "near", &balancer("near", 40, spec));
    let nodes = |from: &str| FAMILIES.map(|family| nodes(&lab, from, family));
    assert_eq!(nodes("pod1a"), ["node1", "node1"]);
    assert_eq!(nodes("pod2a"), ["node2", "node2"]);
    assert_eq!(nodes("client"), ["node1 node2", "node1 node2"]);
    // Its node's last endpoints go: it reaches the others.
    lab.remove_pod("pod1a");
    lab.remove_pod("pod1b");
    eventually("the endpoints of node1 to go", || {
        let backends = gateway.show(&["backends"]);
        let own = backends.as_array()?.iter().filter(|of| of["service"] == "default/near");
        (own.count() == 4).then_some(())
    });
    assert_eq!(nodes("pod1a"), ["node2", "node2"]);
    gateway.stop();
}

/// The nodes whose pods answer. A pod asks the ClusterIP, the client the load
/// balancer.
fn nodes(lab: &Lab, from: &str, family: Family) -> String {
    let address = match (from, family.name) {
        ("client", _) => family.extra,
        (_, "IPv4") => "10.96.0.40",
        _ => "fd00:10:96::40",
    };
    let answers = lab.curl(from, &family.url(address, &format!("/?[1-{REQUESTS}]")));
    let words = answers.split_whitespace();
    let nodes: BTreeSet<&str> = words.filter_map(|word| word.strip_prefix("node=")).collect();
    nodes.into_iter().collect::<Vec<_>>().join(" ")
}
