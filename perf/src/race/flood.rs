use super::answers::{Begin, Ends};
use crate::cpu;
use crate::frames::Builder;
use crate::packet_socket::PacketSocket;
use crate::site::{VXLAN_PORT, Who};
use crate::traffic::Random;
use anyhow::{Context, Result, anyhow, ensure};
use arrayvec::ArrayVec;
use sluice_io::{AfXdp, AfXdpOptions, AfXdpPortOptions, BURST, Frame, FrameCache, Port, PortId};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Frames that are looked at of each flood, and how many at a time: a socket that sees frames
/// costs their sender something, so it is there for as long as so many take.
const LOOKED_AT: usize = 512;
const AT_A_TIME: usize = 64;
/// Time before anything is counted.
const WARM_UP: Duration = Duration::from_secs(1);

/// Opens devices for one thread; the kernel keeps its own addresses.
///
/// # Errors
/// When one cannot be opened.
pub fn open(devices: &[(&str, Vec<IpAddr>)]) -> Result<(AfXdp, Vec<Box<dyn Port>>)> {
    let port = |(number, (device, kernel)): (usize, &(&str, Vec<IpAddr>))| AfXdpPortOptions {
        id: PortId(number as u8),
        name: (*device).to_owned(),
        device: (*device).to_owned(),
        kernel_addresses: kernel.clone(),
        vteps: Vec::new(),
        vxlan_udp_port: VXLAN_PORT,
    };
    let ports = devices.iter().enumerate().map(port).collect();
    let mut io = AfXdp::open(&AfXdpOptions::new(ports, 1)).context("cannot open the devices")?;
    let ports = io.ports.pop().unwrap_or_default();
    Ok((io, ports))
}

/// Requests of many flows by one device as fast as it takes them, and what comes by another.
pub struct Flood<'a> {
    /// The flows.
    pub begin: Begin<'a>,
    /// Whether each of them is answered once before.
    pub answer: bool,
    /// Where clients are.
    pub clients: String,
    /// Where nodes are.
    pub nodes: String,
    /// The core that everything here runs on.
    pub cpu: usize,
    /// The gateway's core.
    pub gateway_cpu: usize,
    /// How long is counted.
    pub time: Duration,
    /// A file to make as soon as it is.
    pub counting: PathBuf,
}

/// What a flood came to.
#[derive(Clone, Copy, Debug)]
pub struct Came {
    /// Nanoseconds for each packet that came.
    pub packet_ns: f64,
    /// Nanoseconds of them in which the gateway's core was not idle, by the kernel's account.
    pub core_ns: f64,
    /// Frames that were looked at.
    pub looked_at: usize,
}

