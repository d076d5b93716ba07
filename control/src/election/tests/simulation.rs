//! Gateways, an API server and what is between them, in steps of 10 ms.

use crate::announce::Groups;
use crate::election::{Answer, Lease, Machine, Op, Options, Told, member_name};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::time::Duration;

pub const GROUPS: u16 = 8;
pub const DURATION: Duration = Duration::from_secs(2);
pub const STEP: Duration = Duration::from_millis(10);

/// Time from an order until all workers do as it says, at most.
const LIVE_MS: u64 = 60;
/// Time until a gateway hears who else announces its VIPs.
const HEARD: Duration = Duration::from_millis(100);

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn options(node: &str) -> Options {
    Options { node: node.to_owned(), groups: GROUPS, duration: DURATION, renew: ms(500) }
}

/// True once in `n`.
pub fn one_in(random: &mut Rng, n: u64) -> bool {
    random.u64(..n) == 0
}

/// The API server: Leases, and everything that ever became of them, in order.
#[derive(Default)]
pub struct Api {
    pub leases: BTreeMap<String, Lease>,
    log: Vec<(String, Option<Lease>)>,
}

impl Api {
    fn write(&mut self, name: &str, holder: Option<&str>, is_able: bool) -> Answer {
        let version = (self.log.len() + 1).to_string();
        let holder = holder.map(str::to_owned);
        let lease = Lease { holder, duration: Some(DURATION), is_able, version: version.clone() };
        self.leases.insert(name.to_owned(), lease.clone());
        self.log.push((name.to_owned(), Some(lease)));
        Answer::Done(version)
    }

    /// Somebody deletes a Lease by hand.
    pub fn delete(&mut self, name: &str) {
        if self.leases.remove(name).is_some() {
            self.log.push((name.to_owned(), None));
        }
    }

    fn swap(&mut self, name: &str, version: Option<&str>, holder: Option<&str>) -> Answer {
        match self.leases.get(name).map(|lease| lease.version.as_str()) == version {
            true => self.write(name, holder, true),
            false => Answer::Lost,
        }
    }

    fn of_holder(
        &mut self,
        name: &str,
        identity: &str,
        holder: Option<&str>,
        is_able: bool,
    ) -> Answer {
        let now = self.leases.get(name).and_then(|lease| lease.holder.as_deref());
        if now == Some(identity) { self.write(name, holder, is_able) } else { Answer::Lost }
    }

    fn perform(&mut self, node: &str, machine: &Machine, op: &Op) -> Answer {
        let member = member_name(node);
        match op {
            Op::Join { identity, version } => {
                self.swap(&member, version.as_deref(), Some(identity))
            }
            Op::Renew { identity, is_able } => {
                self.of_holder(&member, identity, Some(identity), *is_able)
            }
            Op::Leave { identity } => self.of_holder(&member, identity, None, true),
            Op::Fence { lease, version } => self.swap(lease, Some(version), None),
            Op::Claim { slot, identity, version } => {
                self.swap(&machine.slot_name(*slot), version.as_deref(), Some(identity))
            }
            Op::Release { slot, version } => {
                self.swap(&machine.slot_name(*slot), Some(version), None)
            }
        }
    }
}

/// A request on its way.
struct Flight {
    op: Op,
    started: Duration,
    /// The same by the gateway's clock.
    started_local: Duration,
    /// When the server sees it; it is lost if `None`.
    commit: Option<Duration>,
    answer: Option<Answer>,
    /// When the answer is back.
    back: Duration,
    /// The answer is lost.
    is_lost: bool,
    /// The gateway has had an answer, or waits for none any more.
    is_over: bool,
}

impl Flight {
    /// The server is yet to see it.
    fn is_under_way(&self) -> bool {
        self.answer.is_none() && self.commit.is_some()
    }
}

pub struct Gateway {
    pub node: String,
    pub machine: Option<Machine>,
    /// Its clock: where it began, and parts in a thousand that it runs fast.
    clock: (u64, i64),
    flights: Vec<Flight>,
    /// The part of the log that it has seen.
    seen: usize,
    watch_stalls_until: Duration,
    /// Its control does nothing any more, and its workers go on.
    pub is_uncontrolled: bool,
    /// The API server refuses what it asks for.
    pub is_refused: bool,
    /// It has lost the API until then.
    pub is_cut: bool,
    pub stopped_until: Duration,
    told: Told,
    /// Orders that are not live yet, and when they are.
    orders: Vec<(Duration, u64, Groups)>,
    /// What the workers announce.
    pub announced: Groups,
}

