use crate::events::{Watching, until_watched};
use crate::gateway::{Gateway, SLUICE};
use crate::lab::{FAMILIES, Family, Lab, eventually, succeeded};
use serde_json::Value;

/// Only the client outside reaches the Service's pods.
const POLICY: &str = r#"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: default, name: web-lock}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress:
  - from:
    - ipBlock: {cidr: 192.0.2.10/32}
    - ipBlock: {cidr: "2001:db8:1::10/128"}
    ports: [{protocol: TCP, port: 8080}]
"#;

const ALLOWED: &str = "NetworkPolicy default/web-lock ingress[0]";
const DENIED: &str = "NetworkPolicy default/web-lock default deny ingress";

/// A packet to port 80, as it is asked about.
fn packet(from: &str, to: &str) -> String {
    match to.contains(':') {
        true => format!("{from} -> [{to}]:80/tcp"),
        false => format!("{from} -> {to}:80/tcp"),
    }
}

/// What the running gateway explains.
fn live(gateway: &Gateway<'_>, packet: &str) -> Value {
    let text = succeeded(&gateway.ask(&["explain", packet, "-o", "json"]), packet);
    serde_json::from_str(&text).unwrap()
}

/// What its manifests alone explain; what is of a running gateway left out.
fn offline(lab: &Lab, packet: &str) -> Value {
    let config = lab.config().display().to_string();
    let text =
        lab.ok("gw", &[SLUICE, "explain", packet, "-o", "json", "--offline", "--config", &config]);
    serde_json::from_str(&text).unwrap()
}

#[test]
fn explanations_say_what_the_data_plane_does() {
    let Some(lab) = Lab::up(&[]) else { return };
    lab.write_manifest("policy.yaml", POLICY);
    let gateway = Gateway::ready(&lab);
    let drops = Watching::start(&lab, "drops", &["show", "drops", "--follow", "-o", "json"]);
    until_watched(&gateway, "follow", 1.0);
    for family in FAMILIES {
        allowed(&lab, &gateway, family);
        denied(&lab, &gateway, family, &drops);
        let of = live(&gateway, &format!("{} -> {}/icmp", family.client, family.uplink));
        assert_eq!(of["verdict"], "answered", "{of}");
    }
    let wrong = gateway.ask(&["explain", "10.0.0.1 to 10.0.0.2"]);
    assert_eq!(wrong.status.code(), Some(2));
    let counted = gateway.metric("sluice_flows_created_total", &[]);
    live(&gateway, &packet(FAMILIES[0].client, FAMILIES[0].web));
    assert_eq!(gateway.metric("sluice_flows_created_total", &[]), counted, "a probe is no flow");
    gateway.stop();
}

/// The flow of a real connection has the endpoint and the rule that are explained.
fn allowed(lab: &Lab, gateway: &Gateway<'_>, family: Family) {
    assert!(lab.curl("client", &family.url(family.web, "/")).starts_with("pod="));
    let flows = gateway.show(&["flows", "--client", family.client]);
    let flow = &flows["flows"][0];
    assert_eq!(flow["ingress_rule"], ALLOWED, "{flow}");
    let source = flow["client"].as_str().unwrap();
    let of = live(gateway, &packet(source, family.web));
    assert_eq!(of["flows"].as_array().unwrap().len(), 1, "{of}");
    let stored = &of["flows"][0];
    for key in ["client", "server", "source", "pod", "ingress_rule", "worker"] {
        assert_eq!(stored[key], flow[key], "{of}");
    }
    assert_eq!(stored["direction"], "original");
    // A new flow of the same tuple gets the same endpoint, by the same rule.
    assert_eq!(of["verdict"], "forwarded", "{of}");
    assert_eq!(of["service"], "default/web:80");
    assert_eq!(of["endpoint"], flow["server"], "{of}");
    assert_eq!(of["ingress"]["rule"], ALLOWED, "{of}");
    assert_eq!(of["from"]["port"], "uplink");
    assert_eq!(of["way"]["kind"], "tunnel");
    let pod = flow["pod"].as_str().unwrap();
    assert!(pod.ends_with(of["server"]["name"].as_str().unwrap()), "{of}");
    // The manifests say the same.
    let alone = offline(lab, &packet(source, family.web));
    for key in ["verdict", "service", "endpoint", "server", "egress", "ingress", "way", "from"] {
        assert_eq!(alone[key], of[key], "{key}: {alone}");
    }
}

/// The drop of a real connection has the rule that is explained.
fn denied(lab: &Lab, gateway: &Gateway<'_>, family: Family, drops: &Watching) {
    let url = family.url(family.web_cluster, "/");
    // It is an endpoint itself, and may speak with itself: one in three times it is
    // what is chosen.
    eventually("a connection to another endpoint", || {
        let answer = lab.run("pod2b", &["curl", "-s", "--max-time", "2", &url]);
        (!answer.status.success()).then_some(())
    });
    let event = eventually("a drop that is told of", || {
        let printed = drops.printed();
        let lines = printed.lines().filter_map(|line| serde_json::from_str(line).ok());
        lines.into_iter().find(|line: &Value| {
            line["reason"] == "policy_ingress"
                && line["destination"]["address"] == family.web_cluster
        })
    });
    let address = event["source"]["address"].as_str().unwrap();
    let (port, is_v6) = (&event["source"]["port"], address.contains(':'));
    let source = if is_v6 { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
    let of = live(gateway, &packet(&source, family.web_cluster));
    assert_eq!((&of["verdict"], &of["reason"]), (&"dropped".into(), &"policy_ingress".into()));
    assert_eq!(of["ingress"]["rule"], DENIED, "{of}");
    assert_eq!(event["ingress_rule"], DENIED, "{event}");
    assert_eq!(event["real_ends"]["destination"]["address"], of["server"]["address"], "{event}");
    assert_eq!(of["source"]["name"], "default/pod2b");
    assert_eq!(of["from"]["node"], "node2");
    assert_eq!(of["flows"], Value::Array(Vec::new()), "{of}");
}
