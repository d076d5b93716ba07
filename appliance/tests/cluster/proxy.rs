//! A proxy in front of the API server, by which a test makes its days bad. What
//! it passes on is the server's own, byte by byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What happens to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Mode {
    /// Everything passes.
    Pass,
    /// Connections are closed, and new ones too.
    Refuse,
    /// Connections stay, but nothing passes any more.
    Stall,
    /// Answers pass slowly: [`SLOW_BYTES`] at a time, with a pause.
    Slow,
    /// A connection is cut after as many bytes of answers as [`Proxy::cut`] said.
    Cut,
}

const SLOW_BYTES: usize = 512;
const SLOW_PAUSE: Duration = Duration::from_millis(20);

/// How often a thread looks whether the mode has changed.
const LOOK: Duration = Duration::from_millis(20);

struct Shared {
    server: SocketAddr,
    mode: AtomicU32,
    cut_after: AtomicUsize,
    connections: AtomicU64,
    is_over: AtomicU32,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The proxy; it ends when this is dropped.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on loopback, in the network namespace that this is called in.
    pub fn start(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server,
            mode: AtomicU32::new(Mode::Pass as u32),
            cut_after: AtomicUsize::new(0),
            connections: AtomicU64::new(0),
            is_over: AtomicU32::new(0),
            threads: Mutex::default(),
        });
        let accepting = std::thread::spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared)
        });
        Proxy { address, shared, accepting: Some(accepting) }
    }

    pub fn set(&self, mode: Mode) {
        self.shared.mode.store(mode as u32, Ordering::SeqCst);
    }

    /// Cuts each connection after so many bytes of answers.
    pub fn cut(&self, after: usize) {
        self.shared.cut_after.store(after, Ordering::SeqCst);
        self.set(Mode::Cut);
    }

    /// Connections that were made so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(1, Ordering::SeqCst);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for thread in std::mem::take(&mut *self.shared.threads.lock().unwrap()) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn is(&self, mode: Mode) -> bool {
        self.mode.load(Ordering::SeqCst) == mode as u32
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst) == 1
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.is_over() {
        let Ok((client, _)) = listener.accept() else {
            std::thread::sleep(LOOK);
            continue;
        };
        shared.connections.fetch_add(1, Ordering::SeqCst);
        if shared.is(Mode::Refuse) {
            continue;
        }
        let Ok(server) = TcpStream::connect_timeout(&shared.server, Duration::from_secs(2)) else {
            continue;
        };
        for stream in [&client, &server] {
            stream.set_nonblocking(false).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(LOOK)).unwrap();
        }
        let pairs = [
            (client.try_clone().unwrap(), server.try_clone().unwrap(), false),
            (server, client, true),
        ];
        let started = pairs.map(|(from, to, is_answer)| {
            let shared = shared.clone();
            std::thread::spawn(move || pass(from, to, is_answer, &shared))
        });
        shared.threads.lock().unwrap().extend(started);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, is_answer: bool, shared: &Shared) {
    let mut buffer = [0; 16 << 10];
    let mut passed = 0;
    while !shared.is_over() && !shared.is(Mode::Refuse) {
        if shared.is(Mode::Stall) {
            std::thread::sleep(LOOK);
            continue;
        }
        let room = if is_answer && shared.is(Mode::Slow) { SLOW_BYTES } else { buffer.len() };
        let read = match from.read(&mut buffer[..room]) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(_) => break,
        };
        // What came while it stalled waits, too.
        while shared.is(Mode::Stall) && !shared.is_over() {
            std::thread::sleep(LOOK);
        }
        if is_answer && shared.is(Mode::Slow) {
            std::thread::sleep(SLOW_PAUSE);
        }
        if is_answer && shared.is(Mode::Cut) {
            let left = shared.cut_after.load(Ordering::SeqCst).saturating_sub(passed);
            if read > left {
                let _ = to.write_all(&buffer[..left]);
                break;
            }
        }
        passed += read;
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
