//! Who has a turn while packets wait, by a clock that moves when it is looked at.

use sluice_fastpath::flow::{FlowLimits, Timeouts};
use sluice_fastpath::idle::{Idle, IdleMode};
use sluice_fastpath::local::{LocalContext, LocalPacket, LocalService};
use sluice_fastpath::{
    DropReason, FragmentOptions, Nanos, NeighborOptions, Worker, WorkerCounters, WorkerOptions,
    mesh,
};
use sluice_io::{BURST, Frame, FrameCache, MemoryPort, MemoryPortPeer, PortId, Umem};
use sluice_tables::l7::ListenerId;
use sluice_tables::mailbox::{ToWorker, mailbox};
use sluice_tables::{Local, PortLocal, Tables, Vip};
use sluice_testkit::packet::{self, Defaults, Mac};
use std::cell::{Cell, RefCell};
use std::net::Ipv6Addr;
use std::rc::Rc;
use std::sync::Arc;

/// What a look at the clock takes, and a turn of the service.
const LOOK_NS: u64 = 10_000;
const SERVE_NS: u64 = 50_000;

/// One frame in so many is for the service.
const LOCAL_EVERY: usize = 16;

/// A turn of the service: its begin and its end, and frames that waited.
type Turn = (u64, u64, usize);

/// What was seen of a run.
#[derive(Clone, Debug, Default)]
struct Seen {
    turns: Vec<Turn>,
    /// Packets that came to the service.
    delivered: usize,
    /// Frames that came to the worker, and those of them that were shed.
    taken: usize,
    shed: u64,
}

struct Service {
    now_ns: Rc<Cell<u64>>,
    peer: MemoryPortPeer,
    has_work: bool,
    seen: Rc<RefCell<Seen>>,
}

impl LocalService for Service {
    fn deliver(
        &mut self,
        packet: LocalPacket,
        context: &mut LocalContext<'_>,
    ) -> Result<(), Frame> {
        context.cache.free(packet.into_frame());
        self.seen.borrow_mut().delivered += 1;
        Ok(())
    }

    fn poll(&mut self, _: &mut LocalContext<'_>) -> Option<Frame> {
        None
    }

    fn turn(&mut self, _: &mut LocalContext<'_>, clock: &mut dyn FnMut() -> Nanos) -> bool {
        let begin = clock().0;
        self.now_ns.set(begin + SERVE_NS);
        self.seen.borrow_mut().turns.push((begin, begin + SERVE_NS, self.peer.pending()));
        self.has_work
    }
}

/// Has a worker run for a time with frames on its wire, some of them for its service, which
/// has something to do in each of its turns or nothing ever.
fn run(is_v4: bool, frames: usize, time_ns: u64, has_work: bool) -> Seen {
    let umem = Umem::new(4096).unwrap();
    let (port, peer) = MemoryPort::new(PortId(0), "port0", 0, 1024);
    let lines = match is_v4 {
        true => [
            "ip 192.0.2.10 > 203.0.113.1 / tcp 1 > 80 S",
            "ip 192.0.2.10 > 198.51.100.1 / udp 1 > 2",
        ],
        false => [
            "ip6 2001:db8:1::10 > 2001:db8:3::1 / tcp 1 > 80 S",
            "ip6 2001:db8:1::10 > 2001:db8:2::1 / udp 1 > 2",
        ],
    };
    let defaults = Defaults { dst: Mac([2, 0, 0, 0, 0, 0xa0]), ..Defaults::default() };
    let [local, other] = lines.map(|line| packet::parse(line, &defaults).unwrap());
    for number in 0..frames {
        peer.send(if number % LOCAL_EVERY == 0 { &local } else { &other });
    }
    let (mut control, end) = mailbox().unwrap();
    let mesh = mesh(&[control.waker()], 64).pop().unwrap();
    let counters = Arc::new(WorkerCounters::new(1, 0));
    let options = WorkerOptions {
        id: 0,
        flows_max: 1024,
        timeouts: Timeouts::default(),
        limits: FlowLimits::default(),
        neighbors: NeighborOptions::default(),
        syn_gate: false,
        affinities_max: 16,
        fragments: FragmentOptions::default(),
        errors_per_second: 0,
        seed: 1,
    };
    let cache = FrameCache::new(&umem, 1024);
    let mut worker = Worker::new(options, vec![Box::new(port)], cache, end, mesh, counters.clone());
    let now_ns = Rc::new(Cell::new(Nanos::SECOND));
    let seen = Rc::<RefCell<Seen>>::default();
    let service = Service { now_ns: now_ns.clone(), peer, has_work, seen: seen.clone() };
    worker.set_l7(Box::new(service));
    assert!(control.send(ToWorker::Tables(Arc::new(tables()))).is_ok());
    let mut stops = false;
    let clock = || {
        now_ns.set(now_ns.get() + LOOK_NS);
        if now_ns.get() > Nanos::SECOND + time_ns && !stops {
            stops = control.send(ToWorker::Stop).is_ok();
        }
        Nanos(now_ns.get())
    };
    worker.run(clock, Idle::new(IdleMode::BusyPoll));
    let taken = counters.ports[0].rx_packets.get() as usize;
    Seen { taken, shed: counters.dropped(DropReason::Overload), ..seen.take() }
}

