use ipnet::IpNet;
use serde_json::{Map, Value};

/// True for an object that the API would take, as far as the shrinker may
/// break it.
pub(super) fn is_valid(object: &Value) -> bool {
    let has_name = object["metadata"]["name"].is_string();
    let spec = &object["spec"];
    has_name
        && match object["kind"].as_str() {
            Some("Namespace") => true,
            Some("Node") => is_node(object),
            Some("Pod") => has_namespace(object) && is_pod(object),
            Some("NetworkPolicy") => has_namespace(object) && is_network_policy(spec),
            Some("ClusterNetworkPolicy") => is_cluster_policy(spec),
            _ => false,
        }
}

fn has_namespace(object: &Value) -> bool {
    object["metadata"]["namespace"].is_string()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Each of some fields of the right sort, where it is there.
fn all(value: &Value, field: &str, is_valid: impl Fn(&Value) -> bool) -> bool {
    match &value[field] {
        Value::Null => true,
        Value::Array(list) => list.iter().all(is_valid),
        _ => false,
    }
}

fn fields(value: &Value) -> Option<&Map<String, Value>> {
    value.as_object()
}

fn is_node(node: &Value) -> bool {
    let is_address = |entry: &Value| entry["type"].is_string() && entry["address"].is_string();
    node["metadata"]["annotations"]["sluice.dev/vtep-mac"].is_string()
        && all(&node["status"], "addresses", is_address)
}

fn is_pod(pod: &Value) -> bool {
    let spec = &pod["spec"];
    let is_port = |port: &Value| port["containerPort"].is_u64();
    let is_container = |c: &Value| c["name"].is_string() && all(c, "ports", is_port);
    let ips = list(&pod["status"]["podIPs"]);
    let first = ips.first().map_or(&Value::Null, |ip| &ip["ip"]);
    spec["containers"].is_array()
        && all(spec, "containers", is_container)
        && all(spec, "initContainers", is_container)
        && all(&pod["status"], "podIPs", |ip| ip["ip"].is_string())
        // "If this field is specified, the 0th entry must match the podIP field."
        && (ips.is_empty() || *first == pod["status"]["podIP"])
}

fn is_network_policy(spec: &Value) -> bool {
    spec.is_object()
        && (spec["podSelector"].is_null() || is_selector(&spec["podSelector"]))
        && [("ingress", "from"), ("egress", "to")].into_iter().all(|(direction, peers)| {
            all(spec, direction, |rule| {
                all(rule, peers, is_network_policy_peer)
                    && all(rule, "ports", is_network_policy_port)
            })
        })
}

fn is_network_policy_peer(peer: &Value) -> bool {
    let Some(fields) = fields(peer) else { return false };
    !fields.is_empty()
        && fields.iter().all(|(key, value)| match key.as_str() {
            "ipBlock" => fields.len() == 1 && is_block(value),
            _ => is_selector(value),
        })
}

fn is_block(block: &Value) -> bool {
    let net = |value: &Value| value.as_str().and_then(|text| text.parse::<IpNet>().ok());
    let Some(outer) = net(&block["cidr"]) else { return false };
    all(block, "except", |inner| net(inner).is_some_and(|i| outer.contains(&i) && i != outer))
}

fn is_network_policy_port(port: &Value) -> bool {
    let Some(end) = port["endPort"].as_u64() else { return true };
    port["port"].as_u64().is_some_and(|first| first <= end)
}

fn is_cluster_policy(spec: &Value) -> bool {
    spec["tier"].is_string()
        && spec["priority"].is_u64()
        && is_pods(&spec["subject"]) == Some(true)
        && [("ingress", "from"), ("egress", "to")].into_iter().all(|(direction, peers)| {
            all(spec, direction, |rule| {
                rule["action"].is_string()
                    && !list(&rule[peers]).is_empty()
                    && all(rule, peers, is_cluster_policy_peer)
                    && (rule["protocols"].is_null() || !list(&rule["protocols"]).is_empty())
                    && all(rule, "protocols", is_protocol)
            })
        })
}

/// A peer that has no known field is valid: it is one of a later API.
fn is_cluster_policy_peer(peer: &Value) -> bool {
    let is_some = |field: &str| !list(&peer[field]).is_empty();
    is_pods(peer).unwrap_or(true)
        && (peer["nodes"].is_null() || is_selector(&peer["nodes"]))
        && (peer["networks"].is_null() || is_some("networks"))
        && (peer["domainNames"].is_null() || is_some("domainNames"))
}

fn is_pods(entry: &Value) -> Option<bool> {
    let (namespaces, pods) = (&entry["namespaces"], &entry["pods"]);
    match (namespaces.is_null(), pods.is_null()) {
        (true, true) => None,
        (false, true) => Some(is_selector(namespaces)),
        (true, false) => {
            Some(is_selector(&pods["namespaceSelector"]) && is_selector(&pods["podSelector"]))
        }
        (false, false) => Some(false),
    }
}

fn is_protocol(entry: &Value) -> bool {
    let port = ["tcp", "udp", "sctp"].into_iter().find_map(|f| entry[f].get("destinationPort"));
    let Some(range) = port.and_then(|port| port.get("range")) else { return true };
    matches!((range["start"].as_u64(), range["end"].as_u64()), (Some(start), Some(end)) if start < end)
}

fn is_selector(selector: &Value) -> bool {
    selector.is_object()
        && all(selector, "matchExpressions", |expression| {
            let values = list(&expression["values"]).len();
            expression["key"].is_string()
                && match expression["operator"].as_str() {
                    Some("In" | "NotIn") => values > 0,
                    Some("Exists" | "DoesNotExist") => values == 0,
                    _ => false,
                }
        })
}
