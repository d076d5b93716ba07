//! HTTP served on sockets of the kernel (`l7.io: kernel`): for addresses that are the
//! kernel's, and where the worker's own TCP is not wanted.
//!
//! A thread serves with a single-threaded runtime of its own; several may listen at the
//! same addresses, and the kernel deals connections out (`SO_REUSEPORT`). Network policies
//! are asked as they are at a worker: those of the tables that it was given last.

mod server;
mod stream;

pub use server::KernelServer;
pub use stream::KernelStream;

use crate::net::Net;
use sluice_tables::Tables;
use sluice_tables::policy::{self, Verdict};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;

/// The kernel's TCP, time, and what network policies say. It is used where [`run`] has made
/// it.
#[derive(Clone)]
pub struct KernelNet {
    time: Rc<Time>,
    /// Those whose policies are asked.
    tables: Rc<RefCell<Option<Arc<Tables>>>>,
}

/// The time, which is read when a task begins to be run.
struct Time {
    start: Instant,
    now_ns: Cell<u64>,
    /// A time of [`Time::now_ns`], and the milliseconds since 1970 that it stands for.
    wall: Cell<(u64, u64)>,
}

/// How long the kernel's idea of what time of day it is may be followed without asking.
const WALL_NS_MAX: u64 = 1_000_000_000;

/// Runs what is made with a net, and everything that is spawned on it until that is done.
///
/// # Errors
/// There is no runtime: the kernel has no more file descriptors.
pub fn run<T, M: Future<Output = T>>(main: impl FnOnce(KernelNet) -> M) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = LocalSet::new();
    Ok(tasks.block_on(&runtime, async {
        let net = KernelNet::new();
        timed(net.time.clone(), main(net)).await
    }))
}

impl KernelNet {
    /// For whoever is run by [`run`], or by a single-threaded runtime of tokio's and a
    /// [`LocalSet`] of his own.
    pub fn new() -> Self {
        let time = Time { start: Instant::now(), now_ns: Cell::new(0), wall: Cell::default() };
        time.read_wall();
        KernelNet { time: Rc::new(time), tables: Rc::default() }
    }

    /// Takes the tables whose policies are asked from now on. Without any there is nothing
    /// to ask.
    pub fn take_tables(&self, tables: Arc<Tables>) {
        let old = self.tables.replace(Some(tables));
        drop(old);
    }
}

impl Default for KernelNet {
    fn default() -> Self {
        KernelNet::new()
    }
}

/// Reads the time whenever a task begins to be run.
async fn timed<T>(time: Rc<Time>, task: impl Future<Output = T>) -> T {
    let mut task = pin!(task);
    poll_fn(|context| {
        time.read();
        task.as_mut().poll(context)
    })
    .await
}

impl Time {
    fn read(&self) {
        let passed = self.start.elapsed().as_nanos();
        self.now_ns.set(u64::try_from(passed).unwrap_or(u64::MAX));
        if self.now_ns.get().saturating_sub(self.wall.get().0) >= WALL_NS_MAX {
            self.read_wall();
        }
    }

    #[expect(clippy::disallowed_methods, reason = "what is on the kernel's sockets goes by it")]
    fn read_wall(&self) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let unix_ms = since.map_or(0, |since| since.as_millis());
        self.wall.set((self.now_ns.get(), u64::try_from(unix_ms).unwrap_or(u64::MAX)));
    }
}

impl Net for KernelNet {
    type Stream = KernelStream;

    fn connect(&self, to: SocketAddr) -> impl Future<Output = io::Result<KernelStream>> + 'static {
        let connecting = TcpStream::connect(to);
        async { KernelStream::new(connecting.await?) }
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        spawn_local(timed(self.time.clone(), task));
    }

    fn now_ns(&self) -> u64 {
        self.time.now_ns.get()
    }

    fn unix_ms(&self) -> u64 {
        let (at_ns, unix_ms) = self.time.wall.get();
        unix_ms + self.now_ns().saturating_sub(at_ns) / 1_000_000
    }

    fn judge(&self, client: IpAddr, endpoint: SocketAddr) -> Verdict {
        let tables = self.tables.borrow();
        tables.as_deref().map_or(Verdict::Allow, |tables| {
            policy::judge_request(tables, client, endpoint).verdict()
        })
    }

    fn policy_version(&self) -> u64 {
        self.tables.borrow().as_deref().map_or(0, |tables| tables.version)
    }

    fn sleep_until(&self, at_ns: u64) -> impl Future<Output = ()> + 'static {
        let time = self.time.clone();
        async move {
            // Longer than anybody is there for.
            let at = time.start.checked_add(Duration::from_nanos(at_ns));
            match at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
            time.read();
        }
    }
}
