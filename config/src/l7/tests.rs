use super::*;
use crate::flow_log::FlowLogTarget;

fn read(text: &str) -> Option<L7> {
    let text = format!(
        "ports: [{{name: a, device: eth1, addresses: [192.0.2.1/24], kernel_addresses: [192.0.2.9]}}]
snat: {{addresses: [10.244.255.0/28]}}
source: {{manifests: {{path: x}}}}
{text}"
    );
    let loaded = crate::parse("etc/test.yaml", &text);
    loaded.unwrap_or_else(|errors| panic!("{errors}")).config.l7
}

#[test]
fn requests_are_looked_at_only_if_it_is_asked_for() {
    assert_eq!(read(""), None);
    assert_eq!(read("l7: null"), None);
    let l7 = read("l7: {}").unwrap();
    assert_eq!((l7.io, l7.ingress, l7.access_log), (L7Io::Worker, None, None));
}

#[test]
fn everything_can_be_told() {
    let l7 = read(
        "l7:
  io: worker
  ingress:
    addresses: [203.0.113.80, '2001:db8::80']
    http_port: 8080
    default_certificate: kube-system/wild.card
  trusted_proxies: [10.0.0.0/8, 'fd00::1']
  proxy_protocol: true
  identity: {namespace: edge, labels: {app: gateway, example.com/tier: ''}}
  limits: {connections: 1000, headers: 50}
  access_log: {path: access.json, format: combined}",
    );
    let l7 = l7.unwrap();
    let ingress = Ingress {
        addresses: vec!["203.0.113.80".parse().unwrap(), "2001:db8::80".parse().unwrap()],
        http_port: 8080,
        https_port: 443,
        default_certificate: Some(("kube-system".to_owned(), "wild.card".to_owned())),
    };
    assert_eq!(l7.ingress, Some(ingress));
    let proxies: Vec<String> = l7.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "fd00::1/128"]);
    assert!(l7.proxy_protocol);
    assert_eq!(l7.identity.namespace, "edge");
    let labels: Vec<_> = l7.identity.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(labels, ["app=gateway", "example.com/tier="]);
    let limits = &l7.limits;
    assert_eq!((limits.connections, limits.headers, limits.header_bytes), (1000, 50, 32768));
    let log = l7.access_log.unwrap();
    assert_eq!(log.to, FlowLogTarget::File("etc/access.json".into()));
    assert_eq!(log.format, AccessLogFormat::Combined);
}

#[test]
fn the_kernel_serves_at_its_own_addresses() {
    let l7 = read("l7: {io: kernel, ingress: {addresses: [192.0.2.9]}}").unwrap();
    assert_eq!(l7.io, L7Io::Kernel);
}
