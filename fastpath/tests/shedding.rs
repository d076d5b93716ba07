//! What a worker that has too much to do drops of the packets to the gateway's own
//! addresses, which only flows tell of: replies to the SNAT pool and what comes by node
//! ports, and nothing that the gateway itself sends.

use sluice_fastpath::local::{LocalContext, LocalPacket, LocalService};
use sluice_fastpath::wire::ip::Ip;
use sluice_fastpath::{DropReason, Nanos, flow::FlowTable};
use sluice_io::{BURST, Frame};
use sluice_tables::l7::ListenerId;
use sluice_testkit::gateway::topology::{PORT_MACS, ServiceKey};
use sluice_testkit::gateway::{Compiler, Gateway, GatewayOptions, Topology};
use sluice_testkit::packet::{Defaults, Mac, parse};
use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const UDP: u8 = 17;
const NODE_PORT: u16 = 30_053;
const CLIENT_PORT: u16 = 40_000;

/// What the gateway's own packets carry, in bytes: more than all others are long.
const OWN_LEN: usize = 100;
const ETHERNET_LEN: usize = 14;

/// Turns, each of them so long: thirty of the steps in which workers look.
const TURNS: u32 = 300;
const TURN: Duration = Duration::from_micros(100);

/// One frame in so many is for the service.
const LOCAL_EVERY: usize = 16;

/// A family's addresses in the standard topology.
struct Site {
    layer: &'static str,
    client: IpAddr,
    /// The gateway's own, with the node port.
    own: IpAddr,
    /// Where the service listens.
    vip: IpAddr,
    /// Stands in for clients.
    pool: IpAddr,
    endpoint: IpAddr,
    /// The router and the endpoint make themselves known.
    hellos: [&'static str; 2],
}

fn sites() -> [Site; 2] {
    let v4 = ["198.51.100.7", "192.0.2.1", "203.0.113.1", "10.244.255.1", "10.10.0.11"];
    let v6 =
        ["2001:db8:51::7", "2001:db8:1::1", "2001:db8:3::1", "fd00:10:244:ff::1", "fd00:10:10::11"];
    let arp = ["arp who-has 192.0.2.1 tell 192.0.2.254", "arp who-has 10.10.0.1 tell 10.10.0.11"];
    let nd = [
        "ip6 2001:db8:1::254 > 2001:db8:1::1 / nd ns 2001:db8:1::1 sll 02:..:11",
        "ip6 fd00:10:10::11 > fd00:10:10::1 / nd ns fd00:10:10::1 sll 02:..:11",
    ];
    let layers = ["ip", "ip6"];
    [0, 1].map(|family| {
        let [client, own, vip, pool, endpoint] = [v4, v6][family].map(|addr| addr.parse().unwrap());
        Site { layer: layers[family], client, own, vip, pool, endpoint, hellos: [arp, nd][family] }
    })
}

/// Sends a packet of its own in each turn to the endpoint, and counts what it is given.
struct Service {
    packet: Vec<u8>,
    /// Not zero: it has something to do.
    works: Rc<Cell<u64>>,
    is_due: bool,
    delivered: Rc<Cell<u64>>,
    sent: Rc<Cell<u64>>,
}

impl LocalService for Service {
    fn deliver(
        &mut self,
        packet: LocalPacket,
        context: &mut LocalContext<'_>,
    ) -> Result<(), Frame> {
        context.cache.free(packet.into_frame());
        self.delivered.set(self.delivered.get() + 1);
        Ok(())
    }

    fn poll(&mut self, context: &mut LocalContext<'_>) -> Option<Frame> {
        if !std::mem::take(&mut self.is_due) {
            return None;
        }
        let mut frame = context.cache.alloc()?;
        assert!(frame.set_window(sluice_io::HEADROOM, self.packet.len()));
        frame.data_mut().copy_from_slice(&self.packet);
        self.sent.set(self.sent.get() + 1);
        Some(frame)
    }

