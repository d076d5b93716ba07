use super::memory::Memory;
use super::requests::Requests;
use super::seat::{ElectionView, Seat, Shared};
use super::watch::Watch;
use super::{Answer, Key, Machine, Op, Options, Told};
use crate::kubernetes::{Access, Connection};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rustix::time::{ClockId, clock_gettime};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task;

/// How often time is looked at when nothing comes.
const TICK: Duration = Duration::from_millis(20);

/// Between two looks at whether everything is given up.
const LEAVE_STEP: Duration = Duration::from_millis(5);

/// An election, to be started.
#[derive(Clone, Debug)]
pub struct Election {
    /// The API server.
    pub access: Access,
    /// The namespace of the Leases; `None`: that of the credentials.
    pub namespace: Option<String>,
    /// How it is held.
    pub options: Options,
    /// Where it is remembered, for a start while the API is away, that nobody else
    /// was there; `None`: nowhere.
    pub memory: Option<PathBuf>,
}

/// A gateway's part in an election, on a thread of its own. When it is dropped,
/// the thread ends as one that is killed: the Leases run out. See
/// [`Elector::leave`].
#[derive(Debug)]
pub struct Elector {
    shared: Arc<Shared>,
    leader: watch::Receiver<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Election {
    /// Takes part from the moment on that control says [`Seat::ready`].
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(self) -> std::io::Result<(Elector, Seat)> {
        let seat = Seat::new(self.options.groups);
        let shared = seat.shared.clone();
        let (sender, leader) = watch::channel(false);
        let of_thread = shared.clone();
        let thread =
            std::thread::Builder::new().name("sluice-election".to_owned()).spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = match runtime {
                    Ok(runtime) => runtime,
                    Err(error) => return tracing::error!(%error, "the election cannot start"),
                };
                let drive = || runtime.block_on(self.drive(&of_thread, &sender));
                let ended = catch_unwind(AssertUnwindSafe(drive));
                // A disk that hangs holds up nobody.
                runtime.shutdown_background();
                if let Err(panic) = ended {
                    // Others take everything over when the Lease runs out.
                    of_thread.withdraw();
                    let _ = sender.send(false);
                    resume_unwind(panic);
                }
            })?;
        Ok((Elector { shared, leader, thread: Some(thread) }, seat))
    }

    async fn drive(self, shared: &Shared, leader: &watch::Sender<bool>) {
        let connection = Connection::open(self.access.clone(), None).await;
        let client = connection.client();
        let namespace = self.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
        tracing::info!(namespace, groups = self.options.groups, "taking part in the election");
        let requests = Requests::new(client, &namespace, self.options.clone());
        let mut watch = Watch::new(requests.clone());
        let seed = RandomState::new().build_hasher().finish();
        let memory = self.memory.as_deref();
        let memory =
            memory.map(|path| Memory::new(path, &self.options.node, &self.access.describe()));
        let mut machine = Machine::new(self.options.clone(), seed);
        if memory.as_ref().is_some_and(Memory::was_alone) {
            machine.set_alone();
        }
        let mut run = Run {
            machine,
            memory,
            kept: None,
            keeping: None,
            told: Told::default(),
            under_way: FuturesUnordered::new(),
            requests,
            has_failed: false,
            shared,
            leader,
        };
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !shared.is_stopping() {
            tokio::select! {
                Some(event) = watch.next() => {
                    if let Some(error) = watch.take(event, &mut run.machine, now()) {
                        shared.put_watch_error(error);
                    }
                }
                Some(answered) = run.under_way.next() => run.answered(answered),
                () = shared.wake.notified() => {}
                _ = tick.tick() => {
                    let now = now();
                    let is_member = run.machine.is_valid(now);
                    watch.look_after(is_member, self.options.duration, now);
                }
            }
            run.turn();
        }
    }
}

/// A request that was sent, and what has become of it.
type Answered = (Op, Duration, Answer, Option<String>);

struct Run<'a> {
    machine: Machine,
    memory: Option<Memory>,
    /// What was remembered last.
    kept: Option<bool>,
    keeping: Option<task::JoinHandle<()>>,
    told: Told,
    under_way: FuturesUnordered<BoxFuture<'static, Answered>>,
    requests: Requests,
    /// The last renewal failed.
    has_failed: bool,
    shared: &'a Shared,
    leader: &'a watch::Sender<bool>,
}

