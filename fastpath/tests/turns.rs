//! Who has a turn while packets wait, by a clock that moves when it is looked at.

use sluice_fastpath::flow::{FlowLimits, Timeouts};
use sluice_fastpath::idle::{Idle, IdleMode};
use sluice_fastpath::local::{LocalContext, LocalPacket, LocalService};
use sluice_fastpath::{
    FragmentOptions, Nanos, NeighborOptions, Worker, WorkerCounters, WorkerOptions, mesh,
};
use sluice_io::{BURST, Frame, FrameCache, MemoryPort, MemoryPortPeer, PortId, Umem};
use sluice_tables::mailbox::{ToWorker, mailbox};
use sluice_tables::{Local, PortLocal, Tables};
use sluice_testkit::packet::{self, Defaults, Mac};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// What a look at the clock takes, and a turn of the service.
const LOOK_NS: u64 = 10_000;
const SERVE_NS: u64 = 50_000;

/// A turn of the service: its begin and its end, and frames that waited.
type Turn = (u64, u64, usize);

struct Service {
    now_ns: Rc<Cell<u64>>,
    peer: MemoryPortPeer,
    turns: Rc<RefCell<Vec<Turn>>>,
}

impl LocalService for Service {
    fn deliver(
        &mut self,
        packet: LocalPacket,
        context: &mut LocalContext<'_>,
    ) -> Result<(), Frame> {
        context.cache.free(packet.into_frame());
        Ok(())
    }

    fn poll(&mut self, _: &mut LocalContext<'_>) -> Option<Frame> {
        None
    }

    fn turn(&mut self, _: &mut LocalContext<'_>, clock: &mut dyn FnMut() -> Nanos) -> bool {
        let begin = clock().0;
        self.now_ns.set(begin + SERVE_NS);
        self.turns.borrow_mut().push((begin, begin + SERVE_NS, self.peer.pending()));
        true
    }
}

/// Has a worker run for a time with frames on its wire: the turns of its service.
fn run(is_v4: bool, frames: usize, time_ns: u64) -> Vec<Turn> {
    let umem = Umem::new(4096).unwrap();
    let (port, peer) = MemoryPort::new(PortId(0), "port0", 0, 1024);
    let line = match is_v4 {
        true => "ip 192.0.2.10 > 198.51.100.1 / udp 1 > 2",
        false => "ip6 2001:db8:1::10 > 2001:db8:2::1 / udp 1 > 2",
    };
    let defaults = Defaults { dst: Mac([2, 0, 0, 0, 0, 0xa0]), ..Defaults::default() };
    let frame = packet::parse(line, &defaults).unwrap();
    (0..frames).for_each(|_| peer.send(&frame));
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
    let turns = Rc::<RefCell<Vec<Turn>>>::default();
    worker.set_l7(Box::new(Service { now_ns: now_ns.clone(), peer, turns: turns.clone() }));
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
    turns.take()
}

/// A port.
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
    tables
}

#[test]
fn while_packets_wait_they_have_twice_the_time_of_services() {
    for is_v4 in [true, false] {
        let turns = run(is_v4, 40_000, 1_000_000);
        assert!(turns.len() > 3, "{turns:?}");
        for pair in turns.windows(2) {
            let (pause, waiting) = (pair[1].0 - pair[0].1, pair[1].2);
            assert!(waiting >= BURST, "the wire is empty: {turns:?}");
            assert!(pause >= 2 * SERVE_NS, "{turns:?}");
            // And no more than that, but for a turn.
            assert!(pause <= 2 * SERVE_NS + 10 * LOOK_NS, "{turns:?}");
        }
    }
}

#[test]
fn services_have_each_turn_when_nothing_waits() {
    let turns = run(true, 0, 1_000_000);
    assert!(turns.len() > 10);
    assert!(turns.windows(2).all(|pair| pair[1].0 - pair[0].1 <= 5 * LOOK_NS), "{turns:?}");
}
