use super::*;
use sluice_tables::mailbox::{WorkerEnd, mailbox};
use sluice_tables::{BackendId, FlowTelling, PortId, RuleId, ServiceId};
use std::net::IpAddr;

const T: fn(u64) -> Duration = Duration::from_millis;

fn tables(version: u64) -> Arc<Tables> {
    Arc::new(Tables { version, ..Tables::empty(1) })
}

fn setup(workers: usize) -> (Publisher, Vec<WorkerEnd>) {
    let (control, worker) = (0..workers).map(|_| mailbox().unwrap()).unzip();
    (Publisher::new(control), worker)
}

/// The worker takes at most `n` tables and says that they are live.
fn take(end: &mut WorkerEnd, n: usize, versions: &mut Vec<u64>) {
    for _ in 0..n {
        match end.receive() {
            Some(ToWorker::Tables(tables)) => {
                versions.push(tables.version);
                end.send(FromWorker::Live { version: tables.version }).unwrap();
                end.send(FromWorker::Retired(tables)).unwrap();
            }
            Some(other) => panic!("{other:?}"),
            None => return,
        }
    }
}

fn flow(n: u16) -> FlowRecord {
    let side = |last: u8, port: u16| (IpAddr::from([10, 0, 0, last]), port);
    FlowRecord {
        protocol: 6,
        client: side(1, n),
        destination: side(2, 80),
        server: side(3, 8080),
        source: side(4, 2000),
        service: ServiceId(u32::from(n % 2)),
        backend: BackendId(0),
        rules: [RuleId::NONE; 2],
        cut: None,
        is_stale: false,
        state: "established",
        packets: (1, 1),
        idle_ms: 0,
        expires_ms: 1,
    }
}

#[test]
fn live_is_what_the_slowest_worker_says() {
    let (mut publisher, mut workers) = setup(2);
    publisher.publish(tables(1), T(5));
    assert!(publisher.is_busy());
    take(&mut workers[0], 9, &mut Vec::new());
    publisher.pump(T(6));
    assert_eq!((publisher.live(), publisher.event_to_live().count), (0, 0));
    take(&mut workers[1], 9, &mut Vec::new());
    publisher.pump(T(8));
    assert_eq!((publisher.live(), publisher.event_to_live().count), (1, 1));
    assert_eq!(publisher.event_to_live().sum_us, 3000);
    assert!(!publisher.is_busy());
}

#[test]
fn a_full_mailbox_gets_the_newest_and_skips_the_others() {
    let (mut publisher, mut workers) = setup(2);
    let mut seen = [Vec::new(), Vec::new()];
    for version in 1..=200 {
        publisher.publish(tables(version), T(version));
        take(&mut workers[0], 2, &mut seen[0]);
        publisher.pump(T(version));
    }
    assert_eq!(publisher.live(), 0);
    while publisher.live() < 200 {
        take(&mut workers[1], 2, &mut seen[1]);
        publisher.pump(T(300));
    }
    assert_eq!(seen[0], (1..=200).collect::<Vec<_>>());
    assert!(seen[1].is_sorted() && seen[1].len() < 100, "{:?}", seen[1]);
    assert_eq!(seen[1].last(), Some(&200));
    assert_eq!((publisher.event_to_live().count, publisher.published()), (200, 200));
}

#[test]
fn what_is_retired_is_freed_here() {
    let (mut publisher, mut workers) = setup(1);
    let first = tables(1);
    let weak = Arc::downgrade(&first);
    publisher.publish(first, T(0));
    publisher.publish(tables(2), T(0));
    take(&mut workers[0], 2, &mut Vec::new());
    assert!(weak.upgrade().is_some());
    publisher.pump(T(1));
    assert!(publisher.has_retired());
    publisher.free();
    assert!(weak.upgrade().is_none() && !publisher.has_retired());
}

#[test]
fn a_worker_that_has_ended_holds_nobody_up() {
    let (mut publisher, mut workers) = setup(2);
    publisher.publish(tables(1), T(0));
    drop(workers.pop());
    let id = publisher.dump_neighbors(4, T(1000));
    take(&mut workers[0], 1, &mut Vec::new());
    publisher.pump(T(1));
    assert_eq!(publisher.live(), 1);
    let Some(ToWorker::DumpNeighbors { mut buffer }) = workers[0].receive() else {
        panic!("no question")
    };
    buffer.push(NeighborRecord {
        port: PortId(0),
        addr: IpAddr::from([10, 0, 0, 9]),
        mac: None,
        state: "incomplete",
        confirmed_ms: 0,
        waiting: 1,
    });
    workers[0].send(FromWorker::Neighbors { buffer }).unwrap();
    let finished = publisher.pump(T(2));
    let [Finished::Neighbors { id: of, neighbors, is_complete: true }] = &finished[..] else {
        panic!("{finished:?}")
    };
    assert_eq!((*of, neighbors.len()), (id, 1));
}

/// Answers one question for flows out of `all`.
fn answer(end: &mut WorkerEnd, all: &[FlowRecord]) -> bool {
    match end.receive() {
        Some(ToWorker::DumpFlows { cursor, mut buffer }) => {
            let rest = &all[cursor as usize..];
            let n = rest.len().min(buffer.capacity());
            buffer.extend_from_slice(&rest[..n]);
            let next = (n < rest.len()).then_some(cursor + n as u64);
            end.send(FromWorker::Flows { next, buffer }).unwrap();
            true
        }
        Some(ToWorker::Tables(tables)) => {
            end.send(FromWorker::Live { version: tables.version }).unwrap();
            true
        }
        _ => false,
    }
}

