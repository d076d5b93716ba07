use super::{check_l4_port, check_protocol};
use crate::diagnostic::Finding;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::collections::BTreeSet;

/// Most hints of one kind of an endpoint (`maxNodeHints`, `maxZoneHints`).
const HINTS_MAX: usize = 8;

pub(super) fn refusals(slice: &EndpointSlice, findings: &mut Vec<Finding>) {
    let kind = slice.address_type.as_str();
    if !matches!(kind, "IPv4" | "IPv6" | "FQDN") {
        let message =
            if kind.is_empty() { "is missing".to_owned() } else { format!("{kind:?} is unknown") };
        findings.push(Finding::error("addressType", message).expected("IPv4, IPv6 or FQDN"));
    }
    for (i, endpoint) in slice.endpoints.iter().flatten().enumerate() {
        let Some(hints) = &endpoint.hints else { continue };
        let nodes = hints.for_nodes.as_ref().map_or(0, Vec::len);
        let zones = hints.for_zones.as_ref().map_or(0, Vec::len);
        for (field, len) in [("forNodes", nodes), ("forZones", zones)] {
            if len > HINTS_MAX {
                let path = format!("endpoints[{i}].hints.{field}");
                let finding = Finding::error(path, format!("has {len} entries"));
                findings.push(finding.expected(format!("at most {HINTS_MAX}")));
            }
        }
    }
    let mut names = BTreeSet::new();
    for (i, port) in slice.ports.iter().flatten().enumerate() {
        if let Some(number) = port.port {
            check_l4_port(&format!("ports[{i}].port"), number, findings);
        }
        check_protocol(&format!("ports[{i}].protocol"), port.protocol.as_deref(), findings);
        let name = port.name.as_deref().unwrap_or_default();
        if !names.insert(name) {
            let message = format!("another port of the slice is named {name:?}");
            let finding = Finding::error(format!("ports[{i}].name"), message);
            findings.push(finding.expected("a name of its own"));
        }
    }
}
