//! Ingresses: listeners, routes and upstreams.

use super::*;
use crate::object::Kind;
use certificates::certificate;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use sluice_tables::http_routes::Request;
use sluice_tables::l7::{HttpRoute, ListenerId, RouteAction, Upstream};

mod certificates;
mod client_certificates;
mod policies;

const SECTION: &str = "l7:
  ingress:
    addresses: [203.0.113.80, \"2001:db8:80::1\"]
    default_certificate: edge/default
";

fn l7_config(section: &str) -> Config {
    let text = include_str!("../../../tests/control/config.yaml");
    sluice_config::parse("config.yaml", &format!("{text}\n{section}")).unwrap().config
}

fn world_of(section: &str) -> World {
    let compiler = Compiler::new(&l7_config(section), &facts(), 0).unwrap();
    World { compiler, ..World::default() }
}

/// A world where Ingresses without a class are served.
fn world() -> World {
    let mut world = world_of(SECTION);
    let annotations = json!({"ingressclass.kubernetes.io/is-default-class": "true"});
    world.apply(
        Kind::IngressClass,
        json!({"metadata": {"name": "ours", "annotations": annotations},
               "spec": {"controller": "sluice.dev/ingress"}}),
    );
    world
}

fn path(path: &str, service: &str, port: Value) -> Value {
    json!({"path": path, "pathType": "Prefix",
           "backend": {"service": {"name": service, "port": port}}})
}

fn ingress(name: &str, host: &str, paths: &[Value]) -> Value {
    json!({"metadata": {"name": name}, "spec": {"rules": [{"host": host, "http": {"paths": paths}}]}})
}

fn secret(namespace: &str, name: &str, (certificate, key): &(String, String)) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name}, "type": "kubernetes.io/tls",
           "stringData": {"tls.crt": certificate, "tls.key": key}})
}

fn pair(host: &str, until: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([host.to_owned()]).unwrap();
    params.not_after = date_time_ymd(until, 1, 1);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn route<'a>(tables: &'a Tables, host: &str, path: &str) -> Option<&'a Arc<HttpRoute>> {
    let listener = tables.l7.listener(ListenerId(0)).unwrap();
    listener.routes.find(&Request { method: "GET", host, path, ..Request::default() })
}

fn upstream<'a>(tables: &'a Tables, host: &str, path: &str) -> &'a Upstream {
    match route(tables, host, path).unwrap().action {
        RouteAction::Forward(id) => tables.l7.upstream(id).unwrap(),
        RouteAction::Unsupported => panic!("nobody serves {host}{path}"),
    }
}

fn endpoints(upstream: &Upstream) -> Vec<String> {
    upstream.endpoints.iter().map(|endpoint| endpoint.addr.to_string()).collect()
}

/// What is said about Ingresses and their certificates.
fn said(world: &World) -> Vec<String> {
    let findings = world.compiler.findings();
    findings.map(|(key, f)| format!("{key}: {}: {}", f.path, f.message)).collect()
}

#[test]
fn the_addresses_are_vips_and_listened_at() {
    let mut world = world();
    let tables = world.compile().unwrap();
    assert!(tables.v4.vips.get(&[203, 0, 113, 80]).unwrap().announce);
    assert_eq!(tables.v6.vips.len(), 1);
    let at = |port| tables.v4.listeners.get(&([203, 0, 113, 80], port)).copied();
    assert_eq!([at(80), at(443), at(81)], [Some(ListenerId(0)), Some(ListenerId(1)), None]);
    assert_eq!(tables.v6.listeners.len(), 2);
    let names: Vec<_> = tables.l7.listeners.iter().flatten().map(|of| &*of.name).collect();
    assert_eq!(names, ["ingress-http", "ingress-https"]);
    // No Service can have one of them.
    world.service("s", &["10.96.0.1".to_owned(), "203.0.113.80".to_owned()], &[80]);
    let tables = world.compile().unwrap();
    assert!(tables.v4.frontends.get(&key([203, 0, 113, 80], 80)).is_none());
    let taken = "203.0.113.80 is an address where Ingresses are served";
    assert!(said(&world).iter().any(|text| text.contains(taken)), "{:?}", said(&world));
    world.compiler.set_announce(Announce::Held { held: Default::default(), groups: 16 });
    let tables = world.compile().unwrap();
    assert!(!tables.v4.vips.get(&[203, 0, 113, 80]).unwrap().announce);
}