impl Flood<'_> {
    /// Begins the flows, floods, counts, and looks at a sample of what came meanwhile.
    ///
    /// # Errors
    /// What is wrong with a frame, that nothing comes, or what the devices say.
    pub fn run(&self) -> Result<Came> {
        cpu::pin(self.cpu)?;
        let ends = match self.answer {
            true => {
                let clients = PacketSocket::open(&self.clients)?;
                Some(self.begin.all(&clients, &PacketSocket::open(&self.nodes)?)?)
            }
            false => None,
        };
        let is_over = AtomicBool::new(false);
        let (came, frames) = thread::scope(|scope| {
            let (begun, has_begun) = mpsc::channel();
            let generator = scope.spawn(|| self.generate(begun, &is_over));
            // A generator that fails is gone, and says why.
            let counted = match has_begun.recv() {
                Ok(()) => self.count(),
                Err(mpsc::RecvError) => Err(anyhow!("no generator")),
            };
            is_over.store(true, Ordering::Relaxed);
            generator.join().map_err(|_| anyhow!("the generator has panicked"))??;
            counted
        })?;
        self.check(&frames, ends.as_deref())?;
        Ok(came)
    }

    fn generate(&self, begun: mpsc::Sender<()>, is_over: &AtomicBool) -> Result<()> {
        cpu::pin(self.cpu)?;
        let router = Who::Router.addr(self.begin.cluster.family);
        // The program stays attached until all is over.
        let (io, mut ports) = open(&[(&self.clients, vec![router])])?;
        let mut cache = FrameCache::new(io.umem(), 1024);
        let packets = self.packets();
        let mut next = packets.iter().cycle();
        let mut out: ArrayVec<Frame, BURST> = ArrayVec::new();
        begun.send(())?;
        while !is_over.load(Ordering::Relaxed) {
            while !out.is_full()
                && let Some(mut frame) = cache.alloc()
            {
                let fits = next.next().is_some_and(|packet| frame.fill(packet));
                ensure!(fits, "a packet does not fit");
                out.push(frame);
            }
            for port in &mut ports {
                port.tx(&mut cache, &mut out);
                port.flush(&mut cache);
            }
        }
        out.drain(..).for_each(|frame| cache.free(frame));
        ports.iter_mut().for_each(|port| port.close(&mut cache));
        Ok(())
    }

    /// A request of each flow, in random order.
    fn packets(&self) -> Vec<Vec<u8>> {
        let mut numbers: Vec<u32> = (0..self.begin.flows).collect();
        Random::new(1).shuffle(&mut numbers);
        let mut builder = Builder::default();
        numbers.iter().map(|&number| self.begin.request(number, &mut builder).to_vec()).collect()
    }

    /// Counts for the time, and keeps frames of all parts of it.
    fn count(&self) -> Result<(Came, Vec<Vec<u8>>)> {
        // The generator never gives way by itself.
        cpu::run_first(true)?;
        thread::sleep(WARM_UP);
        std::fs::File::create(&self.counting)
            .with_context(|| self.counting.display().to_string())?;
        let mut frames = Vec::with_capacity(LOOKED_AT);
        let parts = (LOOKED_AT / AT_A_TIME) as u32;
        let before = self.now()?;
        for part in 0..parts {
            let due = self.time * (2 * part + 1) / (2 * parts);
            thread::sleep(due.saturating_sub(before.at.elapsed()));
            self.look(&mut frames)?;
        }
        thread::sleep(self.time.saturating_sub(before.at.elapsed()));
        let after = self.now()?;
        let packets = after.received.saturating_sub(before.received);
        ensure!(packets > 0, "nothing comes");
        let took = after.at.duration_since(before.at).as_nanos() as f64;
        let busy = after.busy.saturating_sub(before.busy).as_nanos() as f64;
        let [packet_ns, core_ns] = [took, busy].map(|ns| ns / packets as f64);
        Ok((Came { packet_ns, core_ns, looked_at: frames.len() }, frames))
    }

    fn now(&self) -> Result<Now> {
        Ok(Now {
            received: received(&self.nodes)?,
            busy: cpu::busy(self.gateway_cpu)?,
            at: Instant::now(),
        })
    }

    /// Keeps the next few frames.
    fn look(&self, frames: &mut Vec<Vec<u8>>) -> Result<()> {
        let socket = PacketSocket::open(&self.nodes)?;
        let ethertype = self.begin.cluster.family.ethertype().to_be_bytes();
        let wanted = frames.len() + AT_A_TIME;
        let mut buffer = [0; 2048];
        while frames.len() < wanted {
            let len = socket.receive(&mut buffer, 1000).context("nothing comes any more")?;
            // Hosts on a link speak ARP and ND, too.
            if buffer[12..14] == ethertype {
                frames.push(buffer[..len].to_vec());
            }
        }
        Ok(())
    }

    /// Checks each frame, and that flows have stayed where they were, or at least stay.
    fn check(&self, frames: &[Vec<u8>], ends: Option<&[Ends]>) -> Result<()> {
        let mut found: HashMap<u32, Ends> = HashMap::new();
        for (at, frame) in frames.iter().enumerate() {
            let sent = self.begin.expected.check(self.begin.cluster, frame);
            let sent = sent.with_context(|| format!("frame {at} of {}", frames.len()))?;
            let Some(flow) = sent.flow else { continue };
            ensure!(flow < self.begin.flows, "flow {flow} of {}", self.begin.flows);
            let first = *found.entry(flow).or_insert(sent.ends);
            let was = ends.and_then(|ends| ends.get(flow as usize)).copied().unwrap_or(first);
            ensure!(was == sent.ends, "flow {flow} was {was:?}, and is {:?}", sent.ends);
        }
        Ok(())
    }
}

/// What counts at one moment.
struct Now {
    received: u64,
    busy: Duration,
    at: Instant,
}

fn received(device: &str) -> Result<u64> {
    let path = format!("/sys/class/net/{device}/statistics/rx_packets");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    text.trim().parse().with_context(|| path)
}
