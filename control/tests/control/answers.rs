//! DNS answers: one goes on when its addresses are live on every worker.

use crate::support::{config, facts};
use crossbeam_channel::{Sender, bounded, unbounded};
use sluice_control::source::manifests::Manifests;
use sluice_control::{Control, Request, SystemClock};
use sluice_tables::mailbox::{FromWorker, ToWorker, WorkerEnd, mailbox};
use sluice_tables::policy::{PortKey, judge};
use sluice_tables::{Answer, AnswerBuffers, Tables, V4};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(30);

const CLUSTER: &str = r#"
{apiVersion: v1, kind: Node, metadata: {name: n1, annotations: {sluice.dev/vtep-mac: "0a:00:00:00:00:11"}}, status: {addresses: [{type: InternalIP, address: 10.10.0.11}]}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: a}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: a, name: client}, spec: {nodeName: n1, containers: [{name: c}]}, status: {phase: Running, podIP: 10.244.1.5, podIPs: [{ip: 10.244.1.5}]}}
---
apiVersion: policy.networking.k8s.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: names}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {}}
  egress:
  - {action: Accept, name: sites, to: [{domainNames: [www.example.com, "*.example.org"]}]}
  - {action: Deny, name: rest, to: [{networks: [0.0.0.0/0]}]}
"#;

/// A worker that does what the test says.
struct Hand {
    end: WorkerEnd,
    told_with: Option<AnswerBuffers>,
    tables: Arc<Tables>,
    said: u64,
    released: Vec<u64>,
}

impl Hand {
    fn new(end: WorkerEnd) -> Self {
        let tables = Arc::new(Tables::empty(2));
        Hand { end, told_with: None, tables, said: 0, released: Vec::new() }
    }

    /// Takes all mail; new tables are not said to be live yet.
    fn read(&mut self) {
        while let Some(message) = self.end.receive() {
            match message {
                ToWorker::Tables(tables) => self.tables = tables,
                ToWorker::Answers(buffers) => self.told_with = Some(buffers),
                ToWorker::Release { id, buffer } => {
                    self.released.push(id);
                    self.told_with.as_mut().expect("buffers").buffers.push(buffer);
                }
                ToWorker::Announce { vips } => {
                    self.end.send(FromWorker::Announced { vips }).unwrap();
                }
                _ => {}
            }
        }
    }

    fn live(&mut self) {
        if self.said < self.tables.version {
            self.said = self.tables.version;
            self.end.send(FromWorker::Live { version: self.said }).unwrap();
        }
    }

    fn hold(&mut self, id: u64, message: &[u8]) {
        let told_with =
            self.told_with.as_mut().expect("buffers come before tables that want names");
        let mut buffer = told_with.buffers.pop().expect("a buffer");
        buffer.clear();
        buffer.extend_from_slice(message);
        let (client, server) = ([10, 244, 1, 5].into(), [10, 244, 1, 53].into());
        let answer = Answer { id, client, server, message: buffer };
        self.end.send(FromWorker::Answer(answer)).unwrap();
        let _ = told_with.bell.try_send(());
    }

    fn allows(&self, addr: [u8; 4]) -> bool {
        let port = PortKey::of(6, 443);
        judge::<V4>(&self.tables, &[10, 244, 1, 5], &addr, port).egress.is_allowed()
    }
}

/// The answer that a name has one address.
fn message(name: &str, addr: [u8; 4]) -> Vec<u8> {
    let mut name: Vec<u8> = name
        .split('.')
        .flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat())
        .collect();
    name.push(0);
    let header = [0, 1, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    let record = [0, 1, 0, 1, 0, 0, 0, 60, 0, 4];
    [&header[..], &name, &[0, 1, 0, 1], &name, &record, &addr].concat()
}

