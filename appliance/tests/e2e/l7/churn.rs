//! Everything changes under load, and nobody notices: 10,000 edits of routes, 100 pods
//! replaced, 50 certificates swapped; no request fails, no WebSocket is cut.
//!
//! An edit is an Ingress that has changed. Each write of the file changes a hundred of them at
//! once, and the next one waits until the last is in force, so that none is lost in another:
//! one file an edit would take minutes on a small machine.

use super::backend::{Backend, PORT};
use super::report::report;
use super::shop::{PODS, Shop, WEB, address, gateway, services, slices};
use super::sockets::Sockets;
use super::wire;
use crate::gateway::Gateway;
use crate::lab::{FAMILIES, Family, eventually};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

/// Writes of the file of routes, pods that are replaced.
const ROUNDS: usize = 100;

/// Ingresses in it.
const INGRESSES: usize = 100;

/// Rounds to one swap of the certificate.
const ROUNDS_A_SWAP: usize = 2;

/// Rounds between two messages of every WebSocket.
const ROUNDS_A_MESSAGE: usize = 25;

const WEBSOCKETS: usize = 1_000;

const HOST: &str = "shop.example";

#[test]
fn nobody_notices_what_changes() {
    let Some(shop) = Shop::open(&[], "") else { return };
    shop.certificate("shop", &[HOST]);
    shop.lab.write_manifest("web.yaml", WEB);
    shop.lab.write_manifest("edits.yaml", &edits(0));
    let gateway = gateway(&shop);
    for family in &FAMILIES {
        shop.until(family, "http://shop.example/edit99", 200);
        shop.until(family, "https://shop.example/edit99", 200);
    }
    let updates = || gateway.metric("sluice_updates_total", &[]);
    let updates_before = updates();
    let began = Instant::now();
    let open = || Sockets::open(HOST, "/socket", WEBSOCKETS);
    let mut sockets = shop.lab.within("client", open);
    shop.lab.within("client", || sockets.echo("at the beginning"));
    let loads = [(&FAMILIES[0], "https"), (&FAMILIES[1], "http"), (&FAMILIES[1], "https")]
        .map(|(family, scheme)| Load::start(&shop, family, scheme));
    let (certificate, pods) = shop.lab.within("client", || churn(&shop, &mut sockets));
    let mut answered = 0;
    for load in loads {
        let (count, failed) = load.finish();
        assert!(failed.is_empty(), "{} of {count} failed: {failed:?}", failed.len());
        answered += count;
    }
    shop.lab.within("client", || sockets.echo("at the end"));
    eprintln!(
        "{} edits of routes, {ROUNDS} pods replaced, {} certificates swapped, {answered} requests, \
         {WEBSOCKETS} WebSockets in {:?}",
        ROUNDS * INGRESSES,
        ROUNDS / ROUNDS_A_SWAP,
        began.elapsed()
    );
    assert!(updates() - updates_before >= ROUNDS as f64);
    the_last_certificate_is_served(&shop, &certificate);
    nothing_was_cut(&gateway);
    report(&gateway, "the churn");
    drop((sockets, pods));
    gateway.stop();
}

/// The Ingresses, as a round of writes has them.
fn edits(round: usize) -> String {
    let ingress = |id| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\n\
             metadata:\n  name: edit{id}\n  namespace: shop\n  annotations:\n    \
             nginx.ingress.kubernetes.io/ssl-redirect: \"false\"\n    \
             nginx.ingress.kubernetes.io/rewrite-target: /round/{round}\n\
             spec:\n  ingressClassName: sluice\n  rules:\n  - host: {HOST}\n    http:\n      paths:\n      \
             - {{path: /edit{id}, pathType: Exact, backend: {{service: {{name: shop, port: {{number: 80}}}}}}}}\n"
        )
    };
    (0..INGRESSES).map(ingress).collect::<Vec<_>>().join("---\n")
}

/// Pods that serve, and their ports; `None`: those from the beginning.
type Pods = [Option<(Backend, u16)>; 2];

