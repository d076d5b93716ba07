//! Labels and annotations with a meaning.

use crate::diagnostic::Finding;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Names the proxy that a Service is meant for, in place of kube-proxy.
pub(crate) const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";

/// Marks what belongs to a headless Service; kube-proxy does not look at it.
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";

/// Where a node is.
pub(super) const ZONE: &str = "topology.kubernetes.io/zone";

/// The share of new connections of a pod, or of all endpoints of a slice.
const WEIGHT: &str = "sluice.dev/weight";

/// What network policies would deny is told of, and passes: on a policy, and on a
/// Namespace.
const POLICY_AUDIT: &str = "sluice.dev/policy-audit";

/// Most weight of an endpoint.
const WEIGHT_MAX: u16 = 1000;

/// A label of an object.
pub(super) fn label<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(name).map(String::as_str)
}

/// An annotation of an object.
pub(super) fn annotation<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// The key path of an annotation.
pub(super) fn path(name: &str) -> String {
    format!("metadata.annotations.{name}")
}

/// The weight that an object is given; one that cannot be is a finding.
pub(super) fn weight(metadata: &ObjectMeta, findings: &mut Vec<Finding>) -> Option<u16> {
    let text = annotation(metadata, WEIGHT)?;
    let weight = text.trim().parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
    if weight.is_none() {
        let finding = Finding::error(path(WEIGHT), format!("{text:?} is no weight; it is ignored"));
        findings.push(finding.expected(format!("0 to {WEIGHT_MAX}")));
    }
    weight
}

/// Whether what a policy would deny, or what would be denied to the pods of a
/// namespace, is told of and passes; a value that is none is a finding.
pub(super) fn is_audited(metadata: &ObjectMeta, findings: &mut Vec<Finding>) -> bool {
    match annotation(metadata, POLICY_AUDIT) {
        None | Some("false") => false,
        Some("true") => true,
        Some(text) => {
            let message = format!("{text:?} is neither; it is ignored, and policy is enforced");
            let finding = Finding::error(path(POLICY_AUDIT), message);
            findings.push(finding.expected("\"true\" or \"false\""));
            false
        }
    }
}
