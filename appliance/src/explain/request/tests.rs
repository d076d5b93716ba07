use super::asked::{Header, RequestAsked, Verb};
use super::view::RequestExplanation;
use super::{offline, text};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use sluice_config::Config;
use sluice_control::Offline;

const CONFIG: &str = include_str!("../../../../control/tests/control/config.yaml");
const SHOP: &str = include_str!("../tests/shop.yaml");
const INGRESS: &str = include_str!("tests/ingress.yaml");
const L7: &str = "l7:
  ingress: {addresses: [203.0.113.80, \"2001:db8:80::1\"]}
  trusted_proxies: [198.51.100.0/28]
";

struct Shop {
    config: Config,
    read: Offline,
}

impl Shop {
    fn open() -> Shop {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["secure.example".to_owned()]).unwrap();
        params.not_after = date_time_ymd(2100, 1, 1);
        let certificate = params.self_signed(&key).unwrap().pem();
        let secret = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"namespace": "shop", "name": "tls"},
            "stringData": {"tls.crt": certificate, "tls.key": key.serialize_pem()},
        });
        let folder = tempfile::tempdir().unwrap();
        let manifests = format!("{SHOP}{INGRESS}---\n{secret}\n");
        std::fs::write(folder.path().join("a.yaml"), manifests).unwrap();
        let config = sluice_config::parse("config.yaml", &format!("{CONFIG}{L7}")).unwrap().config;
        let read = Offline::read(&config, folder.path()).unwrap();
        Shop { config, read }
    }

    fn ask(&self, url: &str, change: impl FnOnce(&mut RequestAsked)) -> RequestExplanation {
        let mut asked = RequestAsked {
            url: url.parse().unwrap(),
            method: Verb("GET".to_owned()),
            headers: Vec::new(),
            from: Some("192.0.2.7".parse().unwrap()),
            to: None,
        };
        change(&mut asked);
        offline(&self.read, &self.config, &asked).unwrap_or_else(|error| panic!("{url}: {error:#}"))
    }
}

fn to_v6(asked: &mut RequestAsked) {
    asked.from = Some("2001:db8::7".parse().unwrap());
}

fn header(text: &str) -> impl FnOnce(&mut RequestAsked) {
    let header: Header = text.parse().unwrap();
    move |asked| asked.headers.push(header)
}

/// What becomes of it, and by which place.
fn said(of: &RequestExplanation) -> String {
    let route = of.route.as_ref().map(|of| format!("{} {}", of.object, of.place));
    let answer = &of.answer;
    let what = match (answer.status, &answer.reason, &answer.location, &answer.target) {
        (Some(status), Some(reason), ..) => format!("{status} {reason}"),
        (Some(status), None, Some(location), _) => format!("{status} {location}"),
        (.., Some(target)) => format!("endpoint {target}"),
        _ => "nobody".to_owned(),
    };
    format!("{what}; {}", route.as_deref().unwrap_or("-"))
}

#[test]
fn each_answer_has_its_reason_and_its_place_in_both_families() {
    let shop = Shop::open();
    let web = |place: &str| format!("Ingress shop/web spec.rules{place}");
    for (url, expected) in [
        ("http://shop.example/a?b=c", format!("endpoint /a?b=c; {}", web("[0].http.paths[0]"))),
        ("http://SHOP.example./", format!("endpoint /; {}", web("[0].http.paths[0]"))),
        // Policies let nobody's requests through.
        ("http://shop.example/api/x", format!("403 policy_denied; {}", web("[0].http.paths[1]"))),
        ("http://shop.example/api/empty", format!("503 no_endpoint; {}", web("[0].http.paths[2]"))),
        ("http://shop.example/gone", format!("503 no_endpoint; {}", web("[0].http.paths[3]"))),
        ("http://a.shop.example/any", format!("endpoint /any; {}", web("[1].http.paths[0]"))),
        ("http://a.shop.example/", "404 no_route; -".to_owned()),
        ("http://b.a.shop.example/any", "404 no_route; -".to_owned()),
        ("http://203.0.113.80/", "404 no_route; -".to_owned()),
        (
            "http://shop.example/old/x",
            "endpoint /in/x; Ingress shop/old spec.rules[0].http.paths[0]".to_owned(),
        ),
        (
            "http://secure.example/x?y",
            "308 https://secure.example/x?y; Ingress shop/secure spec.rules[0].http.paths[0]"
                .to_owned(),
        ),
        (
            "https://secure.example/x",
            "endpoint /x; Ingress shop/secure spec.rules[0].http.paths[0]".to_owned(),
        ),
        // There is no certificate for it.
        ("https://shop.example/", "nobody; -".to_owned()),
        ("http://secure.example:443/", "400 not_tls; -".to_owned()),
        ("https://secure.example:80/", "400 bad_request_line; -".to_owned()),
        ("http://shop.example/../x", "400 bad_path; -".to_owned()),
        ("http://foreign.example/", "404 no_route; -".to_owned()),
    ] {
        let of = shop.ask(url, |_| {});
        assert_eq!(said(&of), expected, "{url}\n{}", text::render(&of));
        if url.contains("203.0.113.80") {
            continue;
        }
        let of = shop.ask(url, to_v6);
        assert!(of.listener.address.is_ipv6(), "{of:?}");
        assert_eq!(said(&of), expected, "{url}\n{}", text::render(&of));
    }
}

