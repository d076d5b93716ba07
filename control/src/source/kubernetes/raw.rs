use crate::object::Kind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ApiResource, GroupVersion};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// An object as it came, of which only the identity has been looked at: one that
/// cannot be decoded must not stall the others.
#[derive(Clone)]
pub struct Raw {
    /// Name, namespace, UID and resource version; nothing else.
    pub metadata: ObjectMeta,
    /// The object's JSON.
    pub text: Box<RawValue>,
}

/// Without the text: that of a Secret is not for logs.
impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ObjectMeta { namespace, name, .. } = &self.metadata;
        let mut shown = f.debug_struct("Raw");
        shown.field("namespace", namespace).field("name", name).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Identified {
    metadata: Identity,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let Identified { metadata } =
            serde_json::from_str(text.get()).map_err(serde::de::Error::custom)?;
        let Identity { name, namespace, uid, resource_version } = metadata;
        let metadata =
            ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() };
        Ok(Raw { metadata, text })
    }
}

impl Resource for Raw {
    type DynamicType = ApiResource;
    type Scope = kube::core::DynamicResourceScope;

    fn kind(of: &ApiResource) -> Cow<'_, str> {
        of.kind.as_str().into()
    }

    fn group(of: &ApiResource) -> Cow<'_, str> {
        of.group.as_str().into()
    }

    fn version(of: &ApiResource) -> Cow<'_, str> {
        of.version.as_str().into()
    }

    fn api_version(of: &ApiResource) -> Cow<'_, str> {
        of.api_version.as_str().into()
    }

    fn plural(of: &ApiResource) -> Cow<'_, str> {
        of.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Where the API has the objects of a kind, or may have them: by its `attempt`th API version,
/// and then by the first one again.
pub fn resource(kind: Kind, attempt: usize) -> ApiResource {
    let versions = kind.api_versions();
    let version = versions[attempt % versions.len()];
    let version: GroupVersion = match version.parse() {
        Ok(version) => version,
        Err(_) => GroupVersion::gv("", version),
    };
    ApiResource::from_gvk(&version.with_kind(kind.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::{ObjectList, WatchEvent};

    #[test]
    fn an_object_of_any_content_is_identified() {
        let event = r#"{"type":"ADDED","object":{"apiVersion":"v1","kind":"Service",
            "metadata":{"name":"a","namespace":"b","uid":"u","resourceVersion":"7","labels":{"x":1}},
            "spec":5}}"#;
        let WatchEvent::Added(raw) = serde_json::from_str::<WatchEvent<Raw>>(event).unwrap() else {
            panic!("another event")
        };
        assert_eq!(raw.metadata.resource_version.as_deref(), Some("7"));
        assert!(raw.text.get().contains(r#""spec":5"#));
        let list = r#"{"apiVersion":"v1","kind":"ServiceList","metadata":{"resourceVersion":"9"},
            "items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"},"spec":[]}]}"#;
        let list: ObjectList<Raw> = serde_json::from_str(list).unwrap();
        assert_eq!(list.items.len(), 2);
    }

    #[test]
    fn kinds_are_found_in_the_api() {
        let of = |kind| (resource(kind, 0).api_version, resource(kind, 0).plural);
        assert_eq!(of(Kind::Pod), ("v1".into(), "pods".into()));
        let slices = ("discovery.k8s.io/v1".into(), "endpointslices".into());
        assert_eq!(of(Kind::EndpointSlice), slices);
        let policies = ("networking.k8s.io/v1".into(), "networkpolicies".into());
        assert_eq!(of(Kind::NetworkPolicy), policies);
        let plurals = [Kind::Ingress, Kind::IngressClass, Kind::Secret].map(|kind| of(kind).1);
        assert_eq!(plurals, ["ingresses", "ingressclasses", "secrets"]);
        let blocks = ("crd.projectcalico.org/v1".into(), "ipamblocks".into());
        assert_eq!(of(Kind::IpamBlock), blocks);
        let of_cluster = [0, 1].map(|attempt| resource(Kind::ClusterNetworkPolicy, attempt));
        let [first, second] = of_cluster.map(|one| (one.api_version, one.plural));
        let plural = "clusternetworkpolicies".to_owned();
        assert_eq!(first, ("policy.networking.k8s.io/v1beta1".into(), plural.clone()));
        assert_eq!(second, ("policy.networking.k8s.io/v1alpha2".into(), plural));
        let again = [1, 2].map(|attempt| resource(Kind::IpPool, attempt).api_version);
        assert_eq!(again, ["projectcalico.org/v3", "crd.projectcalico.org/v1"]);
    }
}
