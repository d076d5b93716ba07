//! What is shown of requests, of the golden case of Ingresses.

use crate::support::{Harness, config_with};
use sluice_control::Request;
use sluice_control::view::{CertificateView, RequestedQuery, RequestedView};
use sluice_tables::l7::UpstreamId;

fn harness(folder: &tempfile::TempDir) -> Harness {
    let case = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/ingress.yaml");
    std::fs::copy(case, folder.path().join("a.yaml")).unwrap();
    let config = config_with(include_str!("../cases/ingress.config"));
    let harness = Harness::with(folder.path(), config, Default::default());
    harness.wait_live();
    harness
}

#[test]
fn listeners_say_who_is_served_and_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let harness = harness(&folder);
    let listeners = harness.ask(|reply| Request::Listeners { reply });
    let said: Vec<_> = listeners
        .iter()
        .map(|of| {
            let at = format!("{} {} {}", of.name, of.address, of.port);
            let has = format!("{} {:?} {}", of.protocol, of.classes, of.ingresses);
            format!("{at}: {has} {} {} {:?}", of.certificates, of.state, of.problems)
        })
        .collect();
    let wrong = "impaired [\"Secret shop/broken: it has no certificate in `tls.crt`\"]";
    assert_eq!(
        said,
        [
            "ingress-http 203.0.113.80 80: HTTP [\"sluice\"] 3 0 ready []".to_owned(),
            format!("ingress-https 203.0.113.80 8443: HTTPS [\"sluice\"] 3 1 {wrong}"),
            "ingress-http 2001:db8:80::1 80: HTTP [\"sluice\"] 3 0 ready []".to_owned(),
            format!("ingress-https 2001:db8:80::1 8443: HTTPS [\"sluice\"] 3 1 {wrong}"),
        ]
    );
}

#[test]
fn routes_say_where_requests_go_and_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let harness = harness(&folder);
    let routes = harness.ask(|reply| Request::HttpRoutes { reply });
    let said: Vec<_> = routes
        .iter()
        .map(|of| {
            let backend = of.backend.as_deref().unwrap_or("-");
            let what = format!("{} {} {} {}", of.host, of.path, of.path_type, of.ingress);
            format!("{what}: {backend} {} {:?}", of.endpoints, of.findings)
        })
        .collect();
    assert_eq!(
        said,
        [
            "* / Prefix shop/all: shop/web:80 2 []",
            "*.shop.example / Prefix shop/web: shop/nobody:80 0 [\"there is no Service \
             shop/nobody; 503 is answered\"]",
            "shop.example / Prefix shop/api: shop/api:9000 1 [\"has no group for `$1` of the \
             target \\\"/$1\\\": it is empty\"]",
            "shop.example /admin Exact shop/web: shop/web:admin 1 []",
            "shop.example /api/(.*) Pattern shop/api: shop/api:9000 1 []",
            "shop.example /gone Prefix shop/web: shop/web:82 0 [\"Service shop/web has no TCP \
             port 82; 503 is answered\"]",
        ]
    );
    let redirected: Vec<_> = routes.iter().map(|of| of.options.https_redirect).collect();
    assert_eq!(redirected, [false, false, true, true, true, true]);
    let api = &routes[2];
    assert_eq!(api.options.body_bytes_max, Some(8 << 20));
    assert_eq!((&*api.options.protocol, &api.options.rewrite), ("GRPC", &Some("/$1".to_owned())));
}

#[test]
fn certificates_say_who_has_them_and_how_long_they_last() {
    let folder = tempfile::tempdir().unwrap();
    let harness = harness(&folder);
    let certificates = harness.ask(|reply| Request::Certificates { reply });
    let [broken, tls] = &certificates[..] else { panic!("{certificates:#?}") };
    assert_eq!(broken.problem.as_deref(), Some("it has no certificate in `tls.crt`"));
    assert_eq!((&broken.hosts, broken.left_s), (&vec![], None));
    let CertificateView { secret, ingresses, hosts, names, issuer, listeners, .. } = tls;
    assert_eq!((&**secret, &**issuer), ("shop/tls", "itself"));
    assert_eq!(
        (&ingresses[..], &hosts[..]),
        (&["shop/web".into()][..], &["shop.example".into()][..])
    );
    assert_eq!(names, &["shop.example"]);
    assert_eq!(listeners, &["203.0.113.80:8443", "[2001:db8:80::1]:8443"]);
    let (from, until) = (tls.not_before_unix_s.unwrap(), tls.not_after_unix_s.unwrap());
    assert_eq!((until - from) / 86_400, 36_500);
    assert!(tls.left_s.is_some_and(|left| left <= until - from), "{tls:?}");
}

#[test]
fn what_is_asked_of_a_request_says_why_endpoints_get_none() {
    let folder = tempfile::tempdir().unwrap();
    let harness = harness(&folder);
    let tables = harness.ask(|reply| Request::Tables { reply });
    let id = |name: &str| -> UpstreamId {
        let upstreams = tables.l7.upstreams.iter().flatten();
        upstreams.into_iter().find(|of| &*of.name == name).unwrap().id
    };
    let ask = |query: RequestedQuery| -> RequestedView {
        harness.ask(|reply| Request::Requested { query, reply })
    };
    let upstream = |name| ask(RequestedQuery { upstream: Some(id(name)), ..Default::default() });
    let web = upstream("shop/web:80");
    let said: Vec<_> = web
        .endpoints
        .iter()
        .map(|of| format!("{} {}", of.address, of.why_not.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(
        said,
        [
            "10.244.1.1:8080 -",
            "10.244.1.2:8080 ends, and others are ready",
            "10.244.1.3:8080 not ready",
            "[fd00:10:244:1::1]:8080 -",
        ]
    );
    assert_eq!((web.problem, web.is_of_kernel), (None, false));
    let nobody = upstream("shop/nobody:80");
    assert_eq!(nobody.problem.as_deref(), Some("there is no Service shop/nobody"));
    assert!(nobody.endpoints.is_empty());
    let route = Some(("Ingress shop/web".to_owned(), String::new()));
    let findings = ask(RequestedQuery { route, ..Default::default() }).findings;
    assert!(findings.iter().any(|text| text.contains("has no TCP port 82")), "{findings:?}");
}
