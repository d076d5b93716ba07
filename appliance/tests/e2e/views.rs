use crate::gateway::{Gateway, SLUICE};
use crate::lab::{FAMILIES, Lab, io, is_by_kernel, succeeded};
use std::collections::BTreeSet;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `sluice show WHAT` as a table.
fn table(gateway: &Gateway<'_>, what: &[&str]) -> String {
    let arguments = [&["show"], what].concat();
    succeeded(&gateway.ask(&arguments), &format!("{arguments:?}"))
}

/// The line of a table that begins with these cells.
fn row<'t>(table: &'t str, cells: &[&str]) -> &'t str {
    let has = |line: &&str| line.split_whitespace().take(cells.len()).eq(cells.iter().copied());
    table.lines().find(has).unwrap_or_else(|| panic!("no row {cells:?} in\n{table}"))
}

#[test]
fn what_a_gateway_knows_is_shown_as_text_and_json() {
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = Gateway::ready(&lab);
    for family in FAMILIES {
        // So many that pods of both nodes answer.
        let answers = lab.curl("client", &family.url(family.web, "/?[1-40]"));
        assert_eq!(answers.lines().filter(|line| line.starts_with("pod=")).count(), 40);
        // Nobody listens there.
        let url = family.url(family.web, ":81/");
        assert!(!lab.run("client", &["curl", "-s", "--max-time", "5", &url]).status.success());
    }
    neighbors(&gateway);
    tunnels(&gateway);
    ports(&gateway);
    workers(&gateway);
    snat(&gateway);
    drops(&gateway);
    gateway.stop();
}

fn neighbors(gateway: &Gateway<'_>) {
    let (text, json) = (table(gateway, &["neighbors"]), gateway.show(&["neighbors"]));
    assert_eq!(json["complete"], true);
    let all = json["neighbors"].as_array().unwrap();
    for (port, address) in FAMILIES
        .iter()
        .map(|family| ("uplink", family.client))
        .chain([("cluster", "10.10.0.11"), ("cluster", "10.10.0.12")])
    {
        let one = all.iter().find(|one| one["port"] == port && one["address"] == address);
        let one = one.unwrap_or_else(|| panic!("{port} {address} is not in {json}"));
        let mac = one["mac"].as_str().expect("a MAC");
        assert!(row(&text, &[port, address]).contains(mac), "{text}");
    }
}

fn tunnels(gateway: &Gateway<'_>) {
    let (text, json) = (table(gateway, &["tunnels"]), gateway.show(&["tunnels"]));
    let nodes: Vec<_> = json.as_array().unwrap().iter().map(|one| &one["node"]).collect();
    assert_eq!(nodes, ["node1", "node2"]);
    for (node, mac) in [(1, "02:00:0a:0a:00:0b"), (2, "02:00:0a:0a:00:0c")] {
        let line = row(&text, &[&format!("node{node}")]);
        let prefixes = [format!("10.244.{node}.0/24"), format!("fd00:10:244:{node}::/64")];
        let address = format!("10.10.0.1{node}");
        for cell in prefixes.iter().map(String::as_str).chain([mac, &address]) {
            assert!(line.contains(cell), "{cell} is not in {line}");
            assert!(json[node - 1].to_string().contains(cell), "{cell} is not in {json}");
        }
    }
}

fn ports(gateway: &Gateway<'_>) {
    let (text, json) = (table(gateway, &["ports"]), gateway.show(&["ports"]));
    for (index, name) in ["uplink", "cluster"].into_iter().enumerate() {
        let port = &json[index];
        assert_eq!((&port["name"], &port["link"]), (&name.into(), &"up".into()));
        let device = port["device"].as_str().unwrap();
        match io().as_str() {
            "af_xdp" => assert_eq!(device, name),
            // A driver of DPDK's, its number, and the device below.
            _ => assert!(device.contains(&format!(",iface={name},")), "{port}"),
        }
        let queue = &port["queues"][0];
        assert!(queue["rx_packets"].as_u64() > Some(0) && queue["tx_bytes"].as_u64() > Some(0));
        let line = row(&text, &[name, device]);
        assert!(line.contains(queue["mode"].as_str().unwrap()), "{line}");
    }
}

fn workers(gateway: &Gateway<'_>) {
    let (text, json) = (table(gateway, &["workers"]), gateway.show(&["workers"]));
    let [worker] = &json.as_array().unwrap()[..] else { panic!("{json}") };
    assert_eq!((worker["id"].as_u64(), &worker["up"]), (Some(0), &true.into()));
    assert!(worker["loops"].as_u64() > Some(0) && worker["tables_version"].as_u64() > Some(0));
    row(&text, &["0", "up"]);
}

