//! A net of kernel sockets on loopback, whose time goes on when a test says so.

use sluice_l7::net::{Net, Stream};
use sluice_tables::policy::Verdict;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::future::{Future, pending};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

#[derive(Clone, Default)]
pub struct TestNet(Rc<State>);

#[derive(Default)]
struct State {
    now_ns: Cell<u64>,
    sleepers: RefCell<Vec<(u64, Waker)>>,
    silent: RefCell<HashSet<SocketAddr>>,
    broken: Cell<Option<io::ErrorKind>>,
    tasks: Cell<usize>,
    fails_writes: Cell<Option<SocketAddr>>,
    failed_writes: Cell<u64>,
    denied: RefCell<Vec<IpAddr>>,
    audited: Cell<bool>,
    policy_version: Cell<u64>,
}

impl TestNet {
    /// Policies deny these clients from now on.
    pub fn deny(&self, clients: &[IpAddr]) {
        *self.0.denied.borrow_mut() = clients.to_vec();
        self.0.policy_version.set(self.0.policy_version.get() + 1);
    }

    /// Policies are only tried out.
    pub fn audit(&self) {
        self.0.audited.set(true);
    }

    /// Time goes on.
    pub fn pass(&self, time: Duration) {
        let now_ns = self.0.now_ns.get() + time.as_nanos() as u64;
        self.0.now_ns.set(now_ns);
        let all = self.0.sleepers.take();
        let (due, later): (Vec<_>, Vec<_>) = all.into_iter().partition(|(at, _)| *at <= now_ns);
        self.0.sleepers.borrow_mut().extend(later);
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Nobody answers at an address.
    pub fn silence(&self, addr: SocketAddr) {
        self.0.silent.borrow_mut().insert(addr);
    }

    /// Connections fail.
    pub fn break_with(&self, kind: Option<io::ErrorKind>) {
        self.0.broken.set(kind);
    }

    /// What is written to an address fails, and what comes from there still comes.
    pub fn fail_writes(&self, to: Option<SocketAddr>) {
        self.0.fails_writes.set(to);
    }

    /// Writes that have failed so.
    pub fn failed_writes(&self) -> u64 {
        self.0.failed_writes.get()
    }

    /// Tasks that run.
    pub fn tasks(&self) -> usize {
        self.0.tasks.get()
    }
}

struct Running(TestNet);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.tasks.set(self.0.0.tasks.get() - 1);
    }
}

struct Sleep {
    net: TestNet,
    at_ns: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.net.now_ns() >= self.at_ns {
            return Poll::Ready(());
        }
        self.net.0.sleepers.borrow_mut().push((self.at_ns, context.waker().clone()));
        Poll::Pending
    }
}

impl Net for TestNet {
    type Stream = TestStream;

    fn connect(&self, to: SocketAddr) -> impl Future<Output = io::Result<TestStream>> + 'static {
        let net = self.clone();
        async move {
            if let Some(kind) = net.0.broken.get() {
                return Err(kind.into());
            }
            if net.0.silent.borrow().contains(&to) {
                pending::<()>().await;
            }
            let stream = TcpStream::connect(to).await?;
            let (local, remote) = (stream.local_addr()?, stream.peer_addr()?);
            Ok(TestStream { net, stream, local, remote })
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.tasks.set(self.0.tasks.get() + 1);
        let running = Running(self.clone());
        tokio::task::spawn_local(async move {
            task.await;
            drop(running);
        });
    }

    fn now_ns(&self) -> u64 {
        self.0.now_ns.get()
    }

    fn unix_ms(&self) -> u64 {
        self.now_ns() / 1_000_000
    }

    fn judge(&self, client: IpAddr, _endpoint: SocketAddr) -> Verdict {
        match self.0.denied.borrow().contains(&client) {
            true if self.0.audited.get() => Verdict::Audit,
            true => Verdict::Deny,
            false => Verdict::Allow,
        }
    }

    fn policy_version(&self) -> u64 {
        self.0.policy_version.get()
    }

    fn sleep_until(&self, at_ns: u64) -> impl Future<Output = ()> + 'static {
        Sleep { net: self.clone(), at_ns }
    }
}

pub struct TestStream {
    net: TestNet,
    stream: TcpStream,
    local: SocketAddr,
    remote: SocketAddr,
}

impl AsyncRead for TestStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for TestStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.net.0.fails_writes.get() == Some(self.remote) {
            self.net.0.failed_writes.set(self.net.failed_writes() + 1);
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Stream for TestStream {
    fn local(&self) -> SocketAddr {
        self.local
    }

    fn remote(&self) -> SocketAddr {
        self.remote
    }

    fn abort(&mut self) {
        let _ = self.stream.set_zero_linger();
    }
}
