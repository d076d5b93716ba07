//! Which certificate a host has, and when it is over.

use super::*;

pub(super) fn certificate(tables: &Tables, host: Option<&str>) -> Option<String> {
    let listener = tables.l7.listener(ListenerId(1)).unwrap();
    let found = listener.certificates.as_ref().unwrap().find(host);
    found.map(|certificate| certificate.name.to_string())
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
    let other = ingress("c", "x.c.example", &[path("/", "s", json!({"number": 80}))]);
    world.apply(Kind::Ingress, other);
    let tables = world.compile().unwrap();
    let is_sent_on = |tables: &Tables| route(tables, "a.example", "/").unwrap().https_redirect;
    // Nothing goes in clear while it is missing.
    assert!(certificate(&tables, Some("a.example")).is_none() && is_sent_on(&tables));
    assert!(!route(&tables, "x.c.example", "/").unwrap().https_redirect);
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
