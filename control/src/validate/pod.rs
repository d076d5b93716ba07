use super::{check_l4_port, check_protocol};
use crate::diagnostic::Finding;
use k8s_openapi::api::core::v1::Pod;

pub(super) fn refusals(pod: &Pod, findings: &mut Vec<Finding>) {
    let Some(spec) = &pod.spec else { return };
    for (i, container) in spec.containers.iter().enumerate() {
        for (j, port) in container.ports.iter().flatten().enumerate() {
            let path = format!("spec.containers[{i}].ports[{j}]");
            check_l4_port(&format!("{path}.containerPort"), port.container_port, findings);
            check_protocol(&format!("{path}.protocol"), port.protocol.as_deref(), findings);
        }
    }
}
