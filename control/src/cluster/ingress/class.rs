use super::{ClassName, Ingress};
use crate::cluster::annotations::{annotation, path};
use crate::diagnostic::Finding;
use k8s_openapi::api::networking::v1;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The controller that IngressClasses of this gateway name.
pub const CONTROLLER: &str = "sluice.dev/ingress";

/// Marks the class of Ingresses that name none.
const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";

/// An IngressClass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressClass {
    /// When it was made, in seconds since 1970.
    pub created: Option<i64>,
    /// Its Ingresses are this gateway's.
    pub is_ours: bool,
    /// Ingresses that name no class are of this one.
    pub is_default: bool,
}

impl IngressClass {
    /// Reduces a class; what is left out becomes a finding.
    pub fn reduce(class: &v1::IngressClass, findings: &mut Vec<Finding>) -> Self {
        let metadata = &class.metadata;
        let spec = class.spec.as_ref();
        let is_ours = spec.and_then(|spec| spec.controller.as_deref()) == Some(CONTROLLER);
        if is_ours && spec.is_some_and(|spec| spec.parameters.is_some()) {
            let message = "parameters are not supported; they are ignored";
            let finding = Finding::warning("spec.parameters", message);
            findings.push(finding.expected("a class without parameters"));
        }
        let default = annotation(metadata, IS_DEFAULT);
        if let Some(text) = default.filter(|text| is_ours && !matches!(*text, "true" | "false")) {
            let message = format!("{text:?} is neither; it is ignored");
            let finding = Finding::error(path(IS_DEFAULT), message);
            findings.push(finding.expected("\"true\" or \"false\""));
        }
        IngressClass {
            created: metadata.creation_timestamp.as_ref().map(|time| time.0.as_second()),
            is_ours,
            is_default: default == Some("true"),
        }
    }
}

/// The classes of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classes(BTreeMap<Arc<str>, IngressClass>);

impl Classes {
    /// Sets or removes a class; true if it was another one before.
    pub fn set(&mut self, name: &Arc<str>, class: Option<IngressClass>) -> bool {
        if self.0.get(name) == class.as_ref() {
            return false;
        }
        match class {
            Some(class) => drop(self.0.insert(name.clone(), class)),
            None => drop(self.0.remove(name)),
        }
        true
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of this gateway.
    pub fn ours(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().filter(|(_, class)| class.is_ours).map(|(name, _)| name)
    }

    /// The class of Ingresses that name none: of several the newest, then the first by
    /// name, as the API server chooses (`plugin/pkg/admission/network/defaultingressclass`).
    pub fn default_class(&self) -> Option<(&Arc<str>, &IngressClass)> {
        let defaults = self.0.iter().filter(|(_, class)| class.is_default);
        defaults.min_by_key(|(name, class)| (Reverse(class.created), *name))
    }

    /// Whether an Ingress is this gateway's. That it names a class which there is not
    /// becomes a finding.
    pub fn is_ours(&self, ingress: &Ingress, findings: &mut Vec<Finding>) -> bool {
        match &ingress.class {
            Some(ClassName::Field(name)) => match self.0.get(name) {
                Some(class) => class.is_ours,
                None => {
                    let message = format!("there is no IngressClass {name:?}; nobody serves it");
                    let finding = Finding::warning("spec.ingressClassName", message);
                    findings.push(finding.expected("the name of an IngressClass"));
                    false
                }
            },
            // It may name the class of a controller that has no object for it.
            Some(ClassName::Annotation(name)) => {
                self.0.get(name).is_some_and(|class| class.is_ours)
            }
            None => self.default_class().is_some_and(|(_, class)| class.is_ours),
        }
    }

    /// That classes of ours are marked as the default, and another one is it.
    pub fn findings(&self) -> impl Iterator<Item = (&Arc<str>, Finding)> {
        let default = self.default_class().map(|(name, _)| name);
        let marked = self.0.iter().filter(|(_, class)| class.is_default && class.is_ours);
        let others = marked.filter(move |(name, _)| Some(*name) != default);
        others.filter_map(move |(name, _)| {
            let message = format!("{} is the default class, which is newer", default?);
            let finding = Finding::warning(path(IS_DEFAULT), message);
            Some((name, finding.expected("one default class")))
        })
    }
}