    fn turn(&mut self, _: &mut LocalContext<'_>, _: &mut dyn FnMut() -> Nanos) -> bool {
        self.is_due = self.works.get() > 0;
        self.is_due
    }
}

fn frame(port: usize, line: &str) -> Vec<u8> {
    let defaults =
        Defaults { dst: PORT_MACS[port], src: Mac([2, 0, 0, 0, 0, 0x11]), ..Defaults::default() };
    parse(line, &defaults).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// The port that stands in for the client's.
fn source_port(gateway: &Gateway, is_v4: bool) -> u16 {
    fn find<F: Ip>(table: &FlowTable<F>) -> Option<u16> {
        let mut found = None;
        table.scan(0, usize::MAX, 0, |_, [original, _], _, _| {
            if original.key.src_port == CLIENT_PORT {
                found = Some(original.new_src_port);
            }
            true
        });
        found
    }
    let flows = gateway.workers()[0].flows();
    if is_v4 { find(&flows.v4) } else { find(&flows.v6) }.expect("the client has a flow")
}

/// What a run under overload has come to.
#[derive(Debug)]
struct Seen {
    shed: u64,
    /// To the service: sent, and delivered.
    local: [u64; 2],
    /// The service's own to the endpoint: sent, and gone there.
    own: [u64; 2],
    /// Others that have left.
    forwarded: u64,
}

/// A gateway with the node port, whose service listens at port 80 of the VIP; the router
/// and the endpoint are known.
fn gateway(site: &Site, service: impl Fn() -> Service) -> Gateway {
    let mut topology = Topology::standard();
    topology.vips.insert(site.vip, false);
    let key = ServiceKey { addr: site.own, l4_port: NODE_PORT, protocol: UDP };
    topology.services.insert(key, vec![(site.endpoint, 53)]);
    let mut tables = Compiler::new(1).compile(&topology);
    match site.vip {
        IpAddr::V4(vip) => {
            tables.v4.listeners = Arc::new([((vip.octets(), 80), ListenerId(0))].into());
        }
        IpAddr::V6(vip) => {
            tables.v6.listeners = Arc::new([((vip.octets(), 80), ListenerId(0))].into());
        }
    }
    let mut gateway = Gateway::new(&GatewayOptions::default()).unwrap();
    gateway.serve(|_, _| Box::new(service()));
    gateway.publish(tables).unwrap();
    for (port, hello) in site.hellos.iter().enumerate() {
        gateway.inject(port, 0, &frame(port, hello)).unwrap();
    }
    gateway.settle().unwrap();
    gateway
}

/// Has more come for a while than a worker takes, some of it for its service, the rest to
/// an address of the gateway's own: replies, or packets to the node port.
fn run(site: &Site, replies: bool) -> Seen {
    let Site { layer, client, own, vip, pool, endpoint, .. } = site;
    // As a connection that the gateway has opened to an endpoint.
    let own_packet = format!("{layer} {pool} > {endpoint} / tcp 30000 > 80 S / data {OWN_LEN}");
    let [works, delivered, sent] = [(); 3].map(|()| Rc::<Cell<u64>>::default());
    let mut gateway = gateway(site, || Service {
        packet: frame(0, &own_packet)[ETHERNET_LEN..].to_vec(),
        works: works.clone(),
        is_due: false,
        delivered: delivered.clone(),
        sent: sent.clone(),
    });
    let request = format!("{layer} {client} > {own} / udp {CLIENT_PORT} > {NODE_PORT}");
    let (mut port, mut line) = (0, request);
    gateway.inject(port, 0, &frame(port, &line)).unwrap();
    gateway.settle().unwrap();
    if replies {
        let source_port = source_port(&gateway, client.is_ipv4());
        (port, line) = (1, format!("{layer} {endpoint} > {pool} / udp 53 > {source_port}"));
    }
    let other = frame(port, &line);
    let local = frame(port, &format!("{layer} {client} > {vip} / tcp 5 > 80 S"));
    while gateway.sent(0).is_some() || gateway.sent(1).is_some() {}

    let mut seen = Seen { shed: 0, local: [0; 2], own: [0; 2], forwarded: 0 };
    works.set(1);
    for turn in 0..TURNS {
        // The last turns take what is left.
        for number in 0..if turn < TURNS - 10 { BURST } else { 0 } {
            let is_local = number % LOCAL_EVERY == 0;
            seen.local[0] += u64::from(is_local);
            gateway.inject(port, 0, if is_local { &local } else { &other }).unwrap();
        }
        gateway.turn(TURN);
        while let Some(gone) = gateway.sent(0).or_else(|| gateway.sent(1)) {
            match gone.frame.len() > OWN_LEN {
                true => seen.own[1] += 1,
                false => seen.forwarded += 1,
            }
        }
    }
    seen.shed = gateway.counters(0).unwrap().dropped(DropReason::Overload);
    seen.local[1] = delivered.get();
    seen.own[0] = sent.get();
    works.set(0);
    gateway.close().unwrap();
    seen
}

#[test]
fn what_only_its_flow_tells_of_is_shed_and_the_gateways_own_is_not() {
    for site in sites() {
        for replies in [true, false] {
            let seen = run(&site, replies);
            assert!(seen.shed > 100 && seen.forwarded > 100, "{replies} {seen:?}");
            assert!(seen.own[0] > 10 && seen.local[0] > 100, "{replies} {seen:?}");
            assert_eq!(seen.own[0], seen.own[1], "{replies} {seen:?}");
            assert_eq!(seen.local[0], seen.local[1], "{replies} {seen:?}");
        }
    }
}