#[test]
fn flows_come_in_bounded_chunks_while_tables_are_published() {
    let (mut publisher, mut workers) = setup(2);
    let all: Vec<_> = (0..4000).map(flow).collect();
    let odd = FlowFilter { services: Some([ServiceId(1)].into()), ..FlowFilter::default() };
    let id = publisher.dump_flows(odd, 10_000, T(1000));
    let mut version = 0;
    let finished = loop {
        version += 1;
        publisher.publish(tables(version), T(0));
        let finished = publisher.pump(T(1));
        if !finished.is_empty() {
            break finished;
        }
        for worker in &mut workers {
            while answer(worker, &all) {}
        }
        assert!(version < 100);
    };
    let [Finished::Flows { id: of, flows, is_complete: true }] = &finished[..] else {
        panic!("{finished:?}")
    };
    assert_eq!((*of, flows.len()), (id, 4000));
    assert_eq!(flows[2000].0, 1);
    assert!(version > 4, "several chunks");
}

#[test]
fn limits_and_deadlines_end_a_dump_and_late_answers_are_dropped() {
    let (mut publisher, mut workers) = setup(1);
    let all: Vec<_> = (0..1000).map(flow).collect();
    publisher.dump_flows(FlowFilter::default(), 10, T(1000));
    publisher.pump(T(0));
    answer(&mut workers[0], &all);
    let finished = publisher.pump(T(1));
    assert!(
        matches!(&finished[..], [Finished::Flows { flows, is_complete: false, .. }] if flows.len() == 10)
    );
    // The worker does not answer in time.
    publisher.dump_flows(FlowFilter::default(), 5000, T(2000));
    assert!(publisher.pump(T(1999)).is_empty());
    let finished = publisher.pump(T(2000));
    assert!(
        matches!(&finished[..], [Finished::Flows { flows, is_complete: false, .. }] if flows.is_empty())
    );
    // Its late answer is not the next dump's.
    publisher.dump_flows(FlowFilter::default(), 5000, T(9000));
    publisher.pump(T(2001));
    answer(&mut workers[0], &all[..3]);
    assert!(publisher.pump(T(2002)).is_empty());
    while answer(&mut workers[0], &all[..5]) {
        let finished = publisher.pump(T(2003));
        if let [Finished::Flows { flows, is_complete, .. }] = &finished[..] {
            assert_eq!((flows.len(), *is_complete), (5, true));
            return;
        }
    }
    panic!("the dump did not finish");
}

#[test]
fn stop_reaches_every_worker() {
    let (mut publisher, mut workers) = setup(2);
    publisher.publish(tables(1), T(0));
    publisher.stop();
    for worker in &mut workers {
        assert!(matches!(worker.receive(), Some(ToWorker::Tables(_))));
        assert!(matches!(worker.receive(), Some(ToWorker::Stop)));
    }
}

#[test]
fn vips_are_told_of_once_all_workers_answer_for_them() {
    let (mut publisher, mut workers) = setup(2);
    let vip: IpAddr = "192.0.2.1".parse().unwrap();
    publisher.publish(tables(1), T(0));
    publisher.announce(1, [vip]);
    take(&mut workers[0], 9, &mut Vec::new());
    publisher.pump(T(1));
    assert!(workers[0].receive().is_none());
    take(&mut workers[1], 9, &mut Vec::new());
    publisher.pump(T(2));
    let told = |worker: &mut WorkerEnd| match worker.receive() {
        Some(ToWorker::Announce { vips }) => {
            assert_eq!(vips, [vip]);
            worker.send(FromWorker::Announced { vips }).unwrap();
            true
        }
        other => other.is_some(),
    };
    assert!(publisher.is_busy() && told(&mut workers[0]));
    publisher.pump(T(3));
    assert!(!publisher.is_busy());
    assert_eq!(publisher.wait(T(3)), Some(T(999)));
    // Another worker goes on when the first has gone.
    drop(workers.remove(0));
    publisher.pump(T(1002));
    assert!(told(&mut workers[0]));
}

#[test]
fn claims_of_others_are_kept_until_they_are_taken_and_no_more_than_a_few() {
    let (mut publisher, mut workers) = setup(1);
    let conflict =
        Conflict { port: PortId(0), vip: "192.0.2.1".parse().unwrap(), mac: [2, 0, 0, 0, 0, 9] };
    for _ in 0..2 * CONFLICTS_MAX {
        workers[0].send(FromWorker::Conflict(conflict)).unwrap();
        publisher.pump(T(0));
    }
    assert_eq!(publisher.take_conflicts(), vec![conflict; CONFLICTS_MAX]);
    assert!(publisher.take_conflicts().is_empty());
}

#[test]
fn the_last_of_what_is_to_be_told_reaches_every_worker_once_it_has_room() {
    let (mut publisher, mut workers) = setup(1);
    let telling = |sample| FlowTelling { sample, per_second: 1 };
    // More than a mailbox holds.
    for sample in 1..=100 {
        let flows = Some(telling(sample));
        publisher.observe(Arc::new(Observe { flows, ..Observe::default() }));
    }
    assert!(publisher.is_busy(), "the last ones have found no room");
    let mut samples = Vec::new();
    let mut take = |end: &mut WorkerEnd| {
        while let Some(ToWorker::Observe(observe)) = end.receive() {
            samples.push(observe.flows.unwrap().sample);
            end.send(FromWorker::Unobserved(observe)).unwrap();
        }
    };
    for now in 0..9 {
        take(&mut workers[0]);
        publisher.pump(T(now));
    }
    assert_eq!(samples.last(), Some(&100));
    assert!(samples.is_sorted() && samples.len() < 100, "{samples:?}");
    assert!(!publisher.is_busy());
}
