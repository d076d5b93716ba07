use crate::diagnostic::Finding;
use ipnet::IpNet;

pub(super) fn refusals(cidr: &str, findings: &mut Vec<Finding>) {
    if cidr.parse::<IpNet>().is_err() {
        let message = format!("{cidr:?} is no prefix");
        findings
            .push(Finding::error("spec.cidr", message).expected("a prefix such as 10.1.0.0/26"));
    }
}
