use crate::lab::{Family, Lab};

/// The namespaces of a cast, and a label of each.
const NAMESPACES: [(&str, &str); 3] =
    [("shop", "team: shop"), ("other", "team: other"), ("monitoring", "purpose: system")];

/// Hosts outside: all are the lab's client, by addresses of their own.
const HOSTS: [(&str, u8); 3] = [("client", 10), ("partner", 20), ("stranger", 30)];

/// One pod of a story.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The pod of the lab that plays it: `pod1a`.
    pub player: &'static str,
    /// What it is in the story: `namespace/name`; its label `app` is its name.
    pub name: &'static str,
}

/// All pods of a story. Each has a Service by its name, with the ports 80/TCP (the
/// pod's `http`, 8080), 5201/TCP, 7000/TCP and 53/UDP (the pod's 9053).
#[derive(Clone, Debug)]
pub struct Cast(Vec<Part>);

impl Cast {
    /// Players and what they are.
    pub fn of(parts: &[(&'static str, &'static str)]) -> Cast {
        Cast(parts.iter().map(|&(player, name)| Part { player, name }).collect())
    }

    /// Writes what the gateway reads of them, and gives the hosts outside their
    /// addresses.
    pub fn write(&self, lab: &Lab) {
        for (namespace, label) in NAMESPACES {
            let text = self::namespace(namespace, label);
            lab.write_manifest(&format!("namespace-{namespace}.yaml"), &text);
        }
        for (index, part) in self.0.iter().enumerate() {
            // In place of what the lab says of the pod.
            let file = format!("pod-{}.yaml", part.player);
            lab.write_manifest(&file, &manifest(index, part));
        }
        for (_, last) in &HOSTS[1..] {
            let [v4, v6] = ["192.0.2.", "2001:db8:1::"].map(|net| format!("{net}{last}"));
            lab.ok("client", &["ip", "addr", "add", &format!("{v4}/24"), "dev", "eth0"]);
            lab.ok("client", &["ip", "addr", "add", &format!("{v6}/64"), "dev", "eth0", "nodad"]);
        }
    }

    fn find(&self, name: &str) -> Option<(usize, &Part)> {
        self.0.iter().enumerate().find(|(_, part)| part.name == name)
    }

    /// The pod that plays a part; `outside` for hosts.
    pub fn player(&self, name: &str) -> &'static str {
        self.find(name).map_or("outside", |(_, part)| part.player)
    }

    /// Where commands of a pod or a host run.
    pub fn room(&self, name: &str) -> &'static str {
        self.find(name).map_or("client", |(_, part)| part.player)
    }

    /// The own address of a pod or a host.
    pub fn address(&self, family: &Family, name: &str) -> String {
        if let Some((_, part)) = self.find(name) {
            let [v4, v6] = addresses(part.player);
            return if family.name == "IPv4" { v4 } else { v6 };
        }
        let host = HOSTS.iter().find(|(host, _)| *host == name);
        let (_, last) = host.unwrap_or_else(|| panic!("nobody is called {name}"));
        if family.name == "IPv4" {
            format!("192.0.2.{last}")
        } else {
            format!("2001:db8:1::{last}")
        }
    }

    /// Where somebody asks for a pod or a host: at its Service's address, from
    /// outside that of the load balancer. `pod:NAME` is the pod's own address.
    pub fn target(&self, family: &Family, from: &str, to: &str) -> String {
        if let Some(pod) = to.strip_prefix("pod:") {
            return self.address(family, pod);
        }
        let Some((index, _)) = self.find(to) else { return self.address(family, to) };
        let net = match (family.name, self.find(from).is_some()) {
            ("IPv4", true) => "10.96.0.",
            ("IPv4", false) => "203.0.113.",
            (_, true) => "fd00:10:96::",
            (_, false) => "2001:db8:f00::",
        };
        format!("{net}{}", last(index))
    }
}

/// The last part of the addresses of a Service.
fn last(index: usize) -> usize {
    51 + index
}

/// Both addresses of a pod of the lab.
fn addresses(player: &str) -> [String; 2] {
    let [.., node, letter] = player.as_bytes() else { panic!("{player} is no pod") };
    let (node, last) = (node - b'0', 10 + (letter - b'a'));
    [format!("10.244.{node}.{last}"), format!("fd00:10:244:{node}::{last}")]
}

/// The manifest of a Namespace.
pub fn namespace(name: &str, label: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{label}}}}}\n")
}

fn manifest(index: usize, part: &Part) -> String {
    let (namespace, name) = part.name.split_once('/').expect("NAMESPACE/NAME");
    let node = &part.player[3..4];
    let [v4, v6] = addresses(part.player);
    let last = last(index);
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}
spec:
  nodeName: node{node}
  containers:
    - name: server
      image: lab/pod-server
      ports:
        - {{name: http, containerPort: 8080, protocol: TCP}}
        - {{name: echo, containerPort: 9053, protocol: UDP}}
        - {{name: iperf-tcp, containerPort: 5201, protocol: TCP}}
status:
  phase: Running
  podIP: {v4}
  podIPs: [{{ip: {v4}}}, {{ip: '{v6}'}}]
  conditions: [{{type: Ready, status: 'True'}}]
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  type: LoadBalancer
  allocateLoadBalancerNodePorts: false
  ipFamilyPolicy: RequireDualStack
  ipFamilies: [IPv4, IPv6]
  clusterIP: 10.96.0.{last}
  clusterIPs: [10.96.0.{last}, 'fd00:10:96::{last}']
  selector: {{app: {name}}}
  ports:
    - {{name: http, port: 80, protocol: TCP, targetPort: http}}
    - {{name: iperf, port: 5201, protocol: TCP, targetPort: 5201}}
    - {{name: stream, port: 7000, protocol: TCP, targetPort: 7000}}
    - {{name: echo, port: 53, protocol: UDP, targetPort: 9053}}
status:
  loadBalancer:
    ingress: [{{ip: 203.0.113.{last}}}, {{ip: '2001:db8:f00::{last}'}}]
"
    )
}
