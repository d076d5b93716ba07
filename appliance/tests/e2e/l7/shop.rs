//! A shop in the lab: Services whose endpoints are the pods, Ingresses, certificates.

use crate::gateway::Gateway;
use crate::l7::backend::{Backend, PORT};
use crate::lab::{Family, Lab, eventually, succeeded};
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// Where Ingresses are served.
pub const ADDRESSES: [&str; 2] = ["203.0.113.80", "2001:db8:f00::80"];

/// The pods that serve it.
pub const PODS: [&str; 2] = ["pod1a", "pod2a"];

/// A lab whose gateway serves Ingresses.
pub struct Shop {
    pub lab: Lab,
    _backends: Vec<Backend>,
}

impl Shop {
    /// `None` without the privilege. `l7` is added to the section of that name.
    pub fn open(lab: &[&str], l7: &str) -> Option<Shop> {
        let lab = Lab::up(lab)?;
        let [v4, v6] = ADDRESSES;
        lab.add_config(&format!("l7:\n  ingress:\n    addresses: [{v4}, \"{v6}\"]\n{l7}"));
        let backends = PODS.map(|pod| Backend::start(&lab, pod)).into();
        let shop = Shop { lab, _backends: backends };
        shop.lab.write_manifest("shop.yaml", &services("shop", &PODS));
        Some(shop)
    }

    /// Makes a certificate for hosts, signed by itself, and its Secret.
    pub fn certificate(&self, name: &str, hosts: &[&str]) -> PathBuf {
        let folder = self.lab.folder.join("certificates");
        std::fs::create_dir_all(&folder).unwrap();
        let (key, chain) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.pem")));
        let names: Vec<_> = hosts.iter().map(|host| format!("DNS:{host}")).collect();
        let mut openssl = Command::new("openssl");
        openssl
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-days", "30", "-subj", &format!("/CN={name}"), "-addext"])
            .arg(format!("subjectAltName={}", names.join(",")))
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&chain);
        succeeded(&openssl.output().unwrap(), "openssl req");
        let text = |path: &PathBuf| Value::from(std::fs::read_to_string(path).unwrap());
        self.lab.write_manifest(
            &format!("secret-{name}.yaml"),
            &format!(
                "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\n\
                 metadata: {{name: {name}, namespace: shop}}\n\
                 stringData:\n  tls.crt: {}\n  tls.key: {}\n",
                text(&chain),
                text(&key)
            ),
        );
        chain
    }

    /// `curl` from the client, of a host at the gateway's address of a family; what it
    /// printed, head first.
    pub fn curl(&self, family: &Family, url: &str, more: &[&str]) -> String {
        let output = self.lab.run("client", &self.arguments(family, url, more));
        succeeded(&output, url)
    }

    /// The same of one that may fail.
    pub fn try_curl(&self, family: &Family, url: &str, more: &[&str]) -> String {
        let output = self.lab.run("client", &self.arguments(family, url, more));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn arguments<'a>(&self, family: &Family, url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let address = address(family);
        let (scheme, rest) = url.split_once("://").unwrap();
        let host = rest.split(['/', ':']).next().unwrap();
        let port = if scheme == "https" { 443 } else { 80 };
        let mut arguments = vec!["curl", "-sS", "-i", "--max-time", "20", "-k"];
        // An address in brackets is none to be looked up.
        if !rest.starts_with('[') {
            arguments.extend(["--resolve", format!("{host}:{port}:[{address}]").leak()]);
        }
        arguments.extend(more);
        arguments.push(url);
        arguments
    }

    /// The status of a request, and what a pod says that it was asked.
    pub fn get(&self, family: &Family, url: &str, more: &[&str]) -> (u16, Value) {
        let text = self.curl(family, url, more);
        // What comes before the last head is `100 Continue`, or that of a proxy.
        let (head, body) = text.rsplit_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.rsplit("HTTP/").next().unwrap().split(' ').nth(1).unwrap();
        (status.parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// Waits until a URL is answered with a status.
    pub fn until(&self, family: &Family, url: &str, status: u16) {
        eventually(&format!("{status} of {url}"), || {
            let text = self.try_curl(family, url, &[]);
            let found = text.split(' ').nth(1)?.parse::<u16>().ok()?;
            (found == status).then_some(())
        });
    }
}

/// The gateway's address of a family, as in a URL's authority without brackets.
pub fn address(family: &Family) -> &'static str {
    ADDRESSES[usize::from(family.client.contains(':'))]
}