#[test]
fn what_a_request_says_of_itself_counts() {
    let shop = Shop::open();
    let url = "http://shop.example/old/x";
    let ask = |text: &str| said(&shop.ask(url, header(text)));
    assert!(ask("content-length: 1024").starts_with("endpoint /in/x"));
    assert!(ask("content-length: 1025").starts_with("413 body_too_large; Ingress shop/old"));
    assert!(ask("content-length: x").starts_with("400 bad_content_length; -"));
    assert!(ask("host: secure.example").starts_with("308 https://secure.example/old/x"));
    // Whoever speaks to it in TLS has said which host is meant.
    let of = shop.ask("https://secure.example/", header("host: a.shop.example"));
    assert_eq!(said(&of), "404 no_route; -");
    let of = shop.ask(url, |asked| asked.method = Verb("CONNECT".to_owned()));
    assert_eq!(said(&of), "501 bad_method; -");
    // Only trusted proxies are believed.
    let forwarded = || header("x-forwarded-for: 203.0.113.9");
    assert_eq!(shop.ask(url, forwarded()).client, None);
    let of = shop.ask(url, |asked| {
        forwarded()(asked);
        asked.from = Some("198.51.100.1".parse().unwrap());
    });
    assert_eq!(of.client, Some("203.0.113.9".parse().unwrap()));
    for claim in ["x-forwarded-proto: https", "Forwarded: for=203.0.113.9;proto=https"] {
        let of = shop.ask("http://secure.example/", |asked| {
            header(claim)(asked);
            asked.from = Some("198.51.100.1".parse().unwrap());
        });
        assert!(said(&of).starts_with("endpoint /;"), "{}", said(&of));
        let client = if claim.contains("for=") { "203.0.113.9" } else { "198.51.100.1" };
        assert_eq!(of.client, Some(client.parse().unwrap()));
    }
}

#[test]
fn what_cannot_be_explained_is_told_in_words() {
    let shop = Shop::open();
    let fails = |url: &str, from: Option<&str>, to: Option<&str>| {
        let addr = |text: &str| text.parse().unwrap();
        let asked = RequestAsked {
            url: url.parse().unwrap(),
            method: Verb("GET".to_owned()),
            headers: Vec::new(),
            from: from.map(addr),
            to: to.map(addr),
        };
        offline(&shop.read, &shop.config, &asked).unwrap_err().to_string()
    };
    let all = "listened at is 203.0.113.80:80, 203.0.113.80:443, [2001:db8:80::1]:80, \
               [2001:db8:80::1]:443";
    assert_eq!(
        fails("http://shop.example:81/", None, None),
        format!("nothing listens at port 81; {all}")
    );
    assert_eq!(
        fails("http://shop.example/", None, Some("192.0.2.1")),
        format!("nothing listens at 192.0.2.1:80; {all}")
    );
    assert_eq!(
        fails("http://[2001:db8::99]/", None, None),
        format!("nothing listens at [2001:db8::99]:80; {all}")
    );
    let mixed = fails("http://203.0.113.80/", Some("2001:db8::7"), None);
    assert!(mixed.contains("are not of one family"), "{mixed}");
    let config = sluice_config::parse("config.yaml", CONFIG).unwrap().config;
    let asked = RequestAsked {
        url: "http://shop.example/".parse().unwrap(),
        method: Verb("GET".to_owned()),
        headers: Vec::new(),
        from: None,
        to: None,
    };
    let error = offline(&shop.read, &config, &asked).unwrap_err().to_string();
    assert!(error.contains("no section `l7`"), "{error}");
}