#[test]
fn addresses_of_the_kernel_are_no_vips() {
    let mut world =
        world_of("l7: {io: kernel, ingress: {addresses: [192.0.2.9], http_port: 8080}}");
    let tables = world.compile().unwrap();
    assert!(tables.v4.vips.is_empty());
    assert_eq!(tables.v4.listeners.get(&([192, 0, 2, 9], 8080)), Some(&ListenerId(0)));
}

#[test]
fn without_the_section_there_is_nothing() {
    let mut world = world();
    let service = ingress("a", "a.example", &[path("/", "s", json!({"number": 80}))]);
    world.apply(Kind::Ingress, service);
    assert!(world.compile().is_some() && !said(&world).is_empty());
    world.compiler.reconfigure(&config(), &facts()).unwrap();
    let tables = world.compile().unwrap();
    assert!(tables.l7.listeners.is_empty() && tables.v4.listeners.is_empty());
    assert!(tables.v4.vips.is_empty() && tables.v6.vips.is_empty());
    assert!(said(&world).is_empty());
    world.compiler.reconfigure(&l7_config(SECTION), &facts()).unwrap();
    let tables = world.compile().unwrap();
    assert!(route(&tables, "a.example", "/").is_some());
}

#[test]
fn requests_go_to_the_endpoints_of_a_port() {
    let mut world = world();
    let paths = [
        path("/", "s", json!({"number": 80})),
        path("/name", "s", json!({"name": "p80"})),
        path("/other", "s", json!({"number": 81})),
        path("/none", "x", json!({"number": 80})),
    ];
    world.apply(Kind::Ingress, ingress("a", "a.example", &paths));
    world.service("s", &["10.96.0.1".to_owned()], &[80]);
    let of = |last: u8, state| (format!("10.244.1.{last}"), state);
    world.slice("s", &[of(1, "ready"), of(2, "draining"), of(3, "not"), of(4, "ready")]);
    let tables = world.compile().unwrap();
    let first = upstream(&tables, "a.example", "/x");
    assert_eq!(
        (&*first.name, endpoints(first).join(" ")),
        ("default/s:80", "10.244.1.1:8080 10.244.1.4:8080".to_owned())
    );
    assert_eq!(first.endpoints[0].id, world.backend("s", 80, [10, 244, 1, 1]));
    assert_eq!(&*upstream(&tables, "a.example", "/name").name, "default/s:p80");
    assert_eq!(endpoints(upstream(&tables, "a.example", "/name")).len(), 2);
    assert!(upstream(&tables, "a.example", "/other").endpoints.is_empty());
    assert!(upstream(&tables, "a.example", "/none").endpoints.is_empty());
    let found = route(&tables, "a.example", "/x").unwrap();
    assert_eq!(
        (&*found.object, &*found.place),
        ("Ingress default/a", "spec.rules[0].http.paths[0]")
    );
    let at = "Ingress default/a: spec.rules[0].http.paths";
    assert_eq!(
        said(&world)[..2],
        [
            format!(
                "{at}[2].backend.service: Service default/s has no TCP port 81; 503 is answered"
            ),
            format!("{at}[3].backend.service: there is no Service default/x; 503 is answered"),
        ]
    );
    // A change of an endpoint touches its upstream, and nothing else.
    world.slice("s", &[of(1, "not"), of(2, "draining"), of(3, "not")]);
    let after = world.compile().unwrap();
    assert!(Arc::ptr_eq(&tables.l7.listeners, &after.l7.listeners));
    let second = upstream(&after, "a.example", "/x");
    assert_eq!((second.id, endpoints(second)), (first.id, vec!["10.244.1.2:8080".to_owned()]));
    // A Service that comes mends it.
    world.service("x", &["10.96.0.2".to_owned()], &[80]);
    world.compile().unwrap();
    assert!(!said(&world).iter().any(|text| text.contains("default/x")));
}

