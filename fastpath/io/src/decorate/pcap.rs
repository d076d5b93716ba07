use super::clock::SharedClock;
use crate::frame::Frame;
use crate::port::{BURST, Port, PortInfo, PortStats, RxBurst};
use crate::umem::FrameCache;
use arrayvec::ArrayVec;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;

/// Magic number of a capture with time stamps in nanoseconds.
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
const LINKTYPE_ETHERNET: u32 = 1;
/// Frames are captured whole; no frame is longer than its chunk.
const SNAP_LEN: u32 = crate::CHUNK_LEN as u32;

const FILE_HEADER_LEN: u64 = 24;

/// A port that writes what it receives and sends to a classic pcap file
/// (draft-ietf-opsawg-pcap), in the order in which it does.
///
/// The file has one direction: the time, set on the shared clock, and the
/// addresses tell which frame is which. When writing fails or the file is
/// full, capture ends and the port goes on.
pub struct PcapPort<W: Write + Send> {
    inner: Box<dyn Port>,
    /// `None` when capture has ended.
    writer: Option<W>,
    error: Option<io::Error>,
    clock: SharedClock,
    bytes_left: u64,
    /// Records that may be written, and where each ends.
    records: Vec<u8>,
    ends: ArrayVec<usize, BURST>,
}

impl PcapPort<BufWriter<File>> {
    /// Captures to a new file (an old one of the name is overwritten) of at
    /// most `bytes_max` bytes.
    ///
    /// # Errors
    /// When the file cannot be made or written.
    pub fn create(
        inner: Box<dyn Port>,
        path: &Path,
        clock: SharedClock,
        bytes_max: u64,
    ) -> io::Result<Self> {
        Self::new(inner, BufWriter::new(File::create(path)?), clock, bytes_max)
    }
}

impl<W: Write + Send> PcapPort<W> {
    /// Captures to a writer, at most `bytes_max` bytes.
    ///
    /// # Errors
    /// When the file header cannot be written.
    pub fn new(
        inner: Box<dyn Port>,
        mut writer: W,
        clock: SharedClock,
        bytes_max: u64,
    ) -> io::Result<Self> {
        let mut header = Vec::with_capacity(FILE_HEADER_LEN as usize);
        header.extend(MAGIC_NANOSECONDS.to_ne_bytes());
        header.extend(VERSION.iter().flat_map(|number| number.to_ne_bytes()));
        header.extend([0; 8]); // time zone and accuracy: always 0
        header.extend(SNAP_LEN.to_ne_bytes());
        header.extend(LINKTYPE_ETHERNET.to_ne_bytes());
        writer.write_all(&header)?;
        Ok(PcapPort {
            inner,
            writer: Some(writer),
            error: None,
            clock,
            bytes_left: bytes_max.saturating_sub(FILE_HEADER_LEN),
            records: Vec::new(),
            ends: ArrayVec::new(),
        })
    }

    /// Why capture ended before the port did; `None` when it goes on, or the
    /// file is full.
    pub fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// True while frames are written.
    pub fn is_capturing(&self) -> bool {
        self.writer.is_some()
    }

    /// Makes the records of frames that may be written.
    fn stage(&mut self, frames: &[Frame]) {
        let now_ns = self.clock.now_ns();
        self.records.clear();
        self.ends.clear();
        for frame in frames {
            let len = frame.len() as u32;
            let (seconds, rest) = (now_ns / 1_000_000_000, now_ns % 1_000_000_000);
            for field in [seconds as u32, rest as u32, len, len] {
                self.records.extend(field.to_ne_bytes());
            }
            self.records.extend(frame.data());
            self.ends.push(self.records.len());
        }
    }

    /// Writes the first `count` of the staged records, or those that fit, and
    /// ends capture when some do not.
    fn commit(&mut self, count: usize) {
        let Some(writer) = &mut self.writer else { return };
        let fits = |end: &&usize| **end as u64 <= self.bytes_left;
        let fitting = self.ends[..count].iter().take_while(fits).count();
        let len = fitting.checked_sub(1).map_or(0, |last| self.ends[last]);
        self.bytes_left -= len as u64;
        match writer.write_all(&self.records[..len]) {
            Err(error) => self.end(Some(error)),
            Ok(()) if fitting < count => self.end(None),
            Ok(()) => {}
        }
    }

    /// Ends capture.
    fn end(&mut self, error: Option<io::Error>) {
        if let Some(mut writer) = self.writer.take() {
            self.error = error.or(writer.flush().err());
        }
    }
}

impl<W: Write + Send> Port for PcapPort<W> {
    fn info(&self) -> &PortInfo {
        self.inner.info()
    }

    fn rx(&mut self, cache: &mut FrameCache, burst: &mut RxBurst) -> usize {
        let before = burst.len();
        let received = self.inner.rx(cache, burst);
        if received > 0 && self.is_capturing() {
            self.stage(&burst[before..]);
            self.commit(received);
        }
        received
    }

    fn tx(&mut self, cache: &mut FrameCache, frames: &mut ArrayVec<Frame, BURST>) {
        if !self.is_capturing() {
            return self.inner.tx(cache, frames);
        }
        // The port takes frames away, and perhaps not all: the records are made
        // before, and those of the frames that it took are written.
        self.stage(frames);
        let offered = frames.len();
        self.inner.tx(cache, frames);
        self.commit(offered - frames.len());
    }

