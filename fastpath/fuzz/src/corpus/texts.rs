/// Configurations and manifests.
pub(super) fn texts() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: LoadBalancer
  clusterIPs: [10.96.0.10, \"fd96::10\"]
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: http, nodePort: 30080}
  - {name: dns, port: 53, protocol: UDP, targetPort: 5353}
status:
  loadBalancer: {ingress: [{ip: 192.0.2.100}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec:
  nodeName: node-1
  containers:
  - name: web
    image: web
    ports: [{name: http, containerPort: 8080}]
status:
  podIPs: [{ip: 10.1.0.7}, {ip: \"fd01::7\"}]
  conditions: [{type: Ready, status: \"True\"}]
";
    const CLUSTER: &str = "\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Namespace
  metadata: {name: shop}
- apiVersion: v1
  kind: Node
  metadata: {name: node-1}
  spec: {podCIDRs: [10.1.0.0/24, \"fd01::/64\"]}
  status:
    addresses: [{type: InternalIP, address: 10.0.0.11}]
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata:
    name: web-x
    namespace: shop
    labels: {kubernetes.io/service-name: web}
  addressType: IPv4
  ports: [{name: http, port: 8080, protocol: TCP}]
  endpoints:
  - addresses: [10.1.0.7]
    nodeName: node-1
    conditions: {ready: true, serving: true, terminating: false}
";
    const DUAL_STACK: &str = "\
apiVersion: v1
kind: Node
metadata:
  name: node-1
  annotations: {sluice.dev/vtep-mac: \"02:00:00:00:00:11\"}
spec: {podCIDRs: [10.1.0.0/24, \"fd01::/64\"]}
status:
  addresses: [{type: InternalIP, address: 10.0.0.11}, {type: InternalIP, address: \"fd00::11\"}]
---
apiVersion: v1
kind: Node
metadata:
  name: node-2
  annotations:
    flannel.alpha.coreos.com/public-ip: 10.0.0.12
    flannel.alpha.coreos.com/backend-type: vxlan
    flannel.alpha.coreos.com/backend-data: '{\"VNI\":1,\"VtepMAC\":\"02:00:00:00:00:12\"}'
spec: {podCIDRs: [10.1.1.0/24]}
---
apiVersion: v1
kind: Service
metadata: {name: web, creationTimestamp: \"2026-01-01T00:00:00Z\"}
spec:
  type: LoadBalancer
  clusterIPs: [10.96.0.10, \"fd96::10\"]
  ports: [{name: http, port: 80, targetPort: http}, {name: dns, port: 53, protocol: UDP}]
status:
  loadBalancer: {ingress: [{ip: 192.0.2.100}, {ip: \"2001:db8:c0::100\"}]}
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.11
  selector: {app: other}
  ports: [{port: 80, targetPort: http}]
status:
  loadBalancer: {ingress: [{ip: 192.0.2.100}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-4, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}, {name: dns, port: 53, protocol: UDP}]
endpoints:
- {addresses: [10.1.0.7], nodeName: node-1}
- {addresses: [10.1.1.7], conditions: {ready: false, serving: true, terminating: true}}
- {addresses: [10.1.1.8], conditions: {ready: false}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-6, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
ports: [{name: http, port: 8080}]
endpoints:
- addresses: [\"fd01::7\"]
---
apiVersion: v1
kind: Pod
metadata: {name: other-0, labels: {app: other}}
spec: {nodeName: node-2, containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}
status: {phase: Running, podIPs: [{ip: 10.1.1.9}], conditions: [{type: Ready, status: \"True\"}]}
";
    const SERVICES: &str = "\
apiVersion: v1
kind: Node
metadata:
  name: node-1
  annotations: {sluice.dev/vtep-mac: \"02:00:00:00:00:11\"}
  labels: {topology.kubernetes.io/zone: a}
spec: {podCIDRs: [10.1.0.0/24, \"fd01::/64\"]}
status:
  addresses: [{type: InternalIP, address: 10.0.0.11}, {type: InternalIP, address: \"fd00::11\"}]
---
apiVersion: v1
kind: Service
metadata: {name: all, annotations: {sluice.dev/load-balancing: random-of-two}}
spec:
  type: LoadBalancer
  clusterIPs: [10.96.0.10, \"fd96::10\"]
  externalIPs: [198.51.100.7, \"2001:db8:100::7\"]
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
  internalTrafficPolicy: Local
  loadBalancerSourceRanges: [192.0.2.0/24, \"2001:db8::/32\"]
  ports:
  - {name: http, port: 80, nodePort: 30080}
  - {name: s, port: 2905, protocol: SCTP, nodePort: 30080}
status:
  loadBalancer: {ingress: [{ip: 192.0.2.100}, {ip: \"2001:db8:c0::100\"}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: all-4
  labels: {kubernetes.io/service-name: all}
  annotations: {sluice.dev/weight: \"5\"}
addressType: IPv4
ports: [{name: http, port: 8080}, {name: s, port: 2905, protocol: SCTP}]
endpoints:
- {addresses: [10.1.0.7], nodeName: node-1, zone: a, hints: {forNodes: [{name: node-1}], forZones: [{name: a}]}}
- {addresses: [10.1.0.8], nodeName: node-1, zone: a, hints: {forZones: [{name: a}]}}
---
apiVersion: v1
kind: Service
metadata: {name: close, labels: {service.kubernetes.io/service-proxy-name: other}}
spec: {clusterIP: 10.96.0.11, selector: {app: a}, trafficDistribution: PreferSameNode, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: a-0, labels: {app: a}, annotations: {sluice.dev/weight: \"0\"}}
spec: {nodeName: node-1, containers: [{name: c}]}
status: {phase: Running, podIPs: [{ip: 10.1.0.9}], conditions: [{type: Ready, status: \"True\"}]}
";
    const WRONG: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web, lables: {a: 1}, labels: {b: 2}}
spec:
  clusterIP: 7
  ports: [{port: \"80\", targetport: 80}, 5, {port: 70000, protocol: ICMP}]
";
    const JSON: &str = r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"},"spec":{"ports":[{"port":80}]}}"#;
    const BROKEN: &str =
        "apiVersion: v1\nkind: Service\nmetadata: {name: [\n---\nkind: {a: &x [*x]}\n";
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("config", "minimal", text(include_str!("../../../../config/examples/minimal.yaml"))),
        ("config", "dual-stack", text(include_str!("../../../../config/examples/dual-stack.yaml"))),
        ("config", "on-a-stick", text(include_str!("../../../../config/examples/on-a-stick.yaml"))),
        ("config", "broken", text("ports: [&a {name: *a}\nworkers: {{}}\n\tx: !!int y\n")),
        ("manifests", "service-and-pod", text(SERVICE)),
        ("manifests", "cluster", text(CLUSTER)),
        ("manifests", "json", text(JSON)),
        ("manifests", "broken", text(BROKEN)),
        ("manifests", "dual-stack", text(DUAL_STACK)),
        ("manifests", "services", text(SERVICES)),
        ("manifests", "wrong", text(WRONG)),
    ]
}