#[test]
fn a_request_is_explained_step_by_step() {
    let shop = Shop::open();
    let said = text::render(&shop.ask("http://shop.example/old/x", |_| {}));
    let said: Vec<_> = said.lines().map(str::trim_end).collect();
    let expected = "\
STEP            WHAT
request         GET http://shop.example/old/x
from            192.0.2.7, outside of the cluster
listener        203.0.113.80:80, ingress-http, without TLS
route           shop.example/api/empty Exact of Ingress shop/web spec.rules[0].http.paths[2]: no, the path is another
route           shop.example/old(/|$)(.*) Pattern of Ingress shop/old spec.rules[0].http.paths[0]: this one
route           shop.example/gone Prefix of Ingress shop/web spec.rules[0].http.paths[3]: no, the path does not begin with it
route           shop.example/api Prefix of Ingress shop/web spec.rules[0].http.paths[1]: no, the path does not begin with it
route           shop.example/ Prefix of Ingress shop/web spec.rules[0].http.paths[0]: no, a longer one goes first
takes           Ingress shop/old spec.rules[0].http.paths[0]
rewrite         /in/x is asked for
limits          bodies of 1.0 KiB at most; 5.0 s to connect, 1 min 0 s to wait for the endpoint, 1 min 0 s for it to take what is sent
service         shop/front:80, HTTP/1.1, 2 endpoints
endpoint        10.244.1.2:8080, pod shop/frontend on node n1: reached
endpoint        [fd00:10:244:1::2]:8080, pod shop/frontend on node n1: reached
endpoint        10.244.1.9:8080, pod shop/lazy on node n1: no, not ready
endpoint        [fd00:10:244:1::9]:8080, pod shop/lazy on node n1: no, not ready
gateway         10.244.255.0, the gateway's SNAT pool
egress policy   allowed: no policy selects it
ingress policy  allowed: no policy selects it
answer          an endpoint's, to GET /in/x
note: nobody is asked what the host's address is: 203.0.113.80:80 is taken
note: this is a request at an idle gateway: limits, and what the endpoint does, are not in it";
    let expected: Vec<_> = expected.lines().collect();
    assert_eq!(said[..expected.len()], expected, "{}", said.join("\n"));
}

#[test]
fn a_broken_request_says_where_it_breaks() {
    let shop = Shop::open();
    let line = |of: &RequestExplanation, begin: &str| {
        let said = text::render(of);
        let found = said.lines().find(|line| line.starts_with(begin)).map(str::to_owned);
        found.unwrap_or_else(|| panic!("no {begin:?} in\n{said}"))
    };
    let gone = shop.ask("http://shop.example/gone", |_| {});
    assert!(line(&gone, "finding").contains("there is no Service shop/gone"));
    assert!(line(&gone, "answer").contains("503 by the gateway: no_endpoint: "));
    let denied = shop.ask("http://shop.example/api", |_| {});
    let endpoint = line(&denied, "endpoint");
    assert!(
        endpoint.contains("not reached: policy_denied by NetworkPolicy shop/db-lock default deny"),
        "{endpoint}"
    );
    assert!(line(&denied, "answer").contains("403 by the gateway: policy_denied"));
    let foreign = shop.ask("http://foreign.example/", |_| {});
    assert_eq!(
        line(&foreign, "not ours"),
        "not ours  Ingress shop/foreign names the host, but its class other is not this gateway's"
    );
    assert_eq!(line(&foreign, "route"), "route     none is of the host");
    let outside = shop.ask("http://shop.example/../x", |_| {});
    assert!(line(&outside, "route").ends_with(" none is asked: the path is none"));
    assert!(line(&outside, "answer").contains("400 by the gateway: bad_path: "));
    let verb = shop.ask("http://shop.example/", |asked| asked.method = Verb("CONNECT".to_owned()));
    assert!(line(&verb, "route").ends_with(" none is asked: the request is refused before"));
    let last = shop.ask("http://shop.example/old/x", |asked| {
        header("max-forwards: 0")(asked);
        asked.method = Verb("OPTIONS".to_owned());
    });
    assert!(line(&last, "answer").contains("200 by the gateway: it goes no further"));
    let nobody = shop.ask("https://shop.example/", |_| {});
    assert!(line(&nobody, "answer").contains("there is no certificate for the name"));
    let secure = shop.ask("https://secure.example/", |_| {});
    let certificate = line(&secure, "certificate");
    assert!(certificate.contains("Secret shop/tls, for secure.example, until 2100-01-01"));
    let text = serde_json::to_string(&secure).unwrap();
    assert_eq!(serde_json::from_str::<RequestExplanation>(&text).unwrap(), secure);
}
