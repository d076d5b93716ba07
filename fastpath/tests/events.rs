//! What is told of single packets: the tuple as it came wherever a packet is dropped, limits,
//! samples, copies. (That each drop is told of once, every golden case checks.)

use sluice_fastpath::DropReason;
use sluice_fastpath::events::{Captured, EventKind, Fate, Link, PacketEvent};
use sluice_tables::observe::ReasonSet;
use sluice_tables::policy::Verdict;
use sluice_tables::{Capture, FlowTelling, Observe, PacketFilter, RuleId, Tuple};
use sluice_testkit::gateway::policy::{Direction, Policy, Rule};
use sluice_testkit::gateway::told::everything;
use sluice_testkit::gateway::topology::{ServiceKey, Topology};
use sluice_testkit::gateway::{Compiler, Gateway, GatewayOptions};
use sluice_testkit::packet::{self, Defaults, Mac};
use std::time::Duration;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Frames to a port come from the host behind it; inside the tunnel, from the first node.
fn frame(port: usize, line: &str) -> Vec<u8> {
    let mac = |last: u8| Mac([2, 0, 0, 0, 0, last]);
    let (src, dst) = if port == 0 { (mac(0xfe), mac(0xa0)) } else { (mac(0x11), mac(0xb0)) };
    let defaults =
        Defaults { src, dst, inner_src: mac(0x21), inner_dst: mac(0xc0), ..Defaults::default() };
    packet::parse(line, &defaults).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn gateway_of(options: &GatewayOptions) -> Gateway {
    let mut topology = Topology::standard();
    for (vip, backend) in [("10.96.0.10", "10.244.1.7"), ("fd00:10:96::10", "fd00:10:244:1::7")] {
        let (vip, backend) = (vip.parse().unwrap(), backend.parse().unwrap());
        topology.vips.insert(vip, true);
        let key = ServiceKey { addr: vip, l4_port: 80, protocol: TCP };
        topology.services.insert(key, vec![(backend, 8080)]);
    }
    let mut gateway = Gateway::new(options).unwrap();
    gateway.publish(Compiler::new(options.workers).compile(&topology)).unwrap();
    for (port, line) in [
        (0, "arp 192.0.2.254 is-at 02:..:fe to 192.0.2.1 02:..:a0"),
        (0, "ip6 2001:db8:1::254 > 2001:db8:1::1 / nd na 2001:db8:1::254 tll 02:..:fe flags SO"),
        (1, "arp 10.10.0.11 is-at 02:..:11 to 10.10.0.1 02:..:b0"),
    ] {
        gateway.inject(port, 0, &frame(port, line)).unwrap();
        gateway.settle().unwrap();
    }
    gateway
}

fn gateway() -> Gateway {
    gateway_of(&GatewayOptions::default())
}

fn send(gateway: &mut Gateway, port: usize, line: &str) {
    gateway.inject(port, 0, &frame(port, line)).unwrap();
    gateway.settle().unwrap();
}

fn tuple(src: (&str, u16), dst: (&str, u16), protocol: u8) -> Tuple {
    let addr = |text: &str| text.parse().unwrap();
    Tuple { src: addr(src.0), dst: addr(dst.0), src_port: src.1, dst_port: dst.1, protocol }
}

/// The only drop that was told of, and for what reason.
fn only_drop(gateway: &mut Gateway) -> (DropReason, PacketEvent) {
    let told = gateway.take_told();
    let drops: Vec<_> = told
        .events
        .iter()
        .filter_map(|(_, event)| match event.kind {
            EventKind::Dropped(reason) => Some((reason, *event)),
            _ => None,
        })
        .collect();
    let [only] = drops[..] else { panic!("{drops:?}") };
    only
}

/// Reason, where it came from (a port or a node), and the tuple as it came.
type Case = (usize, &'static str, DropReason, Result<u8, u32>, Tuple);

#[test]
fn drops_are_told_with_the_tuple_as_it_came_at_every_stage() {
    let udp = |src, dst| tuple((src, 1), (dst, 2), UDP);
    let cases: Vec<Case> = vec![
        // Judged.
        (
            0,
            "ip 10.244.1.5 > 203.0.113.9 / udp 1 > 2",
            DropReason::SpoofedPod,
            Ok(0),
            udp("10.244.1.5", "203.0.113.9"),
        ),
        (
            0,
            "ip6 fd00:10:244:1::5 > 2001:db8:99::9 / udp 1 > 2",
            DropReason::SpoofedPod,
            Ok(0),
            udp("fd00:10:244:1::5", "2001:db8:99::9"),
        ),
        // Out of a tunnel: the node that sent it.
        (
            1,
            "ip 10.10.0.11 > 10.10.0.1 / udp 50000 > 4789 / vxlan vni 4096 / ip 10.244.2.5 > 203.0.113.9 / udp 1 > 2",
            DropReason::WrongVtep,
            Err(0),
            udp("10.244.2.5", "203.0.113.9"),
        ),
        // While the frame is taken apart: outside, in the tunnel's headers, inside.
        (
            0,
            "ip 198.51.100.7 > 203.0.113.9 sum 0x1234 / udp 1 > 2",
            DropReason::BadIpChecksum,
            Ok(0),
            udp("198.51.100.7", "203.0.113.9"),
        ),
        (
            0,
            "ip6 2001:db8:51::7 > ff0e::1 / udp 1 > 2",
            DropReason::Multicast,
            Ok(0),
            udp("2001:db8:51::7", "ff0e::1"),
        ),
        (
            1,
            "ip 10.10.0.11 > 10.10.0.1 / udp 50000 > 4789 / vxlan vni 9 / ip 10.244.1.5 > 203.0.113.9 / udp 1 > 2",
            DropReason::WrongVni,
            Ok(1),
            tuple(("10.10.0.11", 50_000), ("10.10.0.1", 4789), UDP),
        ),
        (
            1,
            "ip6 fd00:10:10::11 > fd00:10:10::1 / udp 50000 > 4789 / vxlan vni 4096 / ip 10.244.1.5 > 203.0.113.9 sum 0x1234 / udp 1 > 2",
            DropReason::BadIpChecksum,
            Err(0),
            udp("10.244.1.5", "203.0.113.9"),
        ),
        (
            1,
            "ip 10.10.0.11 > 10.10.0.1 / udp 50000 > 4789 / vxlan vni 4096 / eth 02:..:21 > 02:..:c0 / ip6 fd00:10:244:1::5 > ff0e::1 / udp 1 > 2",
            DropReason::Multicast,
            Err(0),
            udp("fd00:10:244:1::5", "ff0e::1"),
        ),
        // No port of the Service: answered, and dropped.
        (
            0,
            "ip6 2001:db8:51::7 > fd00:10:96::10 / udp 1 > 2",
            DropReason::VipPortUnused,
            Ok(0),
            udp("2001:db8:51::7", "fd00:10:96::10"),
        ),
    ];
    let mut gateway = gateway();
    gateway.observe(everything()).unwrap();
    for (port, line, reason, from, came) in cases {
        gateway.take_told();
        send(&mut gateway, port, line);
        let (told, event) = only_drop(&mut gateway);
        assert_eq!((told, event.came), (reason, Some(came)), "{line}");
        let ingress = event.ingress.unwrap();
        match from {
            Ok(port) => assert_eq!(ingress.as_port().unwrap().0, port, "{line}"),
            Err(node) => assert_eq!(ingress.vtep().unwrap().0, node, "{line}"),
        }
    }
    send(&mut gateway, 0, "arp who-has 192.0.2.77 tell 192.0.2.78");
    let (reason, event) = only_drop(&mut gateway);
    assert_eq!((reason, event.came), (DropReason::NeighborNotForUs, None), "no IP packet");
    gateway.check_told().unwrap();
}

#[test]
fn what_is_dropped_on_its_way_out_is_told_with_its_new_addresses() {
    let mut gateway = gateway_of(&GatewayOptions { tx_room: 0, ..GatewayOptions::default() });
    gateway.observe(everything()).unwrap();
    for (client, vip, backend, snat) in [
        ("198.51.100.7", "10.96.0.10", "10.244.1.7", "10.244.255."),
        ("2001:db8:51::7", "fd00:10:96::10", "fd00:10:244:1::7", "fd00:10:244:ff::"),
    ] {
        gateway.take_told();
        let ip = if client.contains(':') { "ip6" } else { "ip" };
        send(&mut gateway, 0, &format!("{ip} {client} > {vip} / tcp 4000 > 80 S"));
        let (reason, event) = only_drop(&mut gateway);
        assert_eq!((reason, event.came), (DropReason::TxRingFull, None));
        let leaves = event.leaves.unwrap();
        assert_eq!((leaves.dst, leaves.dst_port), (backend.parse().unwrap(), 8080), "inside");
        assert!(leaves.src.to_string().starts_with(snat), "{leaves:?}");
    }
}

fn follow(filter: PacketFilter, follows_per_second: u32) -> Observe {
    let follows = [Some(filter), None, None, None];
    Observe { follows, follows_per_second, ..Observe::default() }
}

#[test]
fn filters_and_limits_hold_at_the_worker_and_what_is_left_out_is_counted() {
    let mut gateway = gateway();
    let mut reasons = ReasonSet::default();
    reasons.insert(DropReason::SpoofedPod as u8);
    let filter = PacketFilter { reasons: Some(reasons), ..PacketFilter::default() };
    gateway.observe(follow(filter, 3)).unwrap();
    let spoofed = "ip 10.244.1.5 > 203.0.113.9 / udp 1 > 2";
    let told = |gateway: &mut Gateway| {
        let limited = gateway.counters(0).unwrap().events.follows[0].limited.get();
        (gateway.take_told().events.len(), limited)
    };
    for _ in 0..5 {
        send(&mut gateway, 0, spoofed);
        // Of no concern, and at no cost to what is.
        send(&mut gateway, 0, "ip 198.51.100.7 > 203.0.113.9 sum 0x1234 / udp 1 > 2");
    }
    assert_eq!(told(&mut gateway), (3, 2));
    gateway.advance(Duration::from_secs(1)).unwrap();
    for _ in 0..4 {
        send(&mut gateway, 0, spoofed);
    }
    assert_eq!(told(&mut gateway), (3, 3));
    gateway.observe(Observe::default()).unwrap();
    gateway.advance(Duration::from_secs(1)).unwrap();
    send(&mut gateway, 0, spoofed);
    assert_eq!(told(&mut gateway), (0, 3), "nobody asks any more");
}

#[test]
fn a_full_ring_loses_events_and_nothing_else() {
    let mut gateway = gateway();
    gateway.observe(follow(PacketFilter::default(), u32::MAX)).unwrap();
    let spoofed = frame(0, "ip 10.244.1.5 > 203.0.113.9 / udp 1 > 2");
    const PACKETS: u64 = 10_000;
    for _ in 0..PACKETS {
        gateway.inject(0, 0, &spoofed).unwrap();
    }
    // The test reads the rings when the workers rest: one turn after the other, nobody does.
    gateway.run_unread(PACKETS as usize / 32 + 1);
    let counters = gateway.counters(0).unwrap();
    let (told, lost) = (counters.events.told[0].get(), counters.events.lost.get());
    assert_eq!((told + lost, counters.dropped(DropReason::SpoofedPod)), (PACKETS, PACKETS));
    assert!(lost > 0);
    gateway.settle().unwrap();
    assert_eq!(gateway.take_told().events.len() as u64, told);
    gateway.close().unwrap();
}

#[test]
fn a_flows_begin_and_end_are_told_of_or_neither() {
    const FLOWS: u16 = 200;
    for sample in [1, 4] {
        let mut gateway = gateway();
        let flows = Some(FlowTelling { sample, per_second: u32::MAX });
        gateway.observe(Observe { flows, ..Observe::default() }).unwrap();
        for port in 1..=FLOWS {
            send(&mut gateway, 0, &format!("ip 198.51.100.7 > 10.96.0.10 / tcp {port} > 80 S"));
            let line = format!("ip6 2001:db8:51::7 > fd00:10:244:1::9 / udp {port} > 53");
            send(&mut gateway, 0, &line);
        }
        for _ in 0..200 {
            gateway.advance(Duration::from_secs(1)).unwrap();
        }
        let events = gateway.take_told().events;
        let of = |is: fn(EventKind) -> bool| {
            let mut tuples: Vec<_> = events
                .iter()
                .filter(|(_, event)| is(event.kind))
                .map(|(_, event)| (event.came.unwrap(), event.leaves.unwrap()))
                .collect();
            tuples.sort_by_key(|(came, _)| (came.src, came.src_port));
            tuples
        };
        let begun = of(|kind| kind == EventKind::FlowBegun);
        let ended = of(|kind| matches!(kind, EventKind::FlowEnded { packets: [1, 0], .. }));
        assert_eq!(begun, ended, "sample {sample}");
        let expected = 2 * usize::from(FLOWS) / sample as usize;
        if sample == 1 {
            assert_eq!(begun.len(), expected);
        } else {
            assert!((expected / 2..expected * 2).contains(&begun.len()), "{}", begun.len());
        }
        let (came, leaves) = begun[0];
        assert_eq!((came.dst, came.dst_port), ("10.96.0.10".parse().unwrap(), 80));
        assert_eq!((leaves.dst, leaves.dst_port), ("10.244.1.7".parse().unwrap(), 8080));
    }
}

#[test]
fn copies_are_as_packets_came_and_say_what_became_of_them() {
    let mut gateway = gateway();
    let port = Capture {
        filter: PacketFilter { l4_port: Some(8080), ..PacketFilter::default() },
        drops_only: false,
        snap_len: 40,
    };
    let drops = Capture { drops_only: true, snap_len: 512, ..Capture::default() };
    let captures = [Some(port), None, None, Some(drops)];
    gateway.observe(Observe { captures, ..Observe::default() }).unwrap();
    for (ip, client, vip) in
        [("ip", "198.51.100.7", "10.96.0.10"), ("ip6", "2001:db8:51::7", "fd00:10:96::10")]
    {
        gateway.take_told();
        let line = format!("{ip} {client} > {vip} / tcp 4000 > 80 S / data 100");
        send(&mut gateway, 0, &line);
        send(&mut gateway, 0, &format!("{ip} {client} > {client} / udp 1 > 2"));
        // Passes, and nobody wants it.
        let pod = if ip == "ip" { "10.244.1.9" } else { "fd00:10:244:1::9" };
        send(&mut gateway, 0, &format!("{ip} {client} > {pod} / udp 1 > 2"));
        let captured = gateway.take_told().captured;
        let [syn, martian] = &captured[..] else { panic!("{captured:?}") };
        // By the port that it leaves to; its bytes are those that came.
        assert_eq!((syn.fate, syn.link), (Fate::Forwarded, Link::Ip));
        let to = |packet: &Captured| packet.to.iter().collect::<Vec<_>>();
        assert_eq!((to(syn), to(martian)), (vec![0], vec![3]));
        let came = &frame(0, &line)[14..];
        assert_eq!((syn.data(), usize::from(syn.len)), (&came[..40], came.len()));
        assert_eq!((syn.came.unwrap().dst_port, syn.leaves.unwrap().dst_port), (80, 8080));
        assert_eq!(martian.fate, Fate::Dropped(DropReason::Martian));
        assert!(martian.data().len() == usize::from(martian.len));
    }
    gateway.take_told();
    // What is dropped before it is known as a packet is copied with its Ethernet header.
    let broken = "ip 198.51.100.7 > 203.0.113.9 sum 0x1234 / udp 1 > 2";
    send(&mut gateway, 0, broken);
    let captured = gateway.take_told().captured;
    assert_eq!(captured[0].link, Link::Ethernet);
    assert_eq!(captured[0].data(), frame(0, broken));
}

#[test]
fn a_flow_that_policies_cut_says_so_until_it_is_allowed_again() {
    let mut topology = Topology::standard();
    let mut compiler = Compiler::new(1);
    let mut gateway = gateway();
    let flows = Some(FlowTelling { sample: 1, per_second: u32::MAX });
    gateway.observe(Observe { flows, ..Observe::default() }).unwrap();
    for (ip, client, pod) in
        [("ip", "198.51.100.7", "10.244.1.7"), ("ip6", "2001:db8:51::7", "fd00:10:244:1::7")]
    {
        let key = (pod.parse().unwrap(), Direction::Ingress);
        let mut allow = |gateway: &mut Gateway, port: u16| {
            let rule = Rule { verdict: Verdict::Allow, peer: None, ports: vec![(UDP, port, port)] };
            let policy = Policy { rules: vec![rule], otherwise: Verdict::Deny };
            topology.policies = [(key, policy)].into();
            gateway.publish(compiler.compile(&topology)).unwrap();
        };
        let packet = format!("{ip} {client} > {pod} / udp 4000 > 53");
        let flow = |gateway: &mut Gateway| {
            let flows = gateway.flows().unwrap();
            let mut of_client =
                flows.into_iter().filter(|flow| flow.client.0.to_string() == client);
            of_client.next().expect("a flow")
        };
        let rule = |number| [RuleId::NONE, RuleId(RuleId::FIRST + number)];
        let (allowed, otherwise) = (rule(0), rule(1));
        allow(&mut gateway, 53);
        send(&mut gateway, 0, &packet);
        let begun = flow(&mut gateway);
        assert_eq!((begun.state, begun.cut, begun.is_stale), ("udp_new", None, false));
        assert_eq!(begun.rules, allowed);
        allow(&mut gateway, 54);
        let idle = flow(&mut gateway);
        assert_eq!((idle.state, idle.cut, idle.is_stale), ("udp_new", None, true));
        send(&mut gateway, 0, &packet);
        let cut = flow(&mut gateway);
        assert_eq!((cut.state, cut.cut, cut.is_stale), ("cut", Some("policy_ingress"), false));
        assert_eq!(cut.rules, otherwise);
        allow(&mut gateway, 53);
        let unasked = flow(&mut gateway);
        assert_eq!((unasked.state, unasked.is_stale), ("cut", true), "as its last packet was");
        send(&mut gateway, 0, &packet);
        let again = flow(&mut gateway);
        assert_eq!((again.state, again.cut, again.rules), ("udp_new", None, allowed));
        // Its end is told of as it ended.
        allow(&mut gateway, 54);
        send(&mut gateway, 0, &packet);
        gateway.take_told();
        gateway.advance(Duration::from_secs(200)).unwrap();
        let told = gateway.take_told().events;
        let [(_, ended)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(ended.kind, EventKind::FlowEnded { state: "cut", packets: [2, 0] });
        assert_eq!(ended.rules, otherwise);
    }
}

#[test]
fn a_flood_takes_nothing_from_who_asks_for_something_else_nor_from_audits() {
    let mut topology = Topology::standard();
    for pod in ["10.244.1.7", "fd00:10:244:1::7"] {
        let key = (pod.parse().unwrap(), Direction::Ingress);
        let policy = Policy { rules: Vec::new(), otherwise: Verdict::Audit };
        topology.policies.insert(key, policy);
    }
    let mut gateway = gateway();
    gateway.publish(Compiler::new(1).compile(&topology)).unwrap();
    let narrow = PacketFilter { l4_port: Some(7), ..PacketFilter::default() };
    let follows = [Some(PacketFilter::default()), Some(narrow), None, None];
    let flows = Some(FlowTelling { sample: 1_000_000, per_second: 3 });
    let observe = Observe { follows, follows_per_second: 3, flows, ..Observe::default() };
    gateway.observe(observe.clone()).unwrap();
    let of = |gateway: &mut Gateway| {
        let told = gateway.take_told().events;
        let to = |place: usize| told.iter().filter(move |(_, of)| of.to.followers.contains(place));
        let logged = told.iter().filter(|(_, of)| of.to.flow_log).count();
        let counters = &gateway.counters(0).unwrap().events;
        let limited = [0, 1].map(|place| counters.follows[place].limited.get());
        ([to(0).count(), to(1).count(), logged], limited, counters.flow_log.limited.get())
    };
    for (ip, client, pod) in
        [("ip", "198.51.100.7", "10.244.1.7"), ("ip6", "2001:db8:51::7", "fd00:10:244:1::7")]
    {
        gateway.advance(Duration::from_secs(2)).unwrap();
        of(&mut gateway);
        let before = of(&mut gateway);
        let spoofed = |port: u16| match ip {
            "ip" => format!("ip 10.244.1.5 > 203.0.113.9 / udp {port} > 2"),
            _ => format!("ip6 fd00:10:244:1::5 > 2001:db8:99::9 / udp {port} > 2"),
        };
        for _ in 0..10 {
            send(&mut gateway, 0, &spoofed(1));
        }
        assert_eq!(of(&mut gateway), ([3, 0, 3], [before.1[0] + 7, 0], before.2 + 7));
        // Another one who comes changes no limit of theirs.
        let mut more = observe.clone();
        more.follows[3] = Some(PacketFilter { l4_port: Some(9), ..PacketFilter::default() });
        gateway.observe(more).unwrap();
        send(&mut gateway, 0, &spoofed(7));
        send(&mut gateway, 0, &format!("{ip} {client} > {pod} / udp 4000 > 53"));
        // The narrow one's drop, and an audit for the other and the log.
        assert_eq!(of(&mut gateway), ([1, 1, 1], [before.1[0] + 8, 0], before.2 + 8));
        gateway.observe(observe.clone()).unwrap();
    }
}
