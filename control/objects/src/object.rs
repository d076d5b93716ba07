use crate::calico::{IpPool, IpamBlock};
use crate::cluster_network_policy::ClusterNetworkPolicy;
use crate::places::Places;
use crate::secret::Secret;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass, NetworkPolicy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::fmt;
use std::sync::Arc;

/// The kinds of objects that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `v1` Namespace.
    Namespace,
    /// `v1` Node.
    Node,
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice,
    /// `v1` Pod.
    Pod,
    /// Calico's IPAMBlock.
    IpamBlock,
    /// Calico's IPPool.
    IpPool,
    /// `networking.k8s.io/v1` NetworkPolicy.
    NetworkPolicy,
    /// `policy.networking.k8s.io` ClusterNetworkPolicy.
    ClusterNetworkPolicy,
    /// `networking.k8s.io/v1` IngressClass.
    IngressClass,
    /// `networking.k8s.io/v1` Ingress.
    Ingress,
    /// `v1` Secret of type `kubernetes.io/tls`.
    Secret,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 12] = [
        Kind::Namespace,
        Kind::Node,
        Kind::Service,
        Kind::EndpointSlice,
        Kind::Pod,
        Kind::IpamBlock,
        Kind::IpPool,
        Kind::NetworkPolicy,
        Kind::ClusterNetworkPolicy,
        Kind::IngressClass,
        Kind::Ingress,
        Kind::Secret,
    ];

    /// Whether it is Calico's: a cluster without Calico does not have it.
    pub fn is_calico(self) -> bool {
        matches!(self, Kind::IpamBlock | Kind::IpPool)
    }

    /// Whether it is read for the sake of Ingresses alone.
    pub fn is_of_ingresses(self) -> bool {
        matches!(self, Kind::IngressClass | Kind::Ingress | Kind::Secret)
    }

    /// Whether a cluster may lack it, and is whole without it.
    pub fn is_optional(self) -> bool {
        self == Kind::ClusterNetworkPolicy
    }

    /// Whether it is one of network policies: where one cannot be understood,
    /// more is denied, not less.
    pub fn is_network_policy(self) -> bool {
        matches!(self, Kind::NetworkPolicy | Kind::ClusterNetworkPolicy)
    }

    /// The name as in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Namespace => "Namespace",
            Kind::Node => "Node",
            Kind::Service => "Service",
            Kind::EndpointSlice => "EndpointSlice",
            Kind::Pod => "Pod",
            Kind::IpamBlock => "IPAMBlock",
            Kind::IpPool => "IPPool",
            Kind::NetworkPolicy => "NetworkPolicy",
            Kind::ClusterNetworkPolicy => "ClusterNetworkPolicy",
            Kind::IngressClass => "IngressClass",
            Kind::Ingress => "Ingress",
            Kind::Secret => "Secret",
        }
    }

    /// The `apiVersion` that is understood.
    pub fn api_version(self) -> &'static str {
        self.api_versions()[0]
    }

    /// All values of `apiVersion` that are understood, the most usual one first.
    pub fn api_versions(self) -> &'static [&'static str] {
        match self {
            Kind::EndpointSlice => &["discovery.k8s.io/v1"],
            Kind::IpamBlock | Kind::IpPool => &["crd.projectcalico.org/v1", "projectcalico.org/v3"],
            Kind::NetworkPolicy | Kind::IngressClass | Kind::Ingress => &["networking.k8s.io/v1"],
            Kind::ClusterNetworkPolicy => {
                &["policy.networking.k8s.io/v1beta1", "policy.networking.k8s.io/v1alpha2"]
            }
            _ => &["v1"],
        }
    }

    /// Whether an `apiVersion` is of its group, whatever the version. Kinds of the
    /// same name in other groups are other kinds, such as `serving.knative.dev/v1`
    /// Service; what has no group is meant to be of this one.
    pub fn is_of_group(self, version: &str) -> bool {
        fn group(version: &str) -> &str {
            version.split_once('/').map_or("", |(group, _)| group)
        }
        let mut known = self.api_versions().iter().map(|known| group(known));
        !version.contains('.') || known.any(|known| known == group(version))
    }

    /// Whether its objects live in a namespace.
    pub fn is_namespaced(self) -> bool {
        use Kind::{ClusterNetworkPolicy, IngressClass, Namespace, Node};
        !matches!(self, Namespace | Node | ClusterNetworkPolicy | IngressClass) && !self.is_calico()
    }
}

/// The name of a namespaced object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its own name.
    pub name: Arc<str>,
}

