//! A client, a gateway that serves L7 and a pod behind a node's tunnel, all in memory.

use crossbeam_channel::Sender;
use sluice_l7::asks::Ask;
use sluice_l7::net::{Net, Stream};
use sluice_l7::serving::Served;
use sluice_l7::tcp::{ConnId, ConnOptions, PacketSink, TcpConfig, TcpConn, TcpEngine};
use sluice_l7::worker::{Application, L7Options, L7Service, L7Told, WorkerNet, WorkerStream};
use sluice_tables::l7::{L7, ListenerId};
use sluice_tables::{OwnerMap, Tables, Vip};
use sluice_testkit::gateway::topology::{OVERLAY_MAC, PORT_MACS, Topology};
use sluice_testkit::gateway::{Compiler, Gateway, GatewayOptions};
use sluice_testkit::packet::{self, Defaults, Mac};
use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::copy_bidirectional;

pub const PORT: u16 = 80;
pub const POD_PORT: u16 = 8080;

/// Sends what comes to the pod, and what comes from there back.
struct Relay {
    net: WorkerNet,
    pod: SocketAddr,
    /// Connections to the pod that failed.
    failed: Rc<Cell<u32>>,
}

impl Application for Relay {
    fn accept(&self, mut client: WorkerStream, listener: ListenerId) {
        assert_eq!(listener, ListenerId(3));
        let (net, pod, failed) = (self.net.clone(), self.pod, self.failed.clone());
        self.net.spawn(async move {
            match net.connect(pod).await {
                Ok(mut stream) => {
                    // Whatever ends it ends both.
                    let _ = copy_bidirectional(&mut client, &mut stream).await;
                }
                Err(_) => {
                    failed.set(failed.get() + 1);
                    client.abort();
                }
            }
        });
    }

    fn take_tables(&self, _tables: &L7) {}

    fn drain(&self, _until_ns: u64) {}

    fn served(&self) -> Served {
        Served::default()
    }
}

/// Packets that a host has sent.
#[derive(Default)]
struct Outbox(Vec<Vec<u8>>);

impl PacketSink for Outbox {
    fn has_room(&self) -> bool {
        true
    }

    fn send(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8])) {
        let mut packet = vec![0; len];
        fill(&mut packet);
        self.0.push(packet);
    }
}

pub struct Lab {
    pub gateway: Gateway,
    pub topology: Topology,
    pub compiler: Compiler,
    pub client: TcpEngine,
    pub pod: TcpEngine,
    pub is_v4: bool,
    pub told: Vec<Arc<Mutex<L7Told>>>,
    /// The ways to ask those who serve.
    pub asks: Vec<Sender<Ask>>,
    /// Ends what is served, when it is set.
    pub ends_at_ns: Arc<AtomicU64>,
    /// The start of time, in milliseconds since 1970.
    pub unix_ms: Arc<AtomicU64>,
    pub failed: Rc<Cell<u32>>,
    pub pod_listens: bool,
    /// Puts frames of the pod into the queues of workers in turn.
    pub spread: bool,
    /// The longest packets seen: to the client, and to the pod.
    pub longest: [usize; 2],
    turns: usize,
    now_ns: u64,
    workers: usize,
}

impl Lab {
    /// A gateway that relays what comes to the pod.
    pub fn new(is_v4: bool, workers: usize) -> Lab {
        let failed: Rc<Cell<u32>> = Rc::default();
        let pod = SocketAddr::new(pod(is_v4), POD_PORT);
        let relay = |net| Relay { net, pod, failed: failed.clone() };
        let mut lab = Lab::with(is_v4, workers, relay);
        lab.failed = failed.clone();
        lab
    }