    fn flush(&mut self, cache: &mut FrameCache) {
        self.inner.flush(cache);
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.wait_fd()
    }

    fn stats(&self) -> PortStats {
        self.inner.stats()
    }

    fn close(&mut self, cache: &mut FrameCache) {
        self.inner.close(cache);
        self.end(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{MemoryPort, MemoryPortPeer};
    use crate::port::PortId;
    use crate::umem::Umem;
    use std::sync::{Arc, Mutex};

    const RECORD_HEADER_LEN: u64 = 16;

    /// A writer whose bytes the test can see, and that can be made to fail.
    #[derive(Clone, Default)]
    struct Bytes(Arc<Mutex<(Vec<u8>, bool)>>);

    impl Write for Bytes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut inner = self.0.lock().unwrap();
            if inner.1 {
                return Err(io::Error::other("disk full"));
            }
            inner.0.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Time stamp and data of every record.
    fn records(bytes: &Bytes) -> Vec<(u64, Vec<u8>)> {
        let bytes = bytes.0.lock().unwrap().0.clone();
        let u32_at = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(u32_at(0), MAGIC_NANOSECONDS);
        assert_eq!(u32_at(20), LINKTYPE_ETHERNET);
        let mut at = FILE_HEADER_LEN as usize;
        let mut records = Vec::new();
        while at < bytes.len() {
            let len = u32_at(at + 8);
            assert_eq!(u32_at(at + 12), len);
            let time = u64::from(u32_at(at)) * 1_000_000_000 + u64::from(u32_at(at + 4));
            let start = at + RECORD_HEADER_LEN as usize;
            at = start + len as usize;
            records.push((time, bytes[start..at].to_vec()));
        }
        records
    }

    struct Setup {
        port: PcapPort<Bytes>,
        peer: MemoryPortPeer,
        bytes: Bytes,
        clock: SharedClock,
        cache: FrameCache,
    }

    fn setup(tx_room: usize, bytes_max: u64) -> Setup {
        let cache = FrameCache::new(&Umem::new(256).unwrap(), 0);
        let (memory, peer) = MemoryPort::new(PortId(0), "p0", 0, tx_room);
        let (bytes, clock) = (Bytes::default(), SharedClock::new());
        let port = PcapPort::new(Box::new(memory), bytes.clone(), clock.clone(), bytes_max);
        Setup { port: port.unwrap(), peer, bytes, clock, cache }
    }

    impl Setup {
        fn receive(&mut self) -> RxBurst {
            let mut burst = RxBurst::new();
            self.port.rx(&mut self.cache, &mut burst);
            burst
        }
    }

    #[test]
    fn both_directions_are_written_with_their_time() {
        let mut s = setup(1, u64::MAX);
        s.clock.set_now_ns(1_700_000_000_123_456_789);
        s.peer.send(b"first");
        s.peer.send(b"second");
        let mut burst = s.receive();
        s.clock.set_now_ns(1_700_000_001_000_000_001);
        s.port.tx(&mut s.cache, &mut burst);
        s.port.flush(&mut s.cache);
        // The ring had room for one: the other was not sent and is not written.
        assert_eq!(burst.len(), 1);
        assert_eq!(
            records(&s.bytes),
            [
                (1_700_000_000_123_456_789, b"first".to_vec()),
                (1_700_000_000_123_456_789, b"second".to_vec()),
                (1_700_000_001_000_000_001, b"first".to_vec()),
            ]
        );
        s.cache.free(burst.pop().unwrap());
    }

    #[test]
    fn a_full_file_ends_capture_at_a_whole_record() {
        let mut s = setup(64, FILE_HEADER_LEN + 2 * (RECORD_HEADER_LEN + 4) + 3);
        for _ in 0..3 {
            s.peer.send(b"abcd");
        }
        let burst = s.receive();
        assert_eq!(burst.len(), 3);
        assert_eq!(records(&s.bytes).len(), 2);
        assert!(!s.port.is_capturing() && s.port.error().is_none());
        burst.into_iter().for_each(|frame| s.cache.free(frame));
    }

    #[test]
    fn a_failing_disk_ends_capture_and_nothing_else() {
        let mut s = setup(64, u64::MAX);
        s.bytes.0.lock().unwrap().1 = true;
        for _ in 0..2 {
            s.peer.send(b"abcd");
            let burst = s.receive();
            assert_eq!(burst.len(), 1);
            burst.into_iter().for_each(|frame| s.cache.free(frame));
        }
        assert_eq!(s.port.error().unwrap().to_string(), "disk full");
    }

    #[test]
    fn a_file_is_complete_once_the_port_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p0.pcap");
        let mut cache = FrameCache::new(&Umem::new(64).unwrap(), 0);
        let (memory, peer) = MemoryPort::new(PortId(0), "p0", 0, 64);
        let clock = SharedClock::new();
        let mut port = PcapPort::create(Box::new(memory), &path, clock, u64::MAX).unwrap();
        peer.send(&[7; 60]);
        let mut burst = RxBurst::new();
        assert_eq!(port.rx(&mut cache, &mut burst), 1);
        burst.into_iter().for_each(|frame| cache.free(frame));
        port.close(&mut cache);
        let len = std::fs::metadata(&path).unwrap().len();
        assert_eq!(len, FILE_HEADER_LEN + RECORD_HEADER_LEN + 60);
    }
}
