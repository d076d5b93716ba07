//! What clients show.

use super::*;
use sluice_tables::l7::ClientAuthMode;

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
