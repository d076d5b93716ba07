use super::address;
use super::executor::Executor;
use super::stream::WorkerStream;
use super::timers::{Sleep, Timers};
use crate::net::Net;
use crate::tcp::{ConnOptions, ConnectError, Pressure, Share, TcpEngine};
use sluice_tables::Tables;
use sluice_tables::l7::ListenerId;
use sluice_tables::policy::{self, Verdict};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The worker's own TCP, its timers and its tasks.
#[derive(Clone)]
pub struct WorkerNet(pub(super) Rc<Shared>);

/// What tasks, streams and the service have in common.
pub(super) struct Shared {
    /// The worker's number.
    pub worker: usize,
    pub engine: RefCell<TcpEngine>,
    pub executor: Executor,
    pub timers: Rc<Timers>,
    /// Of those that the worker uses.
    pub tables: RefCell<Option<Arc<Tables>>>,
    pub random: RefCell<fastrand::Rng>,
    /// What connections to endpoints are made with, the MTU left out.
    pub options: ConnOptions,
    /// Milliseconds from 1970 to the start of the worker's time.
    pub unix_ms: Arc<AtomicU64>,
}

impl Shared {
    fn open(self: &Rc<Self>, to: SocketAddr) -> io::Result<WorkerStream> {
        let tables = self.tables.borrow();
        let Some(tables) = tables.as_deref() else {
            return Err(io::ErrorKind::HostUnreachable.into());
        };
        let mtu = address::path_mtu(tables, to.ip()).ok_or(io::ErrorKind::HostUnreachable)?;
        let options = ConnOptions { mtu, ..self.options };
        let mut random = self.random.borrow_mut();
        // A port may be taken by a connection to the same endpoint.
        for _ in 0..8 {
            let local = address::local_end(tables, self.worker, to.ip(), &mut random)
                .ok_or(io::ErrorKind::AddrNotAvailable)?;
            let now_ns = self.timers.now_ns();
            let opened = self.engine.borrow_mut().connect(local, to, options, now_ns);
            match opened {
                Ok(id) => {
                    let stream = WorkerStream::new(self, id);
                    return stream.ok_or_else(|| io::ErrorKind::NotConnected.into());
                }
                Err(ConnectError::InUse) => {}
                Err(ConnectError::Full) => return Err(io::ErrorKind::OutOfMemory.into()),
                Err(ConnectError::Unaddressable) => {
                    return Err(io::ErrorKind::HostUnreachable.into());
                }
            }
        }
        Err(io::ErrorKind::AddrNotAvailable.into())
    }
}

impl Net for WorkerNet {
    type Stream = WorkerStream;

    fn connect(&self, to: SocketAddr) -> impl Future<Output = io::Result<WorkerStream>> + 'static {
        let opened = self.0.open(to);
        async move {
            let mut stream = opened?;
            poll_fn(|context| stream.poll_open(context)).await?;
            Ok(stream)
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.executor.spawn(task);
    }

    fn now_ns(&self) -> u64 {
        self.0.timers.now_ns()
    }

    fn unix_ms(&self) -> u64 {
        self.0.unix_ms.load(Ordering::Relaxed).saturating_add(self.0.timers.now_ns() / 1_000_000)
    }

    fn judge(&self, client: IpAddr, endpoint: SocketAddr) -> Verdict {
        let tables = self.0.tables.borrow();
        // Without tables there is no way to anybody.
        tables.as_deref().map_or(Verdict::Allow, |tables| {
            policy::judge_request(tables, client, endpoint).verdict()
        })
    }

    fn policy_version(&self) -> u64 {
        self.0.tables.borrow().as_deref().map_or(0, |tables| tables.version)
    }

    fn pressure(&self, listener: ListenerId) -> Pressure {
        self.0.engine.borrow().pressure(Share::of_listener(listener.0))
    }

    fn sleep_until(&self, at_ns: u64) -> impl Future<Output = ()> + 'static {
        Sleep::new(self.0.timers.clone(), at_ns)
    }
}