fn snat(gateway: &Gateway<'_>) {
    let (text, json) = (table(gateway, &["snat"]), gateway.show(&["snat"]));
    let all = json.as_array().unwrap();
    let web = |one: &&serde_json::Value| one["service"] == "default/web" && one["port"] == 80;
    // Four pods, each in both families; none was asked more often than there are ports.
    assert_eq!(all.iter().filter(web).count(), 8, "{json}");
    for one in all.iter().filter(web) {
        let of = |key: &str| one[key].as_u64().unwrap();
        assert!((1..of("capacity")).contains(&of("used")), "{json}");
        row(&text, &["default/web", "80/TCP", one["endpoint"].as_str().unwrap()]);
    }
    let ratios: Vec<f64> = all.iter().map(|one| one["ratio"].as_f64().unwrap()).collect();
    assert!(ratios.is_sorted_by(|a, b| a >= b), "{json}");
}

fn drops(gateway: &Gateway<'_>) {
    let json = gateway.show(&["drops"]);
    let of = |reason: &str| {
        let all = json.as_array().unwrap();
        all.iter().find(|one| one["reason"] == reason).map(|one| one["count"].as_u64().unwrap())
    };
    // A packet each, at least; the client may ask more than once.
    assert!(of("vip_port_unused") >= Some(2), "{json}");
    let text = table(gateway, &["drops"]);
    row(&text, &["vip_port_unused"]);
    assert!(!text.contains("source_route"), "never occurred:\n{text}");
    row(&table(gateway, &["drops", "--all"]), &["source_route"]);
}

#[test]
fn the_readme_lists_every_metric_and_no_other() {
    if !is_by_kernel() {
        return;
    }
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = Gateway::ready(&lab);
    let (status, text) = gateway.get("/metrics");
    assert_eq!(status, 200);
    let exported = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let exported: BTreeSet<&str> = exported.collect();
    let readme = read("README.md");
    let rows = readme.lines().filter(|line| line.starts_with("| `sluice_"));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap().split(','));
    let names = names.map(|name| name.trim().trim_matches('`'));
    // What is of the API has no values where manifests are read, nor has what is of DPDK
    // where the kernel moves frames; what is of L7, where no requests end here, is looked at
    // where they do.
    let of_api = [
        "sluice_api_",
        "sluice_election_",
        "sluice_status_",
        "sluice_pool_",
        "sluice_l7_",
        "sluice_tap_",
    ];
    let is_of_api = |name: &str| of_api.iter().any(|prefix| name.starts_with(prefix));
    let listed: BTreeSet<&str> = names.filter(|name| !is_of_api(name)).collect();
    assert_eq!(exported, listed);
    gateway.stop();
}

#[test]
fn doctor_finds_what_is_wrong_with_devices_and_says_what_mends_it() {
    if !is_by_kernel() {
        return;
    }
    let Some(lab) = Lab::up(&[]) else { return };
    let config = lab.config().display().to_string();
    let doctor = || {
        let output = lab.run("gw", &[SLUICE, "doctor", "--config", &config]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = doctor();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(" 0 bad\n"), "{text}");
    for topic in ["kernel", "AF_XDP", "multicast", "capabilities", "MTU", "queues"] {
        assert!(text.contains(&format!("  ok    {topic:<16} ")), "{topic} is not well:\n{text}");
    }

    let gateway = Gateway::ready(&lab);
    let (code, text) = doctor();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches(": Sluice runs here\n").count(), 2, "{text}");
    assert!(!text.contains("xdp off"), "{text}");
    gateway.stop();

    lab.ok("gw", &["ip", "route", "add", "default", "dev", "uplink"]);
    lab.ok("gw", &["ip", "link", "set", "cluster", "mtu", "1320"]);
    lab.edit_config("count: 1", "count: 2");
    let (code, text) = doctor();
    assert_eq!(code, Some(1), "{text}");
    for (port, line) in [("uplink", 3), ("cluster", 6)] {
        let at = format!("port {port} (device {port}, {config}:{line}: ports[");
        assert!(text.contains(&at), "{at} is not in\n{text}");
    }
    for (topic, mend) in [
        ("default route", "allow_default_route"),
        ("MTU", "ip link set dev cluster mtu 1330"),
        ("queues", "ethtool -L cluster rx 2 tx 2"),
    ] {
        assert!(text.contains(&format!("  bad   {topic:<16} ")), "{topic} is not in\n{text}");
        assert!(text.contains(mend), "{mend} is not in\n{text}");
    }

    lab.edit_config("device: uplink", "device: absent");
    let (code, text) = doctor();
    assert_eq!(code, Some(1));
    assert!(text.contains("no network device `absent`"), "{text}");
}
