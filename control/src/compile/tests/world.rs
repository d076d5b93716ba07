//! A cluster made by hand, and its compiler.

use super::*;
use crate::cluster::{Cluster, Policy};
use crate::object::Kind;
use serde_json::{Value, json};

pub(super) fn config() -> Config {
    let text = include_str!("../../../tests/control/config.yaml");
    sluice_config::parse("config.yaml", text).unwrap().config
}

pub(super) fn facts() -> [PortFacts; 2] {
    [0, 1].map(|i| PortFacts { mac: [2, 0, 0, 0, 0, i], mtu: 1500 })
}

pub(super) struct World {
    pub(super) cluster: Cluster,
    pub(super) compiler: Compiler,
    pub(super) now: Duration,
    pub(super) live: u64,
}

impl Default for World {
    fn default() -> Self {
        let mut cluster = Cluster::default();
        cluster.set_policy(Policy::of(&config().services));
        World {
            cluster,
            compiler: Compiler::new(&config(), &facts(), 0).unwrap(),
            now: Duration::ZERO,
            live: 0,
        }
    }
}

impl World {
    /// One with other sections of the configuration, an overlay's and the pool's.
    pub(super) fn of(overlay: &str, snat: &str) -> Self {
        let text = include_str!("../../../tests/control/config.yaml");
        let (before, rest) = text.split_once("overlay:").unwrap();
        let (_, rest) = rest.split_once("routes:").unwrap();
        let (routes, rest) = rest.split_once("snat:").unwrap();
        let (_, rest) = rest.split_once("cluster:").unwrap();
        let text = format!("{before}{overlay}\nroutes:{routes}{snat}\ncluster:{rest}");
        let config = sluice_config::parse("config.yaml", &text).unwrap().config;
        let mut world = World::default();
        world.cluster.set_overlay(config.overlay_mode());
        world.compiler = Compiler::new(&config, &facts(), 0).unwrap();
        world
    }

    pub(super) fn compile(&mut self) -> Option<Arc<Tables>> {
        let changes = self.cluster.take_changes();
        self.compiler.compile(&self.cluster, &changes, self.now, self.live)
    }

    pub(super) fn apply(&mut self, kind: Kind, object: Value) {
        let object = crate::object::decode(kind, &object).unwrap();
        self.cluster.apply(&object, None);
    }

    pub(super) fn service(&mut self, name: &str, vips: &[String], ports: &[u16]) {
        let ports: Vec<_> =
            ports.iter().map(|port| json!({"name": format!("p{port}"), "port": port})).collect();
        let ingress: Vec<_> = vips[1..].iter().map(|ip| json!({"ip": ip})).collect();
        let object = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"type": "LoadBalancer", "clusterIP": vips[0], "ports": ports},
            "status": {"loadBalancer": {"ingress": ingress}},
        });
        self.apply(Kind::Service, object);
    }

    /// Endpoints of port 80: addresses, and `ready`, `draining` or `not`.
    pub(super) fn slice(&mut self, service: &str, endpoints: &[(String, &str)]) {
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|(addr, state)| {
                let (ready, draining) = (*state == "ready", *state == "draining");
                json!({
                    "addresses": [addr],
                    "conditions": {"ready": ready, "serving": draining, "terminating": draining},
                })
            })
            .collect();
        let object = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4", "ports": [{"name": "p80", "port": 8080}],
            "endpoints": endpoints,
        });
        self.apply(Kind::EndpointSlice, object);
    }

    /// Applies a Service again with a label that nobody uses.
    pub(super) fn label(&mut self, name: &str) {
        let object = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "labels": {"x": "y"}},
            "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.1",
                     "ports": [{"name": "p80", "port": 80}]},
        });
        self.apply(Kind::Service, object);
    }

    pub(super) fn node(&mut self, name: &str, last: u8, cidr: &str) {
        let object = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name,
                         "annotations": {"sluice.dev/vtep-mac": format!("0a:00:00:00:00:{last:02x}")}},
            "spec": {"podCIDRs": [cidr]},
            "status": {"addresses": [{"type": "InternalIP", "address": format!("10.10.0.{last}")}]},
        });
        self.apply(Kind::Node, object);
    }

    pub(super) fn delete_service(&mut self, name: &str) {
        self.cluster.delete(&Name::new("default", name).key(Kind::Service));
    }

    pub(super) fn backend(&self, service: &str, port: u16, addr: [u8; 4]) -> BackendId {
        let programmed = self.compiler.programmed(&Name::new("default", service)).unwrap();
        programmed.ports[&(port, Protocol::Tcp)].v4.members[&(addr, 8080)].id
    }
}