impl Name {
    /// Makes a name of its two parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Name { namespace: namespace.into(), name: name.into() }
    }

    /// The key of the object of this name.
    pub fn key(&self, kind: Kind) -> Key {
        Key { kind, namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What identifies an object. The namespace is empty where the kind has none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, or nothing.
    pub namespace: Arc<str>,
    /// Its own name.
    pub name: Arc<str>,
}

impl Key {
    /// The key of an object with this metadata. Without a namespace, an object
    /// of a namespaced kind is in `default`, as with `kubectl apply`.
    pub fn of(kind: Kind, metadata: &ObjectMeta) -> Key {
        let namespace = match metadata.namespace.as_deref() {
            _ if !kind.is_namespaced() => "",
            None | Some("") => "default",
            Some(namespace) => namespace,
        };
        let name = metadata.name.as_deref().unwrap_or_default();
        Key { kind, namespace: namespace.into(), name: name.into() }
    }

    /// Reads what [`Key`] prints.
    pub fn parse(text: &str) -> Option<Key> {
        let (kind, name) = text.split_once(' ')?;
        let kind = Kind::ALL.into_iter().find(|one| one.as_str() == kind)?;
        let (namespace, name) = match kind.is_namespaced() {
            true => name.split_once('/')?,
            false => ("", name),
        };
        Some(Key { kind, namespace: namespace.into(), name: name.into() })
    }

    /// The name without the kind.
    pub fn to_name(&self) -> Name {
        Name { namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind.as_str())?;
        if self.kind.is_namespaced() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// An object of one of the kinds that are read.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A Namespace.
    Namespace(Box<Namespace>),
    /// A Node.
    Node(Box<Node>),
    /// A Service.
    Service(Box<Service>),
    /// An EndpointSlice.
    EndpointSlice(Box<EndpointSlice>),
    /// A Pod.
    Pod(Box<Pod>),
    /// A block of Calico's.
    IpamBlock(Box<IpamBlock>),
    /// A pool of Calico's.
    IpPool(Box<IpPool>),
    /// A NetworkPolicy.
    NetworkPolicy(Box<NetworkPolicy>),
    /// A ClusterNetworkPolicy.
    ClusterNetworkPolicy(Box<ClusterNetworkPolicy>),
    /// An IngressClass.
    IngressClass(Box<IngressClass>),
    /// An Ingress.
    Ingress(Box<Ingress>),
    /// A Secret.
    Secret(Box<Secret>),
}

impl Object {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Object::Namespace(_) => Kind::Namespace,
            Object::Node(_) => Kind::Node,
            Object::Service(_) => Kind::Service,
            Object::EndpointSlice(_) => Kind::EndpointSlice,
            Object::Pod(_) => Kind::Pod,
            Object::IpamBlock(_) => Kind::IpamBlock,
            Object::IpPool(_) => Kind::IpPool,
            Object::NetworkPolicy(_) => Kind::NetworkPolicy,
            Object::ClusterNetworkPolicy(_) => Kind::ClusterNetworkPolicy,
            Object::IngressClass(_) => Kind::IngressClass,
            Object::Ingress(_) => Kind::Ingress,
            Object::Secret(_) => Kind::Secret,
        }
    }

    /// Its metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Object::Namespace(object) => &object.metadata,
            Object::Node(object) => &object.metadata,
            Object::Service(object) => &object.metadata,
            Object::EndpointSlice(object) => &object.metadata,
            Object::Pod(object) => &object.metadata,
            Object::IpamBlock(object) => &object.metadata,
            Object::IpPool(object) => &object.metadata,
            Object::NetworkPolicy(object) => &object.metadata,
            Object::ClusterNetworkPolicy(object) => &object.metadata,
            Object::IngressClass(object) => &object.metadata,
            Object::Ingress(object) => &object.metadata,
            Object::Secret(object) => &object.metadata,
        }
    }

    /// Its metadata, to be changed.
    pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Object::Namespace(object) => &mut object.metadata,
            Object::Node(object) => &mut object.metadata,
            Object::Service(object) => &mut object.metadata,
            Object::EndpointSlice(object) => &mut object.metadata,
            Object::Pod(object) => &mut object.metadata,
            Object::NetworkPolicy(object) => &mut object.metadata,
            Object::ClusterNetworkPolicy(object) => &mut object.metadata,
            Object::IngressClass(object) => &mut object.metadata,
            Object::Ingress(object) => &mut object.metadata,
            Object::Secret(object) => &mut object.metadata,
            Object::IpamBlock(object) => &mut object.metadata,
            Object::IpPool(object) => &mut object.metadata,
        }
    }

    /// What identifies it.
    pub fn key(&self) -> Key {
        Key::of(self.kind(), self.metadata())
    }
}

/// Where an object was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file, relative to the folder of manifests.
    pub file: Arc<str>,
    /// Lines of the file before the object's document.
    pub lines_before: u32,
    /// Places of its values, relative to the document.
    pub places: Arc<Places>,
}

impl Origin {
    /// Line and column, from 1, of a key path or its nearest known parent.
    pub fn locate(&self, path: &str) -> (u32, u32) {
        let place = self.places.locate(path);
        (self.lines_before + place.line, place.column)
    }
}