impl Run<'_> {
    fn answered(&mut self, (op, started, answer, error): Answered) {
        let now = now();
        match (op.key(), &answer) {
            (Key::Member, Answer::Done(_)) => {
                if std::mem::take(&mut self.has_failed) {
                    tracing::info!("the Lease of this gateway is renewed again");
                    self.shared.put_error(None);
                }
            }
            (Key::Member, _) => {
                let error = error.unwrap_or_default();
                if !std::mem::replace(&mut self.has_failed, true) {
                    tracing::warn!(error, ?answer, "the Lease of this gateway is not renewed");
                }
                self.shared.put_error(Some(error));
            }
            (Key::Fence(lease), Answer::Done(_)) => {
                tracing::warn!(lease, "a gateway does not renew its Lease: its VIPs are taken");
            }
            (_, Answer::Refused) => {
                tracing::warn!(error, "a Lease cannot be written: has Sluice all its permissions?");
            }
            (key, answer) => tracing::debug!(?key, ?answer, error),
        }
        self.machine.answered(&op, started, &answer, now);
    }

    /// Tells the machine what control says, sends what it wants sent, and tells
    /// control what it says.
    fn turn(&mut self) {
        let now = now();
        let claims = self.shared.take_claims();
        for group in (0..self.shared.groups).filter(|group| claims.has(*group)) {
            self.machine.claimed(group, now);
        }
        self.machine.set_eligible(self.shared.is_eligible(now));
        self.told.live(self.shared.live());
        self.machine.set_live(self.told.may_be_announced());
        for op in self.machine.poll(now) {
            let requests = self.requests.clone();
            self.under_way.push(Box::pin(async move {
                let (answer, error) = requests.perform(&op).await;
                (op, now, answer, error)
            }));
        }
        let output = self.machine.output(now);
        if let Some(number) = self.told.order(output.held) {
            tracing::info!(groups = output.held.len(), "VIPs of so many groups are announced here");
            self.shared.put_order(number, output.held);
        }
        self.leader.send_if_modified(|is_leader| {
            std::mem::replace(is_leader, output.is_leader) != output.is_leader
        });
        self.remember(now);
        let (is_member, is_out) = (self.machine.is_valid(now), self.machine.is_out());
        self.shared.put_view(output, is_member, is_out, self.machine.counts());
    }
}

impl Run<'_> {
    /// Keeps whether this gateway is alone, if that has changed. The disk may be
    /// slow: it is written elsewhere, one time after the other.
    fn remember(&mut self, now: Duration) {
        let Some(memory) = &self.memory else { return };
        let is_busy = self.keeping.as_ref().is_some_and(|keeping| !keeping.is_finished());
        let Some(is_alone) = self.machine.is_alone(now).filter(|_| !is_busy) else { return };
        if self.kept.replace(is_alone) == Some(is_alone) {
            return;
        }
        let memory = memory.clone();
        self.keeping = Some(task::spawn_blocking(move || {
            if let Err(error) = memory.keep(is_alone) {
                tracing::warn!(%error, "beside the snapshot: it cannot be kept who else is there");
            }
        }));
    }
}

impl Elector {
    /// Whether this gateway may do what only one may.
    pub fn leader(&self) -> watch::Receiver<bool> {
        self.leader.clone()
    }

    /// How the election stands.
    pub fn view(&self) -> ElectionView {
        self.shared.view()
    }

    /// Gives everything up, and waits until that is done, no longer than `limit`:
    /// others announce the VIPs then. Control and the workers must still run.
    /// False when it is not done.
    pub fn leave(&self, limit: Duration) -> bool {
        self.shared.leave();
        let deadline = Instant::now() + limit;
        while !self.view().out {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(LEAVE_STEP);
        }
        true
    }
}

impl Drop for Elector {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the election has panicked");
        }
    }
}

/// Time since the machine started, that of its sleep included: a Lease runs out
/// meanwhile.
pub(super) fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}
