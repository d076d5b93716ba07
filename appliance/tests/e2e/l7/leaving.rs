//! A gateway that ends: what it has begun is finished, and endpoints are not left with
//! connections of which nobody knows any more.

use super::backend::PORT;
use super::shop::{PODS, Shop, address, gateway, ingress};
use crate::lab::{FAMILIES, Family, eventually};
use rustix::process::Signal;
use std::process::{Child, Stdio};

/// Hosts of which the endpoints are kept connected to: in HTTP/1.1 and in HTTP/2.
const HOSTS: [&str; 2] = ["shop.example", "grpc.example"];

/// How long a request takes that is finished, and one that is cut, in milliseconds.
const SHORT: u32 = 4_000;
const LONG: u32 = 60_000;

/// Connections of a pod's server that are open.
fn open(shop: &Shop, pod: &str) -> String {
    let filter = format!("( sport = :{PORT} )");
    shop.lab.ok(pod, &["ss", "-Htn", "state", "established", &filter])
}

/// A request that takes so long, under way.
fn begun(shop: &Shop, host: &str, family: &Family, ms: u32) -> Child {
    let host = format!("Host: {host}");
    let url = family.url(address(family), &format!("/sleep/{ms}"));
    let curl = ["curl", "-sS", "-i", "--max-time", "90", "-H", &host, &url];
    let mut curl = shop.lab.command("client", &curl);
    curl.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn endpoints_are_left_without_open_connections() {
    let Some(shop) = Shop::open(&[], "") else { return };
    shop.lab.add_config("drain: {wait_s: 8}");
    for (host, protocol) in HOSTS.into_iter().zip(["HTTP", "GRPC"]) {
        let ingress = ingress(host, host, "shop", None, &[("backend-protocol", protocol)]);
        shop.lab.write_manifest(&format!("{host}.yaml"), &ingress);
    }
    let mut gateway = gateway(&shop);
    for family in &FAMILIES {
        for host in HOSTS {
            for _ in 0..4 {
                shop.until(family, &format!("http://{host}/"), 200);
            }
        }
    }
    for pod in PODS {
        // They are kept, though nobody asks.
        assert!(!open(&shop, pod).is_empty(), "{pod}");
    }
    let requests = |ms: u32| -> Vec<Child> {
        let ends = FAMILIES.iter().flat_map(|family| HOSTS.map(|host| (host, family)));
        ends.map(|(host, family)| begun(&shop, host, family, ms)).collect()
    };
    let (short, long) = (requests(SHORT), requests(LONG));
    eventually("all requests under way", || {
        let shown = gateway.show(&["connections"]);
        let all = shown["connections"].as_array().unwrap();
        let under_way = all.iter().filter(|of| of["in_flight"].as_u64() > Some(0)).count();
        (under_way == short.len() + long.len()).then_some(())
    });
    gateway.signal(Signal::TERM);
    eventually("the end is near", || (gateway.get("/readyz").0 == 503).then_some(()));
    // Whoever has not noticed yet is served, and told.
    for family in &FAMILIES {
        for _ in 0..3 {
            let answer = shop.curl(family, "http://shop.example/", &[]);
            let head = answer.to_ascii_lowercase();
            assert!(
                head.starts_with("http/1.1 200 ") && head.contains("connection: close"),
                "{head}"
            );
        }
    }
    for request in short {
        let output = request.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.starts_with("HTTP/1.1 200 "), "{text}");
    }
    let status = gateway.wait();
    assert!(status.success(), "{status}: {}", gateway.log());
    for request in long {
        let output = request.wait_with_output().unwrap();
        assert!(!String::from_utf8_lossy(&output.stdout).contains("HTTP/1.1 200 "));
    }
    for pod in PODS {
        // Nobody is there any more who could end one.
        eventually("no open connection", || open(&shop, pod).trim().is_empty().then_some(()));
    }
}
