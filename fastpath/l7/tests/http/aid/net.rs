use sluice_l7::Alpn;
use sluice_l7::http::{Accept, Negotiated, NotAccepted, TlsVersion};
use sluice_l7::kernel::KernelNet;
use sluice_l7::net::{Net, Stream};
use sluice_l7::tcp::Pressure;
use sluice_tables::l7::{Certificates, ClientAuths, ListenerId};
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf};

/// Connections in memory, and the runtime's time.
#[derive(Clone)]
pub struct TestNet {
    kernel: KernelNet,
    pub pressure: Rc<Cell<Pressure>>,
}

impl TestNet {
    pub fn new(kernel: KernelNet) -> Self {
        TestNet { kernel, pressure: Rc::default() }
    }
}

impl Net for TestNet {
    type Stream = Pipe;

    fn connect(&self, _: SocketAddr) -> impl Future<Output = io::Result<Pipe>> + 'static {
        std::future::ready(Err(io::ErrorKind::ConnectionRefused.into()))
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.kernel.spawn(task);
    }

    fn now_ns(&self) -> u64 {
        self.kernel.now_ns()
    }

    fn unix_ms(&self) -> u64 {
        self.kernel.unix_ms()
    }

    fn pressure(&self, _: ListenerId) -> Pressure {
        self.pressure.get()
    }

    fn sleep_until(&self, at_ns: u64) -> impl Future<Output = ()> + 'static {
        self.kernel.sleep_until(at_ns)
    }
}

/// A connection in memory.
pub struct Pipe {
    pipe: Option<DuplexStream>,
    local: SocketAddr,
    remote: SocketAddr,
    is_aborted: Rc<Cell<bool>>,
}

impl Pipe {
    pub fn new(
        pipe: DuplexStream,
        (local, remote): (SocketAddr, SocketAddr),
    ) -> (Self, Rc<Cell<bool>>) {
        let is_aborted = Rc::new(Cell::new(false));
        (Pipe { pipe: Some(pipe), local, remote, is_aborted: is_aborted.clone() }, is_aborted)
    }

    fn with<T>(
        &mut self,
        what: impl FnOnce(Pin<&mut DuplexStream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.pipe {
            Some(pipe) => what(Pin::new(pipe)),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        }
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|pipe| pipe.poll_read(context, buf))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|pipe| pipe.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|pipe| pipe.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|pipe| pipe.poll_shutdown(context))
    }
}

impl Stream for Pipe {
    fn local(&self) -> SocketAddr {
        self.local
    }

    fn remote(&self) -> SocketAddr {
        self.remote
    }

    fn abort(&mut self) {
        self.is_aborted.set(true);
        self.pipe = None;
    }
}

/// A handshake that is a few bytes, behind which everything can be read: 22, 1 or 2 for the
/// version of HTTP, how long a name is, and the name.
#[derive(Clone)]
pub struct FakeTls;

pub fn client_hello(version: u8) -> Vec<u8> {
    client_hello_of(version, "")
}

pub fn client_hello_of(version: u8, name: &str) -> Vec<u8> {
    [&[22, version, u8::try_from(name.len()).unwrap()], name.as_bytes()].concat()
}

impl Accept for FakeTls {
    type Stream<S: Stream> = S;

    fn accept<S: Stream>(
        &self,
        stream: S,
        certificates: &Arc<Certificates>,
        _: IpAddr,
    ) -> impl Future<Output = Result<(S, Negotiated), NotAccepted>> + 'static {
        handshake(stream, certificates.client_auths.clone())
    }
}

async fn handshake<S: Stream>(
    mut stream: S,
    client_auths: Arc<ClientAuths>,
) -> Result<(S, Negotiated), NotAccepted> {
    let mut hello = [0; 3];
    stream.read_exact(&mut hello).await.map_err(|_| NotAccepted::Closed)?;
    let protocol = match hello[1] {
        1 => Alpn::Http11,
        2 => Alpn::H2,
        _ => return Err(NotAccepted::Failed),
    };
    let mut name = vec![0; usize::from(hello[2])];
    stream.read_exact(&mut name).await.map_err(|_| NotAccepted::Closed)?;
    let name = String::from_utf8(name).map_err(|_| NotAccepted::Failed)?;
    let name = (!name.is_empty()).then(|| name.into_boxed_str());
    let negotiated = Negotiated {
        protocol: Some(protocol),
        client_auth: client_auths.find(name.as_deref()).cloned(),
        server_name: name,
        version: TlsVersion::Tls13,
    };
    Ok((stream, negotiated))
}