    /// A gateway that serves what `serve` makes.
    pub fn with<A: Application + 'static>(
        is_v4: bool,
        workers: usize,
        serve: impl Fn(WorkerNet) -> A,
    ) -> Lab {
        let mut topology = Topology::standard();
        topology.vips.insert(vip(is_v4), true);
        let options = GatewayOptions { workers, ..GatewayOptions::default() };
        let mut gateway = Gateway::new(&options).unwrap();
        let (mut told, mut asks) = (Vec::new(), Vec::new());
        let [ends_at_ns, unix_ms]: [Arc<AtomicU64>; 2] = Default::default();
        gateway.serve(|worker, waker| {
            let options = L7Options {
                worker,
                tcp: TcpConfig::default(),
                clients: ConnOptions::default(),
                endpoints: ConnOptions::default(),
                slice: Duration::from_micros(50),
                secret: [worker as u8 + 7; 16],
                unix_ms: Arc::clone(&unix_ms),
                ends_at_ns: ends_at_ns.clone(),
            };
            let (service, tells) = L7Service::new(&options, waker, &serve);
            told.push(tells);
            asks.push(service.asks());
            Box::new(service)
        });
        let mut lab = Lab {
            gateway,
            compiler: Compiler::new(workers),
            topology,
            client: TcpEngine::new(TcpConfig::default(), [1; 16]),
            pod: TcpEngine::new(TcpConfig::default(), [2; 16]),
            is_v4,
            told,
            asks,
            ends_at_ns,
            unix_ms,
            failed: Rc::default(),
            pod_listens: true,
            spread: false,
            longest: [0; 2],
            turns: 0,
            now_ns: 0,
            workers,
        };
        lab.publish(|_| {});
        lab.introduce();
        lab
    }

    /// Compiles the topology anew, with the listener, and changes the tables.
    pub fn publish(&mut self, change: impl FnOnce(&mut Tables)) {
        let mut tables = self.compiler.compile(&self.topology);
        tables.owners = OwnerMap::even(self.workers).with_seed(3);
        let listener = ListenerId(3);
        match vip(self.is_v4) {
            IpAddr::V4(addr) => {
                tables.v4.listeners = Arc::new([((addr.octets(), PORT), listener)].into());
                tables.v4.vips.insert(addr.octets(), Vip { announce: true });
            }
            IpAddr::V6(addr) => {
                tables.v6.listeners = Arc::new([((addr.octets(), PORT), listener)].into());
                tables.v6.vips.insert(addr.octets(), Vip { announce: true });
            }
        }
        change(&mut tables);
        self.gateway.publish(tables).unwrap();
    }

    /// Tells the gateway the MACs of the client and of the node.
    fn introduce(&mut self) {
        let mac = |last: u8| Mac([2, 0, 0, 0, 0, last]);
        for (port, src, line) in [
            (0, 0x10, "arp 192.0.2.10 is-at 02:..:10 to 192.0.2.1 02:..:a0"),
            (
                0,
                0x10,
                "ip6 2001:db8:1::10 > 2001:db8:1::1 hop 255 / nd ns 2001:db8:1::1 sll 02:..:10",
            ),
            (1, 0x11, "arp 10.10.0.11 is-at 02:..:11 to 10.10.0.1 02:..:b0"),
        ] {
            let defaults = Defaults { src: mac(src), dst: PORT_MACS[port], ..Defaults::default() };
            let frame = packet::parse(line, &defaults).unwrap_or_else(|e| panic!("{line}: {e}"));
            self.gateway.inject(port, 0, &frame).unwrap();
            self.gateway.settle().unwrap();
        }
        while self.gateway.sent(0).or_else(|| self.gateway.sent(1)).is_some() {}
    }

    pub fn connect(&mut self, l4_port: u16) -> ConnId {
        let (local, remote) = (client(self.is_v4), vip(self.is_v4));
        let local = SocketAddr::new(local, l4_port);
        let remote = SocketAddr::new(remote, PORT);
        self.client.connect(local, remote, ConnOptions::default(), self.now_ns).unwrap()
    }

    /// Lets everybody act until nobody has anything to say, then time go by.
    pub fn step(&mut self, time: Duration) {
        for _ in 0..1_000 {
            if !self.exchange() {
                break;
            }
        }
        self.gateway.advance(time).unwrap();
        self.now_ns += time.as_nanos() as u64;
    }

    /// Goes on until `done`, for a minute at most.
    pub fn run(&mut self, mut done: impl FnMut(&mut Lab) -> bool) {
        for _ in 0..6_000 {
            if done(self) {
                return;
            }
            self.step(Duration::from_millis(10));
        }
        panic!("it is not done after a minute");
    }

    fn exchange(&mut self) -> bool {
        let mut any = false;
        let mut out = Outbox::default();
        self.client.poll(self.now_ns, 64, &mut out);
        for packet in out.0 {
            any = true;
            let frame = ethernet(PORT_MACS[0], Mac([2, 0, 0, 0, 0, 0x10]), self.is_v4, &packet);
            let worker = self.queue();
            self.gateway.inject(0, worker, &frame).unwrap();
        }
        let mut out = Outbox::default();
        self.pod.poll(self.now_ns, 64, &mut out);
        self.take_from_pod(out, &mut any);
        self.gateway.settle().unwrap();
        while let Some(sent) = self.gateway.sent(0) {
            any = true;
            let packet = &sent.frame[14..];
            self.longest[0] = self.longest[0].max(packet.len());
            let mut out = Outbox::default();
            let mut closed = |_: SocketAddr, _: SocketAddr| None;
            self.client.deliver(packet, self.now_ns, &mut closed, &mut out);
            for packet in out.0 {
                let mac = Mac([2, 0, 0, 0, 0, 0x10]);
                let frame = ethernet(PORT_MACS[0], mac, self.is_v4, &packet);
                let worker = self.queue();
                self.gateway.inject(0, worker, &frame).unwrap();
            }
        }
        while let Some(sent) = self.gateway.sent(1) {
            any = true;
            // Ethernet, IPv4, UDP, VXLAN, Ethernet.
            let packet = &sent.frame[14 + 20 + 8 + 8 + 14..];
            self.longest[1] = self.longest[1].max(packet.len());
            let mut out = Outbox::default();
            let pod_listens = self.pod_listens;
            let mut listens = |local: SocketAddr, _: SocketAddr| {
                (pod_listens && local.port() == POD_PORT).then(ConnOptions::default)
            };
            self.pod.deliver(packet, self.now_ns, &mut listens, &mut out);
            self.take_from_pod(out, &mut any);
        }
        any
    }

    /// Sends what a connection of the pod's has to send and closes it, before the gateway
    /// looks at any of that.
    pub fn hang_up(&mut self, id: ConnId) {
        for is_over in [false, true] {
            if is_over {
                self.pod.release(id, self.now_ns);
            }
            let mut out = Outbox::default();
            self.pod.poll(self.now_ns, 64, &mut out);
            self.take_from_pod(out, &mut false);
        }
    }

    fn queue(&mut self) -> usize {
        self.turns += usize::from(self.spread);
        self.turns % self.workers
    }

    fn take_from_pod(&mut self, out: Outbox, any: &mut bool) {
        for packet in out.0 {
            *any = true;
            let node = Mac([2, 0, 0, 0, 0, 0x21]);
            let inner = ethernet(OVERLAY_MAC, node, self.is_v4, &packet);
            let worker = self.queue();
            self.gateway.inject(1, worker, &vxlan(&inner)).unwrap();
        }
    }

    /// Writes all of `data`, and reads as much at the other end.
    pub fn transfer(&mut self, from: (Side, ConnId), to: (Side, ConnId), data: &[u8]) {
        let (mut sent, mut got) = (0, Vec::new());
        self.run(|lab| {
            sent += lab.write(from, &data[sent..]);
            got.extend(lab.read(to).unwrap_or_default());
            got.len() >= data.len()
        });
        assert!(got == data, "what came is not what was sent");
    }

    fn engine(&mut self, side: Side) -> &mut TcpEngine {
        match side {
            Side::Client => &mut self.client,
            Side::Pod => &mut self.pod,
        }
    }

    pub fn write(&mut self, (side, id): (Side, ConnId), data: &[u8]) -> usize {
        let mut context = Context::from_waker(Waker::noop());
        let Some(mut conn) = self.engine(side).conn(id) else { return 0 };
        match conn.poll_write(&mut context, data) {
            Poll::Ready(Ok(written)) => written,
            _ => 0,
        }
    }

    /// What has come; `None` after the end.
    pub fn read(&mut self, (side, id): (Side, ConnId)) -> Option<Vec<u8>> {
        let mut context = Context::from_waker(Waker::noop());
        let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
        let mut conn = self.engine(side).conn(id)?;
        loop {
            match conn.poll_read(&mut context, &mut buffer) {
                Poll::Ready(Ok(0) | Err(_)) if all.is_empty() => return None,
                Poll::Ready(Ok(read)) if read > 0 => all.extend(&buffer[..read]),
                _ => return Some(all),
            }
        }
    }
}

