use crate::diagnostic::Finding;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;

pub(super) fn refusals(node: &Node, findings: &mut Vec<Finding>) {
    let Some(spec) = &node.spec else { return };
    let one = spec.pod_cidr.iter().map(|cidr| ("spec.podCIDR".to_owned(), cidr));
    let all = spec.pod_cidrs.iter().flatten().enumerate();
    let all = all.map(|(i, cidr)| (format!("spec.podCIDRs[{i}]"), cidr));
    for (path, cidr) in one.chain(all) {
        if cidr.parse::<IpNet>().is_err() {
            let message = format!("{cidr:?} is no prefix");
            findings.push(Finding::error(path, message).expected("a prefix such as 10.244.1.0/24"));
        }
    }
}
