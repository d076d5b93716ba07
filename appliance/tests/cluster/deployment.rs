//! An ordinary Deployment and Service, on real nodes with flannel: what a user
//! does first.

use crate::gateway::Gateway;
use crate::lab::{FAMILIES, Family, eventually, succeeded};
use crate::stage::Stage;
use std::collections::BTreeSet;

pub const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: DoNotSchedule
          # The gateway's own Node takes no pods.
          nodeTaintsPolicy: Honor
          labelSelector: {matchLabels: {app: web}}
      containers:
        - name: agnhost
          image: localhost/agnhost:test
          args: [netexec, --http-port=8080, --udp-port=8081]
          readinessProbe:
            httpGet: {path: /healthz, port: 8080}
            periodSeconds: 1
          ports:
            - {name: http, containerPort: 8080}
            - {name: udp, containerPort: 8081, protocol: UDP}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports:
    - {name: http, port: 80, targetPort: http}
    - {name: udp, port: 81, targetPort: udp, protocol: UDP}
";

/// Of the addresses, that of a family.
pub fn of_family<'a>(addresses: &'a [String], family: &Family) -> &'a str {
    let is_v6 = family.client.contains(':');
    addresses.iter().find(|address| address.contains(':') == is_v6).expect("one of the family")
}

/// The pods that answer at an address, after so many questions.
fn answering(stage: &Stage, family: &Family, vip: &str, questions: usize) -> BTreeSet<String> {
    let url = family.url(vip, "/hostname");
    let ask = ["curl", "-g", "-s", "--max-time", "5", "-H", "Connection: close", &url];
    (0..questions)
        .filter_map(|_| {
            let output = stage.lab.run("client", &ask);
            output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
        })
        .collect()
}

#[test]
fn a_deployment_is_reached_from_outside_over_the_overlay() {
    let Some(stage) = Stage::up(2) else { return };
    let gateway = Gateway::ready(&stage.lab);
    stage.cluster.apply(WEB);
    let addresses = stage.addresses("web", 2);
    stage.cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    for family in FAMILIES {
        let vip = of_family(&addresses, &family);
        eventually(&format!("both pods at {vip}"), || {
            let pods = answering(&stage, &family, vip, 10);
            (pods.len() == 2 && pods.iter().all(|pod| pod.starts_with("web-"))).then_some(())
        });
        let seen = stage.lab.curl("client", &family.url(vip, "/clientip"));
        let (host, _) = seen.rsplit_once(':').expect("a port");
        let is_pod_range = host.trim_matches(['[', ']']).starts_with(match family.name {
            "IPv4" => "10.244.",
            _ => "fd00:10:244:",
        });
        assert!(is_pod_range, "replies come back by the gateway's pod range: {seen}");
        let udp = format!("echo hostname | nc -u -w 2 {vip} 81");
        let answer = stage.lab.ok("client", &["bash", "-c", &udp]);
        assert!(answer.contains("web-"), "UDP: {answer}");
    }
    // What kubectl shows of it.
    let described = stage.cluster.kubectl(&["describe", "service", "web"]);
    for address in &addresses {
        assert!(described.contains(address.as_str()), "{described}");
    }
    assert!(described.contains("AddressAllocated"), "{described}");
    let status = succeeded(&gateway.ask(&["status"]), "sluice status");
    assert!(status.contains("the Kubernetes API of"), "{status}");
    assert!(gateway.show(&["services"]).to_string().contains(&addresses[0]));
    let node = stage.cluster.kubectl(&["get", "node", "gateway", "-o", "yaml"]);
    assert!(node.contains("flannel.alpha.coreos.com/backend-data"), "{node}");

    // Pods come and go.
    stage.cluster.kubectl(&["scale", "deployment/web", "--replicas=4"]);
    stage.cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    let vip = of_family(&addresses, &FAMILIES[0]).to_owned();
    eventually("four pods", || {
        (answering(&stage, &FAMILIES[0], &vip, 30).len() == 4).then_some(())
    });
    stage.cluster.kubectl(&["rollout", "restart", "deployment/web"]);
    let mut failed = 0;
    for _ in 0..50 {
        failed += usize::from(answering(&stage, &FAMILIES[0], &vip, 1).is_empty());
    }
    assert!(failed <= 2, "{failed} of 50 requests failed while the pods were replaced");
    stage.cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);

    // Gone is gone, and the address is free again.
    stage.cluster.kubectl(&["delete", "service", "web"]);
    eventually("silence", || answering(&stage, &FAMILIES[0], &vip, 1).is_empty().then_some(()));
    let other = WEB.split("---").nth(1).unwrap().replace("name: web}", "name: other}");
    stage.cluster.apply(&other);
    assert!(stage.addresses("other", 2).contains(&vip), "the lowest free address is given");
    gateway.stop();
}