#[test]
fn numbers_of_upstreams_rest_before_they_mean_something_else() {
    let mut world = world();
    let with =
        |service: &str| ingress("a", "a.example", &[path("/", service, json!({"number": 80}))]);
    world.apply(Kind::Ingress, with("s"));
    let first = upstream(&world.compile().unwrap(), "a.example", "/").id;
    world.apply(Kind::Ingress, with("t"));
    let tables = world.compile().unwrap();
    assert_ne!(upstream(&tables, "a.example", "/").id, first);
    assert!(tables.l7.upstream(first).is_none());
    world.apply(Kind::Ingress, with("s"));
    assert_eq!(upstream(&world.compile().unwrap(), "a.example", "/").id, first);
}

#[test]
fn an_edit_among_thousands_touches_its_host_alone() {
    let mut world = world();
    let host = |number: u32| format!("h{number}.example");
    for number in 0..5000 {
        let service = format!("s{number}");
        let paths =
            [path("/", &service, json!({"number": 80})), path("/x", "s", json!({"number": 80}))];
        let mut object = ingress(&format!("i{number}"), &host(number), &paths);
        object["spec"]["tls"] = json!([{"hosts": [host(number)], "secretName": "tls"}]);
        world.apply(Kind::Ingress, object);
    }
    world.apply(Kind::Secret, secret("default", "tls", &pair("*.example", 2090)));
    let start = Instant::now();
    let before = world.compile().unwrap();
    println!("5,000 Ingresses from nothing: {:?}", start.elapsed());
    let paths = [path("/", "other", json!({"number": 80}))];
    world.apply(Kind::Ingress, ingress("i7", &host(7), &paths));
    let start = Instant::now();
    let after = world.compile().unwrap();
    println!("an edit of one of 5,000 Ingresses: {:?}", start.elapsed());
    assert_eq!(&*upstream(&after, &host(7), "/x").name, "default/other:80");
    for number in (0..5000).filter(|number| *number != 7) {
        let [old, new] =
            [&before, &after].map(|tables| route(tables, &host(number), "/x").unwrap());
        assert!(Arc::ptr_eq(old, new));
    }
    let of = |tables: &Tables, number| certificate(tables, Some(&host(number)));
    assert_eq!((of(&before, 7).is_some(), of(&after, 7)), (true, None));
    assert_eq!(of(&before, 8), of(&after, 8));
    let upstreams = |tables: &Tables| tables.l7.upstreams.iter().flatten().count();
    assert_eq!((upstreams(&before), upstreams(&after)), (5001, 5001));
}

#[test]
fn endpoints_are_told_of_clients_where_an_ingress_asks_for_it() {
    let mut world = world();
    world.service("s", &["10.96.0.1".to_owned()], &[80]);
    let paths = [path("/", "s", json!({"number": 80}))];
    let mut object = ingress("told", "a.example", &paths);
    for (text, expected, is_wrong) in
        [("true", true, false), ("false", false, false), ("yes", false, true)]
    {
        object["metadata"]["annotations"] = json!({"sluice.dev/send-proxy-protocol": text});
        world.apply(Kind::Ingress, object.clone());
        world.apply(Kind::Ingress, ingress("plain", "b.example", &paths));
        world.compile();
        let tables = world.compiler.tables();
        assert_eq!(upstream(tables, "a.example", "/").sends_proxy_protocol, expected, "{text}");
        assert!(!upstream(tables, "b.example", "/").sends_proxy_protocol);
        let shown = crate::view::http_routes(&world.cluster, &world.compiler);
        let shown: Vec<_> = shown.iter().map(|of| of.options.sends_proxy_protocol).collect();
        assert_eq!(shown, [expected, false], "{text}");
        let names = ["a.example", "b.example"].map(|host| &*upstream(tables, host, "/").name);
        assert_eq!(names, ["default/s:80"; 2]);
        let is_said = said(&world).iter().any(|text| text.contains("send-proxy-protocol"));
        assert_eq!(is_said, is_wrong, "{text}");
    }
}
