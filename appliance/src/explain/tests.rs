use super::tuple::FlowTuple;
use super::view::{Direction, Explanation, Match, Ruling, WayKind};
use super::{offline, text};
use sluice_control::Offline;
use sluice_control::view::{FlowView, FlowsView, WhoKind};
use std::path::Path;

/// Random packets, against what a data plane does with them.
mod agreement;
/// Network policy's golden cases.
mod golden;

const CONFIG: &str = include_str!("../../../control/tests/control/config.yaml");

/// What is compiled of manifests.
fn read(manifests: &str) -> Offline {
    read_with(CONFIG, manifests)
}

/// The same, by another configuration.
fn read_with(config: &str, manifests: &str) -> Offline {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), manifests).unwrap();
    let routes = "routes:\n  - {to: \"::/0\", via: \"2001:db8::254\"}";
    let config = config.replace("routes:", routes);
    let config = sluice_config::parse("config.yaml", &config).unwrap().config;
    Offline::read(&config, folder.path()).unwrap()
}

fn tuple(text: &str) -> FlowTuple {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn ask(of: &Offline, text: &str) -> Explanation {
    offline(of, &tuple(text)).unwrap_or_else(|error| panic!("{text}: {error:#}"))
}

/// Two nodes; a Service of one pod, one without, and policies of all kinds.
fn shop() -> Offline {
    let text = include_str!("tests/shop.yaml");
    let of = read(text);
    let errors: Vec<_> = of.diagnostics().iter().map(ToString::to_string).collect();
    assert!(errors.iter().all(|text| !text.starts_with("error")), "{errors:?}");
    of
}

/// What is asked in IPv4 of the shop, in both families.
fn both(question: &str) -> [String; 2] {
    let mut v6 = question.to_owned();
    for (v4, net) in [
        ("10.244.1.", "fd00:10:244:1::"),
        ("10.244.2.", "fd00:10:244:2::"),
        ("10.96.0.", "fd00:10:96::"),
        ("192.0.2.", "2001:db8::"),
        ("203.0.113.", "2001:db8:113::"),
    ] {
        v6 = v6.replace(v4, net);
    }
    let words: Vec<_> = v6.split(' ').collect();
    let [source, _, destination] = words[..] else { panic!("{question}") };
    let (to, protocol) = destination.split_once('/').unwrap();
    let to = match to.rsplit_once(':') {
        Some((addr, port)) if protocol != "icmp" => format!("[{addr}]:{port}"),
        _ => to.to_owned(),
    };
    [question.to_owned(), format!("{source} -> {to}/{protocol}")]
}

/// Verdict and reason, ruling and rule at the source, the same at the destination.
fn said(of: &Explanation) -> String {
    let end = |ruling: Ruling, rule: &Option<String>| {
        let ruling = serde_json::to_value(ruling).unwrap();
        let rule = rule.as_ref().map(|rule| format!(" {rule}")).unwrap_or_default();
        format!("{}{rule}", ruling.as_str().unwrap())
    };
    let reason = of.reason.as_ref().map(|reason| format!(" {reason}")).unwrap_or_default();
    format!(
        "{}{reason}; {}; {}",
        of.verdict,
        end(of.egress.ruling, &of.egress.rule),
        end(of.ingress.ruling, &of.ingress.rule)
    )
}

#[test]
fn what_the_data_plane_decides_is_told_with_its_rule_in_both_families() {
    let shop = shop();
    let lock = "NetworkPolicy shop/db-lock";
    for (question, answer) in [
        // By a rule, through a Service and to the pod itself.
        ("10.244.1.2 -> 10.96.0.10:80/tcp", format!("forwarded; allowed; allowed {lock} ingress[0]")),
        ("10.244.1.2 -> 10.244.2.1:6379/tcp", format!("forwarded; allowed; allowed {lock} ingress[0]")),
        // By default.
        ("10.244.1.3 -> 10.96.0.10:80/tcp", format!("dropped policy_ingress; passed; denied {lock} default deny ingress")),
        ("10.244.1.2 -> 10.244.2.1:6379/udp", format!("dropped policy_ingress; passed; denied {lock} default deny ingress")),
        ("10.244.2.1 -> 203.0.113.9:53/udp", format!("dropped policy_egress; denied {lock} default deny egress; not_asked")),
        // By an admin, before all others.
        ("10.244.1.4 -> 10.244.1.3:80/tcp", "dropped policy_egress; denied ClusterNetworkPolicy jail egress[0] \"nothing out\"; not_asked".to_owned()),
        ("10.244.1.4 -> 10.244.1.3/icmp", "dropped policy_egress; denied ClusterNetworkPolicy jail egress[0] \"nothing out\"; not_asked".to_owned()),
        // It would be, and is only audited.
        ("10.244.1.3 -> 10.244.2.2:80/tcp", "forwarded; allowed; audited NetworkPolicy shop/trial default deny ingress".to_owned()),
        // Nobody says anything.
        ("203.0.113.9 -> 10.244.1.3:80/tcp", "forwarded; allowed; allowed".to_owned()),
        ("203.0.113.9 -> 10.244.1.3:80/sctp", "forwarded; allowed; allowed".to_owned()),
        ("10.244.1.3 -> 203.0.113.9/icmp", "forwarded; allowed; allowed".to_owned()),
        // No policy is asked.
        ("10.244.1.3 -> 10.96.0.11:80/tcp", "dropped no_backend; not_told; not_told".to_owned()),
        ("10.244.1.3 -> 10.96.0.10:81/tcp", "dropped vip_port_unused; not_told; not_told".to_owned()),
        ("10.244.1.3 -> 10.96.0.10/icmp", "answered; not_asked; not_asked".to_owned()),
        ("192.0.2.7 -> 192.0.2.1/icmp", "answered; not_asked; not_asked".to_owned()),
        ("10.244.1.3 -> 10.96.0.99:80/tcp", "dropped blackhole; not_told; not_told".to_owned()),
        ("10.244.1.3 -> 10.244.1.3:80/tcp", "dropped martian; not_told; not_told".to_owned()),
    ] {
        for asked in both(question) {
            assert_eq!(said(&ask(&shop, &asked)), answer, "{asked}");
        }
    }
}

#[test]
fn every_step_of_the_journey_is_told() {
    let shop = shop();
    let of = ask(&shop, "10.244.1.2:4000 -> 10.96.0.10:80/tcp");
    assert_eq!((of.from.port.as_str(), of.from.node.as_deref()), ("cluster", Some("n1")));
    assert_eq!((of.source.kind, of.source.name.as_deref()), (WhoKind::Pod, Some("shop/frontend")));
    assert_eq!(of.source.labels["role"], "frontend");
    assert_eq!(of.destination.kind, WhoKind::Service);
    assert_eq!(of.service.as_deref(), Some("shop/db:80"));
    assert_eq!(of.endpoint.as_deref(), Some("10.244.2.1:6379"));
    let server = of.server.as_ref().unwrap();
    assert_eq!((server.name.as_deref(), server.node.as_deref()), (Some("shop/db"), Some("n2")));
    assert_eq!(of.ingress.policies[0].policy, "NetworkPolicy shop/db-lock");
    let way = of.way.as_ref().unwrap();
    assert_eq!((way.kind, way.node.as_deref()), (WayKind::Tunnel, Some("n2")));
    assert_eq!(way.vtep, Some("10.10.0.12".parse().unwrap()));
    assert!(of.snat.as_ref().unwrap().starts_with("10.244.255."), "{of:?}");
    let text = text::render(&of);
    let steps: Vec<_> = text.lines().filter_map(|line| line.split("  ").next()).collect();
    let journey = [
        "STEP",
        "packet",
        "from",
        "flow",
        "to",
        "service",
        "endpoint",
        "egress policy",
        "ingress policy",
        "ingress policy",
        "route",
        "tunnel",
        "snat",
        "verdict",
    ];
    assert_eq!(steps[..journey.len()], journey, "{text}");

    let out = ask(&shop, "10.244.1.3 -> 203.0.113.9:443/tcp");
    let way = out.way.unwrap();
    assert_eq!((way.kind, way.port.as_deref()), (WayKind::Via, Some("uplink")));
    assert_eq!((way.via, out.snat), (Some("192.0.2.254".parse().unwrap()), None));
    assert_eq!(out.notes.len(), 2, "the source port is not told: {:?}", out.notes);
}

#[test]
fn an_explanation_is_the_same_after_its_way_through_the_socket() {
    let of = ask(&shop(), "10.244.1.2:4000 -> 10.96.0.10:80/tcp");
    let json = serde_json::to_string(&of).unwrap();
    assert_eq!(serde_json::from_str::<Explanation>(&json).unwrap(), of);
}

#[test]
fn before_there_are_tables_there_is_no_answer() {
    let error =
        super::probe::run(&sluice_tables::Tables::empty(1), &tuple("10.0.0.1 -> 10.0.0.2/icmp"));
    assert!(error.unwrap_err().to_string().contains("no tables yet"));
}

/// A flow of the shop as its worker has it.
fn flow(client: &str, destination: &str) -> FlowView {
    FlowView {
        worker: 1,
        protocol: "TCP".to_owned(),
        client: client.to_owned(),
        destination: destination.to_owned(),
        server: "10.244.2.1:6379".to_owned(),
        source: "10.244.255.1:33000".to_owned(),
        service: Some("shop/db:80".to_owned()),
        pod: Some("shop/db".to_owned()),
        egress_rule: None,
        ingress_rule: Some("NetworkPolicy shop/db-lock ingress[0]".to_owned()),
        cut: None,
        stale: false,
        state: "established".to_owned(),
        packets_in: 3,
        packets_out: 2,
        idle_ms: 1500,
        expires_ms: 9000,
    }
}

#[test]
fn flows_that_there_are_come_first() {
    let all = || {
        let mut flows = vec![flow("10.244.1.2:4000", "10.96.0.10:80")];
        flows.extend((1..10).map(|i| flow(&format!("10.244.1.2:{}", 5000 + i), "10.96.0.10:80")));
        flows.push(flow("10.244.1.2:4000", "10.96.0.10:81"));
        flows.push(flow("[fd00:10:244:1::2]:4000", "[fd00:10:96::10]:80"));
        FlowsView { flows, complete: true }
    };
    let shop = shop();
    for (question, found, left_out, direction) in [
        ("10.244.1.2:4000 -> 10.96.0.10:80/tcp", 1, 0, Direction::Original),
        ("10.244.1.2 -> 10.96.0.10:80/tcp", 8, 2, Direction::Original),
        ("fd00:10:244:1::2 -> [fd00:10:96::10]:80/tcp", 1, 0, Direction::Original),
        ("10.244.2.1:6379 -> 10.244.255.1:33000/tcp", 8, 4, Direction::Reply),
    ] {
        let mut of = ask(&shop, question);
        of.set_flows(&tuple(question), all());
        let flows: &Vec<Match> = of.flows.as_ref().unwrap();
        assert_eq!((flows.len(), of.flows_left_out), (found, left_out), "{question}");
        assert!(flows.iter().all(|of| of.direction == direction), "{question}");
        let text = text::render(&of);
        assert!(text.contains("ingress by NetworkPolicy shop/db-lock ingress[0]"), "{text}");
        assert!(text.contains("of a new flow: "), "{text}");
    }
    let mut of = ask(&shop, "10.244.1.2:4001 -> 10.96.0.10:80/tcp");
    of.set_flows(&tuple("10.244.1.2:4001 -> 10.96.0.10:80/tcp"), all());
    assert!(text::render(&of).contains("flow            none yet"));
}

#[test]
fn a_flow_that_policies_cut_is_told_with_what_cuts_it() {
    let question = "10.244.1.2:4000 -> 10.96.0.10:80/tcp";
    let shop = shop();
    let told = |flow: FlowView| {
        let mut of = ask(&shop, question);
        of.set_flows(&tuple(question), FlowsView { flows: vec![flow], complete: true });
        text::render(&of)
    };
    let cut = FlowView {
        cut: Some("policy_ingress".to_owned()),
        state: "cut".to_owned(),
        egress_rule: Some("NetworkPolicy shop/free egress[0]".to_owned()),
        ingress_rule: Some("NetworkPolicy shop/db-lock default deny ingress".to_owned()),
        ..flow("10.244.1.2:4000", "10.96.0.10:80")
    };
    let by = "cut by NetworkPolicy shop/db-lock default deny ingress (policy_ingress)";
    let text = told(cut);
    assert!(text.contains(&format!("of this flow: {by}\n")), "{text}");
    assert!(text.contains(&format!("(pod shop/db), as 10.244.255.1:33000, {by}, idle")), "{text}");
    assert!(text.contains("flow            cut: 10.244.1.2:4000 ->"), "{text}");
    assert!(!text.contains("established") && !text.contains("shop/free"), "{text}");
    let text = told(flow("10.244.1.2:4000", "10.96.0.10:80"));
    assert!(text.contains("of this flow: forwarded\n"), "{text}");
    let stale = FlowView { stale: true, ..flow("10.244.1.2:4000", "10.96.0.10:80") };
    let text = told(stale);
    assert!(text.contains("of this flow: its next packet is judged again\n"), "{text}");
    assert!(text.contains("judged before the last change"), "{text}");
}

#[test]
fn what_a_port_passes_to_its_kernel_is_told_so() {
    let shop = shop();
    for (question, answer) in [
        ("8.8.8.8 -> 192.0.2.9:22/tcp", "kernel; not_asked; not_asked"),
        ("8.8.8.8 -> 192.0.2.9/icmp", "kernel; not_asked; not_asked"),
        ("2001:db8:9::9 -> [fe80::1]:179/tcp", "kernel; not_asked; not_asked"),
        // Nobody else receives for that kernel.
        ("10.244.1.3 -> 192.0.2.9:22/tcp", "dropped kernel_address; not_told; not_told"),
    ] {
        assert_eq!(said(&ask(&shop, question)), answer, "{question}");
    }
    let text = text::render(&ask(&shop, "8.8.8.8 -> 192.0.2.9:22/tcp"));
    assert!(
        text.contains("verdict         passed to the kernel of port uplink, unseen\n"),
        "{text}"
    );
    // Where a tunnel ends, VXLAN is not the kernel's.
    let mut config = CONFIG.replacen("kernel_addresses: [192.0.2.9]", "", 1);
    let cluster = "addresses: [10.10.0.1/24, \"fd10::1/64\"]";
    let kernel = "addresses: [10.10.0.254/24, \"fd10::fe/64\"]
    kernel_addresses: [10.10.0.1, \"fd10::1\"]";
    config = config.replacen(cluster, kernel, 1);
    let shop = read_with(&config, include_str!("tests/shop.yaml"));
    for (question, answer) in [
        ("10.10.0.11 -> 10.10.0.1:6443/tcp", "kernel"),
        ("10.10.0.11 -> 10.10.0.1:4789/tcp", "kernel"),
        ("10.10.0.11 -> 10.10.0.1:4790/udp", "kernel"),
        ("10.10.0.11 -> 10.10.0.1:4789/udp", "dropped"),
        ("fd10::11 -> [fd10::1]:4789/udp", "dropped"),
        ("fd10::11 -> fd10::1/icmp", "kernel"),
    ] {
        assert_eq!(ask(&shop, question).verdict, answer, "{question}");
    }
}

#[test]
fn who_has_an_address_is_told_in_whole_sentences() {
    let shop = shop();
    for asked in both("10.244.1.99 -> 203.0.113.9:80/tcp") {
        let of = ask(&shop, &asked);
        assert_eq!((of.source.kind, of.source.node.as_deref()), (WhoKind::PodRange, Some("n1")));
        let text = text::render(&of);
        assert!(text.contains(", of the pod range of node n1, but no known pod has it"), "{text}");
    }
    let mut of = ask(&shop, "10.244.1.3 -> 10.244.2.1:6379/tcp");
    of.ingress.rule = Some("a pod may speak with its own node".to_owned());
    of.ingress.ruling = Ruling::Allowed;
    let text = text::render(&of);
    assert!(text.contains("  allowed: a pod may speak with its own node\n"), "{text}");
}

/// The folder of another crate's cases.
fn cases() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../control/tests/policy/cases")
}
