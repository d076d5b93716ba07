//! The examples parse, and mean what their comments say.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sluice_config::{
    Attach, Backend, Config, CopyMode, IdleMode, LogFormat, LogLevel, MacAddr, MtuError, PortIndex,
    SnatMode, Source, load,
};

fn example(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    match load(&path) {
        Ok(loaded) => {
            assert_eq!(loaded.warnings, [], "{name}");
            loaded.config
        }
        Err(errors) => panic!("{errors}"),
    }
}

#[test]
fn every_example_parses() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .expect("examples")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    let expected = [
        "dpdk.yaml",
        "dual-stack.yaml",
        "ingress.yaml",
        "kubernetes.yaml",
        "load-balancer.yaml",
        "minimal.yaml",
        "on-a-stick.yaml",
    ];
    assert_eq!(names, expected);
    for name in names {
        example(&name);
    }
}

#[test]
fn the_minimal_example_has_the_documented_defaults() {
    let config = example("minimal.yaml");
    assert_eq!(config.node_name, None);
    let port = config.port(PortIndex(0));
    assert_eq!((port.name.as_str(), &*port.device), ("uplink", "eth1"));
    assert_eq!(port.addresses, ["192.0.2.1/24".parse().expect("address")]);
    assert_eq!((port.mtu, port.vlan), (None, None));
    assert!(port.announce_vips && !port.allow_default_route && port.kernel_addresses.is_empty());

    assert_eq!((config.workers.count, &config.workers.cores), (1, &None));
    assert_eq!(config.workers.handoff_ring_len, 4096);
    assert_eq!(config.workers.idle.mode, IdleMode::Adaptive);
    assert_eq!(config.workers.idle.spin, Duration::from_micros(50));
    assert_eq!(config.workers.idle.sleep_max, Duration::from_millis(1));

    assert_eq!((config.io.backend, config.io.attach), (Backend::AfXdp, Attach::Auto));
    assert_eq!((config.io.copy, config.io.frames), (CopyMode::Auto, 32768));
    assert_eq!(config.io.ring_len, 4096);

    assert_eq!((config.overlay.as_ref(), config.routes.len()), (None, 0));
    assert_eq!(config.snat.mode, SnatMode::Snat);
    assert_eq!((config.snat.ports.min, config.snat.ports.max), (1024, 29999));
    let pool: Vec<Ipv4Addr> = config.snat.addresses_v4().collect();
    assert_eq!(pool.len(), 16);
    assert_eq!(pool[0], Ipv4Addr::new(10, 244, 255, 0));
    assert_eq!(pool[15], Ipv4Addr::new(10, 244, 255, 15));
    assert_eq!(config.snat.addresses_v6().count(), 0);

    let Source::Manifests(manifests) = &config.source else { panic!("another source") };
    let expected = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/./manifests");
    assert_eq!(manifests.path, expected);

    assert_eq!(config.flows.max, 1_048_576);
    let timeouts = &config.flows.timeouts;
    let seconds = [
        (timeouts.tcp_established, 86400),
        (timeouts.tcp_unanswered, 300),
        (timeouts.tcp_close_wait, 3600),
        (timeouts.tcp_syn_sent, 120),
        (timeouts.tcp_syn_recv, 60),
        (timeouts.tcp_fin_wait, 120),
        (timeouts.tcp_last_ack, 30),
        (timeouts.tcp_time_wait, 120),
        (timeouts.tcp_close, 10),
        (timeouts.udp, 30),
        (timeouts.udp_stream, 120),
        (timeouts.icmp, 30),
        (timeouts.generic, 600),
    ];
    for (found, expected) in seconds {
        assert_eq!(found, Duration::from_secs(expected));
    }
    let limits = config.flows.limits;
    assert_eq!((limits.per_source, limits.per_source_half_open), (262_144, 65_536));
    assert_eq!((limits.per_service, limits.per_service_half_open), (u32::MAX, u32::MAX));
    assert_eq!(config.neighbors.max, 4096);
    assert_eq!(config.neighbors.reachable, Duration::from_secs(30));
    assert_eq!((config.neighbors.queue_len, config.neighbors.retries), (256, 3));
    assert_eq!(config.icmp.errors_per_second, 1000);
    assert_eq!(config.metrics.listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.metrics.services_max, 1024);
    assert_eq!(config.admin.socket, Path::new("/run/sluice/sluice.sock"));
    assert_eq!((config.logging.format, config.logging.level), (LogFormat::Text, LogLevel::Info));
    assert!(!config.uses_ipv6());

    let services = &config.services;
    assert_eq!((&services.node_port_addresses, services.external_ips.len()), (&None, 0));
    assert_eq!((&services.zone, &services.proxy_name), (&None, &None));
    let everywhere: [IpAddr; 2] = ["0.0.0.0", "::"].map(|text| text.parse().expect("address"));
    assert_eq!(services.health_check_addresses, everywhere);
}

