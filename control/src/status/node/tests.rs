use super::*;
use crate::cluster::Node;

fn facts(overlay: &str, node: &str) -> Option<Facts> {
    let text = format!(
        "ports: [{{name: c, device: d, addresses: [10.10.0.1/24, 'fd10::1/64']}}]
source: {{kubernetes: {{kubeconfig: k}}}}
snat: {{from_node: 16}}
{overlay}
{node}"
    );
    let loaded = sluice_config::parse("c.yaml", &text);
    Facts::new(&loaded.unwrap_or_else(|errors| panic!("{errors}")).config, "gw")
}

fn overlay(mode: &str) -> String {
    format!(
        "overlay: {{vxlan: {{mode: {mode}, vni: 7, port: c, addresses: [10.10.0.1, 'fd10::1'], \
         mac: '02:00:00:00:00:07'}}}}"
    )
}

fn node(cidrs: &[&str]) -> v1::Node {
    serde_json::from_value(json!({"metadata": {"name": "gw"}, "spec": {"podCIDRs": cidrs}}))
        .unwrap()
}

/// The Node after a merge patch of its annotations.
fn patched(mut node: v1::Node, patch: &Value) -> v1::Node {
    let annotations = patch["metadata"]["annotations"].as_object().unwrap();
    let annotations = annotations.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned()));
    node.metadata.annotations.get_or_insert_default().extend(annotations);
    node
}

/// What is written in an overlay is read there as it was meant, and is then not written again.
#[test]
fn what_is_written_is_what_another_gateway_reads() {
    for (mode, name) in [(OverlayMode::Plain, "plain"), (OverlayMode::Flannel, "flannel")] {
        let facts = facts(&overlay(name), "").unwrap();
        let node = node(&["10.244.7.0/24", "fd00:7::/64"]);
        let written = patched(node.clone(), &facts.patch(&node).unwrap());
        assert_eq!(facts.patch(&written), None, "{name}: written twice");
        let mut findings = Vec::new();
        let tunnel = Node::reduce(mode, &written, &mut findings).tunnel;
        assert_eq!(findings, [], "{name}");
        let addresses: Vec<_> = tunnel.vteps.iter().map(|(_, addr)| addr.to_string()).collect();
        assert_eq!(addresses, ["10.10.0.1", "fd10::1"], "{name}");
        assert_eq!(tunnel.macs.v4, Some([2, 0, 0, 0, 0, 7]), "{name}");
        assert_eq!(tunnel.macs.v6, tunnel.macs.v4, "{name}");
        let mut without = written.clone();
        without.metadata.annotations.as_mut().unwrap().pop_last();
        let again = facts.patch(&without).unwrap();
        assert_eq!(again["metadata"]["annotations"].as_object().unwrap().len(), 1, "{name}");
    }
}

#[test]
fn flannels_nodes_are_told_nothing_before_there_is_a_range() {
    let facts = facts(&overlay("flannel"), "").unwrap();
    assert_eq!(facts.patch(&node(&[])), None);
    let patch = facts.patch(&node(&["10.244.7.0/24"])).unwrap();
    let expected = json!({
        "flannel.alpha.coreos.com/backend-data": r#"{"VNI":7,"VtepMAC":"02:00:00:00:00:07"}"#,
        "flannel.alpha.coreos.com/backend-type": "vxlan",
        "flannel.alpha.coreos.com/kube-subnet-manager": "true",
        "flannel.alpha.coreos.com/public-ip": "10.10.0.1",
    });
    assert_eq!(patch["metadata"]["annotations"], expected, "IPv6 has no range");
}

#[test]
fn calicos_nodes_are_told_address_and_mac_and_read_them_with_the_devices_address() {
    let facts = facts(&overlay("calico"), "").unwrap();
    let node = node(&[]);
    let mut written = patched(node.clone(), &facts.patch(&node).unwrap());
    let annotations = written.metadata.annotations.as_mut().unwrap();
    assert_eq!(annotations["projectcalico.org/IPv4Address"], "10.10.0.1/24");
    assert_eq!(annotations["projectcalico.org/IPv6Address"], "fd10::1/64");
    assert_eq!(annotations.len(), 4);
    annotations.insert(calico::DEVICE[0].to_owned(), "10.244.7.0".to_owned());
    let tunnel = Node::reduce(OverlayMode::Calico, &written, &mut Vec::new()).tunnel;
    assert_eq!((tunnel.vteps.len(), tunnel.macs.v4), (1, Some([2, 0, 0, 0, 0, 7])));
}

#[test]
fn nothing_is_written_that_was_not_asked_for() {
    assert_eq!(facts("", ""), None);
    assert_eq!(facts(&overlay("plain"), "node: {annotate: false}"), None);
    let facts = facts(&overlay("plain"), "node: {annotate: false, register: true}").unwrap();
    assert_eq!(facts.patch(&node(&[])), None);
    let made = register::node(&facts);
    assert_eq!(made.metadata.name.as_deref(), Some("gw"));
    assert_eq!(made.spec.unwrap().taints.unwrap().len(), 2);
    assert_eq!(facts.addresses.len(), 2);
}

/// A list with `$patch: replace` is not merged: the API server would keep one address of each
/// type (`patchMergeKey`).
#[test]
fn the_addresses_of_a_node_are_replaced_and_not_merged() {
    let facts = facts(&overlay("plain"), "node: {register: true}").unwrap();
    let status = register::status(&facts, &node(&[]), k8s_openapi::jiff::Timestamp::now());
    let expected = json!([
        {"type": "InternalIP", "address": "10.10.0.1"},
        {"type": "InternalIP", "address": "fd10::1"},
        {"$patch": "replace"},
    ]);
    assert_eq!(status["status"]["addresses"], expected);
}

/// Whatever fails after it, the lease is renewed before it is over.
#[test]
fn a_look_that_fails_comes_again_before_the_lease_is_over() {
    let longest = pauses(LOOK.0, PAUSE_MAX).take(1000).max().unwrap();
    assert!(LOOK_MAX + longest < Duration::from_secs(register::LEASE_S as u64), "{longest:?}");
}
