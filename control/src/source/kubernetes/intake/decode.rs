use crate::diagnostic::{Diagnostic, Finding};
use crate::object::{DecodeError, Key, Kind, Object, decode_text};
use crate::source::kubernetes::raw::Raw;
use crate::source::refused::{DENIED, rest_of};
use crate::validate;

/// Why an object cannot be used.
#[derive(Debug)]
pub(super) struct Refusal {
    key: Key,
    findings: Vec<Finding>,
    /// What of a network policy can be understood.
    pub(super) rest: Option<Object>,
}

impl Refusal {
    /// With what follows. `is_denied`: it is a network policy, and there is no
    /// good version of it.
    pub(super) fn diagnostics(&self, is_denied: bool) -> Vec<Diagnostic> {
        let consequence = match is_denied {
            true => DENIED,
            false => "its last good version stays in force",
        };
        let at = |finding: &Finding| {
            let mut said = finding.at(&self.key, None);
            said.message.push_str(&format!("; {consequence}"));
            said
        };
        self.findings.iter().map(at).collect()
    }
}

/// Decodes and checks an object; without what nobody reads.
pub(super) fn decode(kind: Kind, text: &str) -> Result<Object, Refusal> {
    let (mut object, broken) = match decode_text(kind, text) {
        Ok(object) => (Some(object), None),
        Err(broken) => (broken.rest.clone(), Some(broken)),
    };
    let finding = |error: &DecodeError| Finding {
        expected: error.expected.clone(),
        ..Finding::error(&error.path, &error.message)
    };
    let errors = broken.iter().flat_map(|broken| &broken.errors);
    let mut findings: Vec<Finding> = errors.map(finding).collect();
    if let Some(object) = &mut object {
        findings.extend(validate::refusals(object));
        strip(object);
    }
    match (object, broken) {
        (Some(object), None) if findings.is_empty() => Ok(object),
        (object, broken) => {
            let key = object.as_ref().map(Object::key).unwrap_or_else(|| key_in(kind, text));
            let rest = match broken {
                Some(broken) => rest_of(kind, broken),
                None => object.filter(|_| kind.is_network_policy()),
            };
            Err(Refusal { key, findings, rest })
        }
    }
}

fn key_in(kind: Kind, text: &str) -> Key {
    match serde_json::from_str::<Raw>(text) {
        Ok(raw) => Key::of(kind, &raw.metadata),
        Err(_) => Key::of(kind, &Default::default()),
    }
}

/// Drops what is large and not read.
fn strip(object: &mut Object) {
    object.metadata_mut().managed_fields = None;
    match object {
        Object::Node(node) => {
            if let Some(status) = &mut node.status {
                status.images = None;
            }
        }
        Object::ClusterNetworkPolicy(policy) => policy.status = None,
        Object::Pod(pod) => {
            if let Some(spec) = &mut pod.spec {
                spec.volumes = None;
                for container in
                    spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten())
                {
                    container.env = None;
                    container.volume_mounts = None;
                    container.command = None;
                    container.args = None;
                }
            }
        }
        _ => {}
    }
}
