use super::{KernelNet, KernelStream};
use crate::http::{Accept, Forward, Proxy};
use crate::net::Net;
use sluice_tables::l7::ListenerId;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait for the thread to take them.
const BACKLOG: u32 = 1024;

/// How long nobody is taken in when the kernel has nothing to take one in with.
const PAUSE: Duration = Duration::from_millis(50);

/// Listens at addresses of the kernel's, and has a proxy serve who comes.
pub struct KernelServer {
    net: KernelNet,
    listeners: Vec<(TcpListener, ListenerId)>,
    failures: Rc<Cell<u64>>,
}

impl KernelServer {
    /// Listens at addresses, each for a listener of the tables.
    ///
    /// # Errors
    /// An address is nobody's here, or another program's.
    pub fn bind(
        net: &KernelNet,
        addrs: impl IntoIterator<Item = (SocketAddr, ListenerId)>,
    ) -> io::Result<Self> {
        let listen = |(addr, id)| Ok((listen(addr)?, id));
        let listeners = addrs.into_iter().map(listen).collect::<io::Result<_>>()?;
        Ok(KernelServer { net: net.clone(), listeners, failures: Rc::default() })
    }

    /// Where it listens, in the order in which that was asked for.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn addrs(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(|(listener, _)| listener.local_addr()).collect()
    }

    /// How often a connection could not be taken in: it had gone, or the kernel had no
    /// more file descriptors.
    pub fn failures(&self) -> Rc<Cell<u64>> {
        self.failures.clone()
    }

    /// Serves who comes until it is told to stop; then nobody is taken in any more, and what
    /// has begun has so long to come to its end.
    pub async fn serve<F: Forward, A: Accept>(
        self,
        proxy: Proxy<KernelNet, F, A>,
        stop: impl Future<Output = ()>,
        drain: Duration,
    ) {
        let (stopped, _) = tokio::sync::watch::channel(());
        for (listener, id) in self.listeners {
            let (net, proxy, failures) = (self.net.clone(), proxy.clone(), self.failures.clone());
            let mut until = stopped.subscribe();
            self.net.spawn(async move {
                tokio::select! {
                    // The other end of it is gone.
                    _ = until.changed() => {}
                    () = take_in(&net, &listener, id, &proxy, &failures) => {}
                }
            });
        }
        stop.await;
        drop(stopped);
        let drain_ns = u64::try_from(drain.as_nanos()).unwrap_or(u64::MAX);
        proxy.drain(self.net.now_ns().saturating_add(drain_ns));
        proxy.ended().await;
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            // Each family has addresses of its own.
            rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
            socket
        }
    };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Takes connections in, for ever.
async fn take_in<F: Forward, A: Accept>(
    net: &KernelNet,
    listener: &TcpListener,
    id: ListenerId,
    proxy: &Proxy<KernelNet, F, A>,
    failures: &Cell<u64>,
) {
    loop {
        let accepted = listener.accept().await;
        match accepted.and_then(|(tcp, _)| KernelStream::new(tcp)) {
            Ok(stream) => net.spawn(proxy.serve(stream, id)),
            Err(failure) => {
                failures.set(failures.get() + 1);
                // One that has gone already says nothing of the next one.
                if !matches!(
                    failure.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}