fn until(what: &str, hands: &mut [Hand], mut is_true: impl FnMut(&mut [Hand]) -> bool) {
    let start = Instant::now();
    loop {
        hands.iter_mut().for_each(Hand::read);
        if is_true(hands) {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn ask<T>(requests: &Sender<Request>, request: impl FnOnce(Sender<T>) -> Request) -> T {
    let (reply, answer) = bounded(1);
    requests.send(request(reply)).unwrap();
    answer.recv_timeout(DEADLINE).expect("an answer")
}

#[test]
fn an_answer_goes_on_when_every_worker_knows_its_addresses() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cluster.yaml"), CLUSTER).unwrap();
    let clock = Arc::new(SystemClock::default());
    let source = Box::new(Manifests::new(folder.path(), clock.clone()));
    let (ends, hands): (Vec<_>, Vec<_>) = (0..2).map(|_| mailbox().unwrap()).unzip();
    let mut hands: Vec<Hand> = hands.into_iter().map(Hand::new).collect();
    let mut control = Control::new(config(), &facts(), source, ends, clock).unwrap();
    let (requests, receiver) = unbounded();
    let thread = std::thread::spawn(move || {
        control.run(&AtomicBool::new(false), &receiver).expect("control runs");
    });
    until("the policy", &mut hands, |hands| {
        hands.iter_mut().for_each(Hand::live);
        hands.iter().all(|hand| hand.tables.names_wanted)
    });
    assert!(!hands[0].allows([203, 0, 113, 1]));

    hands[0].hold(1, &message("www.example.com", [203, 0, 113, 1]));
    let knows = |hand: &Hand| hand.allows([203, 0, 113, 1]);
    until("its address", &mut hands, |hands| hands.iter().all(knows));
    hands[0].live();
    // Another one that says the same waits for the same, at any worker.
    hands[1].hold(2, &message("WWW.example.COM", [203, 0, 113, 1]));
    let learned = || ask(&requests, |reply| Request::Metrics { reply }).names;
    until("both are read", &mut hands, |_| learned().waiting == 2);
    // While the second worker is slow, nothing goes on.
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(1));
        hands.iter_mut().for_each(Hand::read);
        assert!(hands.iter().all(|hand| hand.released.is_empty()));
    }
    hands[1].live();
    until("they go on", &mut hands, |hands| hands[0].released == [1] && hands[1].released == [2]);

    // What is known, what nobody asks about and what is no answer waits for nobody.
    let version = hands[0].tables.version;
    hands[1].hold(3, &message("www.example.com", [203, 0, 113, 1]));
    hands[1].hold(4, &message("www.example.net", [203, 0, 113, 4]));
    hands[1].hold(5, &message("www.example.com", [0, 0, 0, 0]));
    hands[1].hold(6, b"no message");
    // No more does a name that may not have what the answer says.
    hands[1].hold(8, &message("www.example.com", [10, 10, 0, 11]));
    until("all go on", &mut hands, |hands| {
        hands[1].released.sort_unstable();
        hands[1].released == [2, 3, 4, 5, 6, 8]
    });
    assert_eq!(hands[0].tables.version, version);
    assert!(!hands[0].allows([10, 10, 0, 11]));
    assert!(!hands[0].allows([203, 0, 113, 4]));

    hands[1].hold(7, &message("a.b.example.org", [203, 0, 113, 7]));
    until("a wildcard's", &mut hands, |hands| {
        hands.iter_mut().for_each(Hand::live);
        hands[1].released.contains(&7)
    });
    assert!(hands.iter().all(|hand| hand.allows([203, 0, 113, 7])));

    let names = ask(&requests, |reply| Request::DomainNames { reply });
    let of = |at: usize| (names[at].name.as_str(), names[at].addresses.keys().next().unwrap());
    assert_eq!(of(0), ("a.b.example.org", &"203.0.113.7".to_owned()));
    assert_eq!(of(1), ("www.example.com", &"203.0.113.1".to_owned()));
    assert!(names.iter().all(|name| name.wanted));
    let counts = learned();
    let count = |result: &str| counts.answers[result];
    assert_eq!((counts.names, counts.addresses, counts.waiting), (2, 2, 0));
    assert_eq!((count("learned"), count("known"), count("unwanted")), (2, 3, 1));
    assert_eq!((counts.addresses_refused, counts.lapsed, counts.given_up), (1, 0, 0));
    assert_eq!((count("no_address"), count("malformed")), (1, 1));
    assert_eq!(counts.held.count, 5);

    requests.send(Request::Stop { reply: bounded(1).0 }).unwrap();
    thread.join().unwrap();
}
