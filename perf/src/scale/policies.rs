use super::config::{NO_SOURCE, config, facts};
use super::objects::{Size, of};
use crate::site::{Family, TARGET_PORT, Who};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use sluice_control::cluster::Cluster;
use sluice_control::compile::Compiler;
use sluice_control::object::{Kind, Object};
use sluice_tables::Tables;
use std::sync::Arc;
use std::time::Duration;

/// A cluster of many namespaces with policies. Pods are numbered through, and
/// stand where those of [`crate::cluster::Cluster`] do: on the nodes in turn.
#[derive(Clone, Copy, Debug)]
pub struct Policed {
    /// Namespaces; team `n % 10` has the `n`th.
    pub namespaces: u32,
    /// Pods, which are in the namespaces in turn, with both families' addresses.
    pub pods: u32,
    /// Nodes.
    pub nodes: u32,
    /// Policies: none, one for all pods, or so many that each namespace has its
    /// share.
    pub policies: u32,
}

impl Policed {
    /// 10,000 pods in 1,000 namespaces, with 10,000 policies.
    pub const LARGE: Policed =
        Policed { namespaces: 1000, pods: 10_000, nodes: 100, policies: 10_000 };

    /// All objects.
    ///
    /// # Errors
    /// When one cannot be decoded.
    pub fn objects(self) -> impl Iterator<Item = Result<Object>> {
        let size = Size { nodes: self.nodes, ..Size::LARGE };
        let nodes = (0..self.nodes).map(move |node| size.node(node, false));
        let namespaces = (0..self.namespaces).map(move |n| self.namespace(n, 0));
        // In no order: a list of a cluster's pods has none that its policies had.
        let shuffled = move |n| (u64::from(n) * 2_147_483_647 % u64::from(self.pods)) as u32;
        let pods = (0..self.pods).map(move |n| self.pod(shuffled(n), 0));
        let policies = (0..self.policies).map(move |policy| self.policy(policy, 0));
        nodes.chain(namespaces).chain(policies).chain(pods)
    }

    /// A namespace; with another `turn` it is another team's.
    ///
    /// # Errors
    /// When it cannot be decoded.
    pub fn namespace(&self, n: u32, turn: u32) -> Result<Object> {
        let labels = json!({"team": format!("t{}", (n + turn) % 10)});
        let metadata = json!({"name": format!("n{n}"), "labels": labels});
        of(Kind::Namespace, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))
    }

    /// A pod; with another `turn` it is another application's.
    ///
    /// # Errors
    /// When it cannot be decoded.
    pub fn pod(&self, pod: u32, turn: u32) -> Result<Object> {
        let (node, number) = (pod % self.nodes, 2 + pod / self.nodes);
        let addr = |family| Who::Pod(node, number).addr(family).to_string();
        let in_namespace = pod / self.namespaces + turn;
        let labels = json!({"app": format!("a{}", in_namespace % 10), "pod": format!("p{pod}")});
        let port = json!({"name": "dns", "containerPort": TARGET_PORT, "protocol": "UDP"});
        of(
            Kind::Pod,
            &json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("p{pod}"), "namespace": format!("n{}", pod % self.namespaces),
                             "labels": labels},
                "spec": {"nodeName": format!("node-{node}"),
                         "containers": [{"name": "c", "ports": [port]}]},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                           "podIPs": [{"ip": addr(Family::V4)}, {"ip": addr(Family::V6)}]},
            }),
        )
    }

    /// A policy. With another `turn` it is changed a little.
    ///
    /// # Errors
    /// When it cannot be decoded.
    pub fn policy(&self, policy: u32, turn: u32) -> Result<Object> {
        if self.policies == 1 {
            let everybody = json!({"namespaceSelector": {}, "podSelector": {}});
            let rule = json!({"action": "Accept", "from": [{"pods": everybody}]});
            return of(
                Kind::ClusterNetworkPolicy,
                &json!({
                    "apiVersion": "policy.networking.k8s.io/v1beta1", "kind": "ClusterNetworkPolicy",
                    "metadata": {"name": "all"},
                    "spec": {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}},
                             "ingress": [rule], "egress": [{"action": "Accept", "to": [
                                {"networks": ["0.0.0.0/0"]}, {"networks": ["::/0"]}]}]},
                }),
            );
        }
        let namespace = policy % self.namespaces;
        let (kind, app) =
            (policy / self.namespaces % 10, format!("a{}", policy / self.namespaces % 10));
        let service = json!({"protocol": "UDP", "port": TARGET_PORT});
        let clients = json!([
            {"ipBlock": {"cidr": "100.64.0.0/10", "except": ["100.127.255.0/24"]}},
            {"ipBlock": {"cidr": "2001:db8::/32"}},
        ]);
        let same_app = json!({"podSelector": {"matchLabels": {"app": app}}});
        let team = format!("t{}", (namespace + turn) % 10);
        let of_team = json!({"namespaceSelector": {"matchLabels": {"team": team}}});
        let block = json!({"ipBlock": {"cidr": format!("192.0.{}.0/24", policy % 256)}});
        let some = json!({"matchLabels": {"app": app}});
        let spec: Value = match kind {
            0 => json!({"podSelector": {}, "policyTypes": ["Ingress"],
                        "ingress": [{"from": clients, "ports": [service]}]}),
            1 => json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [
                        {"to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "a3"}}}],
                         "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}]}),
            2 => json!({"podSelector": some, "ingress": [{"from": [same_app, of_team]}]}),
            3 => json!({"podSelector": some, "egress": [{"to": [block],
                        "ports": [{"port": 443}, {"port": 8000, "endPort": 8999}]}]}),
            4 => json!({"podSelector": some, "ingress": [{"from": [{"namespaceSelector": {}}],
                        "ports": [{"protocol": "UDP", "port": "dns"}]}]}),
            5 => {
                json!({"podSelector": some, "ingress": [{"from": [block], "ports": [{"port": 8080 + policy % 512}]}]})
            }
            _ => json!({"podSelector": {"matchExpressions": [
                            {"key": "app", "operator": "In", "values": [app, "a1", "a2"]}]},
                        "ingress": [{"from": [same_app, block], "ports": [{"port": 80}, {"port": 443 + turn}]},
                                    {"from": [{"namespaceSelector": {"matchExpressions": [
                                        {"key": "team", "operator": "NotIn", "values": ["t1", "t2"]}]},
                                      "podSelector": {"matchLabels": {"app": "a5"}}}]}]}),
        };
        of(
            Kind::NetworkPolicy,
            &json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": {"name": format!("p{policy}"), "namespace": format!("n{namespace}")},
                "spec": spec,
            }),
        )
    }

    /// What policies say, compiled.
    ///
    /// # Errors
    /// When an object cannot be decoded.
    pub fn tables(self) -> Result<Arc<Tables>> {
        let (mut cluster, mut compiler) =
            (Cluster::default(), Compiler::new(&config(NO_SOURCE)?, &facts(), 0)?);
        for object in self.objects() {
            cluster.apply(&object?, None);
        }
        let changes = cluster.take_changes();
        let tables = compiler.compile(&cluster, &changes, Duration::ZERO, 0);
        tables.context("nothing was compiled")
    }
}
