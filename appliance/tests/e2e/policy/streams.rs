use super::story::Story;
use crate::lab::{Family, Lab, eventually};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The port that streams end at, at Services and at pods.
pub const PORT: u16 = 7000;

/// Bytes that an end sends at once, and the pause after them.
const CHUNK: usize = 200;
const PAUSE: Duration = Duration::from_millis(10);

/// A prime: bytes of packets that are lost, doubled or swapped do not fit.
const PATTERN: u64 = 251;

/// Servers of a pod or of the hosts outside, in its namespace.
pub fn listen(lab: &Lab, room: &str) -> TcpListener {
    let any = (IpAddr::from(Ipv6Addr::UNSPECIFIED), PORT);
    lab.within(room, || TcpListener::bind(any).unwrap())
}

/// A connection through the gateway whose ends both send all the time, and count
/// what they get.
pub struct Stream {
    pub name: String,
    /// The client's end, and what it has asked for.
    pub between: [SocketAddr; 2],
    /// Where the client's end is.
    room: &'static str,
    ends: [End; 2],
    stop: Arc<AtomicBool>,
}

impl Stream {
    /// Opens it; `listener` is that of `to`.
    pub fn open(
        story: &Story<'_>,
        family: &Family,
        [from, to]: [&str; 2],
        listener: &TcpListener,
    ) -> Stream {
        let room = story.cast.room(from);
        let target = story.cast.target(family, from, to).parse().unwrap();
        let target = SocketAddr::new(target, PORT);
        let client = story.lab.within(room, || TcpStream::connect(target).unwrap());
        let (server, _) = listener.accept().unwrap();
        let between = [client.local_addr().unwrap(), target];
        let stop = Arc::new(AtomicBool::new(false));
        let ends = [client, server].map(|stream| End::start(stream, &stop));
        Stream { name: format!("{} {from} -> {to}", family.name), between, room, ends, stop }
    }

    /// Bytes that each end has received.
    pub fn received(&self) -> [u64; 2] {
        self.ends.each_ref().map(|end| end.received.load(Ordering::Relaxed))
    }

    /// Waits until both ends receive.
    pub fn until_it_runs(&self) {
        let before = self.received();
        eventually(&format!("bytes both ways of {}", self.name), || {
            let now = self.received();
            (now[0] > before[0] && now[1] > before[1]).then_some(())
        });
    }

    /// Segments that the client's end has sent again.
    pub fn retransmitted(&self, lab: &Lab) -> u32 {
        let filter = format!("( sport = :{} )", self.between[0].port());
        let sockets = lab.ok(self.room, &["ss", "-Htni", &filter]);
        let count = sockets.split_whitespace().find_map(|word| word.strip_prefix("retrans:"));
        let total = count.and_then(|count| count.split('/').nth(1));
        total.map_or(0, |total| total.parse().unwrap())
    }

    /// Ends it: each end has received all that the other one has sent.
    pub fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        let sums = self.ends.map(|end| end.threads.map(|thread| thread.join().unwrap()));
        let [[sent, received], [answered, heard]] = sums;
        assert_eq!((sent, answered), (heard, received), "{}", self.name);
    }
}

/// One end: what it sends and what it receives, in threads of their own.
struct End {
    received: Arc<AtomicU64>,
    threads: [JoinHandle<u64>; 2],
}

impl End {
    fn start(stream: TcpStream, stop: &Arc<AtomicBool>) -> End {
        let received = Arc::new(AtomicU64::new(0));
        let (out, stop, count) = (stream.try_clone().unwrap(), stop.clone(), received.clone());
        let sends = std::thread::spawn(move || send(out, &stop));
        let receives = std::thread::spawn(move || receive(stream, &count));
        End { received, threads: [sends, receives] }
    }
}

/// Sends until it is to stop; returns how much.
fn send(mut stream: TcpStream, stop: &AtomicBool) -> u64 {
    stream.set_nodelay(true).unwrap();
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let chunk: Vec<u8> = (sent..).take(CHUNK).map(|i| (i % PATTERN) as u8).collect();
        stream.write_all(&chunk).unwrap();
        sent += CHUNK as u64;
        std::thread::sleep(PAUSE);
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    sent
}

/// Receives until the other end stops; returns how much.
fn receive(mut stream: TcpStream, count: &AtomicU64) -> u64 {
    let (mut received, mut buffer) = (0u64, [0; 4096]);
    loop {
        let length = stream.read(&mut buffer).unwrap();
        if length == 0 {
            return received;
        }
        for byte in &buffer[..length] {
            assert_eq!(*byte, (received % PATTERN) as u8, "byte {received} is another one's");
            received += 1;
        }
        count.store(received, Ordering::Relaxed);
    }
}