#[derive(Clone, Copy)]
pub enum Side {
    Client,
    Pod,
}

pub fn vip(is_v4: bool) -> IpAddr {
    if is_v4 { [192, 0, 2, 80].into() } else { "2001:db8:1::80".parse().unwrap() }
}

pub fn client(is_v4: bool) -> IpAddr {
    if is_v4 { [192, 0, 2, 10].into() } else { "2001:db8:1::10".parse().unwrap() }
}

pub fn pod(is_v4: bool) -> IpAddr {
    if is_v4 { [10, 244, 1, 7].into() } else { "fd00:10:244:1::7".parse().unwrap() }
}

fn ethernet(to: Mac, from: Mac, is_v4: bool, packet: &[u8]) -> Vec<u8> {
    let ethertype: [u8; 2] = if is_v4 { [0x08, 0] } else { [0x86, 0xdd] };
    [&to.0[..], &from.0, &ethertype, packet].concat()
}

/// From node1 to the gateway.
fn vxlan(inner: &[u8]) -> Vec<u8> {
    let udp_len = 8 + 8 + inner.len();
    let builder = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0x11], PORT_MACS[1].0)
        .ipv4([10, 10, 0, 11], [10, 10, 0, 1], 64)
        .udp(50_000, 4_789);
    let vxlan = [8, 0, 0, 0, 0, 0x10, 0, 0];
    let payload = [&vxlan[..], inner].concat();
    let mut frame = Vec::with_capacity(udp_len + 34);
    builder.write(&mut frame, &payload).unwrap();
    frame
}

/// Nothing is listened for any more.
pub fn forget_listeners(tables: &mut Tables) {
    tables.v4.listeners = Arc::default();
    tables.v6.listeners = Arc::default();
}