impl Gateway {
    pub fn local(&self, now: Duration) -> Duration {
        let (offset, fast) = self.clock;
        let ns = now.as_nanos() as i128;
        let ns = ns + ns * i128::from(fast) / 1000;
        Duration::from_millis(offset) + Duration::from_nanos(ns as u64)
    }
}

pub struct World {
    pub now: Duration,
    pub api: Api,
    pub gateways: Vec<Gateway>,
    pub random: Rng,
    /// Requests are slow and get lost, watches stall.
    pub is_rough: bool,
    /// Since when two announce the same group.
    double_since: BTreeMap<u16, Duration>,
    /// The longest time that two announced the same group.
    pub double_max: Duration,
}

impl World {
    pub fn new(gateways: usize, seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let gateways = (0..gateways)
            .map(|i| Gateway {
                node: format!("gateway-{i}"),
                machine: None,
                clock: (random.u64(..1_000_000), random.u64(..41) as i64 - 20),
                flights: Vec::new(),
                seen: 0,
                watch_stalls_until: Duration::ZERO,
                is_uncontrolled: false,
                is_refused: false,
                is_cut: false,
                stopped_until: Duration::ZERO,
                told: Told::default(),
                orders: Vec::new(),
                announced: Groups::default(),
            })
            .collect();
        let mut world = World {
            now: ms(1),
            api: Api::default(),
            gateways,
            random,
            is_rough: false,
            double_since: BTreeMap::new(),
            double_max: Duration::ZERO,
        };
        for i in 0..world.gateways.len() {
            world.start(i);
        }
        world
    }

    pub fn start(&mut self, i: usize) {
        let seed = self.random.u64(..);
        let gateway = &mut self.gateways[i];
        let mut machine = Machine::new(options(&gateway.node), seed);
        machine.set_eligible(true);
        gateway.machine = Some(machine);
        gateway.seen = 0;
        gateway.told = Told::default();
        gateway.stopped_until = Duration::ZERO;
        self.relist(i);
    }

    /// Ends a gateway on the spot. What it has sent is on its way.
    pub fn kill(&mut self, i: usize) {
        let gateway = &mut self.gateways[i];
        gateway.machine = None;
        gateway.orders.clear();
        gateway.announced = Groups::default();
    }

