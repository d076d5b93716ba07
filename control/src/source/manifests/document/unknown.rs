//! Keys and kinds that are not known, and what may have been meant.

use crate::diagnostic::Finding;
use crate::object::{self, Kind, Object, UnknownKey};
use serde_json::Value;
use sluice_config::closest;

/// What came before ClusterNetworkPolicies in their group, and is one of them now.
const PREDECESSORS: [&str; 2] = ["AdminNetworkPolicy", "BaselineAdminNetworkPolicy"];

/// What is said of keys that Kubernetes does not know. What has been through an
/// API server has only keys that a later Kubernetes knows, unless somebody has
/// touched it since; then it looks like a known one.
///
/// In a network policy they are errors, as `kubectl apply` has them: without what
/// a key should have said, the policy may let everybody in.
pub(super) fn of_unknown_keys(object: &Object, value: &Value) -> Vec<Finding> {
    let is_of_server = object.metadata().uid.is_some();
    let meant = |unknown: &UnknownKey| {
        let is_near = |known: &str| closest(&unknown.key, [known]).is_some();
        closest(&unknown.key, unknown.known(is_near))
    };
    let finding = |unknown: UnknownKey| {
        let meant = meant(&unknown);
        if is_fault(object.kind(), &unknown) {
            let expected =
                meant.map_or("a key that the API knows".into(), |key| format!("`{key}`"));
            return Some(Finding::error(unknown.path, "unknown key").expected(expected));
        }
        let hint = meant.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
        let message = format!("unknown key, which is ignored{hint}");
        let is_told = meant.is_some() || !is_of_server;
        is_told.then(|| Finding::warning(unknown.path, message))
    };
    object::unknown_keys(object, value).into_iter().filter_map(finding).collect()
}

/// Whether an unknown key makes a policy another one than was meant. A kind of
/// peers or protocols that is not known is none: rules that have one fail closed.
fn is_fault(kind: Kind, unknown: &UnknownKey) -> bool {
    let path = &unknown.path;
    let is_of_policy = path != "status" && !path.starts_with("metadata.");
    let is_later = kind == Kind::ClusterNetworkPolicy && unknown.is_alone && is_choice(path);
    kind.is_network_policy() && is_of_policy && !is_later
}

/// Whether a key stands where ClusterNetworkPolicies have one of several.
fn is_choice(path: &str) -> bool {
    let mut parts = path.split('.');
    let is_in_rule = parts.next() == Some("spec")
        && parts
            .next()
            .is_some_and(|part| part.starts_with("ingress[") || part.starts_with("egress["));
    let list = parts.next().unwrap_or_default();
    let depth = parts.count();
    let is_peer = depth == 1 && (list.starts_with("from[") || list.starts_with("to["));
    is_in_rule && (is_peer || list.starts_with("protocols[") && (1..=3).contains(&depth))
}

/// What is said of an object of a kind that is not read: if one that is read was
/// meant.
pub(super) fn of_kind(version: Option<&str>, name: &str) -> Option<Finding> {
    let known = Kind::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(name));
    if let Some(kind) = known.filter(|kind| kind.as_str() != name) {
        let is_meant = version.is_none_or(|version| kind.is_of_group(version));
        let finding =
            Finding::warning("kind", format!("{name:?} is no kind; the object is not used"));
        return is_meant.then(|| finding.expected(kind.as_str()));
    }
    let successor = Kind::ClusterNetworkPolicy;
    let is_predecessor = PREDECESSORS.contains(&name)
        && version.is_some_and(|version| successor.is_of_group(version));
    is_predecessor.then(|| {
        let message = format!("{name} is not used, and nothing is denied or accepted by it");
        let expected =
            format!("its successor, {} of {}", successor.as_str(), successor.api_version());
        Finding::warning("kind", message).expected(expected)
    })
}