/// Changes everything, over and over; the last certificate and the last pods.
fn churn(shop: &Shop, sockets: &mut Sockets) -> (String, Pods) {
    // The pods that the WebSockets have reached go on, as those do whose end has begun:
    // they are in no slice any more.
    let mut pods: Pods = [None, None];
    let mut certificate = String::new();
    for round in 1..=ROUNDS {
        shop.lab.write_manifest("edits.yaml", &edits(round));
        let port = PORT + u16::try_from(round).unwrap();
        let which = round % PODS.len();
        let new = Backend::start_as(&shop.lab, PODS[which], PODS[which], &[port]);
        let old = pods[which].replace((new, port));
        shop.lab.write_manifest("shop.yaml", &endpoints(&pods));
        if round % ROUNDS_A_SWAP == 0 {
            let chain = shop.certificate("shop", &[HOST]);
            certificate = std::fs::read_to_string(chain).unwrap();
        }
        // It is in no slice any more, and answers what it has been asked. Half of them go
        // before the gateway knows, as pods may; the others after.
        let goes_at_once = round % 4 < 2;
        let later = old.filter(|_| !goes_at_once);
        in_force(round, port);
        drop(later);
        if round % ROUNDS_A_MESSAGE == 0 {
            sockets.echo(&round.to_string());
        }
    }
    (certificate, pods)
}

/// The Service with its endpoints.
fn endpoints(pods: &Pods) -> String {
    let mut text = services("shop", &[]);
    for (pod, new) in PODS.iter().zip(pods) {
        let port = new.as_ref().map_or(PORT, |(_, port)| *port);
        text += &slices("shop", &format!("shop-{pod}"), &[pod], port);
    }
    text
}

/// Waits until the first and the last route of a round and its new pod have answered.
fn in_force(round: usize, port: u16) {
    let address = address(&FAMILIES[0]);
    let asked = |path: &str| -> Value {
        let (head, body) = wire::get(address, HOST, path);
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}\n{body}");
        serde_json::from_str(&body).unwrap()
    };
    let target = format!("/round/{round}");
    for path in ["/edit0".to_owned(), format!("/edit{}", INGRESSES - 1)] {
        eventually("the edits", || (asked(&path)["target"] == *target).then_some(()));
    }
    eventually("the new pod", || (asked("/")["port"] == port).then_some(()));
}

/// Requests for all routes that change, again and again.
struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Vec<String>)>,
}

impl Load {
    fn start(shop: &Shop, family: &Family, scheme: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let port = if scheme == "https" { 443 } else { 80 };
        let resolve = format!("{HOST}:{port}:[{}]", address(family));
        let url = format!("{scheme}://{HOST}/edit[0-{}]", INGRESSES - 1);
        let thread = shop.lab.spawn("client", move || {
            let (mut answered, mut failed) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let output = Command::new("curl")
                    .args(["-sk", "-Z", "--parallel-max", "4", "--max-time", "20"])
                    .args(["-o", "/dev/null", "-w", "%{http_code} %{errormsg}\n"])
                    .args(["--resolve", &resolve, &url])
                    .stderr(Stdio::null())
                    .output()
                    .unwrap();
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                assert_eq!(text.lines().count(), INGRESSES, "{text}");
                answered += INGRESSES;
                let is_bad = |line: &&str| !line.starts_with("200 ");
                failed.extend(text.lines().filter(is_bad).map(str::to_owned));
            }
            (answered, failed)
        });
        Load { stop, thread }
    }

    /// How many there were, and what became of those that were not answered with 200.
    fn finish(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn the_last_certificate_is_served(shop: &Shop, certificate: &str) {
    let end = format!("{}:443", address(&FAMILIES[0]));
    let ask = ["openssl", "s_client", "-connect", &end, "-servername", HOST];
    eventually("the last certificate", || {
        let output = shop.lab.command("client", &ask).stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains(certificate.trim()).then_some(())
    });
}

fn nothing_was_cut(gateway: &Gateway<'_>) {
    assert_eq!(gateway.metric("sluice_l7_panics_total", &[]), 0.0);
    for limit in ["tunnel_time", "drain_time"] {
        let limit = format!("limit=\"{limit}\"");
        assert_eq!(gateway.metric("sluice_l7_limits_total", &[&limit]), 0.0, "{limit}");
    }
    for reason in ["no_endpoint", "connect_failed", "upstream_reset"] {
        let reason = format!("reason=\"{reason}\"");
        assert_eq!(gateway.metric("sluice_l7_refusals_total", &[&reason]), 0.0, "{reason}");
    }
}
