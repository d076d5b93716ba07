use super::backend::Backend;
use super::kernel::{ADDRESSES, at_the_client, give_to_the_kernel};
use super::shop::{Shop, gateway, ingress, services};
use super::wire::get;
use crate::lab::{FAMILIES, eventually};
use rustix::process::Signal;

/// `l7.io: kernel`: the same HTTP on sockets of the kernel.
#[test]
fn the_kernels_sockets_serve_the_same_requests() {
    let Some(shop) = Shop::open(&[], "") else { return };
    give_to_the_kernel(&shop);
    let _backend = Backend::start(&shop.lab, "client");
    shop.lab.write_manifest("shop.yaml", &at_the_client(&services("shop", &["pod1a"])));
    let web = ingress("web", "shop.example", "shop", None, &[]);
    shop.lab.write_manifest("ingress.yaml", &web);
    shop.lab.add_config("drain: {wait_s: 8}");
    let mut gateway = gateway(&shop);
    for (family, address) in FAMILIES.iter().zip(ADDRESSES) {
        let get = |host: &str, path: &str| shop.lab.within("client", || get(address, host, path));
        eventually("an answer", || {
            get("shop.example", "/").0.starts_with("HTTP/1.1 200 ").then_some(())
        });
        let (_, body) = get("shop.example", "/a?b=c");
        assert!(body.contains("\"target\":\"/a?b=c\""), "{body}");
        let told = format!("\"x-forwarded-for\":[\"{}\"]", family.client);
        assert!(body.contains(&told), "{told}: {body}");
        let (head, body) = get("other.example", "/");
        assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
        assert_eq!(body, "404 no_route\n");
    }
    eventually("what is counted", || {
        let answered = gateway.metric("sluice_l7_requests_total", &["Ingress shop/web", "2xx"]);
        (answered >= 4.0).then_some(())
    });
    // Whoever has not noticed yet that it ends is served, and told.
    gateway.signal(Signal::TERM);
    eventually("the end is near", || (gateway.get("/readyz").0 == 503).then_some(()));
    for address in ADDRESSES {
        let (head, _) = shop.lab.within("client", || get(address, "shop.example", "/"));
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 ") && head.contains("connection: close"), "{head}");
    }
    gateway.signal(Signal::TERM);
    assert!(gateway.wait().success(), "{}", gateway.log());
}
