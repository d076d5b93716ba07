//! Ingresses as a user meets them: `kubectl apply`, an address in `kubectl get`, what is wrong
//! in `kubectl describe`, and answers of pods from outside.

use crate::deployment::WEB;
use crate::gateway::Gateway;
use crate::lab::{FAMILIES, Family, eventually, succeeded};
use crate::stage::{Stage, rights_with};
use std::path::PathBuf;
use std::process::Command;

/// Where Ingresses are served.
const ADDRESSES: [&str; 2] = ["203.0.113.80", "2001:db8:f00::80"];

const CLASS: &str = "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: sluice}
spec: {controller: sluice.dev/ingress}
";

/// One for a host, with more of its metadata and its spec.
fn ingress(name: &str, host: &str, metadata: &str, spec: &str) -> String {
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, {metadata}}}
spec:
  ingressClassName: sluice
  {spec}
  rules:
    - host: {host}
      http:
        paths:
          - path: /
            pathType: Prefix
            backend: {{service: {{name: web, port: {{name: http}}}}}}
"
    )
}

/// Puts a new certificate for a host, signed by itself, into a Secret.
fn certify(stage: &Stage, secret: &str, host: &str) -> PathBuf {
    let path = |end: &str| stage.lab.folder.join(format!("{secret}.{end}"));
    let (key, chain) = (path("key"), path("pem"));
    let mut openssl = Command::new("openssl");
    openssl
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "30", "-subj", &format!("/CN={host}"), "-addext"])
        .arg(format!("subjectAltName=DNS:{host}"))
        .args(["-keyout".as_ref(), key.as_os_str(), "-out".as_ref(), chain.as_os_str()]);
    succeeded(&openssl.output().unwrap(), "openssl req");
    let of = |flag: &str, path: &PathBuf| format!("--{flag}={}", path.display());
    let create = ["create", "secret", "tls", secret, "--dry-run=client", "-o", "yaml"];
    let (cert, key) = (of("cert", &chain), of("key", &key));
    let manifest = stage.cluster.kubectl(&[&create[..], &[&cert, &key]].concat());
    stage.cluster.apply(&manifest);
    chain
}

