//! Ingresses: listeners, routes and upstreams.

use super::*;
use crate::object::Kind;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use sluice_tables::http_routes::Request;
use sluice_tables::l7::{ClientAuthMode, HttpRoute, ListenerId, RouteAction, Upstream};
use sluice_tables::policy::{PortKey, Verdict, judge, judge_request};

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

fn certificate(tables: &Tables, host: Option<&str>) -> Option<String> {
    let listener = tables.l7.listener(ListenerId(1)).unwrap();
    let found = listener.certificates.as_ref().unwrap().find(host);
    found.map(|certificate| certificate.name.to_string())
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
fn hosts_have_the_certificates_of_their_ingresses_or_the_default() {
    let mut world = world();
    world.compiler.set_unix_time(1_700_000_000);
    let mut object = ingress("a", "a.example", &[path("/", "s", json!({"number": 80}))]);
    object["spec"]["tls"] = json!([
        {"hosts": ["a.example"], "secretName": "tls"}, {"hosts": ["*.b.example"]},
    ]);
    world.apply(Kind::Ingress, object);
    world.apply(Kind::Ingress, ingress("b", "x.b.example", &[]));
    let tables = world.compile().unwrap();
    let is_sent_on = |tables: &Tables| route(tables, "a.example", "/").unwrap().https_redirect;
    assert!(certificate(&tables, Some("a.example")).is_none() && !is_sent_on(&tables));
    let lacks: Vec<_> = said(&world).into_iter().filter(|text| text.contains("spec.tls")).collect();
    assert_eq!(
        lacks,
        [
            "Ingress default/a: spec.tls[0].secretName: Secret default/tls: it is not there, or is none \
         of type kubernetes.io/tls; its hosts have no certificate",
            "Ingress default/a: spec.tls[1]: names no Secret, and there is no default certificate",
        ]
    );
    assert!(said(&world).iter().any(|text| text.starts_with("Secret edge/default: : `l7.")));
    // The default.
    world.apply(Kind::Secret, secret("edge", "default", &pair("*", 2090)));
    let tables = world.compile().unwrap();
    let default = Some("Secret edge/default".to_owned());
    assert_eq!(certificate(&tables, Some("a.example")), default);
    assert_eq!(certificate(&tables, None), default);
    assert!(is_sent_on(&tables));
    // Its own, which ends.
    let own = pair("a.example", 2020);
    world.apply(Kind::Secret, secret("default", "tls", &own));
    let tables = world.compile().unwrap();
    let name = Some("Secret default/tls".to_owned());
    assert_eq!(certificate(&tables, Some("a.example")), name);
    assert_eq!(certificate(&tables, Some("c.example")), default);
    let expired = "Secret default/tls: its certificate has expired; it is still served";
    assert!(said(&world).iter().any(|text| text.ends_with(expired)), "{:?}", said(&world));
    // One that cannot be used changes nothing but what is said.
    world.apply(Kind::Secret, secret("default", "tls", &(own.0, pair("x", 2090).1)));
    let after = world.compile();
    assert!(after.is_none_or(|after| certificate(&after, Some("a.example")) == name));
    let bad = "Secret default/tls: it has a key that is not that of its certificate; its last good \
               version stays in force";
    assert!(said(&world).iter().any(|text| text.ends_with(bad)), "{:?}", said(&world));
    // It goes.
    world.cluster.delete(&Name::new("default", "tls").key(Kind::Secret));
    let tables = world.compile().unwrap();
    assert_eq!(certificate(&tables, Some("a.example")), default);
    assert!(is_sent_on(&tables));
}

/// What a host asks of clients: the mode, the depth, and how many are trusted.
fn asked(tables: &Tables, host: &str) -> Option<(ClientAuthMode, u8, usize)> {
    let listener = tables.l7.listener(ListenerId(1)).unwrap();
    let auths = &listener.certificates.as_ref().unwrap().client_auths;
    let found = auths.find(Some(host)).map(|of| (of.mode, of.depth_max, of.roots.len()));
    // A route asks for what its host asks for.
    let of_route = route(tables, host, "/").and_then(|route| route.client_auth.as_ref());
    assert_eq!(auths.find(Some(host)), of_route, "{host}");
    found
}

fn trusted(name: &str, pem: &str) -> Value {
    json!({"metadata": {"namespace": "default", "name": name}, "type": "Opaque",
           "stringData": {"ca.crt": pem}})
}

fn asking(name: &str, host: &str, annotations: Value) -> Value {
    let mut object = ingress(name, host, &[path("/", "s", json!({"number": 80}))]);
    let annotations = annotations.as_object().unwrap().iter();
    let all: serde_json::Map<_, _> = annotations
        .map(|(name, text)| (format!("nginx.ingress.kubernetes.io/{name}"), text.clone()))
        .collect();
    object["metadata"]["annotations"] = Value::Object(all);
    object
}

#[test]
fn clients_show_what_the_secret_of_their_host_says_now() {
    use ClientAuthMode::{Optional, Required};
    let mut world = world();
    let [one, two] = ["one", "two"].map(|name| pair(name, 2090).0);
    world.service("s", &["10.96.0.1".to_owned()], &[80]);
    world.apply(Kind::Ingress, asking("a", "a.example", json!({"auth-tls-secret": "default/ca"})));
    world.apply(Kind::Ingress, ingress("b", "b.example", &[path("/", "s", json!({"number": 80}))]));
    let tables = world.compile().unwrap();
    // Without it nobody is let in, and it is said.
    assert_eq!(asked(&tables, "a.example"), Some((Required, 1, 0)));
    assert_eq!(asked(&tables, "b.example"), None);
    let lacks = "Ingress default/a: metadata.annotations.nginx.ingress.kubernetes.io/\
                 auth-tls-secret: Secret default/ca: it is not there, or has no `ca.crt`; nobody is \
                 let in";
    assert!(said(&world).contains(&lacks.to_owned()), "{:?}", said(&world));
    world.apply(Kind::Secret, trusted("ca", &one));
    let tables = world.compile().unwrap();
    assert_eq!(asked(&tables, "a.example"), Some((Required, 1, 1)));
    assert!(!said(&world).iter().any(|text| text.contains("auth-tls-secret")));
    // Nothing is made anew for what is the same.
    let auth = |tables: &Tables| route(tables, "a.example", "/").unwrap().client_auth.clone();
    let before = auth(&tables).unwrap();
    world.apply(Kind::Ingress, ingress("c", "c.example", &[path("/", "s", json!({"number": 80}))]));
    assert!(Arc::ptr_eq(&before, &auth(&world.compile().unwrap()).unwrap()));
    // It changes, and so does what is asked for.
    world.apply(Kind::Secret, trusted("ca", &format!("{one}{two}")));
    assert_eq!(asked(&world.compile().unwrap(), "a.example"), Some((Required, 1, 2)));
    let options = json!({"auth-tls-secret": "default/ca", "auth-tls-verify-client": "optional",
                         "auth-tls-verify-depth": "3"});
    world.apply(Kind::Ingress, asking("a", "a.example", options));
    assert_eq!(asked(&world.compile().unwrap(), "a.example"), Some((Optional, 3, 2)));
    // What cannot be read leaves nobody of before.
    world.apply(Kind::Secret, trusted("ca", "x"));
    assert_eq!(asked(&world.compile().unwrap(), "a.example"), Some((Optional, 3, 0)));
    let bad = "Secret default/ca: it has no certificate in `ca.crt`; nobody is let in";
    assert!(said(&world).iter().any(|text| text.ends_with(bad)), "{:?}", said(&world));
    world.apply(Kind::Secret, trusted("ca", &one));
    assert_eq!(asked(&world.compile().unwrap(), "a.example"), Some((Optional, 3, 1)));
    world.cluster.delete(&Name::new("default", "ca").key(Kind::Secret));
    assert_eq!(asked(&world.compile().unwrap(), "a.example"), Some((Optional, 3, 0)));
    world.apply(Kind::Ingress, asking("a", "a.example", json!({"auth-tls-verify-client": "off"})));
    assert_eq!(asked(&world.compile().unwrap(), "a.example"), None);
}

#[test]
fn the_first_ingress_of_a_host_says_what_its_clients_show() {
    let mut world = world();
    let [one, two] = ["one", "two"].map(|name| pair(name, 2090).0);
    world.apply(Kind::Secret, trusted("one", &one));
    world.apply(Kind::Secret, trusted("two", &format!("{one}{two}")));
    world.service("s", &["10.96.0.1".to_owned()], &[80]);
    let more = |name: &str, at: &str, options: Value| {
        let mut object = asking(name, "x.example", options);
        object["spec"]["rules"][0]["http"]["paths"][0]["path"] = at.into();
        object
    };
    world.apply(Kind::Ingress, more("a", "/", json!({})));
    world.apply(Kind::Ingress, more("b", "/b", json!({"auth-tls-secret": "default/one"})));
    world.apply(Kind::Ingress, more("c", "/c", json!({"auth-tls-secret": "default/two"})));
    let tables = world.compile().unwrap();
    assert_eq!(asked(&tables, "x.example"), Some((ClientAuthMode::Required, 1, 1)));
    for (path, is_served) in [("/", true), ("/b", true), ("/c", false)] {
        let route = route(&tables, "x.example", path).unwrap();
        assert_eq!(route.client_auth.as_ref().map(|of| of.roots.len()), Some(1), "{path}");
        assert_eq!(route.action != RouteAction::Unsupported, is_served, "{path}");
    }
    let told = "Ingress default/c: metadata.annotations.nginx.ingress.kubernetes.io/\
                auth-tls-secret: what clients of x.example have to show is said by Ingress default/b, \
                which is older or first by name; 503 is answered";
    assert!(said(&world).contains(&told.to_owned()), "{:?}", said(&world));
    // The next one has it then.
    world.cluster.delete(&Name::new("default", "b").key(Kind::Ingress));
    let tables = world.compile().unwrap();
    assert_eq!(asked(&tables, "x.example"), Some((ClientAuthMode::Required, 1, 2)));
    assert_ne!(route(&tables, "x.example", "/c").unwrap().action, RouteAction::Unsupported);
}

#[test]
fn names_beside_a_wildcard_that_asks_show_what_they_are_asked_for() {
    let mut world = world();
    world.apply(Kind::Secret, trusted("ca", &pair("ca", 2090).0));
    world.service("s", &["10.96.0.1".to_owned()], &[80]);
    let options = || json!({"auth-tls-secret": "default/ca"});
    world.apply(Kind::Ingress, asking("a", "*.example", options()));
    let all = Some((ClientAuthMode::Required, 1, 1));
    let tables = world.compile().unwrap();
    assert_eq!(asked(&tables, "open.example"), all);
    world.apply(Kind::Ingress, asking("b", "open.example", json!({})));
    let tables = world.compile().unwrap();
    assert_eq!((asked(&tables, "open.example"), asked(&tables, "x.example")), (None, all));
    world.cluster.delete(&Name::new("default", "b").key(Kind::Ingress));
    assert_eq!(asked(&world.compile().unwrap(), "open.example"), all);
    world.cluster.delete(&Name::new("default", "a").key(Kind::Ingress));
    assert_eq!(asked(&world.compile().unwrap(), "x.example"), None);
}

#[test]
fn the_time_of_certificates_is_told_when_it_comes_and_when_it_is_over() {
    // 2030 and 2040.
    const BEGIN: i64 = 1_893_456_000;
    const END: i64 = 2_208_988_800;
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2030, 1, 1), date_time_ymd(2040, 1, 1));
    let pair = (params.self_signed(&key).unwrap().pem(), key.serialize_pem());
    let mut world = world();
    world.compiler.set_unix_time(BEGIN - 10);
    let mut object = ingress("a", "a.example", &[path("/", "s", json!({"number": 80}))]);
    object["spec"]["tls"] = json!([{"hosts": ["a.example"], "secretName": "tls"}]);
    world.apply(Kind::Ingress, object);
    world.apply(Kind::Secret, secret("default", "tls", &pair));
    world.apply(Kind::Secret, secret("default", "unused", &pair));
    world.apply(Kind::Secret, secret("edge", "default", &pair));
    world.compile();
    let mut told = |unix_s: i64| {
        if world.compiler.set_unix_time(unix_s) {
            assert!(world.compile().is_none(), "no table is different");
        }
        let said = said(&world).into_iter();
        said.filter(|text| text.contains("its certificate ")).collect::<Vec<_>>()
    };
    let young = |text: &String| text.contains("is not valid yet");
    let old = |text: &String| text.contains("has expired");
    assert_eq!(told(BEGIN - 1).iter().filter(|text| young(text)).count(), 2);
    assert!(told(BEGIN).is_empty());
    assert!(told(END).is_empty());
    assert_eq!(told(END + 1).iter().filter(|text| old(text)).count(), 2);
    // A clock that is set back.
    assert!(told(END - 5).is_empty());
    assert_eq!(told(0).iter().filter(|text| young(text)).count(), 2);
    let names = |max| -> Vec<_> {
        let ends = world.compiler.certificate_ends(max).into_iter();
        ends.map(|(name, end)| (name.to_string(), end)).collect()
    };
    let [tls, default] = ["default/tls", "edge/default"].map(|name| (name.to_owned(), END));
    assert_eq!(names(9), [tls.clone(), default]);
    assert_eq!(names(1), [tls]);
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
fn policies_take_the_gateway_for_the_pod_that_is_configured() {
    const POOL: [u8; 4] = [10, 244, 255, 1];
    const POD: [u8; 4] = [10, 244, 1, 7];
    let mut world = world();
    super::policy::pod(&mut world, "a", "web", Some(POD));
    let deny = json!({"podSelector": {}, "policyTypes": ["Ingress"]});
    super::policy::policy(&mut world, "deny", deny.clone());
    world.compile();
    let verdict = |world: &World| {
        let judgment = judge::<V4>(world.compiler.tables(), &POOL, &POD, PortKey::of(6, 8080));
        judgment.egress.verdict().max(judgment.ingress.verdict())
    };
    assert_eq!(verdict(&world), Verdict::Deny);
    let from = |namespace: &str, app: &str| {
        let of = |key: &str, value: &str| json!({"matchLabels": {key: value}});
        let namespace = of("kubernetes.io/metadata.name", namespace);
        let peer = json!({"namespaceSelector": namespace,
                          "podSelector": of("app.kubernetes.io/name", app)});
        json!({"podSelector": {}, "ingress": [{"from": [peer]}]})
    };
    for (namespace, app, expected) in [
        ("sluice-system", "other", Verdict::Deny),
        ("default", "sluice", Verdict::Deny),
        ("sluice-system", "sluice", Verdict::Allow),
    ] {
        super::policy::policy(&mut world, "allow", from(namespace, app));
        world.compile();
        assert_eq!(verdict(&world), expected, "{namespace} {app}");
    }
    // Another identity, and none.
    let identity = "l7: {identity: {namespace: edge}}";
    world.compiler.reconfigure(&l7_config(identity), &facts()).unwrap();
    world.compile();
    assert_eq!(verdict(&world), Verdict::Deny);
    super::policy::policy(&mut world, "allow", from("edge", "sluice"));
    world.compile();
    assert_eq!(verdict(&world), Verdict::Allow);
    world.compiler.reconfigure(&config(), &facts()).unwrap();
    world.compile();
    assert_eq!(verdict(&world), Verdict::Deny);
    // Policies that come after there were none.
    world.compiler.reconfigure(&l7_config(identity), &facts()).unwrap();
    for name in ["allow", "deny"] {
        world.cluster.delete(&Name::new("shop", name).key(Kind::NetworkPolicy));
    }
    world.compile();
    super::policy::policy(&mut world, "deny", deny);
    super::policy::policy(&mut world, "allow", from("edge", "sluice"));
    world.compile();
    assert_eq!(verdict(&world), Verdict::Allow);
}

