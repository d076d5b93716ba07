use super::aid::{Client2, World, client_hello_of, h2_request, listener, route, run};
use sluice_l7::L7Reason;
use sluice_l7::http::ProxyOptions;
use sluice_tables::l7::{ClientAuth, ClientAuthMode};
use std::sync::{Arc, OnceLock};

fn auth(mode: ClientAuthMode, root: u8) -> Arc<ClientAuth> {
    let roots = Arc::new([vec![root].into_boxed_slice()]);
    Arc::new(ClientAuth { mode, depth_max: 1, roots, prepared: OnceLock::new() })
}

#[test]
fn a_host_whose_clients_show_certificates_is_served_to_those_who_were_asked_alone() {
    run(async {
        let [one, other] = [1, 2].map(|root| auth(ClientAuthMode::Required, root));
        // The same, made anew.
        let one_again = auth(ClientAuthMode::Required, 1);
        let https = listener("https")
            .certificates(&[""])
            .asks_clients("one.example", Some(&one))
            .asks_clients("again.example", Some(&one_again))
            .asks_clients("other.example", Some(&other))
            .route(route("one.example", "/own").asks_clients(&one))
            .route(route("other.example", "/").asks_clients(&other))
            .route(route("hidden.example", "/").asks_clients(&one))
            .route(route("", "/"));
        let world = World::new(ProxyOptions::default(), vec![listener("http"), https]);
        let cases = [
            ("one.example", "one.example", "/own", 200),
            ("one.example", "ONE.example:443", "/own", 200),
            ("again.example", "one.example", "/own", 200),
            ("one.example", "open.example", "/", 200),
            // What other hosts have at the same names is no way round.
            ("open.example", "one.example", "/own", 421),
            ("open.example", "one.example.", "/own", 421),
            ("open.example", "one.example", "/", 421),
            ("other.example", "one.example", "/own", 421),
            ("one.example", "other.example", "/", 421),
            ("", "one.example", "/own", 421),
            ("", "open.example", "/", 200),
            // Its name asks for nothing, its route does.
            ("hidden.example", "hidden.example", "/", 421),
            ("one.example", "hidden.example", "/", 200),
        ];
        for (name, host, path, status) in cases {
            let mut client = world.client_of(1, "192.0.2.1:1");
            client.send(client_hello_of(1, name)).await;
            assert_eq!(client.get(host, path).await.status, status, "{name}: {host}{path}");
            let mut client = world.client_of(1, "192.0.2.1:1");
            client.send(client_hello_of(2, name)).await;
            let mut client = Client2::new(&world.net, client).await;
            let uri = format!("https://{host}{path}");
            let (answered, ..) = client.ask(h2_request("GET", &uri, &[], "")).await;
            assert_eq!(answered, status, "HTTP/2 {name}: {uri}");
        }
        let refused = cases.iter().filter(|(.., status)| *status == 421).count();
        let counted = world.proxy.counts().answers(L7Reason::MisdirectedRequest);
        assert_eq!(counted, 2 * refused as u64);
    });
}

#[test]
fn without_tls_nobody_has_shown_anything() {
    run(async {
        let [required, optional] =
            [ClientAuthMode::Required, ClientAuthMode::Optional].map(|mode| auth(mode, 1));
        let http = listener("http")
            .trusts("10.0.0.0", 8)
            .route(route("sent.example", "/").asks_clients(&required).redirect())
            .route(route("required.example", "/").asks_clients(&required))
            .route(route("optional.example", "/").asks_clients(&optional));
        let world = World::new(ProxyOptions::default(), vec![http]);
        for (host, status) in
            [("sent.example", 308), ("required.example", 403), ("optional.example", 200)]
        {
            assert_eq!(world.client().get(host, "/").await.status, status, "{host}");
        }
        // A proxy in front may have ended TLS: it does not show what it was shown.
        let mut proxy = world.client_from("10.0.0.8:5000");
        let head = "GET / HTTP/1.1\r\nHost: sent.example\r\nX-Forwarded-Proto: https\r\n\r\n";
        proxy.send(head).await;
        assert_eq!(proxy.answer().await.status, 403);
        assert_eq!(world.proxy.counts().answers(L7Reason::ClientCertificate), 2);
    });
}

#[test]
fn what_clients_say_of_their_certificates_goes_no_further() {
    run(async {
        let asked = auth(ClientAuthMode::Optional, 1);
        let http = listener("http")
            .route(route("asked.example", "/").asks_clients(&asked))
            .route(route("", "/"));
        let world = World::new(ProxyOptions::default(), vec![http]);
        for (host, expected) in [("asked.example", 0), ("open.example", 1)] {
            let mut client = world.client();
            let claims = ["verify: SUCCESS", "cert: x", "subject-dn: CN=x", "issuer-dn: CN=y"]
                .map(|claim| format!("SSL-Client-{claim}\r\n"))
                .concat();
            client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n{claims}\r\n")).await;
            assert_eq!(client.answer().await.status, 200);
            let seen = world.seen().pop().unwrap();
            for name in ["verify", "cert", "subject-dn", "issuer-dn"] {
                assert_eq!(seen.all(&format!("ssl-client-{name}")).len(), expected, "{name}");
            }
        }
    });
}