/// The same with brackets around what has colons.
pub fn authority(family: &Family) -> String {
    match address(family) {
        v6 if v6.contains(':') => format!("[{v6}]"),
        v4 => v4.to_owned(),
    }
}

/// A Service of the shop's and its slices.
pub fn services(name: &str, pods: &[&str]) -> String {
    services_at(name, pods, PORT)
}

/// The same, whose pods listen at a port.
pub fn services_at(name: &str, pods: &[&str], port: u16) -> String {
    let service = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec:\n  clusterIPs: [None]\n  clusterIP: None\n  ports: [{{name: http, port: 80, targetPort: {port}}}]\n"
    );
    service + &slices(name, name, pods, port)
}

/// The slices of a Service, one of each family, that have a name.
pub fn slices(service: &str, name: &str, pods: &[&str], port: u16) -> String {
    let mut text = String::new();
    for family in ["IPv4", "IPv6"] {
        write!(
            text,
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata:\n  name: {name}-{}\n  namespace: shop\n\
             \x20 labels: {{kubernetes.io/service-name: {service}}}\n\
             addressType: {family}\nports: [{{name: http, port: {port}}}]\nendpoints:\n",
            family.to_lowercase()
        )
        .unwrap();
        for pod in pods {
            let address = pod_address(family, pod);
            writeln!(text, "- {{addresses: [\"{address}\"], conditions: {{ready: true}}}}")
                .unwrap();
        }
    }
    text
}

/// The address of a pod, as `scripts/lib/lab_common.sh` gives it.
fn pod_address(family: &str, pod: &str) -> String {
    let [.., node, letter] = pod.as_bytes() else { panic!("{pod} is no pod") };
    let (node, index) = (char::from(*node), 10 + letter - b'a');
    match family {
        "IPv4" => format!("10.244.{node}.{index}"),
        _ => format!("fd00:10:244:{node}::{index}"),
    }
}

/// All of shop.example to the shop, with TLS and without.
pub const WEB: &str = r#"apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  namespace: shop
  annotations: {nginx.ingress.kubernetes.io/ssl-redirect: "false"}
spec:
  ingressClassName: sluice
  tls: [{hosts: [shop.example], secretName: shop}]
  rules:
    - host: shop.example
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}]}
"#;

/// An Ingress of all of a host to a Service, with the certificate of a Secret if there is one,
/// and annotations of ingress-nginx.
pub fn ingress(
    name: &str,
    host: &str,
    service: &str,
    secret: Option<&str>,
    annotations: &[(&str, &str)],
) -> String {
    let annotations = annotations
        .iter()
        .map(|(name, text)| (format!("nginx.ingress.kubernetes.io/{name}"), Value::from(*text)));
    let annotations = Value::Object(annotations.collect::<Map<_, _>>());
    let tls = secret.map(|secret| format!("  tls: [{{hosts: [{host}], secretName: {secret}}}]\n"));
    let path = format!(
        "{{path: /, pathType: Prefix, backend: {{service: {{name: {service}, port: {{number: 80}}}}}}}}"
    );
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\n\
         metadata:\n  name: {name}\n  namespace: shop\n  annotations: {annotations}\n\
         spec:\n  ingressClassName: sluice\n{}  rules:\n  \
         - host: {host}\n    http: {{paths: [{path}]}}\n",
        tls.unwrap_or_default()
    )
}

/// The class of the shop's Ingresses.
pub const CLASS: &str = "apiVersion: networking.k8s.io/v1\nkind: IngressClass\n\
     metadata: {name: sluice}\nspec: {controller: sluice.dev/ingress}\n";

/// Starts the gateway of a shop, whose class there is.
pub fn gateway(shop: &Shop) -> Gateway<'_> {
    shop.lab.write_manifest("class.yaml", CLASS);
    Gateway::ready(&shop.lab)
}