#[test]
fn blocks_of_policies_match_the_client_of_a_request_and_selectors_the_gateway() {
    const POD: [u8; 4] = [10, 244, 1, 7];
    let mut world = world();
    super::policy::pod(&mut world, "a", "web", Some(POD));
    let peer = |cidr: &str, except: &[&str]| json!({"ipBlock": {"cidr": cidr, "except": except}});
    let from = |peers: &[Value]| json!({"podSelector": {}, "ingress": [{"from": peers}]});
    let selected = json!({"namespaceSelector": {"matchLabels": {
        "kubernetes.io/metadata.name": "sluice-system"}}});
    let verdicts = |world: &World| {
        let clients = ["192.0.2.7", "192.0.2.200", "198.51.100.1", "10.244.255.1", "2001:db8::7"];
        clients.map(|client| {
            let dst = (POD, 8080).into();
            judge_request(world.compiler.tables(), client.parse().unwrap(), dst).verdict()
        })
    };
    let [allow, deny] = [Verdict::Allow, Verdict::Deny];
    assert_eq!(verdicts(&world), [allow; 5], "there are no policies");
    for (what, peers, expected) in [
        (
            "a block",
            vec![peer("192.0.2.0/24", &["192.0.2.128/25"])],
            [allow, deny, deny, deny, deny],
        ),
        ("of IPv6", vec![peer("2001:db8::/32", &[])], [deny, deny, deny, deny, allow]),
        ("everybody of a family", vec![peer("0.0.0.0/0", &[])], [allow, allow, allow, allow, deny]),
        // The gateway's own addresses are no client's.
        ("the pool", vec![peer("10.244.255.0/24", &[])], [deny, deny, deny, allow, deny]),
        ("the gateway", vec![selected.clone()], [allow; 5]),
        ("both", vec![selected.clone(), peer("192.0.2.0/24", &[])], [allow; 5]),
        ("nobody", vec![peer("203.0.113.0/24", &[])], [deny; 5]),
    ] {
        super::policy::policy(&mut world, "from", from(&peers));
        world.compile();
        assert_eq!(verdicts(&world), expected, "{what}");
    }
    // What the gateway is taken for changes while the blocks stay.
    let peers = [selected, peer("192.0.2.0/24", &[])];
    super::policy::policy(&mut world, "from", from(&peers));
    let elsewhere = format!("{SECTION}  identity: {{namespace: edge}}\n");
    world.compiler.reconfigure(&l7_config(&elsewhere), &facts()).unwrap();
    world.compile();
    assert_eq!(verdicts(&world), [allow, allow, deny, deny, deny]);
    world.compiler.reconfigure(&l7_config(SECTION), &facts()).unwrap();
    world.compile();
    assert_eq!(verdicts(&world), [allow; 5]);
    world.cluster.delete(&Name::new("shop", "from").key(Kind::NetworkPolicy));
    world.compile();
    assert_eq!(verdicts(&world), [allow; 5]);
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
        let names = ["a.example", "b.example"].map(|host| &*upstream(tables, host, "/").name);
        assert_eq!(names, ["default/s:80"; 2]);
        let is_said = said(&world).iter().any(|text| text.contains("send-proxy-protocol"));
        assert_eq!(is_said, is_wrong, "{text}");
    }
}
