use super::*;
use crate::control::ControlHandle;
use crate::observe::filter::{FilterQuery, Follow, SNAP_LEN};
use crate::observe::pcapng::{Blocks, Seen};
use crate::observe::{WATCHERS_MAX, Watch};
use crate::testing::{self, FakeClock};
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use sluice_config::FlowLogTarget;
use sluice_control::Request;
use sluice_fastpath::DropReason;
use sluice_fastpath::events::{
    Audience, EventKind, EventSender, Fate, Link, Places, SNAP_LEN_MAX, events,
};
use sluice_fastpath::packet::Ingress;
use sluice_io::PortId;
use sluice_tables::{BackendId, FlowTelling, Observe, RuleId, ServiceId, Tuple};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// An observer of one worker that is played by the test, as is control.
struct World {
    hub: Arc<Hub>,
    observer: Option<Observer>,
    sender: EventSender,
    counters: Arc<WorkerCounters>,
    names: Names,
    /// What control was asked to pass on.
    asked: Arc<Mutex<Vec<Arc<Observe>>>>,
}

impl World {
    fn new(flow_log: Option<PathBuf>) -> World {
        let config = testing::config("");
        let (_, handle, taken) =
            testing::control(&config, Vec::new(), Arc::new(FakeClock::default()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let passed_on = Arc::clone(&asked);
        std::thread::spawn(move || {
            while let Ok(Request::Observe { observe, reply }) = taken.recv() {
                passed_on.lock().unwrap().push(observe);
                let _ = reply.send(());
            }
        });
        World::of(handle, asked, flow_log)
    }

    fn of(
        control: ControlHandle,
        asked: Arc<Mutex<Vec<Arc<Observe>>>>,
        flow_log: Option<PathBuf>,
    ) -> World {
        let (sender, receiver) = events();
        let counters = Arc::new(WorkerCounters::new(1, 4));
        let names = Names { control, ports: vec!["uplink".to_owned()], started: Instant::now() };
        let hub = Arc::new(Hub::default());
        let log = |path| FlowLogConfig {
            to: FlowLogTarget::File(path),
            sample: 10,
            per_second: 7,
            bytes_max: u64::MAX,
        };
        let observer = Observer::start(Setup {
            hub: Arc::clone(&hub),
            workers: vec![(receiver, Arc::clone(&counters))],
            names: names.clone(),
            flow_log: flow_log.map(log),
        });
        World { hub, observer: Some(observer.unwrap()), sender, counters, names, asked }
    }

    fn now(&self) -> Nanos {
        Nanos(self.names.started.elapsed().as_nanos() as u64)
    }

    fn event(&self, kind: EventKind, src: &str, flow_log: bool) -> PacketEvent {
        let followers = if kind.reason().is_some() { all() } else { Places::default() };
        PacketEvent {
            at: self.now(),
            kind,
            to: Audience { followers, flow_log },
            ingress: Some(Ingress::port(PortId(0))),
            came: Some(tuple(src)),
            leaves: None,
            service: ServiceId::NONE,
            backend: BackendId::NONE,
            rules: [RuleId::NONE, RuleId(7)],
            len: 60,
        }
    }

    fn drop(&mut self, reason: DropReason, src: &str) {
        let event = self.event(EventKind::Dropped(reason), src, false);
        self.push(event);
    }

    /// As a worker does, but for the patience.
    fn push(&mut self, event: PacketEvent) {
        while self.sender.events.push(event).is_err() {
            std::thread::yield_now();
        }
    }

    fn watch(&self, follow: &Follow) -> Watch {
        let count = match follow {
            Follow::Packets { count, .. } => *count,
            Follow::Drops { .. } => None,
        };
        let mut watch = self.hub.watch(follow.want().unwrap(), count).unwrap();
        assert_eq!(watch.pieces.blocking_recv(), Some(Piece::Begun));
        watch
    }

    fn last_asked(&self) -> Arc<Observe> {
        self.asked.lock().unwrap().last().unwrap().clone()
    }

    /// Waits until control has been asked for this.
    fn until_asked(&self, is: impl Fn(&Observe) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !self.asked.lock().unwrap().last().is_some_and(|observe| is(observe)) {
            assert!(Instant::now() < deadline, "{:?}", self.last_asked());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// All who watch.
fn all() -> Places {
    let mut places = Places::default();
    (0..WATCHERS_MAX).for_each(|place| places.insert(place));
    places
}

fn tuple(src: &str) -> Tuple {
    let dst = if src.contains(':') { "2001:db8::1" } else { "203.0.113.1" };
    let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
    Tuple { src, dst, src_port: 4000, dst_port: 80, protocol: 6 }
}

fn drops(filter: FilterQuery) -> Follow {
    Follow::Drops { filter }
}

fn packets(count: Option<u64>, drops_only: bool) -> Follow {
    let filter = FilterQuery::default();
    Follow::Packets { filter, drops_only, snap_len: SNAP_LEN, count, seconds: None }
}

/// The next line; `None` after the last.
fn line(watch: &mut Watch) -> Option<Line> {
    match watch.pieces.blocking_recv()? {
        Piece::Bytes(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn event_line(watch: &mut Watch) -> EventView {
    match line(watch) {
        Some(Line::Event(event)) => *event,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_follower_is_told_of_what_it_asked_for_with_names() {
    let mut world = World::new(None);
    world.names.control.rules.update([(RuleId(7), "shop/deny ingress default".into())]);
    world.drop(DropReason::Martian, "10.0.0.9");
    let mut all = world.watch(&drops(FilterQuery::default()));
    let v6 = FilterQuery { src: Some("fd00::/8".parse().unwrap()), ..FilterQuery::default() };
    let mut v6 = world.watch(&drops(v6));
    assert_eq!(world.last_asked().follows.iter().flatten().count(), 2);
    world.drop(DropReason::NoRoute, "10.0.0.2");
    world.drop(DropReason::Blackhole, "fd00::2");
    let first = event_line(&mut all);
    assert_eq!(first.reason.as_deref(), Some("no_route"), "not what was before it came");
    assert_eq!((first.event.as_str(), first.verdict.as_str()), ("drop", "dropped"));
    assert_eq!((first.protocol.as_deref(), first.bytes), (Some("TCP"), Some(60)));
    assert_eq!(first.from.as_deref(), Some("port uplink"));
    assert_eq!(first.ingress_rule.as_deref(), Some("shop/deny ingress default"));
    assert_eq!(first.egress_rule, None);
    let source = first.source.unwrap();
    assert_eq!((source.address.to_string().as_str(), source.port), ("10.0.0.2", 4000));
    assert_eq!(event_line(&mut all).reason.as_deref(), Some("blackhole"));
    assert_eq!(event_line(&mut v6).reason.as_deref(), Some("blackhole"));
    v6.end();
    assert_eq!(line(&mut v6), None);
    drop(v6);
    world.until_asked(|observe| observe.follows.iter().flatten().count() == 1);
    drop(all);
    world.until_asked(|observe| !observe.is_on());
}

#[test]
fn a_slow_reader_loses_lines_and_is_told_and_nobody_else_is() {
    const EVENTS: usize = 6000;
    let mut world = World::new(None);
    let mut slow = world.watch(&drops(FilterQuery::default()));
    let mut quick = world.watch(&drops(FilterQuery::default()));
    // The quick one is never so far behind that it would lose any.
    for _ in 0..EVENTS / 1000 {
        for _ in 0..1000 {
            world.drop(DropReason::NoRoute, "10.0.0.2");
        }
        for _ in 0..1000 {
            event_line(&mut quick);
        }
    }
    let lost = EVENTS - crate::observe::PIECES_MAX;
    assert_eq!(world.hub.losses.followers.load(Ordering::Relaxed), lost as u64);
    // The worker has left out some, too; what it has of others is not this one's.
    let untold = &world.counters.events.follows;
    untold[0].limited.add(5);
    untold[0].lost.add(3);
    untold[1].limited.add(100);
    world.counters.events.lost.add(100);
    let mut told = 0;
    let said = loop {
        match line(&mut slow) {
            Some(Line::Event(_)) => told += 1,
            Some(Line::LeftOut(said)) => break said,
            None => panic!("it has ended"),
        }
    };
    assert_eq!(told, EVENTS - lost);
    assert_eq!((said.beyond_limit, said.ring_full, said.slow_reader), (5, 3, lost as u64));
    assert_eq!(said.left_out, 8 + lost as u64);
}

#[test]
fn no_more_may_watch_than_workers_have_room_for() {
    let world = World::new(None);
    let mut watches: Vec<Watch> =
        (0..WATCHERS_MAX).map(|_| world.watch(&drops(FilterQuery::default()))).collect();
    let want = packets(None, false).want().unwrap();
    assert!(world.hub.watch(want, None).unwrap_err().contains("4 follow drops"));
    assert_eq!(world.hub.watchers(), [WATCHERS_MAX, 0]);
    watches.pop();
    world.watch(&packets(None, false));
}

#[test]
fn without_control_nobody_begins() {
    let config = testing::config("");
    let (_, handle, taken) = testing::control(&config, Vec::new(), Arc::new(FakeClock::default()));
    drop(taken);
    let world = World::of(handle, Arc::default(), None);
    let mut watch = world.hub.watch(drops(FilterQuery::default()).want().unwrap(), None).unwrap();
    let Some(Piece::Failed(error)) = watch.pieces.blocking_recv() else { panic!("it has begun") };
    assert!(error.contains("control has ended"), "{error}");
    assert_eq!(world.hub.watchers(), [0, 0]);
}

/// A copy of a packet of `byte`s.
fn captured(world: &World, fate: Fate, byte: u8) -> Captured {
    Captured {
        to: all(),
        at: world.now(),
        fate,
        ingress: Some(Ingress::port(PortId(0))),
        link: Link::Ip,
        came: Some(tuple("fd00::2")),
        leaves: matches!(fate, Fate::Forwarded).then(|| tuple("fd00::3")),
        rules: [RuleId::NONE; 2],
        len: 1000,
        copied: 100,
        bytes: [byte; SNAP_LEN_MAX],
    }
}

#[test]
fn a_capture_has_what_was_asked_for_and_what_became_of_it() {
    let mut world = World::new(None);
    let mut three = world.watch(&packets(Some(3), false));
    let mut dropped = world.watch(&packets(None, true));
    assert_eq!(world.last_asked().captures.iter().flatten().count(), 2);
    let fates = [Fate::Forwarded, Fate::Dropped(DropReason::TooBig), Fate::Local, Fate::Forwarded];
    for (byte, fate) in (1..).zip(fates) {
        let packet = captured(&world, fate, byte);
        world.sender.captured.push(packet).unwrap();
    }
    let three = read(&whole(&mut three));
    let help = DropReason::TooBig.help().trim_end_matches('.');
    assert_eq!(
        three,
        [
            (1, "forwarded; leaves as [fd00::3]:4000 > [2001:db8::1]:80; worker 0".to_owned()),
            (2, format!("dropped: too_big: {help}; worker 0")),
            (3, "for the gateway itself; worker 0".to_owned()),
        ]
    );
    // What others have lost is not told.
    world.counters.events.captures[0].lost.add(100);
    world.counters.events.captures[1].lost.add(2);
    dropped.end();
    let dropped = whole(&mut dropped);
    assert_eq!(read(&dropped), [(2, format!("dropped: too_big: {help}; worker 0"))]);
    assert_eq!(seen(&dropped), Seen { packets: 1, lost: Some(2) });
}

/// All that somebody is sent.
fn whole(watch: &mut Watch) -> Vec<u8> {
    let mut file = Vec::new();
    while let Some(piece) = watch.pieces.blocking_recv() {
        let Piece::Bytes(bytes) = piece else { panic!("{piece:?}") };
        file.extend(bytes);
    }
    file
}

fn seen(file: &[u8]) -> Seen {
    let mut blocks = Blocks::default();
    assert_eq!(blocks.take(file).len(), file.len(), "it ends whole");
    blocks.seen()
}

#[test]
fn a_capture_says_what_it_has_lost_when_it_has_nothing_and_when_the_gateway_stops() {
    let mut world = World::new(None);
    let mut nothing = world.watch(&packets(None, false));
    let mut slow = world.watch(&packets(None, false));
    let mut stopped = world.watch(&packets(None, false));
    for (place, lost) in (0..).zip([7, 8, 9]) {
        world.counters.events.captures[place].lost.add(lost);
    }
    nothing.end();
    let nothing = whole(&mut nothing);
    assert_eq!((read(&nothing), seen(&nothing)), (vec![], Seen { packets: 0, lost: Some(7) }));
    // A reader that has taken nothing hears of the end all the same.
    const PACKETS: usize = 5000;
    let reader = std::thread::spawn(move || seen(&whole(&mut stopped)));
    for _ in 0..PACKETS {
        let packet = captured(&world, Fate::Forwarded, 1);
        while world.sender.captured.push(packet.clone()).is_err() {
            std::thread::yield_now();
        }
    }
    world.observer.take().unwrap().stop();
    let of_slow = seen(&whole(&mut slow));
    let fitted = crate::observe::PIECES_MAX as u64 - 1;
    let left_out = PACKETS as u64 - fitted;
    assert_eq!(of_slow, Seen { packets: fitted, lost: Some(8 + left_out) });
    let Seen { packets, lost } = reader.join().unwrap();
    assert_eq!(packets + lost.unwrap(), PACKETS as u64 + 9);
}

#[test]
fn what_policies_deny_is_told_with_its_real_ends_and_does_not_leave() {
    let mut world = World::new(None);
    let mut drops = world.watch(&drops(FilterQuery::default()));
    let mut capture = world.watch(&packets(Some(3), true));
    let mut push = |reason: DropReason, came: Option<Tuple>, leaves: Option<Tuple>| {
        let mut event = world.event(EventKind::Dropped(reason), "10.0.0.2", false);
        (event.came, event.leaves) = (came, leaves);
        world.push(event);
        let mut packet = captured(&world, Fate::Dropped(reason), 1);
        (packet.came, packet.leaves) = (came, leaves);
        world.sender.captured.push(packet).unwrap();
    };
    let of = |src: &str, protocol: u8| Some(Tuple { protocol, ..tuple(src) });
    push(DropReason::PolicyIngress, of("10.0.0.2", 6), of("10.0.0.3", 6));
    push(DropReason::PolicyIngress, of("10.0.0.2", 1), of("10.0.0.3", 1));
    push(DropReason::TxRingFull, None, of("10.0.0.3", 6));
    for _ in 0..2 {
        let denied = event_line(&mut drops);
        assert_eq!(denied.translated, None);
        assert_eq!(denied.real_ends.unwrap().source.address.to_string(), "10.0.0.3");
    }
    let on_its_way = event_line(&mut drops);
    assert!(on_its_way.translated.is_some() && on_its_way.real_ends.is_none());
    let comments: Vec<_> = read(&whole(&mut capture)).into_iter().map(|(_, text)| text).collect();
    assert!(comments[0].contains("; between its real ends 10.0.0.3:4000 > 203.0.113.1:80; "));
    assert!(comments[1].contains("; between its real ends 10.0.0.3 > 203.0.113.1; "));
    assert!(comments[2].contains("; leaves as 10.0.0.3:4000 > 203.0.113.1:80; "), "{comments:?}");
}

/// First byte and comment of every packet.
fn read(file: &[u8]) -> Vec<(u8, String)> {
    let mut reader = PcapNgReader::new(file).unwrap();
    let mut packets = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.unwrap() {
            assert_eq!((packet.data.len(), packet.original_len), (100, 1000));
            let comment = packet.options.iter().find_map(|option| match option {
                EnhancedPacketOption::Comment(text) => Some(text.to_string()),
                _ => None,
            });
            packets.push((packet.data[0], comment.unwrap()));
        }
    }
    packets
}

#[test]
fn the_flow_log_has_flows_and_drops_and_goes_on_under_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flows");
    let mut world = World::new(Some(path.clone()));
    world.until_asked(|observe| observe.is_on());
    assert_eq!(world.last_asked().flows, Some(FlowTelling { sample: 10, per_second: 7 }));
    let mut begun = world.event(EventKind::FlowBegun, "10.0.0.2", true);
    begun.leaves = Some(tuple("10.0.0.3"));
    world.push(begun);
    let ended = EventKind::FlowEnded { state: "time_wait", packets: [3, 2] };
    let ended = world.event(ended, "fd00::2", true);
    world.push(ended);
    let cut = EventKind::FlowEnded { state: sluice_fastpath::flow::CUT, packets: [3, 2] };
    let cut = world.event(cut, "fd00::2", true);
    world.push(cut);
    let dropped = world.event(EventKind::Dropped(DropReason::Martian), "10.0.0.2", true);
    world.push(dropped);
    let audited = world.event(EventKind::Audited(DropReason::Blackhole), "10.0.0.2", true);
    world.push(audited);
    let not_logged = world.event(EventKind::Dropped(DropReason::Martian), "10.0.0.2", false);
    world.push(not_logged);
    world.observer.take().unwrap().stop();
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<EventView> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<_> = lines.iter().map(|line| line.event.as_str()).collect();
    assert_eq!(events, ["begin", "end", "end", "drop", "audit"]);
    let translated = lines[0].translated.as_ref().unwrap();
    assert_eq!(translated.source.address.to_string(), "10.0.0.3");
    assert_eq!((lines[1].packets_in, lines[1].packets_out), (Some(3), Some(2)));
    assert_eq!((lines[1].state.as_deref(), lines[1].bytes), (Some("time_wait"), None));
    let cut = [lines[1].verdict.as_str(), lines[2].verdict.as_str()];
    assert_eq!(cut, ["forwarded", "dropped"]);
    assert_eq!(lines[3].reason.as_deref(), Some("martian"));
    assert_eq!(lines[4].verdict, "audited");
}
