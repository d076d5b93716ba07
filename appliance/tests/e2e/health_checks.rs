use crate::gateway::Gateway;
use crate::lab::{Lab, eventually};
use rustix::process::Signal;
use serde_json::Value;

/// The port of [`service`], as seen from the gateway.
const URLS: [&str; 2] = ["http://127.0.0.1:31010/", "http://[::1]:31010/"];

/// A Service with health checks whose only endpoint is a pod.
fn service(pod: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: local}}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  healthCheckNodePort: 31010
  clusterIPs: [10.96.0.77, 'fd00:10:96::77']
  selector: {{pod: {pod}}}
  ports: [{{port: 80, targetPort: http}}]
status: {{loadBalancer: {{ingress: [{{ip: 203.0.113.77}}]}}}}
"
    )
}

/// Waits for a status (0: nobody listens) at both addresses; the bodies.
fn wait(gateway: &Gateway<'_>, status: u16) -> [String; 2] {
    URLS.map(|url| {
        eventually(&format!("{status} at {url}"), || {
            let (now, body) = gateway.fetch(url);
            (now == status).then_some(body)
        })
    })
}

#[test]
fn somebody_who_asks_about_a_service_is_told() {
    let Some(lab) = Lab::up(&[]) else { return };
    lab.add_config("drain: {wait_s: 3600}");
    let gateway = Gateway::ready(&lab);
    wait(&gateway, 0);
    lab.write_manifest("local.yaml", &service("pod1a"));
    for body in wait(&gateway, 200) {
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["service"]["name"], "local");
        assert_eq!(
            (&body["localEndpoints"], &body["serviceProxyHealthy"]),
            (&1.into(), &true.into())
        );
    }
    let shown = gateway.show(&["services"]);
    let local = shown.as_array().unwrap().iter().find(|one| one["name"] == "local").unwrap();
    assert_eq!(local["policies"]["health_check_port"], 31010);
    let status = String::from_utf8(gateway.ask(&["status"]).stdout).unwrap();
    assert!(status.contains("behaves as Cluster"), "the lab replaces clients' addresses: {status}");
    // The pod terminates, and is gone; another one takes over.
    lab.remove_pod("pod1a");
    wait(&gateway, 503);
    lab.write_manifest("local.yaml", &service("pod2a"));
    wait(&gateway, 200);
    lab.remove_manifest("local.yaml");
    wait(&gateway, 0);
    lab.write_manifest("local.yaml", &service("pod2a"));
    wait(&gateway, 200);
    gateway.signal(Signal::TERM);
    for body in wait(&gateway, 503) {
        assert!(body.contains("\"serviceProxyHealthy\":false"), "{body}");
    }
    gateway.stop();
}
