use super::*;
use crate::admin::view::ConnectionView;

fn words(text: &str, line: usize) -> String {
    text.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_listener_says_what_is_wrong_with_it() {
    let of = |protocol: &str, problems: &[&str], default: Option<&str>| ListenerView {
        name: format!("ingress-{}", protocol.to_lowercase()),
        address: "2001:db8::80".parse().unwrap(),
        port: 443,
        protocol: protocol.to_owned(),
        classes: vec!["sluice".to_owned()],
        ingresses: 1_200,
        certificates: 2,
        default_certificate: default.map(str::to_owned),
        state: if problems.is_empty() { "ready" } else { "impaired" }.to_owned(),
        problems: problems.iter().map(|text| (*text).to_owned()).collect(),
    };
    let text = listeners(&[
        of("HTTPS", &["Secret shop/tls: it has no `tls.key`"], Some("edge/default")),
        of("HTTP", &[], None),
    ]);
    assert_eq!(
        words(&text, 1),
        "ingress-https [2001:db8::80]:443 HTTPS sluice 1,200 2 edge/default impaired Secret \
         shop/tls: it has no `tls.key`"
    );
    assert_eq!(words(&text, 2), "ingress-http [2001:db8::80]:443 HTTP sluice 1,200 2 - ready -");
    assert_eq!(listeners(&[]), "nothing listens for requests\n");
}

#[test]
fn a_route_shows_what_it_does_beside_what_all_do() {
    let of = |options: RouteOptionsView, backend: Option<&str>, findings: &[&str]| HttpRouteView {
        host: "*.shop.example".to_owned(),
        path: "/old(/|$)(.*)".to_owned(),
        path_type: "Pattern".to_owned(),
        ingress: "shop/web".to_owned(),
        place: "spec.rules[0].http.paths[0]".to_owned(),
        backend: backend.map(str::to_owned),
        endpoints: 3,
        options,
        findings: findings.iter().map(|text| (*text).to_owned()).collect(),
    };
    let usual = RouteOptionsView::default;
    let all = RouteOptionsView {
        https_redirect: true,
        rewrite: Some("/$2".to_owned()),
        body_bytes_max: None,
        connect_ms: 1_000,
        read_ms: 3_600_000,
        send_ms: 120_000,
        protocol: "GRPCS".to_owned(),
        client_certificates: Some("shop/ca".to_owned()),
        sends_proxy_protocol: true,
    };
    let text = http_routes(&[
        of(usual(), Some("shop/web:80"), &[]),
        of(all, None, &["asks for what is not supported", "b"]),
        of(RouteOptionsView { body_bytes_max: Some(8 << 20), ..usual() }, Some("shop/web:80"), &[]),
    ]);
    let path = "*.shop.example /old(/|$)(.*) Pattern shop/web";
    assert_eq!(words(&text, 1), format!("{path} shop/web:80 3 - -"));
    assert_eq!(
        words(&text, 2),
        format!(
            "{path} - 3 to-https,clients=shop/ca,rewrite=/$2,GRPCS,send-proxy-protocol,body=any,\
             connect=1.0s,read=1h0min,send=2min0s asks for what is not supported; b"
        )
    );
    assert_eq!(words(&text, 3), format!("{path} shop/web:80 3 body=8.0MiB -"));
}

#[test]
fn a_certificate_shows_how_long_it_lasts() {
    let of = |left_s: Option<i64>, is_default, problem: Option<&str>| CertificateView {
        secret: "shop/tls".to_owned(),
        ingresses: vec!["shop/web".to_owned()],
        is_default,
        hosts: vec!["shop.example".to_owned()],
        names: vec!["shop.example".to_owned(), "10.0.0.1".to_owned()],
        issuer: "itself".to_owned(),
        not_before_unix_s: Some(0),
        not_after_unix_s: left_s.map(|_| 1_577_836_800),
        left_s,
        listeners: vec!["203.0.113.80:443".to_owned()],
        problem: problem.map(str::to_owned),
    };
    let text = certificates(&[
        of(Some(86_400 * 30 + 5), false, None),
        of(Some(86_400), true, None),
        of(Some(7_200), false, None),
        of(Some(-1), false, Some("its certificate has expired; it is still served")),
        of(None, false, Some("it is not there, or is none of type kubernetes.io/tls")),
    ]);
    let begin = "shop/tls shop.example shop.example,10.0.0.1 itself";
    let (at, end) = ("2020-01-01 00:00 UTC", "203.0.113.80:443 shop/web");
    assert_eq!(words(&text, 1), format!("{begin} {at} 30 days {end} -"));
    assert_eq!(words(&text, 2), format!("{begin} {at} 1 day {end},the default -"));
    assert_eq!(words(&text, 3), format!("{begin} {at} 2 h 0 min {end} -"));
    assert!(words(&text, 4).contains("expired 203.0.113.80:443 shop/web its certificate has"));
    assert!(words(&text, 5).contains("itself - - 203.0.113.80:443"));
}

#[test]
fn connections_that_are_left_out_are_counted() {
    let of = |tls: Option<&str>, state: &str, in_flight| ConnectionView {
        worker: 1,
        client: "192.0.2.10:40000".parse().unwrap(),
        address: "203.0.113.80:443".parse().unwrap(),
        listener: "ingress-https".to_owned(),
        tls: tls.map(str::to_owned),
        server_name: tls.map(|_| "shop.example".to_owned()),
        protocol: if tls.is_some() { "HTTP/2" } else { "" }.to_owned(),
        state: state.to_owned(),
        in_flight,
        age_ms: 61_000,
        idle_ms: 0,
        requests: 1_234,
        bytes_in: 2_048,
        bytes_out: 10,
    };
    let list = vec![of(Some("TLSv1.3"), "serving", 12), of(None, "beginning", 0)];
    let view = ConnectionsView { connections: list, left_out: 7, silent: vec![3] };
    let text = connections(&view);
    let begin = "192.0.2.10:40000 203.0.113.80:443 ingress-https";
    assert_eq!(
        words(&text, 1),
        format!(
            "{begin} TLSv1.3 shop.example HTTP/2 serving 12 1 min 1 s 0 ms 1,234 2.0 KiB 10 B 1"
        )
    );
    assert!(words(&text, 2).starts_with(&format!("{begin} - - - beginning 1 min")), "{text}");
    assert_eq!(words(&text, 3), "and 7 more: ask for one --client");
    assert_eq!(words(&text, 4), "worker 3 has not answered");
    let none = ConnectionsView { connections: Vec::new(), left_out: 0, silent: Vec::new() };
    assert_eq!(connections(&none), "no connections\n");
}
