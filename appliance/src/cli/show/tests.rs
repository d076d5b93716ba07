use super::*;
use sluice_control::view::{NeighborView, ServicePortView, VipView};

fn service() -> ServiceView {
    let vip = |address: &str, kind: &str| VipView {
        address: address.to_owned(),
        kind: kind.to_owned(),
        announced: kind != "cluster",
    };
    ServiceView {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        kind: "LoadBalancer".to_owned(),
        vips: vec![
            vip("10.96.0.1", "cluster"),
            vip("198.51.100.1", "balancer"),
            vip("2001:db8::5", "external"),
        ],
        node_addresses: vec!["192.0.2.1".to_owned()],
        policies: PoliciesView {
            proxy_name: None,
            affinity_s: Some(60),
            balance: "random-of-two".to_owned(),
            internal_local: true,
            external_local: false,
            distribution: Some("PreferSameZone".to_owned()),
            source_ranges: Some(vec!["10.0.0.0/8".to_owned(), "::/0".to_owned()]),
            health_check_port: Some(31000),
        },
        ports: vec![ServicePortView {
            id: 0,
            name: String::new(),
            port: 80,
            node_port: Some(30080),
            protocol: "SCTP".to_owned(),
            ready: 1,
            draining: 0,
            not_ready: 2,
        }],
    }
}

#[test]
fn a_service_shows_what_its_addresses_are_and_what_it_asks_for() {
    let text = services(&[service()]);
    let cells: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
    let expected = [
        "shop/web",
        "LoadBalancer",
        "10.96.0.1,lb:198.51.100.1,ext:2001:db8::5,node:192.0.2.1",
        "80:30080/SCTP",
        "1",
        "0",
        "2",
        "affinity=60s,random-of-two,internal=Local,PreferSameZone,sources=10.0.0.0/8+::/0,\
         health=31000",
    ];
    assert_eq!(cells, expected);
    let plain = ServiceView {
        ports: Vec::new(),
        policies: PoliciesView {
            affinity_s: None,
            balance: "consistent".to_owned(),
            internal_local: false,
            distribution: None,
            source_ranges: None,
            health_check_port: None,
            ..service().policies
        },
        ..service()
    };
    let text = services(&[plain]);
    assert!(text.lines().nth(1).unwrap().ends_with(" -"), "nothing: {text}");
}

#[test]
fn drops_that_never_occurred_are_hidden() {
    let drop = |reason: &str, count| DropView {
        reason: reason.to_owned(),
        count,
        help: "Why.".to_owned(),
    };
    let list = [drop("martian", 0), drop("no_route", 1200)];
    assert_eq!(drops(&list, false).lines().count(), 2);
    assert!(drops(&list, false).contains("no_route  1,200  Why."));
    assert_eq!(drops(&list, true).lines().count(), 3);
    assert_eq!(drops(&list[..1], false), "no packet was dropped\n");
}

#[test]
fn snat_ports_are_shown_with_how_full_they_are() {
    let of = |endpoint: Option<&str>, used, ratio| SnatView {
        service: "default/web".to_owned(),
        port: 80,
        protocol: "TCP".to_owned(),
        endpoint: endpoint.map(str::to_owned),
        used,
        capacity: 28_976,
        ratio,
    };
    let text = snat(&[of(Some("10.244.1.7:80"), 26_000, 0.9), of(None, 3, 0.0001)]);
    let words = |line: usize| {
        text.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(words(1), "default/web 80/TCP 10.244.1.7:80 26,000 28,976 90.0%");
    assert_eq!(words(2), "default/web 80/TCP gone 3 28,976 0.0%");
    assert_eq!(snat(&[]), "no SNAT port is in use\n");
}

#[test]
fn a_neighbor_that_has_not_answered_was_never_confirmed() {
    let neighbor = |mac: Option<&str>, state: &str, confirmed_ms| NeighborView {
        port: "a".to_owned(),
        address: "192.0.2.9".to_owned(),
        mac: mac.map(str::to_owned),
        state: state.to_owned(),
        confirmed_ms,
        waiting: 0,
    };
    let list = vec![
        neighbor(Some("02:00:00:00:00:09"), "reachable", Some(2000)),
        neighbor(None, "failed", None),
    ];
    let text = neighbors(&NeighborsView { neighbors: list, complete: true });
    let last = |line: usize| text.lines().nth(line).unwrap().split_whitespace().rev().nth(1);
    assert_eq!((last(1), last(2)), (Some("ago"), Some("-")), "{text}");
}

#[test]
fn a_socket_is_that_given_or_the_default() {
    let given = Path::new("/x");
    assert_eq!(socket_path(Some(given), None).unwrap(), given);
    assert_eq!(socket_path(None, None).unwrap(), Path::new(SOCKET_DEFAULT));
}