/// The status that a URL is answered with, 0 if it is not, and the body.
fn get(stage: &Stage, family: &Family, url: &str, more: &[&str]) -> (u16, String) {
    let address = ADDRESSES[usize::from(family.client.contains(':'))];
    let (scheme, rest) = url.split_once("://").unwrap();
    let host = rest.split('/').next().unwrap();
    let port = if scheme == "https" { 443 } else { 80 };
    let resolve = format!("{host}:{port}:[{address}]");
    let ask = ["curl", "-s", "--max-time", "5", "-w", "\n%{http_code}", "--resolve", &resolve, url];
    let output = stage.lab.run("client", &[&ask[..], more].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
    (status.parse().unwrap_or(0), body.to_owned())
}

fn until(stage: &Stage, family: &Family, url: &str, status: u16) {
    eventually(&format!("{status} of {url} over {}", family.name), || {
        (get(stage, family, url, &[]).0 == status).then_some(())
    });
}

/// Waits until `kubectl describe ingress` holds all of these.
fn describes(stage: &Stage, name: &str, parts: &[&str]) {
    let described = || stage.cluster.kubectl(&["describe", "ingress", name]);
    eventually(&format!("{name} is described with {parts:?}"), || {
        let text = described();
        parts.iter().all(|part| text.contains(part)).then_some(())
    });
}

fn addresses(stage: &Stage, name: &str) -> Vec<String> {
    let path = "jsonpath={.status.loadBalancer.ingress[*].ip}";
    let text = stage.cluster.kubectl(&["get", "ingress", name, "-o", path]);
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn an_ingress_is_served_told_of_and_taken_back() {
    let Some(stage) = Stage::up(2) else { return };
    let [v4, v6] = ADDRESSES;
    stage.lab.add_config(&format!("l7:\n  ingress:\n    addresses: [{v4}, \"{v6}\"]\n"));
    let l7 = format!("config.l7.ingress.addresses[0]={v4}");
    stage.cluster.apply(&rights_with("flannel", &[&l7]));
    let gateway = Gateway::ready(&stage.lab);
    stage.cluster.apply(WEB);
    stage.cluster.apply(CLASS);
    let first = certify(&stage, "shop", "shop.example");
    stage.cluster.apply(&ingress("plain", "plain.example", "", ""));
    let tls = "tls: [{hosts: [shop.example], secretName: shop}]";
    stage.cluster.apply(&ingress("shop", "shop.example", "", tls));
    stage.cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    for name in ["plain", "shop"] {
        eventually("its addresses", || (addresses(&stage, name) == ADDRESSES).then_some(()));
    }
    let ca = |path: &PathBuf| path.display().to_string();
    for family in FAMILIES {
        until(&stage, &family, "http://plain.example/hostname", 200);
        let (_, pod) = get(&stage, &family, "http://plain.example/hostname", &[]);
        assert!(pod.starts_with("web-"), "{pod}");
        until(&stage, &family, "http://shop.example/hostname", 308);
        let trusts = ["--cacert", &ca(&first)];
        let (status, pod) = get(&stage, &family, "https://shop.example/hostname", &trusts);
        assert!(status == 200 && pod.starts_with("web-"), "{status} {pod}");
        assert_eq!(get(&stage, &family, "http://other.example/", &[]).0, 404);
    }

    // A certificate is replaced.
    let second = certify(&stage, "shop", "shop.example");
    eventually("the new certificate", || {
        let trusts = ["--cacert", &ca(&second)];
        let (status, _) = get(&stage, &FAMILIES[0], "https://shop.example/hostname", &trusts);
        (status == 200).then_some(())
    });

    // Who vouches for clients is in a Secret of no particular type; here they need not show
    // a certificate, but without a readable Secret nobody would be let in.
    let authority = format!("--from-file=ca.crt={}", first.display());
    stage.cluster.kubectl(&["create", "secret", "generic", "clients", &authority]);
    let asks = "annotations: {nginx.ingress.kubernetes.io/auth-tls-secret: default/clients, \
                nginx.ingress.kubernetes.io/auth-tls-verify-client: optional}";
    let tls = "tls: [{hosts: [safe.example], secretName: shop}]";
    stage.cluster.apply(&ingress("safe", "safe.example", asks, tls));
    eventually("clients with and without certificates", || {
        let (status, _) = get(&stage, &FAMILIES[0], "https://safe.example/hostname", &["-k"]);
        (status == 200).then_some(())
    });
    stage.cluster.kubectl(&["delete", "secret", "clients"]);
    eventually("nobody is let in", || {
        let (status, _) = get(&stage, &FAMILIES[0], "https://safe.example/hostname", &["-k"]);
        (status == 0).then_some(())
    });

    // What is wrong is told where users look.
    let limit = "annotations: {nginx.ingress.kubernetes.io/limit-rps: '5'}";
    stage.cluster.apply(&ingress("asks", "asks.example", limit, ""));
    describes(&stage, "asks", &["Warning", "UnsupportedAnnotation", "limit-rps"]);
    // The older one wins, also over one whose name comes first.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    stage.cluster.apply(&ingress("another", "plain.example", "", ""));
    describes(&stage, "another", &["Warning", "Contradiction", "plain.example"]);
    let lacks = "tls: [{hosts: [lacks.example], secretName: missing}]";
    stage.cluster.apply(&ingress("lacks", "lacks.example", "", lacks));
    let status = || succeeded(&gateway.ask(&["status"]), "sluice status");
    eventually("the Secret is missed", || status().contains("missing").then_some(()));

    // An Ingress of another class is not touched, and one that changes to it is given up.
    let other = ingress("foreign", "foreign.example", "", "");
    stage.cluster.apply(&other.replace("ingressClassName: sluice", "ingressClassName: other"));
    let patch = r#"{"spec": {"ingressClassName": "other"}}"#;
    stage.cluster.kubectl(&["patch", "ingress", "asks", "--type=merge", "-p", patch]);
    eventually("the addresses are taken back", || {
        addresses(&stage, "asks").is_empty().then_some(())
    });
    assert_eq!(addresses(&stage, "foreign"), Vec::<String>::new());
    until(&stage, &FAMILIES[0], "http://asks.example/", 404);

    stage.cluster.kubectl(&["delete", "ingress", "plain", "another"]);
    for family in FAMILIES {
        until(&stage, &family, "http://plain.example/", 404);
    }
    gateway.stop();
}
