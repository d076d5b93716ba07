use crate::lab::{ControlPlane, eventually};
use crate::stage::{self, NAMESPACE};
use sluice_control::announce::Groups;
use sluice_control::election::{Election, Elector, Options, Seat};
use sluice_control::kubernetes::Access;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const GROUPS: u16 = 16;

/// What each gateway announces, and whether two ever announced the same.
#[derive(Default)]
struct Link {
    announced: Mutex<Vec<(String, Groups)>>,
    double: AtomicBool,
}

impl Link {
    fn set(&self, node: &str, groups: Groups) {
        let mut announced = self.announced.lock().unwrap();
        announced.retain(|(other, _)| other != node);
        if announced.iter().any(|(_, others)| others.0 & groups.0 != 0) {
            self.double.store(true, Ordering::Relaxed);
        }
        announced.push((node.to_owned(), groups));
    }

    fn of(&self, node: &str) -> Groups {
        let announced = self.announced.lock().unwrap();
        announced.iter().find(|(other, _)| other == node).map_or(Groups(0), |(_, groups)| *groups)
    }

    fn all(&self) -> u64 {
        self.announced.lock().unwrap().iter().fold(0, |all, (_, groups)| all | groups.0)
    }
}

/// An election, and a control that does as it says at once.
struct Gateway {
    node: String,
    elector: Option<Elector>,
    /// Control does nothing while it is set.
    hangs: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    control: Option<JoinHandle<()>>,
    link: Arc<Link>,
}

impl Gateway {
    fn start(node: &str, kubeconfig: &Path, link: &Arc<Link>) -> Self {
        let config = sluice_config::Kubernetes {
            kubeconfig: Some(kubeconfig.to_owned()),
            ..Default::default()
        };
        let election = Election {
            access: Access::new(&config, &[]),
            namespace: Some(NAMESPACE.to_owned()),
            options: Options {
                node: node.to_owned(),
                groups: GROUPS,
                duration: Duration::from_secs(2),
                renew: Duration::from_millis(500),
            },
            memory: None,
        };
        let (elector, seat) = election.start().unwrap();
        let (hangs, stop) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let control = {
            let (node, link) = (node.to_owned(), link.clone());
            let (hangs, stop) = (hangs.clone(), stop.clone());
            std::thread::spawn(move || follow(&node, &seat, &link, &hangs, &stop))
        };
        let (elector, control) = (Some(elector), Some(control));
        Gateway { node: node.to_owned(), elector, hangs, stop, control, link: link.clone() }
    }

    fn held(&self) -> Groups {
        self.link.of(&self.node)
    }

    fn is_leader(&self) -> bool {
        self.elector.as_ref().is_some_and(|elector| *elector.leader().borrow())
    }

    /// Ends on the spot, as by a signal 9.
    fn kill(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.control.take().unwrap().join().unwrap();
        self.link.set(&self.node, Groups(0));
        drop(self.elector.take());
    }

    fn leave(mut self) {
        assert!(self.elector.as_ref().unwrap().leave(Duration::from_secs(10)));
        self.stop.store(true, Ordering::Relaxed);
        self.control.take().unwrap().join().unwrap();
        drop(self.elector.take());
    }
}

fn follow(node: &str, seat: &Seat, link: &Link, hangs: &AtomicBool, stop: &AtomicBool) {
    seat.ready();
    while !stop.load(Ordering::Relaxed) {
        if hangs.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        }
        seat.beat();
        if seat.bell().recv_timeout(Duration::from_millis(10)).is_ok() {
            let (order, groups) = seat.order();
            link.set(node, groups);
            seat.live(order);
        }
    }
}

fn cluster() -> (ControlPlane, PathBuf) {
    let cluster = ControlPlane::up(&[]);
    cluster.kubectl(&["create", "namespace", NAMESPACE]);
    cluster.apply(&stage::rights("flannel"));
    let file = cluster.folder.join("gateway.kubeconfig");
    cluster.kubeconfig_of(NAMESPACE, "sluice", &file);
    (cluster, file)
}

/// Waits until every group is announced by somebody, in some way; how long that
/// took.
fn until(link: &Link, what: &str, is_so: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    let all = u64::from(u16::MAX);
    eventually(what, || (link.all() == all && is_so()).then_some(()));
    start.elapsed()
}

/// Two gateways share the VIPs; one is killed, comes back, and leaves; the API
/// server goes and comes back. No VIP is ever announced by both.
#[test]
fn gateways_share_the_vips_and_take_over_from_each_other() {
    let (cluster, kubeconfig) = cluster();
    let link = Arc::new(Link::default());
    let a = Gateway::start("gateway-a", &kubeconfig, &link);
    let took = until(&link, "one has all", || a.is_leader());
    println!("the first gateway has all after {took:?}");
    let b = Gateway::start("gateway-b", &kubeconfig, &link);
    let took = until(&link, "two share", || !b.held().is_empty() && a.held().0 & b.held().0 == 0);
    println!("the second gateway has its share after {took:?}");
    eventually("one leader", || (a.is_leader() != b.is_leader()).then_some(()));
    let share = b.held();

    std::thread::sleep(Duration::from_millis(700));
    let start = Instant::now();
    b.kill();
    until(&link, "the other has all", || a.is_leader());
    println!("killed: all announced again after {:?}", start.elapsed());

    let b = Gateway::start("gateway-b", &kubeconfig, &link);
    until(&link, "its share is back", || b.held() == share);

    // Control of the leader hangs: its workers go on, and the other one leads.
    let (hangs, other) = if a.is_leader() { (&a, &b) } else { (&b, &a) };
    let held = (hangs.held(), other.held());
    hangs.hangs.store(true, Ordering::Relaxed);
    until(&link, "another leader", || other.is_leader() && !hangs.is_leader());
    assert_eq!((hangs.held(), other.held()), held, "announced while control hangs");
    hangs.hangs.store(false, Ordering::Relaxed);
    until(&link, "its share is back", || hangs.is_leader() && b.held() == share);

    // The API server is away for longer than a Lease lasts.
    let held = (a.held(), b.held());
    cluster.stop_apiserver();
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!((a.held(), b.held()), held, "announced while the API is away");
    assert!(!a.is_leader() && !b.is_leader(), "who cannot write leads nobody");
    cluster.start_apiserver();
    until(&link, "a leader", || a.is_leader() != b.is_leader());
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!((a.held(), b.held()), held, "announced when the API is back");

    let start = Instant::now();
    b.leave();
    let left = start.elapsed();
    until(&link, "the other has all", || a.is_leader());
    println!("left after {left:?}: all announced again after {:?}", start.elapsed());
    assert!(!link.double.load(Ordering::Relaxed), "announced by two at once");

    let leases = cluster.kubectl(&["get", "leases", "-n", NAMESPACE, "-o", "name"]);
    assert_eq!(leases.lines().count(), 2 + usize::from(GROUPS) + 1, "{leases}");
    a.leave();
}