    pub fn relist(&mut self, i: usize) {
        let gateway = &mut self.gateways[i];
        let now = gateway.local(self.now);
        if let Some(machine) = gateway.machine.as_mut().filter(|_| !gateway.is_cut) {
            machine.view().replace(now, self.api.leases.clone());
            gateway.seen = self.api.log.len();
        }
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    pub fn step(&mut self) {
        self.now += STEP;
        for i in 0..self.gateways.len() {
            self.commit(i);
        }
        for i in 0..self.gateways.len() {
            if self.now >= self.gateways[i].stopped_until {
                self.turn(i);
            }
        }
        self.check();
    }

    /// The server does what has reached it.
    fn commit(&mut self, i: usize) {
        let gateway = &mut self.gateways[i];
        // A gateway that is gone has no machine to name its slots.
        let namer = Machine::new(options(&gateway.node), 0);
        for flight in &mut gateway.flights {
            if flight.is_under_way() && flight.commit <= Some(self.now) {
                flight.answer = Some(match (gateway.is_cut, gateway.is_refused) {
                    (true, _) => Answer::Unreachable,
                    (false, true) => Answer::Refused,
                    (false, false) => self.api.perform(&gateway.node, &namer, &flight.op),
                });
            }
        }
    }

    fn turn(&mut self, i: usize) {
        let is_rough = self.is_rough;
        let random = &mut self.random;
        let gateway = &mut self.gateways[i];
        let now = gateway.local(self.now);
        let node = gateway.node.clone();
        let timeout = options(&node).timeout();
        let Some(machine) = &mut gateway.machine else {
            gateway.flights.retain(Flight::is_under_way);
            return;
        };
        // The watch.
        if is_rough && one_in(random, 800) {
            gateway.watch_stalls_until = self.now + ms(random.u64(..5000));
        }
        if !gateway.is_cut && self.now >= gateway.watch_stalls_until {
            while gateway.seen < self.api.log.len() && !(is_rough && one_in(random, 4)) {
                let (name, lease) = &self.api.log[gateway.seen];
                match lease {
                    Some(lease) => machine.view().apply(now, name, lease.clone()),
                    None => machine.view().delete(now, name),
                }
                gateway.seen += 1;
            }
        }
        // Answers.
        for flight in gateway.flights.iter_mut().filter(|flight| !flight.is_over) {
            let is_late = self.now >= flight.started + timeout;
            if self.now < flight.back && !is_late {
                continue;
            }
            flight.is_over = true;
            let answer = flight.answer.clone().filter(|_| !flight.is_lost && !is_late);
            let answer = answer.unwrap_or(Answer::Unreachable);
            machine.answered(&flight.op, flight.started_local, &answer, now);
        }
        gateway.flights.retain(|flight| !flight.is_over || flight.is_under_way());
        // Workers.
        let is_followed =
            |order: &(Duration, u64, Groups)| order.0 <= self.now && !gateway.is_uncontrolled;
        let live: Vec<_> = gateway.orders.extract_if(.., |order| is_followed(order)).collect();
        for (_, number, groups) in live {
            gateway.announced = groups;
            gateway.told.live(number);
        }
        machine.set_live(gateway.told.may_be_announced());
        for op in machine.poll(now) {
            let (way, back) = match is_rough {
                true if one_in(random, 20) => (random.u64(..3000), random.u64(..3000)),
                true => (random.u64(..200), random.u64(..200)),
                false => (random.u64(..10), random.u64(..10)),
            };
            let commit = self.now + ms(way);
            gateway.flights.push(Flight {
                op,
                started: self.now,
                started_local: now,
                commit: (!is_rough || !one_in(random, 30)).then_some(commit),
                answer: None,
                back: commit + ms(back),
                is_lost: is_rough && one_in(random, 30),
                is_over: false,
            });
        }
        let held = machine.output(now).held;
        if let Some(number) = gateway.told.order(held) {
            // Control takes them in order.
            let last = gateway.orders.last().map_or(self.now, |order| order.0);
            let at = last.max(self.now + ms(random.u64(..LIVE_MS)));
            gateway.orders.push((at, number, held));
        }
        machine.set_live(gateway.told.may_be_announced());
    }

    /// Nobody holds what another one holds. Two may announce the same only if
    /// at most one of them is a member, and not for long.
    fn check(&mut self) {
        for slot in 0..=GROUPS {
            let holders = self.gateways.iter().filter(|gateway| {
                let now = gateway.local(self.now);
                gateway.machine.as_ref().is_some_and(|machine| {
                    let output = machine.output(now);
                    let holds =
                        if slot < GROUPS { output.held.has(slot) } else { output.is_leader };
                    holds && machine.is_valid(now)
                })
            });
            let holders: Vec<&String> = holders.map(|gateway| &gateway.node).collect();
            assert!(holders.len() <= 1, "{:?}: slot {slot} has {holders:?}", self.now);
        }
        for group in 0..GROUPS {
            let announces = |gateway: &&mut Gateway| gateway.announced.has(group);
            let mut announcers: Vec<_> = self.gateways.iter_mut().filter(announces).collect();
            if announcers.len() < 2 {
                self.double_since.remove(&group);
                continue;
            }
            // One that is stopped hears nothing.
            if announcers.iter().any(|gateway| self.now < gateway.stopped_until) {
                self.double_since.remove(&group);
                continue;
            }
            let since = *self.double_since.entry(group).or_insert(self.now);
            let lasts = self.now - since;
            self.double_max = self.double_max.max(lasts);
            if lasts >= HEARD {
                for gateway in announcers.iter_mut() {
                    let now = gateway.local(self.now);
                    if let Some(machine) = &mut gateway.machine {
                        machine.claimed(group, now);
                    }
                }
            }
        }
    }

    /// The node that announces each group.
    pub fn announcers(&self) -> Vec<Option<String>> {
        (0..GROUPS)
            .map(|group| {
                let mut of = self.gateways.iter().filter(|gateway| gateway.announced.has(group));
                let first = of.next().map(|gateway| gateway.node.clone());
                assert!(of.next().is_none(), "two announce group {group}");
                first
            })
            .collect()
    }

    /// The nodes that may do what only one may.
    pub fn leaders(&self) -> Vec<String> {
        let is_leader = |gateway: &&Gateway| {
            let output = gateway.machine.as_ref().map(|m| m.output(gateway.local(self.now)));
            output.is_some_and(|output| output.is_leader)
        };
        self.gateways.iter().filter(is_leader).map(|gateway| gateway.node.clone()).collect()
    }
}