/// A port, and what the service listens for.
fn tables() -> Tables {
    let mut tables = Tables::empty(1);
    tables.version = 1;
    let port = PortLocal {
        id: PortId(0),
        name: "port0".into(),
        mac: [2, 0, 0, 0, 0, 0xa0],
        mtu: 1500,
        vlan: None,
        announce_vips: false,
        v4: Vec::new(),
        v6: Vec::new(),
    };
    tables.local = Arc::new(Local { ports: vec![port], vxlan: None });
    let (v4, v6) = ([203, 0, 113, 1], "2001:db8:3::1".parse::<Ipv6Addr>().unwrap().octets());
    tables.v4.vips.insert(v4, Vip { announce: false });
    tables.v6.vips.insert(v6, Vip { announce: false });
    tables.v4.listeners = Arc::new([((v4, 80), ListenerId(0))].into());
    tables.v6.listeners = Arc::new([((v6, 80), ListenerId(0))].into());
    tables
}

#[test]
fn while_packets_wait_they_have_more_of_the_time_than_services() {
    for is_v4 in [true, false] {
        let turns = run(is_v4, 40_000, 1_000_000, true).turns;
        assert!(turns.len() > 3, "{turns:?}");
        for pair in turns.windows(2) {
            let (pause, waiting) = (pair[1].0 - pair[0].1, pair[1].2);
            assert!(waiting >= BURST, "the wire is empty: {turns:?}");
            assert!(pause >= 5 * SERVE_NS / 2, "{turns:?}");
            // And no more than that, but for a turn.
            assert!(pause <= 5 * SERVE_NS / 2 + 10 * LOOK_NS, "{turns:?}");
        }
    }
}

#[test]
fn services_have_each_turn_when_nothing_waits() {
    let turns = run(true, 0, 1_000_000, true).turns;
    assert!(turns.len() > 10);
    assert!(turns.windows(2).all(|pair| pair[1].0 - pair[0].1 <= 5 * LOOK_NS), "{turns:?}");
}

#[test]
fn what_waits_for_long_is_shed_and_the_services_own_is_not() {
    for is_v4 in [true, false] {
        let seen = run(is_v4, 200_000, 20_000_000, true);
        assert!(seen.taken > 10_000 && seen.taken < 200_000, "{} taken", seen.taken);
        assert!(seen.shed > 100, "{} shed", seen.shed);
        assert_eq!(seen.delivered, seen.taken.div_ceil(LOCAL_EVERY));
    }
}

#[test]
fn nothing_is_shed_for_a_service_that_has_nothing_to_do() {
    let seen = run(true, 200_000, 20_000_000, false);
    assert!(seen.taken > 10_000 && seen.taken < 200_000, "{} taken", seen.taken);
    assert_eq!(seen.shed, 0);
}