#[test]
fn the_example_on_dpdk_has_devices_of_the_bus() {
    let config = example("dpdk.yaml");
    assert_eq!(config.io.backend, Backend::Dpdk);
    assert!(config.io.dpdk.huge_pages);
    assert_eq!(config.io.dpdk.arguments, ["--iova-mode=va"]);
    assert_eq!(config.port(PortIndex(1)).device, "0000:3b:00.1");
    assert_eq!(config.workers.idle.mode, IdleMode::BusyPoll);
}

#[test]
fn the_dual_stack_example_finds_its_ports() {
    let config = example("dual-stack.yaml");
    assert_eq!(config.node_name.as_deref(), Some("gateway-1"));
    assert_eq!(config.workers.cores, Some(vec![2, 3]));
    // 2 workers x 2 ports x 4096 x 2 is just the default.
    assert_eq!(config.io.frames, 32768);
    assert_eq!(config.logging.format, LogFormat::Json);

    let vxlan = &config.overlay.as_ref().expect("overlay").vxlan;
    assert_eq!((vxlan.vni, vxlan.udp_port, vxlan.port), (4096, 4789, PortIndex(1)));
    assert_eq!(vxlan.mac, MacAddr([0x02, 0x73, 10, 10, 0, 1]));
    let vtep: Vec<IpAddr> = vxlan.addresses.iter().collect();
    let expected: Vec<IpAddr> =
        ["10.10.0.1", "fd10::1"].map(|text| text.parse().expect("address")).into();
    assert_eq!(vtep, expected);
    assert!(config.ports[0].announce_vips && !config.ports[1].announce_vips);

    // Both routes leave by the port whose subnet holds their next hop.
    assert!(config.routes.iter().all(|route| route.port == PortIndex(0) && route.via.is_some()));
    assert_eq!((config.snat.addresses_v4().count(), config.snat.addresses_v6().count()), (16, 16));
    assert!(config.uses_ipv6());

    let services = &config.services;
    assert_eq!(services.node_port_addresses.as_ref().map(Vec::len), Some(2));
    assert_eq!(services.external_ips, ["198.51.100.128/25".parse().expect("prefix")]);
    assert_eq!(services.zone.as_deref(), Some("zone-a"));
    assert_eq!(services.health_check_addresses.len(), 2);
}

#[test]
fn the_inner_mtu_follows_the_underlay() {
    let config = example("dual-stack.yaml");
    let vxlan = config.overlay.expect("overlay").vxlan;
    assert_eq!(vxlan.inner_mtu(1500, true), Ok(1430));
    assert_eq!(vxlan.inner_mtu(1350, true), Ok(1280));
    let error = MtuError::TooSmallForIpv6 { inner: 1279, underlay_min: 1350 };
    assert_eq!(vxlan.inner_mtu(1349, true), Err(error));
    assert_eq!(vxlan.inner_mtu(1349, false), Ok(1279));

    let stick = example("on-a-stick.yaml").overlay.expect("overlay").vxlan;
    assert_eq!(stick.inner_mtu(1500, false), Ok(1450));
    let error = MtuError::ExceedsUnderlay { configured: 1450, available: 1449 };
    assert_eq!(stick.inner_mtu(1499, false), Err(error));
}

#[test]
fn the_only_port_announces_vips_although_it_is_the_overlays() {
    let config = example("on-a-stick.yaml");
    let port = &config.ports[0];
    assert_eq!((port.vlan, port.announce_vips), (Some(100), true));
    assert_eq!(port.kernel_addresses, [IpAddr::from([10, 10, 0, 1])]);
    assert_eq!(config.workers.idle.mode, IdleMode::Sleep);
    let Source::Manifests(manifests) = &config.source else { panic!("another source") };
    assert_eq!(manifests.path, Path::new("/etc/sluice/manifests"));
    let vias: Vec<bool> = config.routes.iter().map(|route| route.via.is_some()).collect();
    assert_eq!(vias, [true, false]);
}

#[test]
fn the_kubernetes_example_reaches_the_api_by_an_address_of_its_own() {
    let config = example("kubernetes.yaml");
    let Source::Kubernetes(kubernetes) = &config.source else { panic!("another source") };
    assert_eq!((&kubernetes.kubeconfig, &kubernetes.context), (&None, &None));
    assert_eq!(kubernetes.server.as_deref(), Some("https://10.10.0.2:6443"));
    let snapshot = kubernetes.snapshot.as_ref().expect("snapshot");
    assert_eq!(snapshot.path, Path::new("/var/lib/sluice/snapshot"));
    assert_eq!(snapshot.max_age, Duration::from_secs(3600));
}
