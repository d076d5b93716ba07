//! What may be written back of a kind of objects.

use super::desired::Desired;
use super::facts::{Facts, is_older};
use crate::object::Kind;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Service;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Debug;
use std::sync::Arc;

/// What the status of an object should say.
pub trait Statement: Clone + Send + Unpin + 'static {
    /// The object.
    type Object: k8s_openapi::Resource<Scope = NamespaceResourceScope>
        + k8s_openapi::Metadata<Ty = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static;
    /// What an object is and says.
    type Facts: Identified<Self::Object>;
    /// Its kind.
    const KIND: Kind;

    /// Whether an object says so already; `None`: it is no matter.
    fn is_said_by(&self, facts: Option<&Self::Facts>) -> bool;

    /// The object to apply to the status subresource: it says all that Sluice has to say, so
    /// that what it has said before and does not say now goes. Refused if the object is not
    /// the one that was looked at.
    fn to_apply(&self, namespace: &str, name: &str, facts: &Self::Facts) -> Value;
}

/// What an object is and says.
pub trait Identified<Object>: Clone + Send + 'static {
    /// `None` if the object is no matter.
    fn of(object: &Object) -> Option<Self>;

    /// `metadata.uid`.
    fn uid(&self) -> &Arc<str>;

    /// `metadata.resourceVersion`.
    fn resource_version(&self) -> &Arc<str>;

    /// Whether it is older than `other`, as far as can be told.
    fn is_older_than(&self, other: &Self) -> bool {
        is_older(self.resource_version(), other.resource_version())
    }
}

impl Statement for Desired {
    type Object = Service;
    type Facts = Facts;
    const KIND: Kind = Kind::Service;

    fn is_said_by(&self, facts: Option<&Facts>) -> bool {
        Desired::is_said_by(self, facts)
    }

    fn to_apply(&self, namespace: &str, name: &str, facts: &Facts) -> Value {
        Desired::to_apply(self, namespace, name, facts)
    }
}

impl Identified<Service> for Facts {
    fn of(service: &Service) -> Option<Self> {
        Facts::of(service)
    }

    fn uid(&self) -> &Arc<str> {
        &self.uid
    }

    fn resource_version(&self) -> &Arc<str> {
        &self.resource_version
    }
}
