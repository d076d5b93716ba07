use crate::site::{self, Family, SERVICE_PORT, TARGET_PORT, Who};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use sluice_control::object::{Kind, Object, decode};

/// The namespace of everything.
pub const NAMESPACE: &str = "scale";

/// Pods of a node are numbered from here; those before are the node's own.
const FIRST_POD: u32 = 2;
/// Pods that replace others: far above all that there are.
const SPARE_POD: u32 = 3000;

/// How large a cluster is. Every Service has both families and one port; its
/// endpoints are spread over the nodes.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Services.
    pub services: u32,
    /// Endpoints of each, each with an address of both families.
    pub endpoints: u32,
    /// Nodes.
    pub nodes: u32,
}

/// What an endpoint's slice says of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It takes connections.
    #[default]
    Ready,
    /// It takes none for now.
    NotReady,
    /// Another pod has taken its place.
    Replaced,
}

impl Size {
    /// 10,000 Services of 10 endpoints on 100 nodes.
    pub const LARGE: Size = Size { services: 10_000, endpoints: 10, nodes: 100 };

    /// A node; `is_other`: its tunnel's MAC is another one, as after a reboot.
    ///
    /// # Errors
    /// When it cannot be decoded.
    pub fn node(&self, node: u32, is_other: bool) -> Result<Object> {
        let mut mac = site::vtep_mac(node);
        mac[1] ^= u8::from(is_other);
        let mac = site::mac_text(mac);
        let addr = |family: Family| Who::Node(node).addr(family).to_string();
        let cidr = |family: Family| {
            let pods = Who::Pod(node, 0);
            format!("{}/{}", pods.addr(family), pods.prefix_len(family))
        };
        of(
            Kind::Node,
            &json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": {
                    "name": node_name(node),
                    "labels": {"topology.kubernetes.io/zone": zone_name(node)},
                    "annotations": {"sluice.dev/vtep-mac": mac},
                },
                "spec": {"podCIDRs": [cidr(Family::V4), cidr(Family::V6)]},
                "status": {"addresses": [
                    {"type": "InternalIP", "address": addr(Family::V4)},
                    {"type": "InternalIP", "address": addr(Family::V6)},
                ]},
            }),
        )
    }

    /// A Service.
    ///
    /// # Errors
    /// When it cannot be decoded.
    pub fn service(&self, service: u32) -> Result<Object> {
        let vip = |family: Family| Who::Vip(service).addr(family).to_string();
        let vips = [vip(Family::V4), vip(Family::V6)];
        of(
            Kind::Service,
            &json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": service_name(service), "namespace": NAMESPACE},
                "spec": {
                    "clusterIP": vips[0], "clusterIPs": vips,
                    "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack",
                    "selector": {"app": service_name(service)},
                    "ports": [{"name": "dns", "port": SERVICE_PORT, "protocol": "UDP",
                               "targetPort": TARGET_PORT}],
                },
            }),
        )
    }

    /// The EndpointSlice of one family of a Service; `changed` is one of its
    /// endpoints, and how it is.
    ///
    /// # Errors
    /// When it cannot be decoded.
    pub fn slice(&self, service: u32, family: Family, changed: (u32, State)) -> Result<Object> {
        let endpoints: Vec<_> = (0..self.endpoints)
            .map(|number| {
                let state = if number == changed.0 { changed.1 } else { State::Ready };
                self.endpoint(service, number, family, state)
            })
            .collect();
        let address_type = match family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        of(
            Kind::EndpointSlice,
            &json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "name": format!("{}-{}", service_name(service), family.label()),
                    "namespace": NAMESPACE,
                    "labels": {"kubernetes.io/service-name": service_name(service)},
                },
                "addressType": address_type,
                "ports": [{"name": "dns", "port": TARGET_PORT, "protocol": "UDP"}],
                "endpoints": endpoints,
            }),
        )
    }

    /// The slice after change `number` of many: an endpoint stops to be ready,
    /// or another pod takes its place, and the next change undoes that. One
    /// Service follows the other, in an order in which neighbors are far apart.
    ///
    /// # Errors
    /// As [`Size::slice`].
    pub fn change(&self, number: u32) -> Result<Object> {
        let pair = number / 2;
        let service = pair.wrapping_mul(7919) % self.services;
        let family = if pair.is_multiple_of(2) { Family::V4 } else { Family::V6 };
        let state = match number % 4 {
            0 => State::NotReady,
            2 => State::Replaced,
            _ => State::Ready,
        };
        self.slice(service, family, (pair % self.endpoints, state))
    }

    /// The node and the pod's number on it of an endpoint. The same endpoints
    /// as [`crate::cluster::Cluster::backend`].
    pub fn place(&self, service: u32, endpoint: u32) -> (u32, u32) {
        let number = service * self.endpoints + endpoint;
        (number % self.nodes, FIRST_POD + number / self.nodes)
    }

    fn endpoint(&self, service: u32, endpoint: u32, family: Family, state: State) -> Value {
        let (node, mut pod) = self.place(service, endpoint);
        if state == State::Replaced {
            pod = SPARE_POD + pod % 1000;
        }
        let is_ready = state != State::NotReady;
        json!({
            "addresses": [Who::Pod(node, pod).addr(family).to_string()],
            "conditions": {"ready": is_ready, "serving": is_ready, "terminating": false},
            "nodeName": node_name(node),
            "zone": zone_name(node),
            "targetRef": {"kind": "Pod", "namespace": NAMESPACE,
                          "name": format!("{}-{node}-{pod}", service_name(service))},
        })
    }

    /// The pod of an endpoint.
    ///
    /// # Errors
    /// When it cannot be decoded.
    pub fn pod(&self, service: u32, endpoint: u32, is_ready: bool) -> Result<Object> {
        let (node, pod) = self.place(service, endpoint);
        let name = format!("{}-{node}-{pod}", service_name(service));
        let addr = |family: Family| Who::Pod(node, pod).addr(family).to_string();
        let addresses = [addr(Family::V4), addr(Family::V6)];
        self.pod_at(&name, &service_name(service), node, &addresses, is_ready)
    }

    /// A pod that no Service selects, outside of its node's ranges.
    ///
    /// # Errors
    /// When it cannot be decoded.
    pub fn stray(&self, number: u32, is_ready: bool) -> Result<Object> {
        let [high, low] = (number as u16).to_be_bytes();
        let addresses =
            [format!("10.100.{high}.{low}"), format!("2001:db8:f000:{number:x}::{number:x}")];
        self.pod_at(&format!("stray-{number}"), "none", number % self.nodes, &addresses, is_ready)
    }

    fn pod_at(
        &self,
        name: &str,
        app: &str,
        node: u32,
        addresses: &[String; 2],
        is_ready: bool,
    ) -> Result<Object> {
        let ready = if is_ready { "True" } else { "False" };
        of(
            Kind::Pod,
            &json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": NAMESPACE,
                             "labels": {"app": app, "pod-template-hash": app}},
                "spec": {"nodeName": node_name(node), "containers": [{"name": "main"}]},
                "status": {
                    "phase": "Running",
                    "podIP": addresses[0],
                    "podIPs": [{"ip": addresses[0]}, {"ip": addresses[1]}],
                    "conditions": [{"type": "Ready", "status": ready}],
                },
            }),
        )
    }

    /// Everything, one object after the other.
    pub fn objects(&self) -> impl Iterator<Item = Result<Object>> + use<> {
        let size = *self;
        let nodes = (0..size.nodes).map(move |node| size.node(node, false));
        let services = (0..size.services).flat_map(move |service| {
            let none = (u32::MAX, State::Ready);
            [
                size.service(service),
                size.slice(service, Family::V4, none),
                size.slice(service, Family::V6, none),
            ]
        });
        nodes.chain(services)
    }
}

fn node_name(node: u32) -> String {
    format!("node-{node}")
}

fn zone_name(node: u32) -> String {
    format!("zone-{}", node % 3)
}

/// The name of a Service.
pub fn service_name(service: u32) -> String {
    format!("service-{service:05}")
}

pub(super) fn of(kind: Kind, value: &Value) -> Result<Object> {
    decode(kind, value).map_err(|error| anyhow::anyhow!("{error:?}")).context("decode")
}
