use super::allocator::Allocator;
use super::board::{Board, Notice, NoticeKind, Pending, StatusConfig};
use super::deadline::{REQUEST_MAX, within};
use super::desired::Desired;
use super::events::{Ledger, Recorder, Step};
use super::facts::Facts;
use super::statement::Identified;
use super::writer::{Writer, Written};
use crate::kubernetes::{Access, Connection};
use crate::object::{Kind, Name};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use kube::Client;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Events that are written at once.
const EVENTS_MAX: usize = 4;

/// Events that wait until they are written.
const QUEUE_MAX: usize = 1024;

/// Longest sleep.
const IDLE: Duration = Duration::from_secs(60);

mod ingresses;

use ingresses::Ingresses;

/// Starts the thread that writes back what `board` tells, while `leader` says
/// so; who says nothing more leaves it at that. It ends when the board is closed.
/// `node` names this gateway in Events.
///
/// # Errors
/// When there can be no thread.
pub fn start(
    access: Access,
    node: &str,
    config: StatusConfig,
    board: Board,
    leader: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let node = node.to_owned();
    std::thread::Builder::new().name("sluice-status".to_owned()).spawn(move || {
        runtime.block_on(run(access, &node, config, board, leader));
    })
}

async fn run(
    access: Access,
    node: &str,
    config: StatusConfig,
    board: Board,
    mut leader: watch::Receiver<bool>,
) {
    let connection = Connection::open(access, None).await;
    let client = connection.client();
    let mut desk = Desk::new(client, node, config, board.clone());
    loop {
        let is_leader = *leader.borrow_and_update();
        let pending = board.take(is_leader);
        if pending.is_closed {
            return;
        }
        desk.take(pending, is_leader);
        desk.start();
        let waits = [desk.writer.wait(desk.now()), desk.ingresses.writer.wait(desk.now())];
        let wait = waits.into_iter().flatten().fold(IDLE, Duration::min);
        tokio::select! {
            () = board.changed() => {}
            Ok(()) = leader.changed() => {}
            Some(written) = desk.writer.next() => desk.written(&written),
            Some(written) = desk.ingresses.writer.next() => desk.ingresses.written(&written, desk.started.elapsed()),
            Some((notice, result)) = desk.under_way.next() => desk.said(&notice, result),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Everything at hand.
struct Desk {
    started: Instant,
    config: StatusConfig,
    /// There while this gateway allocates.
    allocator: Option<Allocator>,
    writer: Writer,
    ingresses: Ingresses,
    recorder: Recorder,
    ledger: Ledger,
    /// Events to be written, and the UIDs of their objects.
    events: VecDeque<(Notice, Step, Option<Arc<str>>)>,
    under_way: FuturesUnordered<BoxFuture<'static, (Notice, Result<(), kube::Error>)>>,
    board: Board,
}

impl Desk {
    fn new(client: Client, node: &str, config: StatusConfig, board: Board) -> Self {
        Desk {
            started: Instant::now(),
            config,
            allocator: None,
            writer: Writer::new(client.clone(), board.metrics().clone()),
            ingresses: Ingresses::new(client.clone(), board.metrics().clone()),
            recorder: Recorder::new(client, node),
            ledger: Ledger::default(),
            events: VecDeque::new(),
            under_way: FuturesUnordered::new(),
            board,
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn take(&mut self, pending: Pending, is_leader: bool) {
        let is_new = pending.config.as_ref().is_some_and(|config| *config != self.config);
        self.config = pending.config.unwrap_or_else(|| std::mem::take(&mut self.config));
        let changed = (pending.ingresses, pending.ours);
        let addresses = self.config.ingress_addresses.clone();
        let addresses = (is_leader && pending.is_synced).then_some(addresses);
        self.ingresses.take(changed, addresses, self.now());
        let mut names = BTreeSet::new();
        for (name, facts) in pending.services {
            if self.writer.set(&name, facts) {
                names.insert(name);
            }
        }
        for notice in pending.notices.into_keys() {
            self.tell(notice);
        }
        let Some(balancer) = &self.config.load_balancer else {
            self.stop_allocating();
            return;
        };
        if !is_leader || !pending.is_synced {
            self.stop_allocating();
            return;
        }
        // Who begins to allocate begins with what is written: another may have
        // allocated until now.
        let is_first = self.allocator.is_none();
        let allocator = self.allocator.get_or_insert_with(|| Allocator::new(&balancer.pools));
        if is_new {
            allocator.set_pools(&balancer.pools);
        }
        if is_first || is_new {
            names.extend(self.writer.names().cloned());
        }
        self.allocate(names);
    }

    fn stop_allocating(&mut self) {
        if self.allocator.take().is_some() {
            self.writer.cancel_all();
            self.board.metrics().set_pools(Vec::new());
        }
    }

    /// Allocates for Services that have changed, and sees to it that all who
    /// are concerned are told.
    fn allocate(&mut self, mut names: BTreeSet<Name>) {
        let Some(allocator) = &mut self.allocator else { return };
        if names.is_empty() {
            return;
        }
        let request = |name: &Name| {
            let facts = self.writer.facts(name).filter(|facts| is_ours(&self.config, facts));
            facts.map(|facts| facts.request.clone())
        };
        let batch: Vec<_> =
            names.iter().map(|name| (name.key(Kind::Service), request(name))).collect();
        allocator.apply(batch);
        names.extend(allocator.take_changed().iter().map(crate::object::Key::to_name));
        self.board.metrics().set_pools(allocator.usage());
        for name in &names {
            self.want(name);
        }
    }

    fn want(&mut self, name: &Name) {
        let Some(allocator) = &self.allocator else { return };
        let Some(facts) = self.writer.facts(name) else { return };
        let outcome = allocator.outcome(&name.key(Kind::Service));
        let desired = outcome.map(|outcome| Desired::of(&facts.request, outcome));
        let now = self.now();
        self.writer.want(name, desired.unwrap_or_default(), now);
    }

    /// Starts what is due.
    fn start(&mut self) {
        let now = self.now();
        self.writer.start(now);
        self.ingresses.writer.start(now);
        while self.under_way.len() < EVENTS_MAX
            && let Some((notice, step, uid)) = self.events.pop_front()
        {
            let recorder = self.recorder.clone();
            self.under_way.push(Box::pin(async move {
                let result = within(REQUEST_MAX, recorder.take(&notice, &step, uid)).await;
                (notice, result)
            }));
        }
    }

    fn written(&mut self, written: &Written) {
        let is_written = self.writer.done(written, self.now());
        if self.allocator.is_none() {
            // Another allocates now: what failed is not tried again.
            self.writer.cancel_all();
        }
        if is_written && let Some((kind, reason, note)) = written.desired.event(&written.before) {
            let notice = Notice {
                key: written.name.key(Kind::Service),
                kind,
                reason: reason.to_owned(),
                note: note.to_owned(),
            };
            // Logged as seldom as it is shown.
            if self.tell(notice) && kind == NoticeKind::Warning {
                tracing::warn!(service = %written.name, reason, "{note}");
            }
        }
        self.want(&written.name);
    }

    /// Makes an Event of a notice, unless it is one too many; false then.
    fn tell(&mut self, notice: Notice) -> bool {
        let name = notice.key.to_name();
        let uid = match notice.key.kind {
            Kind::Service => self.writer.facts(&name).map(|facts| facts.uid.clone()),
            Kind::Ingress => self.ingresses.writer.facts(&name).map(|of| of.uid().clone()),
            _ => None,
        };
        let step = match self.events.len() < QUEUE_MAX {
            true => self.ledger.step(&notice, uid.as_ref(), &Recorder::name(&notice), self.now()),
            false => Step::Suppress,
        };
        let is_told = step != Step::Suppress;
        match is_told {
            true => self.events.push_back((notice, step, uid)),
            false => self.board.metrics().suppressed(),
        }
        is_told
    }

    fn said(&mut self, notice: &Notice, result: Result<(), kube::Error>) {
        match result {
            Ok(()) => self.board.metrics().event(),
            Err(error) => {
                tracing::debug!(object = %notice.key, "no Event is made: {error}");
                self.board.metrics().suppressed();
                // It may be made anew the next time it is to be told.
                self.ledger.forget(notice);
            }
        }
    }
}

/// Whether a Service is given addresses here.
fn is_ours(config: &StatusConfig, facts: &Facts) -> bool {
    let Some(balancer) = &config.load_balancer else { return false };
    let is_of_class = match &facts.class {
        Some(class) => **class == *balancer.class,
        None => balancer.is_default,
    };
    let is_served = facts.proxy_name.as_deref() == config.proxy_name.as_deref();
    facts.is_balancer && is_of_class && is_served
}

#[cfg(test)]
mod tests;
